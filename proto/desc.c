/* SPDX-License-Identifier: Apache-2.0 */
/* messages.def, expanded into descriptors; and the hash over them that HELLO compares. */
#include "proto/codec.h"

#include <assert.h>

#define FLAG_FD       PROTO_FLAG_FD
#define FLAG_FD_MAYBE PROTO_FLAG_FD_MAYBE

/* clang-format off */
#define SIZE_U64 sizeof(uint64_t)
#define SIZE_STR sizeof(struct span)
#define SIZE_BIN sizeof(struct span)
#define SIZE_F(kind, field, lo, hi, cls, doc_) + SIZE_##kind
#define SIZE_L(item_, field, hi, cls, doc_) + sizeof(struct proto_list)

#define FIELD_F(kind_, field, lo, hi, cls, doc_) \
	{ .name = #field, .kind = PROTO_KIND_##kind_, .class = PROTO_##cls, .min = (lo), .max = (hi), .doc = (doc_) },
#define FIELD_L(item_, field, hi, cls, doc_) \
	{ .name = #field, .kind = PROTO_KIND_LIST, .class = PROTO_##cls, .min = 0, .max = (hi), \
	  .item = &proto_##item_##_desc, .doc = (doc_) },

#define SECRET_F(kind, field, lo, hi, cls, doc_) || PROTO_##cls == PROTO_SECRET
#define SECRET_L(item_, field, hi, cls, doc_) || PROTO_##cls == PROTO_SECRET

/* The empty last row lets a message have no fields. */
#define FIELDS(name_) \
	static const struct proto_field name_##_fields[] = { MSG_##name_(FIELD_F, FIELD_L) { 0 } }; \
	static_assert(sizeof(struct proto_##name_) == 0 MSG_##name_(SIZE_F, SIZE_L), \
		      "members can be walked by size"); \
	static_assert(ARRAY_LEN(name_##_fields) - 1 <= PROTO_FIELDS_MAX, "raise PROTO_FIELDS_MAX");
#define BODY(name_) \
	.name = #name_, .size = sizeof(struct proto_##name_), .secret = false MSG_##name_(SECRET_F, SECRET_L), \
	.fields = name_##_fields, .n_fields = ARRAY_LEN(name_##_fields) - 1, \
	.pack = proto_##name_##_pack, .unpack = proto_##name_##_unpack

#define M(NAME_, name_, ...) FIELDS(name_)
PROTO_MESSAGES(M) PROTO_ITEMS(M) PROTO_RECORDS(M)
#undef M

#define M(NAME_, name_, number_, from_, to_, flags_, doc_) \
	const struct proto_desc proto_##name_##_desc = { \
		BODY(name_), .type = (number_), .from = (from_), .to = (to_), .flags = (flags_), .doc = (doc_) \
	};
PROTO_MESSAGES(M)
#undef M

#define M(NAME_, name_) const struct proto_desc proto_##name_##_desc = { BODY(name_) };
PROTO_ITEMS(M) PROTO_RECORDS(M)
#undef M

static const struct proto_desc *const descs[] = {
#define M(NAME_, name_, ...) &proto_##name_##_desc,
	PROTO_MESSAGES(M)
#undef M
};

const struct proto_desc *proto_desc_of(uint64_t type)
{
	switch (type) {
#define M(NAME_, name_, number_, ...) case number_: return &proto_##name_##_desc;
	PROTO_MESSAGES(M)
#undef M
	default: return NULL;
	}
}
/* clang-format on */

const struct proto_desc *const *proto_descs(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(descs);
	return descs;
}

const char *role_name(enum role role)
{
	static const char *const names[] = {
#define ROLE(NAME, text, number) [number] = (text),
#include "proto/roles.def"
#undef ROLE
	};

	return (size_t)role < ARRAY_LEN(names) ? names[role] : "unknown";
}

/* FNV-1a, 64 bit (http://www.isthe.com/chongo/tech/comp/fnv/): tells builds apart, protects against nothing. */
static uint64_t fnv_bytes(uint64_t h, const void *p, size_t len)
{
	for (const uint8_t *b = p; len > 0; b++, len--)
		h = (h ^ *b) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t fnv_u64(uint64_t h, uint64_t v)
{
	return fnv_bytes(h, &v, sizeof v);
}

static uint64_t desc_hash(uint64_t h, const struct proto_desc *d)
{
	h = fnv_bytes(h, d->name, strlen(d->name) + 1);
	h = fnv_u64(fnv_u64(fnv_u64(fnv_u64(h, d->type), d->flags), d->from), d->to);
	for (size_t i = 0; i < d->n_fields; i++) {
		const struct proto_field *f = &d->fields[i];

		h = fnv_bytes(h, f->name, strlen(f->name) + 1);
		h = fnv_u64(fnv_u64(fnv_u64(fnv_u64(h, f->kind), f->class), f->min), f->max);
		if (f->item)
			h = desc_hash(h, f->item);
	}
	return h;
}

uint64_t proto_schema_hash(void)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < ARRAY_LEN(descs); i++)
		h = desc_hash(h, descs[i]);
	return desc_hash(desc_hash(h, &proto_binding_desc), &proto_grant_desc);
}
