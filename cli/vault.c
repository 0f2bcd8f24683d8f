/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead vault`: its state. Provider keys are in credential.c. */
#include "cli/admin.h"
#include "cli/locked.h"
#include "cli/output.h"

#define VAULT_KDF_MS         60000 /* Argon2id takes its time */
#define PASSPHRASE_BYTES_MAX 1024  /* as in VAULT_INIT */

static bool vault_has_passphrase(const struct cli *cli)
{
	return strcmp(cli_value(cli, "keyvault.unseal"), "passphrase") == 0;
}

static int vault_passphrase(struct cli *cli, const char *prompt, struct locked *ret)
{
	return locked_read(cli, "passphrase", prompt, cli_option(cli, "--passphrase-file"), PASSPHRASE_BYTES_MAX, ret);
}

/* On a terminal a mistyped new passphrase would lock the operator out for good. */
static int vault_repeat(struct cli *cli, const struct locked *first)
{
	struct locked second = LOCKED_NULL;
	int r;

	if (cli_option(cli, "--passphrase-file") || !locked_asks())
		return CLI_DONE;
	r = vault_passphrase(cli, "Once more", &second);
	if (!r && (first->len != second.len || memcmp(first->p, second.p, first->len) != 0))
		r = cli_fail(cli, "the two passphrases differ; nothing was done");
	locked_wipe(&second);
	return r;
}

static int vault_send(struct cli *cli, enum proto_type type, const void *msg, const char *done)
{
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = admin_open(cli, ROLE_KEYVAULT, 0, &a);

	if (!r)
		r = admin_call(a, type, msg, PROTO_DONE, VAULT_KDF_MS, &answer);
	if (!r && cli->json)
		r = cli_print_json(cli, json_pack("{s:s}", "result", done));
	else if (!r)
		fprintf(cli->out, "%s\n", done);
	admin_close(a);
	return r;
}

/* The message of VAULT_INIT and VAULT_UNSEAL is the same: a passphrase, or nothing where a key file is used. */
static int vault_open(struct cli *cli, enum proto_type type, const char *prompt, bool twice, const char *done)
{
	struct locked passphrase = LOCKED_NULL;
	int r = cli_config(cli);

	if (!r && vault_has_passphrase(cli)) {
		r = vault_passphrase(cli, prompt, &passphrase);
		if (!r && twice)
			r = vault_repeat(cli, &passphrase);
	}
	if (!r) {
		struct span text = span_of(passphrase.p, passphrase.len);
		struct proto_vault_init init = {.passphrase = text};
		struct proto_vault_unseal unseal = {.passphrase = text};

		r = vault_send(cli, type, twice ? (const void *)&init : (const void *)&unseal, done);
	}
	locked_wipe(&passphrase);
	return r;
}

int cmd_vault_init(struct cli *cli)
{
	return vault_open(cli, PROTO_VAULT_INIT, "New passphrase (not shown)", true,
			  "The vault is made and open. Next: bulkhead vault add PROVIDER");
}

int cmd_vault_unseal(struct cli *cli)
{
	return vault_open(cli, PROTO_VAULT_UNSEAL, "Passphrase (not shown)", false, "The vault is open.");
}

int cmd_vault_seal(struct cli *cli)
{
	return vault_send(cli, PROTO_VAULT_SEAL, &(struct proto_vault_seal){}, "The vault is sealed.");
}

static int vault_print(struct cli *cli, const struct proto_vault_status_rep *s)
{
	if (cli->json)
		return cli_print_json(cli,
				      json_pack("{s:o,s:o,s:I,s:I,s:o,s:o}", "state", json_span(s->state), "unseal",
						json_span(s->unseal), "credentials", (json_int_t)s->credentials,
						"arena_bytes", (json_int_t)s->arena_bytes, "arena", json_span(s->arena),
						"vkey", json_span(s->vkey)));
	fprintf(cli->out,
		"state        %.*s\nunseal by    %.*s\ncredentials  %llu loaded\narena        %llu bytes in use, "
		"%.*s\n",
		SPAN_ARG(s->state), SPAN_ARG(s->unseal), (unsigned long long)s->credentials,
		(unsigned long long)s->arena_bytes, SPAN_ARG(s->arena));
	if (s->vkey.len)
		fprintf(cli->out, "verifier key %.*s\n", SPAN_ARG(s->vkey));
	return CLI_DONE;
}

int cmd_vault_status(struct cli *cli)
{
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = admin_open(cli, ROLE_KEYVAULT, 0, &a);

	if (!r)
		r = admin_call(a, PROTO_VAULT_STATUS, &(struct proto_vault_status){}, PROTO_VAULT_STATUS_REP,
			       ADMIN_DEADLINE_MS, &answer);
	if (!r)
		r = vault_print(cli, &answer->vault_status_rep);
	admin_close(a);
	return r;
}
