/* SPDX-License-Identifier: Apache-2.0 */
/* From a struct to a frame body, by msgpack-c, into memory of the caller's. Bounds are checked on the way out as well.
 */
#include "proto/proto.h"

#include <msgpack.h>

#include "proto/nul.h"

struct sink {
	uint8_t *to;
	size_t len, cap;
};

static inline int sink_write(struct sink *s, const void *p, size_t len)
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

static int pack_fields(struct sink *pk, const struct proto_desc *desc, const void *msg);

static int pack_u64(struct sink *pk, const struct proto_field *f, uint64_t v)
{
	if (v < f->min || v > f->max)
		return PROTO_E_BOUNDS;
	return sink_pack_uint64(pk, v) ? PROTO_E_SPACE : 0;
}

static int pack_bytes(struct sink *pk, const struct proto_field *f, const struct span *s)
{
	bool str = f->kind == PROTO_KIND_STR;

	if (s->len < f->min || s->len > f->max || (str && proto_has_nul(*s)))
		return PROTO_E_BOUNDS;
	int e = str ? sink_pack_str(pk, s->len) : sink_pack_bin(pk, s->len);
	if (!e && s->len > 0)
		e = sink_write(pk, s->p, s->len);
	return e ? PROTO_E_SPACE : 0;
}

static int pack_list(struct sink *pk, const struct proto_field *f, const struct proto_list *l)
{
	const uint8_t *item = l->items;

	if (l->count > f->max)
		return PROTO_E_BOUNDS;
	if (sink_pack_array(pk, l->count))
		return PROTO_E_SPACE;
	if (l->raw.p)
		return sink_write(pk, l->raw.p, l->raw.len) ? PROTO_E_SPACE : 0;
	for (size_t i = 0; i < l->count; i++, item += f->item->size) {
		int e = sink_pack_array(pk, f->item->n_fields) ? PROTO_E_SPACE : pack_fields(pk, f->item, item);
		if (e)
			return e;
	}
	return 0;
}

static int pack_fields(struct sink *pk, const struct proto_desc *desc, const void *msg)
{
	const uint8_t *at = msg;

	for (size_t i = 0; i < desc->n_fields; i++) {
		const struct proto_field *f = &desc->fields[i];
		int e;

		switch (f->kind) {
		case PROTO_KIND_U64:
			e = pack_u64(pk, f, *(const uint64_t *)(const void *)at);
			at += sizeof(uint64_t);
			break;
		case PROTO_KIND_STR:
		case PROTO_KIND_BIN:
			e = pack_bytes(pk, f, (const struct span *)(const void *)at);
			at += sizeof(struct span);
			break;
		default:
			e = pack_list(pk, f, (const struct proto_list *)(const void *)at);
			at += sizeof(struct proto_list);
		}
		if (e)
			return e;
	}
	return 0;
}

int proto_pack(const struct proto_desc *desc, uint64_t id, const void *msg, uint8_t *to, size_t cap, size_t *ret_len)
{
	struct sink sink = {to, 0, cap};

	if (sink_pack_array(&sink, desc->n_fields + 2U) || sink_pack_uint64(&sink, desc->type) ||
	    sink_pack_uint64(&sink, id))
		return PROTO_E_SPACE;
	int e = pack_fields(&sink, desc, msg);
	if (!e)
		*ret_len = sink.len;
	return e;
}

int proto_pack_record(const struct proto_desc *desc, const void *rec, uint8_t *to, size_t cap, size_t *ret_len)
{
	struct sink sink = {to, 0, cap};

	if (sink_pack_array(&sink, desc->n_fields))
		return PROTO_E_SPACE;
	int e = pack_fields(&sink, desc, rec);
	if (!e)
		*ret_len = sink.len;
	return e;
}
