/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit tail`: records as auditd reads them out, one line each. The others (audit_verify.c) need no daemon.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

#include "auditd/leaf.h"
#include "cli/admin.h"
#include "cli/output.h"
#include "common/edges.h"

#define AUDIT_LINES     20
#define AUDIT_READ_MAX  256
#define AUDIT_WAIT_MS   20000
#define AUDIT_TIME_SIZE 32
#define AUDIT_BIN_MAX   128

/* "2026-01-02T03:04:05.678Z" */
static void audit_time(uint64_t ns, char to[AUDIT_TIME_SIZE])
{
	time_t seconds = (time_t)(ns / 1000000000U);
	struct tm tm = {0};
	char text[24];

	(void)gmtime_r(&seconds, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(to, AUDIT_TIME_SIZE, "%s.%03uZ", text, (unsigned)(ns / 1000000U % 1000U));
}

static void audit_source(const struct proto_leaf *leaf, char to[EDGE_NAME_BYTES])
{
	if (leaf->role < N_ROLES)
		instance_name((enum role)leaf->role, (unsigned)leaf->worker, to);
	else
		(void)snprintf(to, EDGE_NAME_BYTES, "?");
}

static const char *audit_event(uint64_t code)
{
	const struct event_row *row = event_row(code);

	return row ? row->name : "?";
}

/* ---- programs ---- */

static void audit_set(json_t *doc, const char *key, struct span text)
{
	if (text.len > 0)
		(void)json_object_set_new(doc, key, json_span(text));
}

static void audit_set_hex(json_t *doc, const char *key, struct span bytes)
{
	char hex[2 * AUDIT_BIN_MAX + 1];

	if (bytes.len == 0 || bytes.len > AUDIT_BIN_MAX)
		return;
	sodium_bin2hex(hex, sizeof(hex), bytes.p, bytes.len);
	(void)json_object_set_new(doc, key, json_string(hex));
}

static void audit_set_u64(json_t *doc, const char *key, uint64_t n)
{
	if (n > 0)
		(void)json_object_set_new(doc, key, json_integer((json_int_t)MIN(n, (uint64_t)INT64_MAX)));
}

/* Empty fields are left out, but for the status. */
static int audit_print_json(struct cli *cli, uint64_t index, const struct proto_leaf *leaf)
{
	char time[AUDIT_TIME_SIZE], recorded[AUDIT_TIME_SIZE], source[EDGE_NAME_BYTES];

	audit_time(leaf->time_ns, time);
	audit_time(leaf->recorded_ns, recorded);
	audit_source(leaf, source);
	json_t *doc = json_pack("{s:I,s:s,s:s,s:s,s:I,s:s,s:I}", "index", (json_int_t)index, "time", time, "recorded",
				recorded, "source", source, "seq", (json_int_t)leaf->seq, "event",
				audit_event(leaf->code), "status", (json_int_t)leaf->status);
	if (leaf->last_seq != leaf->seq)
		audit_set_u64(doc, "last_seq", leaf->last_seq);
	audit_set_hex(doc, "boot", leaf->boot);
	audit_set(doc, "actor", leaf->actor);
	audit_set(doc, "tenant", leaf->tenant);
	audit_set(doc, "address", leaf->address);
	audit_set(doc, "resource", leaf->resource);
	audit_set(doc, "request_id", leaf->request_id);
	audit_set(doc, "reason", leaf->reason);
	audit_set(doc, "model", leaf->model);
	audit_set(doc, "provider", leaf->provider);
	audit_set(doc, "credential", leaf->credential);
	audit_set_u64(doc, "tokens_in", leaf->tokens_in);
	audit_set_u64(doc, "tokens_out", leaf->tokens_out);
	audit_set_u64(doc, "latency_us", leaf->latency_us);
	audit_set_u64(doc, "bytes", leaf->bytes);
	audit_set_hex(doc, "digest", leaf->digest);
	audit_set(doc, "subject", leaf->subject);
	audit_set_hex(doc, "sealed", leaf->sealed);
	audit_set_hex(doc, "head_digest", leaf->head_digest);
	audit_set_u64(doc, "scrubbed", leaf->scrubbed);
	audit_set_u64(doc, "cost_nano", leaf->cost_nano);
	return cli_print_json(cli, doc);
}

/* ---- people ---- */

static void audit_print_field(struct cli *cli, const char *key, struct span text)
{
	if (text.len == 0)
		return;
	fprintf(cli->out, " %s=", key);
	for (size_t i = 0; i < text.len; i++)
		fputc(text.p[i] <= 0x20 || text.p[i] == 0x7f ? '?' : text.p[i], cli->out);
}

static void audit_print_u64(struct cli *cli, const char *key, uint64_t n)
{
	if (n > 0)
		fprintf(cli->out, " %s=%" PRIu64, key, n);
}

static int audit_print_text(struct cli *cli, uint64_t index, const struct proto_leaf *leaf)
{
	char time[AUDIT_TIME_SIZE], source[EDGE_NAME_BYTES];

	audit_time(leaf->time_ns, time);
	audit_source(leaf, source);
	fprintf(cli->out, "%8" PRIu64 "  %s  %-8s  %-16s", index, time, source, audit_event(leaf->code));
	if (leaf->code == EVENT_LOG_GAP)
		fprintf(cli->out, " lost=%" PRIu64 "..%" PRIu64, leaf->seq, leaf->last_seq);
	audit_print_u64(cli, "status", leaf->status);
	audit_print_field(cli, "reason", leaf->reason);
	audit_print_field(cli, "tenant", leaf->tenant);
	audit_print_field(cli, "actor", leaf->actor);
	audit_print_field(cli, "address", leaf->address);
	audit_print_field(cli, "resource", leaf->resource);
	audit_print_field(cli, "model", leaf->model);
	audit_print_field(cli, "provider", leaf->provider);
	audit_print_field(cli, "credential", leaf->credential);
	audit_print_u64(cli, "tokens_in", leaf->tokens_in);
	audit_print_u64(cli, "tokens_out", leaf->tokens_out);
	audit_print_u64(cli, "bytes", leaf->bytes);
	audit_print_u64(cli, "us", leaf->latency_us);
	audit_print_u64(cli, "nano_usd", leaf->cost_nano);
	audit_print_field(cli, "subject", leaf->subject);
	audit_print_field(cli, "request", leaf->request_id);
	fputc('\n', cli->out);
	return CLI_DONE;
}

/* ---- reading ---- */

static int audit_read(struct admin *a, uint64_t from, uint64_t wait_ms, const struct proto_audit_read_rep **ret)
{
	const union proto_any *answer;
	int r = admin_call(a, PROTO_AUDIT_READ,
			   &(struct proto_audit_read){.from = from, .max = AUDIT_READ_MAX, .wait_ms = wait_ms},
			   PROTO_AUDIT_READ_REP, ADMIN_DEADLINE_MS + wait_ms, &answer);

	if (!r)
		*ret = &answer->audit_read_rep;
	return r;
}

/* Prints an answer's records; *from goes on. */
static int audit_print(struct cli *cli, const struct proto_audit_read_rep *rep, uint64_t *from)
{
	struct proto_list records = rep->records;
	struct proto_audit_record record;
	struct proto_leaf leaf;
	int r = CLI_DONE;

	while (!r && proto_audit_record_next(&records, &record)) {
		if (leaf_unpack(record.leaf, &leaf))
			return cli_fail(cli, "record %" PRIu64 " cannot be read; see `bulkhead audit verify`", *from);
		r = cli->json ? audit_print_json(cli, *from, &leaf) : audit_print_text(cli, *from, &leaf);
		++*from;
	}
	fflush(cli->out);
	return r;
}

static int audit_tail(struct cli *cli, struct admin *a, uint64_t from, uint64_t lines, bool follow)
{
	const struct proto_audit_read_rep *rep;
	int r = audit_read(a, from == UINT64_MAX ? 0 : from, 0, &rep);

	if (!r && from == UINT64_MAX) {
		from = rep->size > lines ? rep->size - lines : 0;
		r = audit_read(a, from, 0, &rep);
	}
	while (!r) {
		uint64_t before = from;
		r = audit_print(cli, rep, &from);
		if (r || (!follow && from >= rep->size))
			return r;
		if (from == before && from < rep->size)
			return cli_fail(cli, "record %" PRIu64 " cannot be read; see `bulkhead audit verify`", from);
		r = audit_read(a, from, from < rep->size ? 0 : AUDIT_WAIT_MS, &rep);
	}
	return r;
}

int cmd_audit_tail(struct cli *cli)
{
	uint64_t from, lines;
	struct admin *a = NULL;
	int r = cli_option_u64(cli, "--from", 0, INT64_MAX, UINT64_MAX, &from);

	if (!r)
		r = cli_option_u64(cli, "--lines", 0, INT64_MAX, AUDIT_LINES, &lines);
	if (!r)
		r = admin_open(cli, ROLE_AUDITD, 0, &a);
	if (!r)
		r = audit_tail(cli, a, from, lines, cli_option(cli, "--follow") != NULL);
	a = admin_close(a);
	return r;
}
