/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a struct to a frame body, by msgpack-c, into memory of the caller's. Bounds are checked on the way out as well.
 * Every message has a straight-line function of its own, expanded from messages.def: a walk over its descriptor cost
 * twice as much, and each request is packed a dozen times on its way.
 */
#include "proto/codec.h"

#include <msgpack.h>

#include "proto/nul.h"
#include "proto/splice.h"

#define INLINE static inline __attribute__((always_inline))

struct sink {
	uint8_t *to;
	size_t len, cap;
};

INLINE int sink_write(struct sink *s, const void *p, size_t len)
{
	if (len > s->cap - s->len)
		return -1;
	if (len > 0)
		memcpy(s->to + s->len, p, len);
	s->len += len;
	return 0;
}

/*
 * sink_pack_uint64() and so on: msgpack-c's packer as the template that it is made from. msgpack_packer would call a
 * function through a pointer for every field's head; here its few bytes are stored in place.
 */
#define msgpack_pack_inline_func(name)               static inline int sink_pack##name
#define msgpack_pack_inline_func_cint(name)          static inline int sink_pack##name
#define msgpack_pack_inline_func_fixint(name)        static inline int sink_pack_fix##name
#define msgpack_pack_user                            struct sink *
#define msgpack_pack_append_buffer(sink, bytes, len) return sink_write(sink, bytes, len)
/* 6.0 calls it by its own name from _timestamp, not by the prefix it was given */
#define msgpack_pack_ext sink_pack_ext
#include <msgpack/pack_template.h>
#undef msgpack_pack_ext

/* In place in every message's function, so that the bounds of the field are constants there. */
INLINE int pack_u64(struct sink *pk, uint64_t v, uint64_t min, uint64_t max)
{
	if (v < min || v > max)
		return PROTO_E_BOUNDS;
	return sink_pack_uint64(pk, v) ? PROTO_E_SPACE : 0;
}

INLINE int pack_bytes(struct sink *pk, struct span s, size_t min, size_t max, bool str)
{
	if (s.len < min || s.len > max || (str && proto_has_nul(s)))
		return PROTO_E_BOUNDS;
	if (str ? sink_pack_str(pk, s.len) : sink_pack_bin(pk, s.len))
		return PROTO_E_SPACE;
	return sink_write(pk, s.p, s.len) ? PROTO_E_SPACE : 0;
}

static int pack_list(struct sink *pk, const struct proto_list *l, size_t max, const struct proto_desc *desc)
{
	const uint8_t *item = l->items;

	if (l->count > max)
		return PROTO_E_BOUNDS;
	if (sink_pack_array(pk, l->count))
		return PROTO_E_SPACE;
	if (l->raw.p)
		return sink_write(pk, l->raw.p, l->raw.len) ? PROTO_E_SPACE : 0;
	for (size_t i = 0; i < l->count; i++, item += desc->size) {
		int e = sink_pack_array(pk, desc->n_fields) ? PROTO_E_SPACE : desc->pack(pk, item);
		if (e)
			return e;
	}
	return 0;
}

/* clang-format off */
#define PACK_U64(field, min, max) pack_u64(pk, m->field, min, max)
#define PACK_STR(field, min, max) pack_bytes(pk, m->field, min, max, true)
#define PACK_BIN(field, min, max) pack_bytes(pk, m->field, min, max, false)
#define PACK_F(kind, field, min, max, class, doc) if (!e) e = PACK_##kind(field, min, max);
#define PACK_L(item, field, max, class, doc)      if (!e) e = pack_list(pk, &m->field, max, &proto_##item##_desc);
#define M(NAME, name, ...) \
	int proto_##name##_pack(struct sink *pk, const void *msg) \
	{ \
		const struct proto_##name *m = msg; \
		int e = 0; \
		(void)pk; \
		(void)m; \
		MSG_##name(PACK_F, PACK_L) \
		return e; \
	}
PROTO_MESSAGES(M) PROTO_ITEMS(M) PROTO_RECORDS(M)
#undef M
	/* clang-format on */

	int proto_pack(const struct proto_desc *desc, uint64_t id, const void *msg, uint8_t *to, size_t cap,
		       size_t *ret_len)
{
	struct sink sink = {to, 0, cap};

	if (sink_pack_array(&sink, desc->n_fields + 2U) || sink_pack_uint64(&sink, desc->type) ||
	    sink_pack_uint64(&sink, id))
		return PROTO_E_SPACE;
	int e = desc->pack(&sink, msg);
	if (!e)
		*ret_len = sink.len;
	return e;
}

int proto_pack_record(const struct proto_desc *desc, const void *rec, uint8_t *to, size_t cap, size_t *ret_len)
{
	struct sink sink = {to, 0, cap};

	if (sink_pack_array(&sink, desc->n_fields))
		return PROTO_E_SPACE;
	int e = desc->pack(&sink, rec);
	if (!e)
		*ret_len = sink.len;
	return e;
}

int proto_pack_spliced(const struct proto_desc *desc, const struct proto_desc *head_desc, const void *head,
		       struct span fields, uint8_t *to, size_t cap, size_t *ret_len)
{
	struct sink sink = {to, 0, cap};

	if (sink_pack_array(&sink, desc->n_fields))
		return PROTO_E_SPACE;
	int e = head_desc->pack(&sink, head);
	if (!e && sink_write(&sink, fields.p, fields.len))
		e = PROTO_E_SPACE;
	if (!e)
		*ret_len = sink.len;
	return e;
}
