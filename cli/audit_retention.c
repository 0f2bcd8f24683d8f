/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit retention`: how long records are kept and their personal fields can be read, what was removed and
 * what goes next. --now: what is over goes at once: records by auditd, keys of personal fields by authd.
 */
#include <inttypes.h>

#include "cli/admin.h"
#include "cli/audit_record.h"
#include "cli/config_tree.h"
#include "cli/output.h"
#include "cli/plain.h"

#define RETENTION_MS        30000 /* a look reads segments */
#define RETENTION_BEHIND_NS UINT64_C(600000000000)

struct retention {
	struct cli *cli;
	const char *keep_personal, *keep_records;
	bool hold;
	struct admin *auditd; /* NULL: it does not answer, and `why` says what is the matter */
	const char *why;
	const struct proto_audit_retention_rep *rep;
};

/* ---- asking ---- */

static int retention_ask(struct retention *r, bool now)
{
	const union proto_any *answer;
	int e = admin_call(r->auditd, PROTO_AUDIT_RETENTION, &(struct proto_audit_retention){.now = now},
			   PROTO_AUDIT_RETENTION_REP, RETENTION_MS, &answer);

	if (!e)
		r->rep = &answer->audit_retention_rep;
	return e;
}

/* The keys of personal fields: authd's answer, as text. */
static int retention_expire(struct cli *cli, char *to, size_t cap)
{
	const union proto_any *answer;
	struct admin *a = NULL;
	int e = admin_open(cli, ROLE_AUTHD, 0, &a);

	if (!e)
		e = admin_call(a, PROTO_AUDIT_EXPIRE, &(struct proto_audit_expire){}, PROTO_DONE, ADMIN_DEADLINE_MS,
			       &answer);
	if (!e)
		(void)snprintf(to, cap, "%.*s", SPAN_ARG(answer->done.text));
	(void)admin_close(a);
	return e;
}

/* ---- programs ---- */

static json_t *retention_time(uint64_t ns)
{
	char text[AUDIT_TIME_BYTES];

	audit_format_time(ns, text);
	return json_string(text);
}

static json_t *retention_range(uint64_t first, uint64_t end)
{
	return json_pack("{s:I,s:I}", "first", (json_int_t)first, "last", (json_int_t)end - 1);
}

static json_t *retention_pruned(const struct proto_audit_retention_rep *rep)
{
	if (rep->pruned_end == 0)
		return json_null();
	json_t *doc = retention_range(rep->pruned_first, rep->pruned_end);
	(void)json_object_set_new(doc, "record", json_integer((json_int_t)rep->pruned_index));
	(void)json_object_set_new(doc, "time", retention_time(rep->pruned_ns));
	(void)json_object_set_new(doc, "keep_records", json_span(rep->pruned_keep));
	return doc;
}

static json_t *retention_next(const struct proto_audit_retention_rep *rep)
{
	if (rep->next_ns == 0)
		return json_null();
	json_t *doc = retention_range(rep->first, rep->next_end ? rep->next_end : rep->size);
	(void)json_object_set_new(doc, "not_before", retention_time(rep->next_ns));
	return doc;
}

static json_t *retention_json(const struct retention *r)
{
	const struct proto_audit_retention_rep *rep = r->rep;
	json_t *doc = json_pack("{s:s,s:s,s:b}", "keep_records", r->keep_records, "keep_personal", r->keep_personal,
				"legal_hold", r->hold);

	if (!rep) {
		(void)json_object_set_new(doc, "unknown", json_string(r->why));
		return doc;
	}
	(void)json_object_set_new(doc, "first", json_integer((json_int_t)rep->first));
	(void)json_object_set_new(doc, "entries", json_integer((json_int_t)rep->size));
	(void)json_object_set_new(doc, "doing", json_span(rep->doing));
	(void)json_object_set_new(doc, "removed", retention_pruned(rep));
	(void)json_object_set_new(doc, "next", retention_next(rep));
	(void)json_object_set_new(doc, "clock_behind_s", json_integer((json_int_t)(rep->behind_ns / 1000000000)));
	return doc;
}

/* ---- people ---- */

static void retention_print_log(const struct proto_audit_retention_rep *rep, FILE *out)
{
	char time[AUDIT_TIME_BYTES];

	if (rep->first < rep->size)
		fprintf(out, "In the log:      records %" PRIu64 " to %" PRIu64 "\n", rep->first, rep->size - 1);
	if (rep->pruned_end > 0) {
		audit_format_time(rep->pruned_ns, time);
		plain_line(out,
			   "Removed last:    records %" PRIu64 " to %" PRIu64
			   ", on %s, older than %.*s; record %" PRIu64 ", log.prune, says so",
			   rep->pruned_first, rep->pruned_end - 1, time, SPAN_ARG(rep->pruned_keep), rep->pruned_index);
	} else {
		fprintf(out, "Removed last:    nothing ever was\n");
	}
	audit_format_time(rep->next_ns, time);
	if (rep->next_ns > 0 && rep->next_end > 0)
		fprintf(out, "Goes next:       records %" PRIu64 " to %" PRIu64 ", not before %s\n", rep->first,
			rep->next_end - 1, time);
	else if (rep->next_ns > 0)
		fprintf(out, "Goes next:       the segment that is being written, not before %s\n", time);
	if (!span_eq_str(rep->doing, "nothing"))
		plain_line(out, "Under way:       %.*s", SPAN_ARG(rep->doing));
	if (rep->behind_ns > RETENTION_BEHIND_NS)
		fprintf(out,
			"Clock:           %" PRIu64
			" minutes ahead of what auditd has seen pass; it is followed slowly, "
			"and records are kept longer\n",
			rep->behind_ns / UINT64_C(60000000000));
}

static int retention_print(const struct retention *r)
{
	FILE *out = r->cli->out;

	if (r->cli->json)
		return cli_print_json(r->cli, retention_json(r));
	fprintf(out, "Records:         kept for %s\nPersonal fields: can be read for %s\n",
		strcmp(r->keep_records, "forever") == 0 ? "ever" : r->keep_records, r->keep_personal);
	if (r->hold)
		fprintf(out, "Legal hold:      nothing is erased, expires or is removed\n");
	if (r->rep)
		retention_print_log(r->rep, out);
	else
		fprintf(r->cli->err, "auditd does not answer (%s): what is in the log is not known here\n", r->why);
	return CLI_DONE;
}

/* ---- the command ---- */

static int retention_now(struct retention *r)
{
	char text[128] = "";
	int e = retention_expire(r->cli, text, sizeof(text));

	if (!e)
		e = admin_open(r->cli, ROLE_AUDITD, 0, &r->auditd);
	if (!e)
		e = retention_ask(r, true);
	if (e)
		return e;
	if (r->cli->json) {
		json_t *doc = retention_json(r);
		(void)json_object_set_new(doc, "text", json_span(span_str(text)));
		return cli_print_json(r->cli, doc);
	}
	plain_line(r->cli->out, "%s", text);
	return retention_print(r);
}

int cmd_audit_retention(struct cli *cli)
{
	struct retention r = {.cli = cli};
	int e = cli_config(cli);

	if (e)
		return e;
	r.keep_personal = config_tree_get(cli->config, CONFIG_AUDITD, 0, "keep_personal");
	r.keep_records = config_tree_get(cli->config, CONFIG_AUDITD, 0, "keep_records");
	r.hold = strcmp(config_tree_get(cli->config, CONFIG_AUDITD, 0, "legal_hold"), "1") == 0;
	if (cli_option(cli, "--now")) {
		e = retention_now(&r);
	} else {
		if (admin_try(cli, ROLE_AUDITD, 0, &r.auditd, &r.why) == CLI_DONE)
			e = retention_ask(&r, false);
		if (!e)
			e = retention_print(&r);
	}
	(void)admin_close(r.auditd);
	return e;
}
