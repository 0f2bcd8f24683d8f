/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider keys: `bulkhead vault add|list|rm`.
 *
 * With --overlap the key in force stays beside the new one until the provider refuses it: what makes the difference is
 * `since` in the new one's binding.
 *
 * Adding is three steps, and the key itself takes part in one: ask authd for the version in force, have the core seal
 * the key with a binding of the next version, hand the sealed blob to authd. The binding is made here from the
 * configuration (binding.c); what it says about host, path and header is what the key can ever be used for.
 */
#include "cli/credential.h"

#include "cli/locked.h"
#include "cli/output.h"

#define SECRET_BYTES_MAX 4096 /* as in VAULT_ADD */
#define LINES_BYTES_MAX  16384

int credential_id(struct cli *cli, const char *provider, const char *tenant, char to[CREDENTIAL_ID_BYTES])
{
	int n = snprintf(to, CREDENTIAL_ID_BYTES, tenant ? "%s@%s" : "%s", provider, tenant);

	if (tenant && strcmp(tenant, "*") == 0)
		n = snprintf(to, CREDENTIAL_ID_BYTES, "%s", provider);
	return n > 0 && n < CREDENTIAL_ID_BYTES
		       ? CLI_DONE
		       : cli_fail(cli, "the names of provider and tenant together have at most 63 characters");
}

/* One page, and the id to go on after: empty when it was the last. */
static int credential_page(struct admin *authd, char after[CREDENTIAL_ID_BYTES], struct proto_list *ret_list)
{
	const union proto_any *answer;
	struct proto_credential_info info;
	int r = admin_call(authd, PROTO_CREDENTIAL_LIST, &(struct proto_credential_list){.after = span_str(after)},
			   PROTO_CREDENTIAL_LIST_REP, ADMIN_DEADLINE_MS, &answer);

	if (r)
		return r;
	*ret_list = answer->credential_list_rep.credentials;
	struct proto_list list = *ret_list;
	while (proto_credential_info_next(&list, &info))
		(void)snprintf(after, CREDENTIAL_ID_BYTES, "%.*s", SPAN_ARG(info.credential));
	if (!answer->credential_list_rep.more)
		after[0] = 0;
	return CLI_DONE;
}

int credential_version(struct admin *authd, const char *id, struct credential_versions *ret)
{
	char after[CREDENTIAL_ID_BYTES] = "";
	struct proto_credential_info info;
	struct proto_list list;

	*ret = (struct credential_versions){0};
	do {
		int r = credential_page(authd, after, &list);
		if (r)
			return r;
		while (proto_credential_info_next(&list, &info)) {
			if (!span_eq_str(info.credential, id))
				continue;
			ret->last = info.version;
			ret->live = info.created ? info.version : 0;
		}
	} while (after[0]);
	return CLI_DONE;
}

int credential_pack(struct cli *cli, const struct proto_binding *binding, uint8_t packed[BINDING_BYTES_MAX],
		    struct span *ret)
{
	size_t len;

	if (proto_pack_record(&proto_binding_desc, binding, packed, BINDING_BYTES_MAX, &len))
		return cli_fail(cli, "the provider's name, host or path is too long to be bound to a key");
	*ret = span_of(packed, len);
	return CLI_DONE;
}

int credential_seal(struct cli *cli, enum proto_type type, const void *msg, uint8_t blob[BLOB_BYTES_MAX],
		    size_t *ret_len)
{
	const union proto_any *answer;
	struct admin *core = NULL;
	int r = admin_open(cli, ROLE_KEYVAULT, 0, &core);

	if (!r)
		r = admin_call(core, type, msg, PROTO_VAULT_ADDED, ADMIN_DEADLINE_MS, &answer);
	if (!r) {
		*ret_len = answer->vault_added.blob.len;
		memcpy(blob, answer->vault_added.blob.p, *ret_len);
	}
	admin_close(core);
	return r;
}

int credential_put(struct admin *authd, const struct proto_binding *binding, struct span blob)
{
	const union proto_any *answer;

	return admin_call(authd, PROTO_CREDENTIAL_PUT,
			  &(struct proto_credential_put){.credential = binding->credential,
							 .provider = binding->provider,
							 .tenant = binding->tenant,
							 .version = binding->version,
							 .since = binding->since,
							 .blob = blob},
			  PROTO_DONE, ADMIN_DEADLINE_MS, &answer);
}

int credential_added(struct cli *cli, const struct proto_binding *binding)
{
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:o,s:I}", "credential", json_span(binding->credential),
						     "version", (json_int_t)binding->version));
	fprintf(cli->out, "Sealed the key of %.*s (version %llu): it can only be sent to https://%.*s:%llu%.*s\n",
		SPAN_ARG(binding->credential), (unsigned long long)binding->version, SPAN_ARG(binding->host),
		(unsigned long long)binding->port, SPAN_ARG(binding->path_prefix));
	if (binding->since < binding->version)
		fprintf(cli->out, "Version %llu stays in use until the provider refuses it with 401.\n",
			(unsigned long long)binding->since);
	return CLI_DONE;
}

/* Whose it is, from when to when, and which versions it replaces. `id` is kept by the caller. */
static int credential_options(struct cli *cli, struct admin *authd, char id[CREDENTIAL_ID_BYTES],
			      struct proto_binding *binding)
{
	const char *tenant = cli_option(cli, "--tenant");
	struct credential_versions versions = {0};
	int r = credential_id(cli, cli->args[0], tenant, id);

	if (!r)
		r = cli_option_time(cli, "--valid-from", CLI_DAY_BEGINS, &binding->not_before);
	if (!r)
		r = cli_option_time(cli, "--valid-until", CLI_DAY_ENDS, &binding->not_after);
	if (!r && binding->not_after && binding->not_after <= binding->not_before)
		r = cli_misuse(cli, "--valid-until is no later than --valid-from: the key could never be used");
	if (!r)
		r = credential_version(authd, id, &versions);
	if (r)
		return r;
	if (tenant)
		binding->tenant = span_str(tenant);
	binding->credential = span_str(id);
	binding->version = binding->since = versions.last + 1;
	if (cli_option(cli, "--overlap") && versions.live == 0)
		return cli_fail(cli, "there is no key of %s that could stay: leave out --overlap", id);
	if (cli_option(cli, "--overlap"))
		binding->since = versions.live;
	return CLI_DONE;
}

/* From file, pipe or terminal, in the form that is sealed. A service account's name goes into the binding. */
static int credential_secret(struct cli *cli, struct binding *b, struct locked *ret_secret)
{
	const char *file = cli_option(cli, "--file");
	struct locked text = LOCKED_NULL, secret = LOCKED_NULL;
	struct secret_form_result result;
	int r = secret_form_has_lines(b->form.auth)
			? locked_read_lines(cli, "secret", "First line of the secret (not shown)", file,
					    LINES_BYTES_MAX, &text)
			: locked_read(cli, "key", "Provider key (not shown)", file, SECRET_BYTES_MAX, &text);

	if (!r)
		r = locked_new(cli, SECRET_BYTES_MAX, &secret);
	if (!r && secret_form_read(&b->form, span_of(text.p, text.len), secret.p, secret.cap, &result))
		r = cli_fail(cli, "%s; nothing was done (docs/providers.md)", result.why);
	locked_wipe(&text);
	if (r) {
		locked_wipe(&secret);
		return r;
	}
	binding_set_client(b, result.client_id);
	secret.len = result.len;
	*ret_secret = secret;
	return CLI_DONE;
}

int cmd_vault_add(struct cli *cli)
{
	struct binding binding;
	struct proto_vault_add add = {0};
	struct locked secret = LOCKED_NULL;
	uint8_t packed[BINDING_BYTES_MAX], blob[BLOB_BYTES_MAX];
	char id[CREDENTIAL_ID_BYTES];
	struct admin *authd = NULL;
	size_t len = 0;
	int r = cli_config(cli);

	if (!r)
		r = binding_make(cli, cli->args[0], &binding);
	if (!r)
		r = admin_open(cli, ROLE_AUTHD, 0, &authd);
	if (!r)
		r = credential_options(cli, authd, id, &binding.proto);
	if (!r)
		r = credential_secret(cli, &binding, &secret);
	if (!r)
		r = credential_pack(cli, &binding.proto, packed, &add.binding);
	if (!r) {
		add.secret = span_of(secret.p, secret.len);
		r = credential_seal(cli, PROTO_VAULT_ADD, &add, blob, &len);
	}
	locked_wipe(&secret);
	if (!r)
		r = credential_put(authd, &binding.proto, span_of(blob, len));
	if (!r)
		r = credential_added(cli, &binding.proto);
	admin_close(authd);
	return r;
}

/* Those that were removed are listed for their version only. */
static bool credential_next_live(struct proto_list *list, struct proto_credential_info *ret)
{
	do {
		if (!proto_credential_info_next(list, ret))
			return false;
	} while (ret->created == 0);
	return true;
}

static void credential_json(json_t *all, struct proto_list list)
{
	struct proto_credential_info info;

	while (credential_next_live(&list, &info))
		json_array_append_new(all, json_pack("{s:o,s:o,s:o,s:I,s:I}", "credential", json_span(info.credential),
						     "provider", json_span(info.provider), "tenant",
						     json_span(info.tenant), "version", (json_int_t)info.version,
						     "created", (json_int_t)info.created));
}

static void credential_table(struct table *t, struct proto_list list)
{
	struct proto_credential_info info;

	while (credential_next_live(&list, &info)) {
		table_cell(t, info.provider);
		table_cell(t, info.tenant);
		table_cell_u64(t, info.version);
		table_cell_time(t, info.created);
	}
}

int cmd_vault_list(struct cli *cli)
{
	static const char *const headings[] = {"PROVIDER", "TENANT", "VERSION", "SINCE"};
	char after[CREDENTIAL_ID_BYTES] = "";
	json_t *all = json_array();
	struct admin *a = NULL;
	struct proto_list list;
	struct table t;
	int r = admin_open(cli, ROLE_AUTHD, 0, &a);

	table_init(&t, ARRAY_LEN(headings), headings);
	do {
		if (!r)
			r = credential_page(a, after, &list);
		if (!r) {
			credential_json(all, list);
			credential_table(&t, list);
		}
	} while (!r && after[0]);
	admin_close(a);
	return cli_print_list(cli, r, &t, all);
}

int cmd_vault_rm(struct cli *cli)
{
	const union proto_any *answer;
	char id[CREDENTIAL_ID_BYTES];
	struct admin *a = NULL;
	int r = credential_id(cli, cli->args[0], cli_option(cli, "--tenant"), id);

	if (!r)
		r = admin_open(cli, ROLE_AUTHD, 0, &a);
	if (!r)
		r = admin_call(a, PROTO_CREDENTIAL_RM, &(struct proto_credential_rm){.credential = span_str(id)},
			       PROTO_DONE, ADMIN_DEADLINE_MS, &answer);
	if (!r && cli->json)
		r = cli_print_json(cli, json_pack("{s:s}", "removed", id));
	else if (!r)
		fprintf(cli->out, "Removed the key of %s.\n", id);
	admin_close(a);
	return r;
}
