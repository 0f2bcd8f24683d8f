/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a frame body to a struct: one function for each kind of field, and for each message, expanded from messages.def,
 * the row of its fields' calls. This is the whole of what a daemon does with another daemon's bytes before a typed
 * handler sees them, so it is small and it is fuzzed.
 *
 * A list's items are all checked here, though their views are handed out later by proto_list_next(); items hold no
 * lists.
 */
#include "proto/codec.h"

#include <assert.h>

#include "proto/nul.h"
#include "proto/reader.h"
#include "proto/splice.h"

#define INLINE static inline __attribute__((always_inline))

/* In place in every message's function, so that the bounds of the field are constants there. */
static int unpack_u64(struct reader *r, uint64_t *ret, uint64_t min, uint64_t max)
{
	if (!reader_u64(r, ret))
		return PROTO_E_MALFORMED;
	return *ret < min || *ret > max ? PROTO_E_BOUNDS : 0;
}

static int unpack_bytes(struct reader *r, struct span *ret, size_t min, size_t max, bool str)
{
	if (!(str ? reader_str(r, ret) : reader_bin(r, ret)))
		return PROTO_E_MALFORMED;
	if (ret->len < min || ret->len > max)
		return PROTO_E_BOUNDS;
	return str && proto_has_nul(*ret) ? PROTO_E_BOUNDS : 0;
}

/* One item, alone: an array of exactly the descriptor's fields. */
static int unpack_item(struct reader *r, const struct proto_desc *item, void *ret)
{
	uint64_t n;

	if (!reader_array(r, &n) || n != item->n_fields)
		return PROTO_E_MALFORMED;
	return item->unpack(r, ret);
}

static int unpack_list(struct reader *r, struct proto_list *ret, size_t max, const struct proto_desc *item)
{
	union proto_any_item scratch;
	uint64_t n;

	if (!reader_array(r, &n))
		return PROTO_E_MALFORMED;
	if (n > max)
		return PROTO_E_BOUNDS;
	*ret = (struct proto_list){.count = n, .raw = {r->p, 0}};
	for (uint64_t i = 0; i < n; i++) {
		int e = unpack_item(r, item, &scratch);
		if (e)
			return e;
	}
	ret->raw.len = (size_t)(r->p - ret->raw.p);
	return 0;
}

/* clang-format off */
#define UNPACK_U64(field, min, max) unpack_u64(r, &m->field, min, max)
#define UNPACK_STR(field, min, max) unpack_bytes(r, &m->field, min, max, true)
#define UNPACK_BIN(field, min, max) unpack_bytes(r, &m->field, min, max, false)
#define UNPACK_F(kind, field, min, max, class, doc) if (!e) e = UNPACK_##kind(field, min, max);
#define UNPACK_L(item, field, max, class, doc)      if (!e) e = unpack_list(r, &m->field, max, &proto_##item##_desc);
#define M(NAME, name, ...) \
	int proto_##name##_unpack(struct reader *r, void *ret) \
	{ \
		struct proto_##name *m = ret; \
		int e = 0; \
		(void)r; \
		(void)m; \
		MSG_##name(UNPACK_F, UNPACK_L) \
		return e; \
	}
PROTO_MESSAGES(M) PROTO_RECORDS(M)
#undef UNPACK_L
#define UNPACK_L(item, field, max, class, doc) static_assert(false, "items hold no lists");
PROTO_ITEMS(M)
#undef M
	/* clang-format on */

	int proto_unpack(struct span body, enum role from, enum role to, uint64_t *ret_id,
			 const struct proto_desc **ret_desc, union proto_any *ret_msg)
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
	int e = desc->unpack(&r, ret_msg);
	if (e)
		return e;
	if (!reader_empty(&r))
		return PROTO_E_MALFORMED;
	*ret_id = id;
	*ret_desc = desc;
	return 0;
}

struct span proto_fields(struct span body)
{
	struct reader r = reader_of(body);
	uint64_t n, type, id;
	bool whole = reader_array(&r, &n) && reader_u64(&r, &type) && reader_u64(&r, &id);

	assert(whole); /* it was unpacked */
	return span_of(r.p, (size_t)(r.end - r.p));
}

int proto_unpack_record(const struct proto_desc *desc, struct span body, void *ret_rec)
{
	struct reader r = reader_of(body);
	uint64_t n;

	if (!reader_array(&r, &n) || n != desc->n_fields)
		return PROTO_E_MALFORMED;
	int e = desc->unpack(&r, ret_rec);
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
