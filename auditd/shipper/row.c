/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/shipper/row.h"

#include <assert.h>
#include <inttypes.h>

#include "common/edges.h"

#define ROW_VALUE_BYTES 1024 /* the longest string or blob of a leaf, in hex */

enum { ROW_IDX, ROW_LEAF_HASH, ROW_EVENT, ROW_SOURCE };

static const struct row_column row_computed[ROW_COMPUTED] = {
	[ROW_IDX] = {"idx", "bigint", "Place in the log, from 0."},
	[ROW_LEAF_HASH] = {"leaf_hash", "bytea", "RFC 6962 hash of the record: a leaf of the signed tree."},
	[ROW_EVENT] = {"event", "text", "What happened, in words: the code as of docs/EVENTS.md."},
	[ROW_SOURCE] = {"source", "text", "Which daemon said so: role and worker."},
};

static const char *row_type(const struct proto_field *f)
{
	switch (f->kind) {
	case PROTO_KIND_U64:
		return f->max > INT64_MAX ? "numeric(20)" : "bigint";
	case PROTO_KIND_STR:
		return "text";
	default:
		return "bytea";
	}
}

size_t row_columns(struct row_column *ret)
{
	size_t n = ROW_COMPUTED;

	assert(proto_leaf_desc.n_fields + ROW_COMPUTED <= ROW_COLUMNS_MAX);
	memcpy(ret, row_computed, sizeof(row_computed));
	for (size_t i = 0; i < proto_leaf_desc.n_fields; i++) {
		const struct proto_field *f = &proto_leaf_desc.fields[i];

		ret[n++] = (struct row_column){f->name, row_type(f), f->doc};
	}
	return n;
}

int row_read(struct span leaf, uint64_t index, struct row *ret)
{
	ret->index = index;
	merkle_hash_leaf(leaf, &ret->hash);
	return leaf_unpack(leaf, &ret->leaf) ? ROW_E_FOREIGN : 0;
}

/* ---- text ---- */

/* Bytes of the character at the front, 0 when it is none: RFC 3629, table 3-7 of Unicode. */
static size_t row_character(struct span in)
{
	static const struct {
		uint8_t from, to, bytes, second_from, second_to;
	} forms[] = {
		{0x01, 0x7f, 1, 0, 0},       {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
		{0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
		{0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
	};

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (in.p[0] < forms[i].from || in.p[0] > forms[i].to)
			continue;
		if (in.len < forms[i].bytes)
			return 0;
		for (size_t k = 1; k < forms[i].bytes; k++)
			if (in.p[k] < (k == 1 ? forms[i].second_from : 0x80) ||
			    in.p[k] > (k == 1 ? forms[i].second_to : 0xbf))
				return 0;
		return forms[i].bytes;
	}
	return 0;
}

bool row_is_text(struct span in)
{
	while (in.len > 0) {
		size_t n = row_character(in);

		if (n == 0)
			return false;
		in = span_of(in.p + n, in.len - n);
	}
	return true;
}

/* ---- values ---- */

static int row_hex(struct span bytes, struct buf *to)
{
	static const char digits[] = "0123456789abcdef";
	int r = buf_append_str(to, "\\x");

	for (size_t i = 0; i < bytes.len && !r; i++)
		r = buf_append(to, (char[]){digits[bytes.p[i] >> 4], digits[bytes.p[i] & 15]}, 2);
	return r;
}

/* A struct's members stand in the order of its fields, each of the size of its kind (proto.h). */
static int row_field(const struct proto_leaf *leaf, size_t field, struct buf *to)
{
	const uint8_t *at = (const uint8_t *)leaf;
	uint64_t number;
	struct span bytes;

	for (size_t i = 0; i < field; i++)
		at += proto_leaf_desc.fields[i].kind == PROTO_KIND_U64 ? sizeof(number) : sizeof(bytes);
	if (proto_leaf_desc.fields[field].kind == PROTO_KIND_U64) {
		memcpy(&number, at, sizeof(number));
		return buf_printf(to, "%" PRIu64, number);
	}
	memcpy(&bytes, at, sizeof(bytes));
	if (proto_leaf_desc.fields[field].kind == PROTO_KIND_BIN || !row_is_text(bytes))
		return row_hex(bytes, to);
	return buf_append(to, bytes.p, bytes.len);
}

static int row_source(const struct proto_leaf *leaf, struct buf *to)
{
	char name[EDGE_NAME_BYTES];

	if (leaf->role >= N_ROLES)
		return buf_printf(to, "role%" PRIu64 ".%" PRIu64, leaf->role, leaf->worker);
	instance_name((enum role)leaf->role, (unsigned)leaf->worker, name);
	return buf_append_str(to, name);
}

static int row_event(const struct proto_leaf *leaf, struct buf *to)
{
	const struct event_row *event = event_row(leaf->code);

	return event ? buf_append_str(to, event->name) : buf_printf(to, "event%" PRIu64, leaf->code);
}

int row_value(const struct row *row, size_t column, struct buf *to)
{
	switch (column) {
	case ROW_IDX:
		return buf_printf(to, "%" PRIu64, row->index);
	case ROW_LEAF_HASH:
		return row_hex(span_of(row->hash.b, sizeof(row->hash.b)), to);
	case ROW_EVENT:
		return row_event(&row->leaf, to);
	case ROW_SOURCE:
		return row_source(&row->leaf, to);
	default:
		return row_field(&row->leaf, column - ROW_COMPUTED, to);
	}
}

int row_element(const struct row *row, size_t column, bool first, struct buf *to)
{
	struct buf value;
	int r;

	buf_init(&value, ROW_VALUE_BYTES);
	r = row_value(row, column, &value);
	if (!r)
		r = buf_append_str(to, first ? "\"" : ",\"");
	struct span text = buf_span(&value);
	for (size_t i = 0; i < text.len && !r; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			r = buf_append(to, "\\", 1);
		if (!r)
			r = buf_append(to, &text.p[i], 1);
	}
	buf_deinit(&value);
	return r ? r : buf_append_str(to, "\"");
}

bool row_unhex(const char *hex, struct merkle_hash *ret)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(hex) != 2 * sizeof(ret->b) || strspn(hex, digits) != 2 * sizeof(ret->b))
		return false;
	for (size_t i = 0; i < sizeof(ret->b); i++)
		ret->b[i] = (uint8_t)((strchr(digits, hex[2 * i]) - digits) << 4 |
				      (strchr(digits, hex[2 * i + 1]) - digits));
	return true;
}
