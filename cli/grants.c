/* SPDX-License-Identifier: Apache-2.0 */
/* Grants: `bulkhead vault grants` asks every egress what it refused; `bulkhead vault revoke-grants` is the kill switch.
 */
#include <stdlib.h>
#include <time.h>

#include "cli/credential.h"
#include "cli/key.h"
#include "cli/output.h"
#include "common/edges.h"
#include "proto/reasons.h"

#define GRANTS_MS         3000
#define GRANTS_LINES      20
#define GRANTS_LINES_MAX  16384 /* 64 of each of 256 lanes */
#define GRANTS_TEXT_BYTES 254
#define GRANTS_TIME_BYTES 32

/* ---- vault grants ---- */

enum grants_text { GRANTS_REQUEST_ID, GRANTS_TENANT, GRANTS_PRINCIPAL, GRANTS_CREDENTIAL, GRANTS_HOST, N_GRANTS_TEXTS };
static const char *const grants_names[N_GRANTS_TEXTS] = {"request_id", "tenant", "key", "credential", "host"};

struct grants_refusal {
	uint64_t time_ms, reason;
	unsigned lane;
	char text[N_GRANTS_TEXTS][GRANTS_TEXT_BYTES];
};

struct grants {
	struct table lanes;
	json_t *json; /* of lanes */
	struct grants_refusal *refusals;
	size_t n;
	unsigned silent;
};

static void grants_keep(struct grants *g, unsigned lane, const struct proto_grant_refusal *from)
{
	const struct span texts[] = {from->request_id, from->tenant, from->principal, from->credential, from->host};
	struct grants_refusal *to = &g->refusals[g->n++];

	to->time_ms = from->time_ms;
	to->reason = from->reason;
	to->lane = lane;
	for (size_t i = 0; i < N_GRANTS_TEXTS; i++)
		snprintf(to->text[i], GRANTS_TEXT_BYTES, "%.*s", SPAN_ARG(texts[i]));
}

static void grants_row(struct grants *g, unsigned lane, const char *what, uint64_t count)
{
	char name[EDGE_NAME_BYTES];

	instance_name(ROLE_EGRESS, lane, name);
	table_cell_str(&g->lanes, name);
	table_cell_str(&g->lanes, what);
	table_cell_u64(&g->lanes, count);
}

static void grants_lane(struct grants *g, unsigned lane, const struct proto_grants_rep *rep)
{
	struct proto_list list = rep->counts;
	struct proto_grant_refusal refusal;
	struct proto_reason_count count;
	json_t *refused = json_object();

	grants_row(g, lane, "permitted", rep->permitted);
	while (proto_reason_count_next(&list, &count)) {
		grants_row(g, lane, reason_row(count.reason)->code, count.count);
		json_object_set_new(refused, reason_row(count.reason)->code, json_integer((json_int_t)count.count));
	}
	json_array_append_new(g->json, json_pack("{s:i,s:I,s:o}", "lane", (int)lane, "permitted",
						 (json_int_t)rep->permitted, "refused", refused));
	list = rep->refusals;
	while (g->n < GRANTS_LINES_MAX && proto_grant_refusal_next(&list, &refusal))
		grants_keep(g, lane, &refusal);
}

/* An egress that is away has nothing to tell: its counts went with it. */
static void grants_ask(struct cli *cli, struct grants *g, unsigned lane)
{
	const union proto_any *answer;
	struct admin *a = NULL;
	const char *why;

	if (admin_try(cli, ROLE_EGRESS, lane, &a, &why) ||
	    admin_call(a, PROTO_GRANTS, &(struct proto_grants){}, PROTO_GRANTS_REP, GRANTS_MS, &answer))
		g->silent++;
	else
		grants_lane(g, lane, &answer->grants_rep);
	admin_close(a);
}

static int grants_newer(const void *a, const void *b)
{
	const struct grants_refusal *x = a, *y = b;

	return x->time_ms < y->time_ms ? 1 : x->time_ms > y->time_ms ? -1 : 0;
}

static const char *grants_time(uint64_t unix_ms, char to[GRANTS_TIME_BYTES])
{
	time_t s = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (!gmtime_r(&s, &tm) || strftime(to, GRANTS_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		to[0] = 0;
	return to;
}

static void grants_print(struct cli *cli, const struct grants *g, size_t lines)
{
	static const char *const headings[] = {"TIME",   "LANE", "REASON",     "REQUEST",
					       "TENANT", "KEY",  "CREDENTIAL", "HOST"};
	char time[GRANTS_TIME_BYTES];
	struct table t;

	table_print(&g->lanes, cli->out);
	if (g->n == 0 || lines == 0)
		return;
	table_init(&t, ARRAY_LEN(headings), headings);
	for (size_t i = 0; i < g->n && i < lines; i++) {
		const struct grants_refusal *r = &g->refusals[i];

		table_cell_str(&t, grants_time(r->time_ms, time));
		table_cell_u64(&t, r->lane);
		table_cell_str(&t, reason_row(r->reason)->code);
		for (size_t k = 0; k < N_GRANTS_TEXTS; k++)
			table_cell_str(&t, r->text[k][0] ? r->text[k] : "-");
	}
	fputc('\n', cli->out);
	table_print(&t, cli->out);
	table_deinit(&t);
}

static int grants_print_json(struct cli *cli, const struct grants *g, size_t lines)
{
	json_t *refusals = json_array();

	for (size_t i = 0; i < g->n && i < lines; i++) {
		const struct grants_refusal *r = &g->refusals[i];
		json_t *row = json_pack("{s:I,s:i,s:s}", "time_ms", (json_int_t)r->time_ms, "lane", (int)r->lane,
					"reason", reason_row(r->reason)->code);

		for (size_t k = 0; k < N_GRANTS_TEXTS; k++)
			json_object_set_new(row, grants_names[k], json_span(span_str(r->text[k])));
		json_array_append_new(refusals, row);
	}
	return cli_print_json(cli, json_pack("{s:O,s:o}", "lanes", g->json, "refusals", refusals));
}

int cmd_vault_grants(struct cli *cli)
{
	static const char *const headings[] = {"LANE", "GRANTS", "COUNT"};
	struct grants g = {0};
	uint64_t lines;
	int r = cli_option_u64(cli, "--lines", 0, GRANTS_LINES_MAX, GRANTS_LINES, &lines);

	if (!r)
		r = cli_config(cli);
	if (r)
		return r;
	g.refusals = calloc(GRANTS_LINES_MAX, sizeof(*g.refusals));
	if (!g.refusals)
		return cli_fail(cli, "out of memory");
	g.json = json_array();
	table_init(&g.lanes, ARRAY_LEN(headings), headings);
	for (unsigned lane = 0; lane < cli_value_u64(cli, "router.workers"); lane++)
		grants_ask(cli, &g, lane);
	qsort(g.refusals, g.n, sizeof(*g.refusals), grants_newer);
	if (cli->json)
		r = grants_print_json(cli, &g, (size_t)lines);
	else
		grants_print(cli, &g, (size_t)lines);
	table_deinit(&g.lanes);
	json_decref(g.json);
	free(g.refusals);
	if (!r && g.silent)
		r = cli_fail(cli, "%u egress workers gave no answer; see `bulkhead status`", g.silent);
	return r;
}

/* ---- vault revoke-grants ---- */

/* Exactly one of --all, --tenant, --key, --credential, by its number in VAULT_REVOKE_GRANTS. */
static int grants_which(struct cli *cli, struct proto_vault_revoke_grants *msg)
{
	static const char *const options[] = {"--all", "--tenant", "--key", "--credential"};
	size_t given = 0;

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const char *value = cli_option(cli, options[i]);

		if (!value)
			continue;
		given++;
		msg->what = i;
		msg->name = span_str(value);
	}
	if (given != 1)
		return cli_misuse(cli, "say which: --all, --tenant NAME, --key ID or --credential ID");
	if (msg->what != 0 && (msg->name.len == 0 || msg->name.len > 64))
		return cli_misuse(cli, "a name has 1 to 64 characters");
	return CLI_DONE;
}

static int grants_print_revoked(struct cli *cli, const struct proto_vault_grants_revoked *rep)
{
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:I,s:I,s:I}", "lanes", (json_int_t)rep->lanes, "lost",
						     (json_int_t)rep->lost, "ended", (json_int_t)rep->ended));
	fprintf(cli->out, "Revoked in %llu lane%s; %llu exchange%s ended.\n", (unsigned long long)rep->lanes,
		rep->lanes == 1 ? "" : "s", (unsigned long long)rep->ended, rep->ended == 1 ? "" : "s");
	return CLI_DONE;
}

struct grants_named {
	const struct proto_vault_revoke_grants *msg;
	bool found;
};

static void grants_compare(void *ctx, const struct proto_key_info *key)
{
	struct grants_named *n = ctx;

	n->found |= span_eq(n->msg->what == 1 ? key->tenant : key->key_id, n->msg->name);
}

/* Whether authd knows of anything by that name. */
static int grants_look_up(struct admin *authd, struct grants_named *n)
{
	char id[CREDENTIAL_ID_BYTES];
	struct credential_versions versions;

	if (n->msg->what != 3)
		return key_each(authd, grants_compare, n);
	(void)snprintf(id, sizeof(id), "%.*s", SPAN_ARG(n->msg->name));
	int r = credential_version(authd, id, &versions);
	n->found = !r && versions.last > 0;
	return r;
}

/* A name that is nobody's is most likely mistyped, and what was meant goes on. Asked afterwards: the switch comes
 * first, and works without authd. */
static int grants_check_name(struct cli *cli, const struct proto_vault_revoke_grants *msg)
{
	static const char *const what[] = {"", "gateway key of tenant", "gateway key", "provider key"};
	struct grants_named n = {.msg = msg};
	struct admin *authd = NULL;
	const char *why;
	int r = CLI_DONE;

	if (msg->what != 0 && !admin_try(cli, ROLE_AUTHD, 0, &authd, &why)) {
		r = grants_look_up(authd, &n);
		if (!r && !n.found)
			r = cli_fail(cli, "authd knows no %s `%.*s`: if that is mistyped, what you mean goes on",
				     what[msg->what], SPAN_ARG(msg->name));
	}
	admin_close(authd);
	return r;
}

int cmd_vault_revoke_grants(struct cli *cli)
{
	struct proto_vault_revoke_grants msg = {.cut = cli_option(cli, "--cut") != NULL};
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = grants_which(cli, &msg);

	if (!r)
		r = admin_open(cli, ROLE_KEYVAULT, 0, &a);
	if (!r)
		r = admin_call(a, PROTO_VAULT_REVOKE_GRANTS, &msg, PROTO_VAULT_GRANTS_REVOKED, ADMIN_DEADLINE_MS,
			       &answer);
	if (!r)
		r = grants_print_revoked(cli, &answer->vault_grants_revoked);
	if (!r && answer->vault_grants_revoked.lost)
		r = cli_fail(cli,
			     "%llu egress workers did not confirm and were disconnected; they get new keys when they "
			     "are back",
			     (unsigned long long)answer->vault_grants_revoked.lost);
	admin_close(a);
	return r ? r : grants_check_name(cli, &msg);
}
