/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead status`: STATUS to every instance that the configuration calls for; one that does not answer is a row too.
 */
#include "cli/admin.h"
#include "cli/output.h"

#define STATUS_MS 3000

struct status {
	struct table table;
	json_t *all;
	unsigned n, n_ready;
};

static void status_uptime(uint64_t ms, char *to, size_t cap)
{
	uint64_t s = ms / 1000;

	if (s < 60)
		snprintf(to, cap, "%llu.%llus", (unsigned long long)s, (unsigned long long)(ms % 1000 / 100));
	else if (s < 86400)
		snprintf(to, cap, "%lluh%02llum", (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60));
	else
		snprintf(to, cap, "%llud%02lluh", (unsigned long long)(s / 86400), (unsigned long long)(s / 3600 % 24));
}

static json_t *status_peers(struct proto_list list, unsigned *ret_up)
{
	struct proto_peer_status peer;
	json_t *peers = json_object();

	*ret_up = 0;
	while (proto_peer_status_next(&list, &peer)) {
		char name[65];

		snprintf(name, sizeof(name), "%.*s", SPAN_ARG(peer.name));
		json_object_set_new(peers, name, json_span(peer.state));
		*ret_up += span_eq_str(peer.state, "up");
	}
	return peers;
}

static void status_row(struct status *s, const char *name, const struct proto_status_rep *rep)
{
	char uptime[32], peers_text[32];
	unsigned up;
	json_t *peers = status_peers(rep->peers, &up);

	status_uptime(rep->uptime_ms, uptime, sizeof(uptime));
	snprintf(peers_text, sizeof(peers_text), "%u/%zu", up, rep->peers.count);
	table_cell_str(&s->table, name);
	table_cell_str(&s->table, rep->ready ? "ready" : "not ready");
	table_cell_u64(&s->table, rep->pid);
	table_cell_str(&s->table, uptime);
	table_cell_str(&s->table, peers_text);
	table_cell(&s->table, rep->detail);
	table_cell(&s->table, rep->confinement);
	json_array_append_new(s->all, json_pack("{s:s,s:b,s:b,s:I,s:I,s:o,s:o,s:o}", "name", name, "up", 1, "ready",
						(int)rep->ready, "pid", (json_int_t)rep->pid, "uptime_ms",
						(json_int_t)rep->uptime_ms, "detail", json_span(rep->detail),
						"confinement", json_span(rep->confinement), "peers", peers));
	s->n_ready += rep->ready == 1;
}

static void status_absent(struct status *s, const char *name, const char *why)
{
	table_cell_str(&s->table, name);
	table_cell_str(&s->table, "down");
	for (int i = 0; i < 3; i++)
		table_cell_str(&s->table, "-");
	table_cell_str(&s->table, why);
	table_cell_str(&s->table, "-");
	json_array_append_new(s->all, json_pack("{s:s,s:b,s:b,s:s}", "name", name, "up", 0, "ready", 0, "detail", why));
}

static void status_visit(void *ctx, const char *name, struct admin *a, const char *why)
{
	const union proto_any *answer;
	struct status *s = ctx;

	s->n++;
	if (!a)
		status_absent(s, name, why);
	else if (admin_call(a, PROTO_STATUS, &(struct proto_status){}, PROTO_STATUS_REP, STATUS_MS, &answer))
		status_absent(s, name, "gave no answer");
	else
		status_row(s, name, &answer->status_rep);
}

int cmd_status(struct cli *cli)
{
	static const char *const headings[] = {"DAEMON", "STATE", "PID", "UPTIME", "PEERS", "DETAIL", "CONFINEMENT"};
	struct status s = {.all = json_array()};

	table_init(&s.table, ARRAY_LEN(headings), headings);
	int r = admin_each(cli, status_visit, &s);
	r = cli_print_list(cli, r, &s.table, s.all);
	if (!r && s.n_ready < s.n)
		r = cli_fail(cli, "%u of %u daemons are not ready; DETAIL says why", s.n - s.n_ready, s.n);
	return r;
}
