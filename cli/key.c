/* SPDX-License-Identifier: Apache-2.0 */
/* Gateway keys: `bulkhead key create|list|revoke`, all of it authd's to do. */
#include <stdlib.h>
#include <time.h>

#include "cli/key.h"
#include "cli/output.h"
#include "cli/plain.h"

#define KEY_RPM_MAX        1000000
#define KEY_CONCURRENT_MAX 100000

static int key_print(struct cli *cli, const struct proto_key_created *k)
{
	int r = CLI_DONE;

	if (cli->json)
		r = cli_print_json(cli,
				   json_pack("{s:o,s:o,s:o,s:o}", "key", json_span(k->key), "id", json_span(k->key_id),
					     "prefix", json_span(k->prefix), "subject", json_span(k->subject)));
	else
		plain_line(cli->out, "%.*s", SPAN_ARG(k->key));
	if (fflush(cli->out) || ferror(cli->out))
		return cli_fail(cli, "key %.*s is made and could not be written (%m): revoke it and make another",
				SPAN_ARG(k->key_id));
	if (!r && !cli->json)
		plain_line(cli->err, "Key %.*s. It is shown this once; keep it where your application reads secrets.",
			   SPAN_ARG(k->key_id));
	return r;
}

int cmd_key_create(struct cli *cli)
{
	const char *tenant = cli_option(cli, "--tenant"), *name = cli_option(cli, "--name");
	const char *models = cli_option(cli, "--models"), *subject = cli_option(cli, "--subject");
	struct proto_key_create msg = {.tenant = span_str(tenant ? tenant : "default"),
				       .name = span_str(name ? name : ""),
				       .models = span_str(models ? models : "*"),
				       .subject = span_str(subject ? subject : "")};
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = cli_option_u64(cli, "--rpm", 1, KEY_RPM_MAX, 0, &msg.rpm);

	if (!r)
		r = cli_option_u64(cli, "--concurrent", 1, KEY_CONCURRENT_MAX, 0, &msg.concurrent);
	if (!r)
		r = cli_option_time(cli, "--expires", CLI_DAY_ENDS, &msg.expires);
	if (!r)
		r = admin_open(cli, ROLE_AUTHD, 0, &a);
	if (!r)
		r = admin_call(a, PROTO_KEY_CREATE, &msg, PROTO_KEY_CREATED, ADMIN_DEADLINE_MS, &answer);
	if (!r)
		r = key_print(cli, &answer->key_created);
	admin_close(a);
	return r;
}

static void key_limit_cell(struct table *t, uint64_t limit)
{
	if (limit)
		table_cell_u64(t, limit);
	else
		table_cell(t, SPAN_LIT("default")); /* authd's, whatever it is when a request comes */
}

static void key_row_table(struct table *t, const struct proto_key_info *k)
{
	table_cell(t, k->key_id);
	table_cell(t, k->prefix);
	table_cell(t, k->tenant);
	table_cell(t, k->name);
	table_cell(t, k->models);
	key_limit_cell(t, k->rpm);
	key_limit_cell(t, k->concurrent);
	table_cell_time(t, k->created);
	table_cell_time(t, k->expires);
	table_cell_time(t, k->revoked);
}

static json_t *key_row_json(const struct proto_key_info *k)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:o}", "id", json_span(k->key_id), "prefix",
			 json_span(k->prefix), "tenant", json_span(k->tenant), "name", json_span(k->name), "models",
			 json_span(k->models), "rpm", (json_int_t)k->rpm, "concurrent", (json_int_t)k->concurrent,
			 "created", (json_int_t)k->created, "expires", (json_int_t)k->expires, "revoked",
			 (json_int_t)k->revoked, "subject", json_span(k->subject));
}

/* Each page's last id asks for the next. */
int key_each(struct admin *authd, key_visit *visit, void *ctx)
{
	const union proto_any *answer;
	struct proto_key_info info = {0};
	char after[65] = "";
	bool more = true;

	while (more) {
		struct proto_key_list msg = {.after = span_str(after)};
		struct proto_list list;
		int r = admin_call(authd, PROTO_KEY_LIST, &msg, PROTO_KEY_LIST_REP, ADMIN_DEADLINE_MS, &answer);

		if (r)
			return r;
		list = answer->key_list_rep.keys;
		more = answer->key_list_rep.more && list.count > 0;
		while (proto_key_info_next(&list, &info)) {
			visit(ctx, &info);
			snprintf(after, sizeof(after), "%.*s", SPAN_ARG(info.key_id));
		}
	}
	return CLI_DONE;
}

struct key_listing {
	struct table table;
	json_t *all;
};

static void key_add_row(void *ctx, const struct proto_key_info *key)
{
	struct key_listing *to = ctx;

	json_array_append_new(to->all, key_row_json(key));
	key_row_table(&to->table, key);
}

int cmd_key_list(struct cli *cli)
{
	static const char *const headings[] = {"ID",  "PREFIX",     "TENANT",  "NAME",    "MODELS",
					       "RPM", "CONCURRENT", "CREATED", "EXPIRES", "REVOKED"};
	struct key_listing keys = {.all = json_array()};
	struct admin *a = NULL;
	int r = admin_open(cli, ROLE_AUTHD, 0, &a);

	table_init(&keys.table, ARRAY_LEN(headings), headings);
	if (!r)
		r = key_each(a, key_add_row, &keys);
	admin_close(a);
	return cli_print_list(cli, r, &keys.table, keys.all);
}

int cmd_key_revoke(struct cli *cli)
{
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = admin_open(cli, ROLE_AUTHD, 0, &a);

	if (!r)
		r = admin_call(a, PROTO_KEY_REVOKE, &(struct proto_key_revoke){.key_id = span_str(cli->args[0])},
			       PROTO_DONE, ADMIN_DEADLINE_MS, &answer);
	if (!r && cli->json)
		r = cli_print_json(cli, json_pack("{s:s}", "revoked", cli->args[0]));
	else if (!r)
		fprintf(cli->out, "Revoked %s.\n", cli->args[0]);
	admin_close(a);
	return r;
}
