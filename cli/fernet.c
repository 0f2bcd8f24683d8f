/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead vault import-fernet`, `export-fernet`, `rotate-fernet`: provider keys that were or shall be under the care
 * of a system that keeps Fernet tokens. Tokens pass through this command; what is in them does not: the core decrypts
 * and seals. The Fernet keys do pass, in locked memory, as a passphrase does.
 *
 * A line of an import is done when authd has the sealed blob. Each stands for itself, so whatever ends the command
 * leaves whole credentials: those of the lines before.
 */
#include "cli/fernet.h"

#include <unistd.h>

#include "cli/plain.h"

#define FERNET_FILE_BYTES_MAX 4096
#define FERNET_KEYS_MAX       8
#define FERNET_KEY_CHARS      44 /* as in FERNET_KEY */
#define FERNET_MARK           "v1:"
#define FERNET_TERMINAL       "/dev/tty" /* standard input has the tokens */
#define FERNET_TOKEN_MAX      5563       /* as in VAULT_FERNET */

/* ---- keys ---- */

/* Views into the file's text, for VAULT_IMPORT_FERNET and its like. */
struct fernet_keys {
	struct locked text;
	struct proto_fernet_key item[FERNET_KEYS_MAX];
	size_t n;
};

static void fernet_keys_wipe(struct fernet_keys *k)
{
	locked_wipe(&k->text);
	k->n = 0;
}

static struct proto_list fernet_keys_list(const struct fernet_keys *k)
{
	return (struct proto_list){.items = k->item, .count = k->n};
}

/* Each line that is not empty is a key. That it is one the core says; here only so much that a wrong file is named. */
static int fernet_keys_split(struct cli *cli, const char *file, struct fernet_keys *k)
{
	const uint8_t *at = k->text.p, *end = at + k->text.len;

	for (size_t number = 1; at < end; number++) {
		const uint8_t *eol = memchr(at, '\n', (size_t)(end - at));
		struct span line = span_of(at, (size_t)((eol ? eol : end) - at));

		at = eol ? eol + 1 : end;
		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0)
			continue;
		if (line.len != FERNET_KEY_CHARS)
			return cli_fail(cli, "%s: line %zu is not a Fernet key, which has %d characters", file, number,
					FERNET_KEY_CHARS);
		if (k->n == FERNET_KEYS_MAX)
			return cli_fail(cli, "%s: more than %d keys", file, FERNET_KEYS_MAX);
		k->item[k->n++].key = line;
	}
	return k->n ? CLI_DONE : cli_fail(cli, "%s: no key", file);
}

/* From --keys-file, else from the terminal. CLI_DONE, or CLI_FAILED with the line printed; then there is nothing to
 * wipe. */
static int fernet_keys_read(struct cli *cli, struct fernet_keys *ret_keys)
{
	const char *file = cli_option(cli, "--keys-file");
	struct fernet_keys k = {.n = 0};
	int r;

	if (!file && access(FERNET_TERMINAL, R_OK))
		return cli_fail(cli, "there is no terminal to ask for the Fernet key: name a file by --keys-file");
	file = file ? file : FERNET_TERMINAL;
	r = locked_read_lines(cli, "Fernet key", "Fernet key (not shown)", file, FERNET_FILE_BYTES_MAX, &k.text);
	if (!r)
		r = fernet_keys_split(cli, file, &k);
	if (r)
		fernet_keys_wipe(&k);
	else
		*ret_keys = k;
	return r;
}

/* ---- import ---- */

struct fernet_import {
	struct proto_list keys;
	uint64_t ttl_s;
};

/* Bind, have the core decrypt and seal, put. */
static int fernet_import_one(struct cli *cli, const struct fernet_import *i, const char *provider, struct span token,
			     struct binding *ret_binding)
{
	struct proto_vault_import_fernet msg = {.token = token, .keys = i->keys, .ttl_s = i->ttl_s};
	uint8_t packed[BINDING_BYTES_MAX], blob[BLOB_BYTES_MAX];
	struct admin *authd = NULL;
	struct credential_versions versions = {0};
	size_t len = 0;
	int r = binding_make(cli, provider, ret_binding);
	struct proto_binding *proto = &ret_binding->proto;

	if (!r)
		r = admin_open(cli, ROLE_AUTHD, 0, &authd);
	if (!r)
		r = credential_version(authd, provider, &versions);
	proto->version = proto->since = versions.last + 1;
	if (!r)
		r = credential_pack(cli, proto, packed, &msg.binding);
	if (!r)
		r = credential_seal(cli, PROTO_VAULT_IMPORT_FERNET, &msg, blob, &len);
	if (!r)
		r = credential_put(authd, proto, span_of(blob, len));
	admin_close(authd);
	return r;
}

static int fernet_import_line(struct cli *cli, void *ctx, const struct fernet_line *line, json_t **ret_done)
{
	struct binding binding;

	if (!*line->before)
		return cli_fail(cli, "not `PROVIDER TOKEN`");
	int r = fernet_import_one(cli, ctx, line->before, span_str(line->token), &binding);
	if (r)
		return r;
	*ret_done = json_pack("{s:I,s:o,s:I}", "line", (json_int_t)line->number, "credential",
			      json_span(binding.proto.credential), "version", (json_int_t)binding.proto.version);
	return cli->json ? CLI_DONE : credential_added(cli, &binding.proto);
}

/* A single token, which may stand on a line of its own. */
static int fernet_import_single(struct cli *cli, const struct fernet_import *i, const char *provider)
{
	struct locked token = LOCKED_NULL;
	struct binding binding;
	int r = locked_read(cli, "token", "Fernet token (not shown)", NULL, FERNET_TOKEN_MAX, &token);

	if (!r)
		r = fernet_import_one(cli, i, provider, span_of(token.p, token.len), &binding);
	locked_wipe(&token);
	return r ? r : credential_added(cli, &binding.proto);
}

int cmd_vault_import_fernet(struct cli *cli)
{
	struct fernet_import i = {.ttl_s = 0};
	struct fernet_keys keys = {.n = 0};
	int r = cli_option_u64(cli, "--max-age", 1, UINT32_MAX, 0, &i.ttl_s);

	if (!r)
		r = cli_config(cli);
	if (!r)
		r = fernet_keys_read(cli, &keys);
	i.keys = fernet_keys_list(&keys);
	if (!r)
		r = cli->n_args ? fernet_import_single(cli, &i, cli->args[0])
				: fernet_lines(cli, fernet_import_line, &i, false);
	fernet_keys_wipe(&keys);
	return r;
}

/* ---- rotate ---- */

struct fernet_rotation {
	struct admin *core; /* NULL until the first line, and again after it was lost */
	struct proto_list keys;
};

static int fernet_rotate_line(struct cli *cli, void *ctx, const struct fernet_line *line, json_t **ret_done)
{
	struct fernet_rotation *t = ctx;
	struct proto_vault_rotate_fernet msg = {.token = span_str(line->token), .keys = t->keys};
	bool marked = strncmp(line->token, FERNET_MARK, strlen(FERNET_MARK)) == 0;
	const union proto_any *answer;
	int r = t->core ? CLI_DONE : admin_open(cli, ROLE_KEYVAULT, 0, &t->core);

	if (!r)
		r = admin_call(t->core, PROTO_VAULT_ROTATE_FERNET, &msg, PROTO_VAULT_FERNET, ADMIN_DEADLINE_MS,
			       &answer);
	if (r) {
		t->core = admin_close(t->core);
		return r;
	}
	struct span token = answer->vault_fernet.token;
	if (token.len <= strlen(FERNET_MARK) || !span_eq_str(span_of(token.p, strlen(FERNET_MARK)), FERNET_MARK))
		return cli_fail(cli, "keyvault gave what is no token");
	if (!marked)
		token = span_of(token.p + strlen(FERNET_MARK), token.len - strlen(FERNET_MARK));
	*ret_done = json_pack("{s:I,s:o,s:o}", "line", (json_int_t)line->number, "name",
			      json_span(span_str(line->before)), "token", json_span(token));
	if (cli->json)
		return CLI_DONE;
	fprintf(cli->out, "%s%s", line->before, *line->before ? " " : "");
	plain_line(cli->out, "%.*s", SPAN_ARG(token));
	return CLI_DONE;
}

int cmd_vault_rotate_fernet(struct cli *cli)
{
	struct fernet_rotation t = {.core = NULL};
	struct fernet_keys keys = {.n = 0};
	int r = fernet_keys_read(cli, &keys);

	t.keys = fernet_keys_list(&keys);
	if (!r)
		r = fernet_lines(cli, fernet_rotate_line, &t, true);
	admin_close(t.core);
	fernet_keys_wipe(&keys);
	return r;
}

/* ---- export ---- */

/* What the operator says when asked, or --yes says for them; the core compares it with the provider. */
static int fernet_confirm(struct cli *cli, char *to, size_t cap)
{
	const char *provider = cli->args[0];

	if (cli_option(cli, "--yes")) {
		snprintf(to, cap, "%s", provider);
		return CLI_DONE;
	}
	if (!locked_asks())
		return cli_fail(cli, "this releases the key of %s to whoever has the Fernet key; confirm it by --yes",
				provider);
	fprintf(cli->err,
		"This releases the key of %s to whoever has the Fernet key.\nType the provider's name: ", provider);
	if (!fgets(to, (int)cap, stdin))
		to[0] = 0;
	to[strcspn(to, "\n")] = 0;
	return CLI_DONE;
}

static int fernet_export_print(struct cli *cli, struct span token)
{
	if (cli->json)
		return cli_print_json(cli,
				      json_pack("{s:s,s:o}", "credential", cli->args[0], "token", json_span(token)));
	plain_line(cli->out, "%.*s", SPAN_ARG(token));
	return CLI_DONE;
}

int cmd_vault_export_fernet(struct cli *cli)
{
	char confirm[66] = "";
	struct fernet_keys keys = {.n = 0};
	const union proto_any *answer;
	struct admin *core = NULL;
	int r = fernet_confirm(cli, confirm, sizeof(confirm));

	if (!r)
		r = fernet_keys_read(cli, &keys);
	if (!r)
		r = admin_open(cli, ROLE_KEYVAULT, 0, &core);
	if (!r)
		r = admin_call(core, PROTO_VAULT_EXPORT_FERNET,
			       &(struct proto_vault_export_fernet){.credential = span_str(cli->args[0]),
								   .confirm = span_str(confirm),
								   .key = keys.item[0].key},
			       PROTO_VAULT_FERNET, ADMIN_DEADLINE_MS, &answer);
	if (!r)
		r = fernet_export_print(cli, answer->vault_fernet.token);
	admin_close(core);
	fernet_keys_wipe(&keys);
	return r;
}
