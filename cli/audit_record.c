/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/audit_record.h"

#include <inttypes.h>
#include <sodium.h>
#include <time.h>

#include "cli/output.h"
#include "cli/plain.h"
#include "common/edges.h"

enum audit_kind { KIND_OWN, KIND_STR, KIND_BIN, KIND_U64 };

struct audit_row {
	const char *name;
	enum audit_kind kind;
	size_t at; /* in struct proto_leaf */
};

static const struct audit_row audit_rows[AUDIT_N_COLUMNS] = {
	[AUDIT_INDEX] = {"index", KIND_OWN, 0},
	[AUDIT_TIME] = {"time", KIND_OWN, 0},
	[AUDIT_RECORDED] = {"recorded", KIND_OWN, 0},
	[AUDIT_SOURCE] = {"source", KIND_OWN, 0},
	[AUDIT_EVENT] = {"event", KIND_OWN, 0},
	[AUDIT_LAST_SEQ] = {"last_seq", KIND_OWN, 0},
	[AUDIT_BOOT] = {"boot", KIND_BIN, offsetof(struct proto_leaf, boot)},
#define ROW(kind_, field, min, max, class, meaning) \
	[AUDIT_##field] = {#field, KIND_##kind_, offsetof(struct proto_leaf, field)},
	MSG_event(ROW, ROW)
#undef ROW
};

const char *audit_column_name(enum audit_column column)
{
	return column == AUDIT_time_ns || column == AUDIT_code ? NULL : audit_rows[column].name;
}

bool audit_column_always(enum audit_column column)
{
	return column <= AUDIT_EVENT || column == AUDIT_seq || column == AUDIT_status;
}

bool audit_column_private(enum audit_column column)
{
	return column >= AUDIT_seq && event_sensitivity((enum event_field)(column - AUDIT_seq)) != EVENT_PLAIN;
}

const char *audit_event_name(uint64_t code)
{
	const struct event_row *row = event_row(code);

	return row ? row->name : "?";
}

void audit_format_time(uint64_t ns, char to[AUDIT_TIME_BYTES])
{
	time_t seconds = (time_t)(ns / 1000000000U);
	struct tm tm = {0};
	char text[24];

	(void)gmtime_r(&seconds, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(to, AUDIT_TIME_BYTES, "%s.%03uZ", text, (unsigned)(ns / 1000000U % 1000U));
}

/* ---- values ---- */

static void audit_number(uint64_t n, char scratch[AUDIT_SCRATCH_BYTES], struct audit_value *ret)
{
	(void)snprintf(scratch, AUDIT_SCRATCH_BYTES, "%" PRIu64, n);
	*ret = (struct audit_value){.number = true, .n = n, .text = span_str(scratch)};
}

static void audit_own_value(const struct audit_record *record, enum audit_column column,
			    char scratch[AUDIT_SCRATCH_BYTES], struct audit_value *ret)
{
	const struct proto_leaf *leaf = &record->leaf;

	switch ((int)column) {
	case AUDIT_INDEX:
		audit_number(record->index, scratch, ret);
		return;
	case AUDIT_LAST_SEQ: /* only of a gap */
		audit_number(leaf->last_seq == leaf->seq ? 0 : leaf->last_seq, scratch, ret);
		return;
	case AUDIT_EVENT:
		ret->text = span_str(audit_event_name(leaf->code));
		return;
	case AUDIT_SOURCE:
		if (leaf->role < N_ROLES)
			instance_name((enum role)leaf->role, (unsigned)leaf->worker, scratch);
		else
			(void)snprintf(scratch, AUDIT_SCRATCH_BYTES, "?");
		break;
	default:
		audit_format_time(column == AUDIT_TIME ? leaf->time_ns : leaf->recorded_ns, scratch);
	}
	ret->text = span_str(scratch);
}

void audit_value(const struct audit_record *record, enum audit_column column, char scratch[AUDIT_SCRATCH_BYTES],
		 struct audit_value *ret)
{
	const struct audit_row *row = &audit_rows[column];
	const void *at = (const uint8_t *)&record->leaf + row->at;
	struct span bytes;

	*ret = (struct audit_value){.number = false};
	switch (row->kind) {
	case KIND_U64:
		audit_number(*(const uint64_t *)at, scratch, ret);
		break;
	case KIND_STR:
		ret->text = *(const struct span *)at;
		break;
	case KIND_BIN:
		bytes = *(const struct span *)at;
		if (2 * bytes.len >= AUDIT_SCRATCH_BYTES)
			bytes.len = (AUDIT_SCRATCH_BYTES - 1) / 2;
		sodium_bin2hex(scratch, AUDIT_SCRATCH_BYTES, bytes.p, bytes.len);
		ret->text = span_str(scratch);
		break;
	default:
		audit_own_value(record, column, scratch, ret);
	}
}

int audit_record_read(struct cli *cli, uint64_t index, struct span leaf, struct audit_record *ret)
{
	*ret = (struct audit_record){.index = index, .bytes = leaf};
	if (leaf_unpack(leaf, &ret->leaf))
		return cli_fail(cli, "record %" PRIu64 " cannot be read; see `%s verify`", index, cli_program.audit);
	return CLI_DONE;
}

/* ---- output ---- */

static bool audit_is_shown(enum audit_column column, const struct audit_value *v)
{
	return audit_column_name(column) && (audit_column_always(column) || (v->number ? v->n > 0 : v->text.len > 0));
}

json_t *audit_record_json(const struct audit_record *record, bool redact)
{
	json_t *doc = json_object();
	char scratch[AUDIT_SCRATCH_BYTES];
	struct audit_value v;
	int r = doc ? 0 : -1;

	for (enum audit_column c = 0; c < AUDIT_N_COLUMNS && !r; c++) {
		audit_value(record, c, scratch, &v);
		if (!audit_is_shown(c, &v))
			continue;
		json_t *item = redact && audit_column_private(c) ? json_string(AUDIT_REDACTED)
			       : v.number                        ? json_integer(json_count(v.n))
								 : json_span(v.text);
		r = json_object_set_new_nocheck(doc, audit_rows[c].name, item);
	}
	if (!r)
		return doc;
	json_decref(doc);
	return NULL;
}

static void audit_print_text(struct cli *cli, const struct audit_record *record)
{
	char time[AUDIT_TIME_BYTES], scratch[AUDIT_SCRATCH_BYTES];
	struct audit_value v;

	audit_format_time(record->leaf.time_ns, time);
	audit_value(record, AUDIT_SOURCE, scratch, &v);
	fprintf(cli->out, "%8" PRIu64 "  %s  %-8.*s  %-16s", record->index, time, SPAN_ARG(v.text),
		audit_event_name(record->leaf.code));
	if (record->leaf.code == EVENT_LOG_GAP)
		fprintf(cli->out, " lost=%" PRIu64 "..%" PRIu64, record->leaf.seq, record->leaf.last_seq);
	for (enum audit_column c = AUDIT_seq + 1; c < AUDIT_N_COLUMNS; c++) {
		audit_value(record, c, scratch, &v);
		if (!audit_is_shown(c, &v) || audit_rows[c].kind == KIND_BIN || (v.number && v.n == 0))
			continue;
		fprintf(cli->out, " %s=", audit_rows[c].name);
		plain_word(cli->out, v.text);
	}
	fputc('\n', cli->out);
}

int audit_record_print(struct cli *cli, const struct audit_record *record)
{
	if (cli->json)
		return cli_print_json(cli, audit_record_json(record, false));
	audit_print_text(cli, record);
	return CLI_DONE;
}
