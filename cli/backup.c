/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead vault backup`. The core makes the copy and records it before it leaves; here it is only put where the
 * operator wants it. An age file is ciphertext. Shares are shown one at a time, each to its keeper alone, or each
 * written to a file of its own, which nobody else may read.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/output.h"
#include "cli/plain.h"
#include "cli/vault.h"

#define BACKUP_PATH_BYTES 4096
#define BACKUP_GROUP      4 /* characters between spaces, for the eye */

/* ---- writing ---- */

/* A full disk takes a part of it first, and says why with the next. */
static bool backup_write_all(int fd, struct span bytes)
{
	for (ssize_t n; bytes.len > 0; bytes = span_of(bytes.p + n, bytes.len - (size_t)n)) {
		n = write(fd, bytes.p, bytes.len);
		if (n < 0)
			return false;
	}
	return true;
}

static int backup_write(struct cli *cli, const char *path, struct span bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);

	if (fd < 0)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	bool good = backup_write_all(fd, bytes) && fsync(fd) == 0;
	int error = errno;
	close(fd);
	if (good)
		return CLI_DONE;
	(void)unlink(path);
	return cli_fail(cli, "%s: %s", path, strerror(error));
}

static int backup_put_age(struct cli *cli, struct span file)
{
	const char *out = cli_option(cli, "--out");

	if (!plain_is_text(file))
		return cli_fail(cli, "keyvault gave what is no age file");
	int r = out ? backup_write(cli, out, file) : CLI_DONE;
	if (r)
		return r;
	if (cli->json)
		return cli_print_json(cli, out ? json_pack("{s:o}", "file", json_span(span_str(out)))
					       : json_pack("{s:o}", "age", json_span(file)));
	if (out)
		plain_line(cli->out,
			   "The root key is in %s, for %zu recipient%s. Try it: age -d -i KEY %s | wc -c  (65)", out,
			   cli->n_repeats, cli->n_repeats == 1 ? "" : "s", out);
	else
		fprintf(cli->out, "%.*s", SPAN_ARG(file));
	return CLI_DONE;
}

/* "bhshare1 qpzr y9x8 ...", in locked memory: the spaces do not count when it is typed. */
static size_t backup_group(struct span share, uint8_t *to)
{
	size_t len = 0;

	for (size_t i = 0; i < share.len; i++) {
		if (i && i % BACKUP_GROUP == 0)
			to[len++] = ' ';
		to[len++] = share.p[i];
	}
	to[len++] = '\n';
	return len;
}

/* False when the person gave up: Ctrl-C is a key here, and cannot leave a share on the screen of a mute terminal. */
static bool backup_wait_for_enter(void)
{
	for (;;) {
		char c;
		ssize_t n = read(STDIN_FILENO, &c, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n != 1 || c == LOCKED_CTRL('C') || c == LOCKED_CTRL('D'))
			return false;
		if (c == '\n' || c == '\r')
			return true;
	}
}

/*
 * To the terminal past stdio's buffer, and off the screen (and its scroll-back) before the next keeper comes. All of it
 * stands after the flush: who answers at once would be flushed with what was typed before.
 */
static int backup_show(struct cli *cli, struct span text, unsigned index, uint64_t n, uint64_t threshold)
{
	struct termios before;
	bool shown, more = false;
	int r = locked_quiet(STDIN_FILENO, &before);

	if (r)
		return cli_fail(cli, "the share could not be shown: %s", strerror(-r));
	fprintf(cli->out, "Share %u of %llu; any %llu bring the root key back. Write it down:\n\n", index,
		(unsigned long long)n, (unsigned long long)threshold);
	fflush(cli->out);
	shown = write(STDOUT_FILENO, text.p, text.len) == (ssize_t)text.len;
	if (shown) {
		fprintf(cli->out, "\nEnter clears the screen%s.", index < n ? " for the next one" : "");
		fflush(cli->out);
		more = backup_wait_for_enter();
	}
	fputs("\033[H\033[2J\033[3J", cli->out);
	fflush(cli->out);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	if (!shown)
		return cli_fail(cli, "the share could not be shown");
	return more ? CLI_DONE : cli_fail(cli, "not all shares were shown: make another backup, these do not count");
}

static void backup_path(struct cli *cli, char path[BACKUP_PATH_BYTES], unsigned index, uint64_t n)
{
	(void)snprintf(path, BACKUP_PATH_BYTES, "%.4000s/share-%u-of-%llu", cli_option(cli, "--out"), index,
		       (unsigned long long)n);
}

static int backup_put_share(struct cli *cli, struct span share, unsigned index, uint64_t n, uint64_t threshold)
{
	struct locked text = LOCKED_NULL;
	char path[BACKUP_PATH_BYTES];

	if (!plain_is_text(share))
		return cli_fail(cli, "keyvault gave what is no share");
	int r = locked_new(cli, 2 * share.len + 2, &text);
	if (r)
		return r;
	text.len = backup_group(share, text.p);
	if (cli_option(cli, "--out")) {
		backup_path(cli, path, index, n);
		r = backup_write(cli, path, span_of(text.p, text.len));
		if (!r)
			fprintf(cli->out, "%s\n", path);
	} else {
		r = backup_show(cli, span_of(text.p, text.len), index, n, threshold);
	}
	locked_wipe(&text);
	return r;
}

/* Shares of two backups in one folder bring nothing back: what was written before one that could not be goes. */
static int backup_take_back(struct cli *cli, unsigned written, uint64_t n)
{
	char path[BACKUP_PATH_BYTES];

	for (unsigned i = 1; i <= written; i++) {
		backup_path(cli, path, i, n);
		(void)unlink(path);
	}
	return cli_fail(cli, "not all shares could be written, so none is: make another backup");
}

static int backup_put_shares(struct cli *cli, struct proto_list shares, uint64_t threshold)
{
	uint64_t n = shares.count;
	struct proto_share item;
	unsigned index = 0;
	int r = CLI_DONE;

	while (!r && proto_share_next(&shares, &item))
		r = backup_put_share(cli, item.text, ++index, n, threshold);
	return r && cli_option(cli, "--out") ? backup_take_back(cli, index - 1, n) : r;
}

/* ---- asking ---- */

static int backup_options(struct cli *cli, struct proto_vault_backup *ret)
{
	const char *out = cli_option(cli, "--out");
	bool shares = cli_option(cli, "--shares"), threshold = cli_option(cli, "--threshold");
	struct stat st;
	int r;

	if (shares != threshold || shares == (cli->n_repeats > 0))
		return cli_misuse(cli, "say either --to RECIPIENT or --shares N --threshold K");
	r = cli_option_u64(cli, "--shares", 2, 16, 0, &ret->shares);
	if (!r)
		r = cli_option_u64(cli, "--threshold", 2, shares ? ret->shares : 16, 0, &ret->threshold);
	if (r || !shares)
		return r;
	if (cli->json)
		return cli_misuse(cli, "shares are for people: there is no --json");
	if (!out && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return cli_fail(cli,
				"shares are shown on a terminal, one at a time, or written to files: --out FOLDER");
	if (out && (stat(out, &st) || !S_ISDIR(st.st_mode)))
		return cli_fail(cli, "%s is no folder; make one that only you can read", out);
	return CLI_DONE;
}

static int backup_ask(struct cli *cli, struct proto_vault_backup *m, const struct vault_proof *proof)
{
	struct proto_recipient to[CLI_REPEATS_MAX];
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = admin_open(cli, ROLE_KEYVAULT, 0, &a);

	for (size_t i = 0; i < cli->n_repeats; i++)
		to[i].text = span_str(cli->repeats[i]);
	m->recipients = (struct proto_list){.items = to, .count = cli->n_repeats};
	m->passphrase = span_of(proof->passphrase.p, proof->passphrase.len);
	m->key_file = proof->key_fd >= 0;
	if (!r)
		r = admin_call_fd(a, PROTO_VAULT_BACKUP, m, proof->key_fd, PROTO_VAULT_BACKED_UP, VAULT_KDF_MS,
				  &answer);
	if (!r)
		r = cli->n_repeats ? backup_put_age(cli, answer->vault_backed_up.file)
				   : backup_put_shares(cli, answer->vault_backed_up.shares, m->threshold);
	admin_close(a);
	return r;
}

int cmd_vault_backup(struct cli *cli)
{
	struct proto_vault_backup m = {0};
	struct vault_proof proof = VAULT_PROOF_NULL;
	int r = backup_options(cli, &m);

	if (!r)
		r = vault_proof(cli, &proof);
	if (!r)
		r = backup_ask(cli, &m, &proof);
	vault_proof_wipe(&proof);
	return r;
}
