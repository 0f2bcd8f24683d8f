/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead vault`: its state. Provider keys are in credential.c. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/output.h"
#include "cli/plain.h"
#include "cli/vault.h"

#define PASSPHRASE_BYTES_MIN 8
#define PASSPHRASE_BYTES_MAX 1024 /* as in VAULT_INIT */

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

int vault_new_passphrase(struct cli *cli, struct locked *ret)
{
	int r = cli_config(cli);

	if (r || !root_source_is_passphrase(cli))
		return r;
	r = vault_passphrase(cli, "New passphrase, 8 bytes or more (not shown)", ret);
	if (r)
		return r;
	if (ret->len < PASSPHRASE_BYTES_MIN) /* before it is typed again; the core refuses it, too */
		return cli_fail(cli, "a passphrase has 8 to 1024 bytes; nothing was done");
	return vault_repeat(cli, ret);
}

int vault_open_key_file(struct cli *cli, int *ret_fd)
{
	const char *named = cli_option(cli, "--key-file");
	struct key_file_owner core = key_file_core(cli);
	char why[KEY_FILE_WHY_BYTES], *path = NULL;
	int r;

	if (!named)
		return root_source_open(cli, ret_fd, why) ? cli_fail(cli, "the root key: %s", why) : CLI_DONE;
	path = realpath(named, NULL);
	r = path ? key_file_open(path, &core, ROOT_SOURCE_FILE_BYTES_MAX, ret_fd, why)
			    ? cli_fail(cli, "the root key: %s", why)
			    : CLI_DONE
		 : cli_fail(cli, "%s: %s", named, strerror(errno));
	free(path);
	return r;
}

int vault_proof(struct cli *cli, struct vault_proof *ret)
{
	int r = cli_config(cli);

	*ret = VAULT_PROOF_NULL;
	if (r)
		return r;
	if (!root_source_is_passphrase(cli))
		return vault_open_key_file(cli, &ret->key_fd);
	if (cli_option(cli, "--key-file"))
		return cli_fail(cli, "keyvault.unseal is passphrase: leave out --key-file");
	return vault_passphrase(cli, "Passphrase (not shown)", &ret->passphrase);
}

void vault_proof_wipe(struct vault_proof *p)
{
	locked_wipe(&p->passphrase);
	if (p->key_fd >= 0)
		close(p->key_fd);
	*p = VAULT_PROOF_NULL;
}

/* What was sealed before is open now. */
static void vault_unmark(struct cli *cli)
{
	if (root_source_unmark(cli))
		fprintf(cli->err,
			"bulkhead: the mark of `vault seal` stays in %s: a core that is restarted will be sealed\n",
			cli_value(cli, "bulkhead.run_dir"));
}

static int vault_say(struct cli *cli, const char *result)
{
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:s}", "result", result));
	fprintf(cli->out, "%s\n", result);
	return CLI_DONE;
}

int vault_send(struct cli *cli, enum proto_type type, const void *msg, int fd, const char *done)
{
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = admin_open(cli, ROLE_KEYVAULT, 0, &a);

	if (!r)
		r = admin_call_fd(a, type, msg, fd, PROTO_DONE, VAULT_KDF_MS, &answer);
	bool opened = !r && type != PROTO_VAULT_SEAL;
	if (!r)
		r = vault_say(cli, done);
	admin_close(a);
	if (opened)
		vault_unmark(cli);
	return r;
}

/* *ret_status views the connection's buffer. */
static int vault_ask_status(struct cli *cli, struct admin **ret_admin, const struct proto_vault_status_rep **ret_status)
{
	const union proto_any *answer;
	int r = admin_open(cli, ROLE_KEYVAULT, 0, ret_admin);

	if (!r)
		r = admin_call(*ret_admin, PROTO_VAULT_STATUS, &(struct proto_vault_status){}, PROTO_VAULT_STATUS_REP,
			       ADMIN_DEADLINE_MS, &answer);
	if (!r)
		*ret_status = &answer->vault_status_rep;
	return r;
}

enum vault_state { VAULT_FRESH, VAULT_SEALED, VAULT_OPEN };

/* A passphrase is asked for where it is of use. The core will look again. */
static int vault_state(struct cli *cli, enum vault_state *ret)
{
	const struct proto_vault_status_rep *status;
	struct admin *a = NULL;
	int r = vault_ask_status(cli, &a, &status);

	if (!r)
		*ret = span_eq_str(status->state, "uninitialised") ? VAULT_FRESH
		       : span_eq_str(status->state, "unsealed")    ? VAULT_OPEN
								   : VAULT_SEALED;
	admin_close(a);
	return r;
}

int vault_check_fresh(struct cli *cli)
{
	enum vault_state state;
	int r = vault_state(cli, &state);

	if (r || state == VAULT_FRESH)
		return r;
	if (root_source_is_passphrase(cli) || root_source_is_made_by_us(cli))
		return cli_fail(cli, "the vault has a root key already; nothing was changed");
	return cli_fail(cli, "keyvault.unseal names a file of yours, which has the root key; nothing was changed");
}

int cmd_vault_init(struct cli *cli)
{
	struct locked passphrase = LOCKED_NULL;
	int r = vault_check_fresh(cli);

	if (!r)
		r = vault_new_passphrase(cli, &passphrase);
	if (!r)
		r = vault_send(cli, PROTO_VAULT_INIT,
			       &(struct proto_vault_init){.passphrase = span_of(passphrase.p, passphrase.len)}, -1,
			       "The vault is made and open. Next: bulkhead vault backup, bulkhead vault add PROVIDER");
	locked_wipe(&passphrase);
	return r;
}

int cmd_vault_unseal(struct cli *cli)
{
	struct vault_proof proof = VAULT_PROOF_NULL;
	enum vault_state state;
	int r = vault_state(cli, &state);

	if (r)
		return r;
	if (state == VAULT_FRESH)
		return cli_fail(cli, "there is no root key: `bulkhead vault init` makes a new vault's, `bulkhead vault "
				     "restore` brings back one that was there");
	if (state == VAULT_OPEN) {
		vault_unmark(cli);
		return vault_say(cli, "The vault is open already.");
	}
	r = vault_proof(cli, &proof);
	if (!r)
		r = vault_send(
			cli, PROTO_VAULT_UNSEAL,
			&(struct proto_vault_unseal){.passphrase = span_of(proof.passphrase.p, proof.passphrase.len),
						     .key_file = proof.key_fd >= 0},
			proof.key_fd, "The vault is open.");
	vault_proof_wipe(&proof);
	return r;
}

/* The mark first: a core that dies between the two comes back sealed. But a run_dir that we may not write to must not
 * keep anybody from sealing. */
int cmd_vault_seal(struct cli *cli)
{
	int marked = cli_config(cli), r;

	if (marked)
		return marked;
	marked = root_source_mark(cli);
	r = vault_send(cli, PROTO_VAULT_SEAL, &(struct proto_vault_seal){}, -1, "The vault is sealed.");
	if (!r && marked && !root_source_is_passphrase(cli))
		fprintf(cli->err,
			"bulkhead: %s cannot be written (%s): a core that is restarted will open the vault again\n",
			cli_value(cli, "bulkhead.run_dir"), strerror(-marked));
	return r;
}

static int vault_print(struct cli *cli, const struct proto_vault_status_rep *s)
{
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:o,s:o,s:I,s:I,s:o,s:o,s:o}", "state", json_span(s->state),
						     "unseal", json_span(s->unseal), "credentials",
						     (json_int_t)s->credentials, "arena_bytes",
						     (json_int_t)s->arena_bytes, "arena", json_span(s->arena), "vkey",
						     json_span(s->vkey), "witness_vkey", json_span(s->witness_vkey)));
	plain_line(cli->out, "state        %.*s", SPAN_ARG(s->state));
	plain_line(cli->out, "unseal by    %.*s", SPAN_ARG(s->unseal));
	plain_line(cli->out, "credentials  %llu loaded", (unsigned long long)s->credentials);
	plain_line(cli->out, "arena        %llu bytes in use, %.*s", (unsigned long long)s->arena_bytes,
		   SPAN_ARG(s->arena));
	if (s->vkey.len)
		plain_line(cli->out, "verifier key %.*s", SPAN_ARG(s->vkey));
	if (s->witness_vkey.len)
		plain_line(cli->out, "witness key  %.*s", SPAN_ARG(s->witness_vkey));
	return CLI_DONE;
}

int cmd_vault_status(struct cli *cli)
{
	const struct proto_vault_status_rep *status;
	struct admin *a = NULL;
	int r = vault_ask_status(cli, &a, &status);

	if (!r)
		r = vault_print(cli, status);
	admin_close(a);
	return r;
}
