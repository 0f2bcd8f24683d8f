/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead vault restore`: hands a copy of the root key to a core that has none. What is secret goes as it came, from
 * the terminal or a file through locked memory to the core; age files are decrypted there and shares put together
 * there.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli/vault.h"

#define RESTORE_SHARES_MAX   16
#define RESTORE_SHARE_BYTES  128 /* with the spaces, as in VAULT_RESTORE */
#define RESTORE_BACKUP_BYTES 8192
#define RESTORE_DONE         "The root key is back; the vault is open."

struct restore {
	struct proto_vault_restore m;
	struct locked passphrase, identity, shares[RESTORE_SHARES_MAX];
	struct proto_share items[RESTORE_SHARES_MAX];
	uint8_t backup[RESTORE_BACKUP_BYTES];
	int key_fd;
};

/* How many are needed stands in the first two characters behind "bhshare1"; 0: that is no share. */
static unsigned restore_threshold(const struct locked *share)
{
	static const char chars[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l", prefix[] = "bhshare1";
	unsigned value = 0, n = 0;

	for (size_t i = 0; i < share->len && n < 10; i++) {
		char c = (char)(share->p[i] >= 'A' && share->p[i] <= 'Z' ? share->p[i] | 0x20 : share->p[i]);
		const char *at = strchr(chars, c);

		if (c == ' ' || c == '-')
			continue;
		if (c == 0 || (n < 8 && c != prefix[n]) || (n >= 8 && !at))
			return 0;
		if (n >= 8)
			value = value << 5 | (unsigned)(at - chars);
		n++;
	}
	return n == 10 ? value >> 2 : 0;
}

static int restore_share(struct cli *cli, struct restore *t, const char *file, unsigned needed)
{
	size_t n = t->m.shares.count;
	char prompt[64];

	if (needed)
		(void)snprintf(prompt, sizeof(prompt), "Share %zu of %u (not shown)", n + 1, needed);
	else
		(void)snprintf(prompt, sizeof(prompt), "A share (not shown)");
	int r = locked_read(cli, "share", prompt, file, RESTORE_SHARE_BYTES, &t->shares[n]);
	if (r)
		return r;
	t->items[n].text = span_of(t->shares[n].p, t->shares[n].len);
	t->m.shares = (struct proto_list){.items = t->items, .count = n + 1};
	return CLI_DONE;
}

static int restore_shares(struct cli *cli, struct restore *t)
{
	int r = CLI_DONE;

	if (cli->n_args == 0 && !locked_asks())
		return cli_fail(cli, "shares are typed on a terminal, or named as files, one share each");
	for (size_t i = 0; !r && i < cli->n_args; i++)
		r = restore_share(cli, t, cli->args[i], 0);
	if (r || cli->n_args)
		return r;
	r = restore_share(cli, t, NULL, 0);
	unsigned needed = r ? 0 : restore_threshold(&t->shares[0]);
	if (!r && (needed < 2 || needed > RESTORE_SHARES_MAX))
		return cli_fail(cli, "that is not a share, or mistyped: bhshare1 and 74 more characters");
	while (!r && t->m.shares.count < needed)
		r = restore_share(cli, t, NULL, needed);
	return r;
}

static int restore_read_backup(struct cli *cli, struct restore *t)
{
	struct locked backup = {.p = t->backup, .cap = sizeof(t->backup)};
	int fd = open(cli->args[0], O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : locked_fill(fd, &backup);

	if (fd >= 0)
		close(fd);
	if (r)
		return cli_fail(cli, "%s: %s", cli->args[0], strerror(-r));
	if (backup.len == 0 || backup.len == backup.cap)
		return cli_fail(cli, "%s: not a copy of a root key", cli->args[0]);
	t->m.backup = span_of(backup.p, backup.len);
	return CLI_DONE;
}

/* age-keygen writes comments above the key; the last line that is none counts. */
static int restore_identity(struct cli *cli, struct restore *t)
{
	const char *path = cli_option(cli, "--age");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct locked *id = &t->identity;

	if (fd < 0)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	int r = locked_new(cli, 4096, id), error = r ? 0 : locked_fill(fd, id);
	close(fd);
	if (r)
		return r;
	if (error)
		return cli_fail(cli, "%s: %s", path, strerror(-error));
	for (size_t at = 0; at < id->len;) {
		uint8_t *end = memchr(id->p + at, '\n', id->len - at);
		size_t len = end ? (size_t)(end - id->p) - at : id->len - at;

		if (len > 16 && len <= 128 && id->p[at] != '#')
			t->m.identity = span_of(id->p + at, id->p[at + len - 1] == '\r' ? len - 1 : len);
		at += len + 1;
	}
	return t->m.identity.len ? CLI_DONE
				 : cli_fail(cli,
					    "%s: no AGE-SECRET-KEY-1... in it; for other kinds of identity: "
					    "age -d -i %s FILE > KEY, then --key-file KEY",
					    path, path);
}

static int restore_age(struct cli *cli, struct restore *t)
{
	if (cli->n_args != 1)
		return cli_misuse(cli, "--age IDENTITY needs one FILE, the copy");
	int r = restore_read_backup(cli, t);

	return r ? r : restore_identity(cli, t);
}

static int restore_key_file(struct cli *cli, struct restore *t)
{
	if (cli->n_args)
		return cli_misuse(cli, "--key-file KEY takes no FILE");
	t->m.key_file = 1;
	return vault_open_key_file(cli, &t->key_fd);
}

static int restore_from(struct cli *cli, struct restore *t)
{
	bool shares = cli_option(cli, "--shares"), age = cli_option(cli, "--age"),
	     key_file = cli_option(cli, "--key-file");
	int r = cli_config(cli);

	if (r)
		return r;
	if (shares + age + key_file != 1)
		return cli_misuse(cli, "say one of --shares, --age IDENTITY FILE, --key-file KEY");
	r = vault_check_fresh(cli); /* before keepers type their shares */
	if (r)
		return r;
	return shares ? restore_shares(cli, t) : age ? restore_age(cli, t) : restore_key_file(cli, t);
}

int cmd_vault_restore(struct cli *cli)
{
	struct restore t = {.key_fd = -1};
	int r = restore_from(cli, &t);

	if (!r)
		r = vault_new_passphrase(cli, &t.passphrase);
	t.m.passphrase = span_of(t.passphrase.p, t.passphrase.len);
	if (!r)
		r = vault_send(cli, PROTO_VAULT_RESTORE, &t.m, t.key_fd, RESTORE_DONE);
	locked_wipe(&t.passphrase);
	locked_wipe(&t.identity);
	for (size_t i = 0; i < RESTORE_SHARES_MAX; i++)
		locked_wipe(&t.shares[i]);
	if (t.key_fd >= 0)
		close(t.key_fd);
	return r;
}
