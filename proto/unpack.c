/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a frame body to a struct: one walk over the descriptor's fields in step with the bytes. This is the whole of
 * what a daemon does with another daemon's bytes before a typed handler sees them, so it is small and it is fuzzed.
 *
 * A list's items are all checked here, though their views are handed out later by proto_list_next(); items hold no
 * lists.
 */
#include "proto/proto.h"

#include <assert.h>

#include "proto/nul.h"
#include "proto/reader.h"

static int unpack_fields(struct reader *r, const struct proto_desc *desc, bool with_lists, void *ret);

static int unpack_u64(struct reader *r, const struct proto_field *f, uint64_t *ret)
{
	if (!reader_u64(r, ret))
		return PROTO_E_MALFORMED;
	return *ret < f->min || *ret > f->max ? PROTO_E_BOUNDS : 0;
}

static int unpack_bytes(struct reader *r, const struct proto_field *f, struct span *ret)
{
	bool str = f->kind == PROTO_KIND_STR;

	if (!(str ? reader_str(r, ret) : reader_bin(r, ret)))
		return PROTO_E_MALFORMED;
	if (ret->len < f->min || ret->len > f->max)
		return PROTO_E_BOUNDS;
	return str && proto_has_nul(*ret) ? PROTO_E_BOUNDS : 0;
}

/* One item, alone: an array of exactly the descriptor's fields. */
static int unpack_item(struct reader *r, const struct proto_desc *item, void *ret)
{
	uint64_t n;

	if (!reader_array(r, &n) || n != item->n_fields)
		return PROTO_E_MALFORMED;
	return unpack_fields(r, item, false, ret);
}

static int unpack_list(struct reader *r, const struct proto_field *f, struct proto_list *ret)
{
	union proto_any scratch;
	uint64_t n;

	assert(f->item->size <= sizeof scratch);
	if (!reader_array(r, &n))
		return PROTO_E_MALFORMED;
	if (n > f->max)
		return PROTO_E_BOUNDS;
	*ret = (struct proto_list){.count = n, .raw = {r->p, 0}};
	for (uint64_t i = 0; i < n; i++) {
		int e = unpack_item(r, f->item, &scratch);
		if (e)
			return e;
	}
	ret->raw.len = (size_t)(r->p - ret->raw.p);
	return 0;
}

static int unpack_fields(struct reader *r, const struct proto_desc *desc, bool with_lists, void *ret)
{
	uint8_t *at = ret;

	for (size_t i = 0; i < desc->n_fields; i++) {
		const struct proto_field *f = &desc->fields[i];
		int e;

		switch (f->kind) {
		case PROTO_KIND_U64:
			e = unpack_u64(r, f, (uint64_t *)(void *)at);
			at += sizeof(uint64_t);
			break;
		case PROTO_KIND_STR:
		case PROTO_KIND_BIN:
			e = unpack_bytes(r, f, (struct span *)(void *)at);
			at += sizeof(struct span);
			break;
		default:
			assert(with_lists);
			e = unpack_list(r, f, (struct proto_list *)(void *)at);
			at += sizeof(struct proto_list);
		}
		if (e)
			return e;
	}
	return 0;
}

int proto_unpack(struct span body, enum role from, enum role to, uint64_t *ret_id, const struct proto_desc **ret_desc,
		 union proto_any *ret_msg)
{
	struct reader r = reader_of(body);
	uint64_t type, id, n;

	if (!reader_array(&r, &n) || n < 2 || !reader_u64(&r, &type) || !reader_u64(&r, &id))
		return PROTO_E_MALFORMED;
	const struct proto_desc *desc = proto_desc_of(type);
	if (!desc)
		return PROTO_E_TYPE;
	if (!(desc->from & BIT(from)) || !(desc->to & BIT(to)))
		return PROTO_E_DIRECTION;
	if (n - 2 != desc->n_fields)
		return PROTO_E_MALFORMED;
	int e = unpack_fields(&r, desc, true, ret_msg);
	if (e)
		return e;
	if (!reader_empty(&r))
		return PROTO_E_MALFORMED;
	*ret_id = id;
	*ret_desc = desc;
	return 0;
}

int proto_unpack_record(const struct proto_desc *desc, struct span body, void *ret_rec)
{
	struct reader r = reader_of(body);
	uint64_t n;

	if (!reader_array(&r, &n) || n != desc->n_fields)
		return PROTO_E_MALFORMED;
	int e = unpack_fields(&r, desc, true, ret_rec);
	return e ? e : reader_empty(&r) ? 0 : PROTO_E_MALFORMED;
}

bool proto_list_next(struct proto_list *list, const struct proto_desc *item, void *ret_item)
{
	if (list->count == 0)
		return false;
	if (!list->raw.p) { /* a list that was built here and never packed */
		memcpy(ret_item, list->items, item->size);
		list->items = (const uint8_t *)list->items + item->size;
	} else {
		struct reader r = reader_of(list->raw);
		int e = unpack_item(&r, item, ret_item);
		assert(!e); /* checked when the message was unpacked */
		list->raw = span_of(r.p, (size_t)(r.end - r.p));
	}
	list->count--;
	return true;
}
