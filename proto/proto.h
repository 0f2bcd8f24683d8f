/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages as C sees them: one struct a message, one descriptor a message, one strict reader and one packer for all.
 *
 * Everything here is expanded from messages.def. The reader never allocates: spans and lists of an unpacked message are
 * views into the frame and live as long as the frame's bytes. It accepts exactly the bytes that the packer would write:
 * shortest encodings, exact arity, bounds of every field, no trailing bytes; and only messages that `from` may send to
 * `to`.
 */
#pragma once

#include "common/base.h"

enum role {
#define ROLE(NAME, text, number) ROLE_##NAME = (number),
#include "proto/roles.def"
#undef ROLE
	N_ROLES,
};

enum proto_method { PROTO_GET, PROTO_POST, PROTO_HEAD, PROTO_DELETE };

enum proto_auth {
#define AUTH(NAME, number, kind, doc) PROTO_AUTH_##NAME = (number),
#include "proto/auth.def"
#undef AUTH
};

enum proto_kind { PROTO_KIND_U64, PROTO_KIND_STR, PROTO_KIND_BIN, PROTO_KIND_LIST };
enum proto_class { PROTO_PUBLIC, PROTO_PRIVATE, PROTO_SECRET };

enum {
	PROTO_FLAG_FD = 1,       /* exactly one descriptor travels with it */
	PROTO_FLAG_FD_MAYBE = 2, /* at most one */
};

/* A whole frame body, so also the largest message. */
#define PROTO_FRAME_BYTES_MAX 131072
#define PROTO_FIELDS_MAX      32

/*
 * A list of items. To pack: `items` points at an array of `count` item structs. After unpacking: `items` is NULL and
 * `raw` holds the checked encodings, read one by one with proto_<item>_next(). Packing prefers `raw` where it is set.
 */
struct proto_list {
	const void *items;
	size_t count;
	struct span raw;
};

#include "proto/messages.def"

enum proto_type {
#define M(NAME, name, number, from, to, flags, doc) PROTO_##NAME = (number),
	PROTO_MESSAGES(M)
#undef M
};

/* Members stand in wire order, each of a size that its kind tells: who walks a descriptor needs no offsets. */
#define PROTO_FIELD_U64(field)                     uint64_t field;
#define PROTO_FIELD_STR(field)                     struct span field;
#define PROTO_FIELD_BIN(field)                     struct span field;
#define PROTO_F(kind, field, min, max, class, doc) PROTO_FIELD_##kind(field)
#define PROTO_L(item, field, max, class, doc)      struct proto_list field;
#define PROTO_STRUCT(name)                   \
	struct proto_##name {                \
		MSG_##name(PROTO_F, PROTO_L) \
	};
#define M(NAME, name, ...) PROTO_STRUCT(name)
PROTO_MESSAGES(M)
PROTO_ITEMS(M)
PROTO_RECORDS(M)
#undef M

/* Large enough and aligned for any message. */
union proto_any {
#define M(NAME, name, ...) struct proto_##name name;
	PROTO_MESSAGES(M)
#undef M
};

struct sink;
struct reader;
struct proto_field {
	const char *name;
	enum proto_kind kind;
	enum proto_class class;
	uint64_t min, max; /* value for U64, bytes for STR and BIN, items for LIST */
	const struct proto_desc *item;
	const char *doc;
};

struct proto_desc {
	const char *name;
	uint32_t type; /* 0 for items and records */
	uint32_t flags;
	bool secret;       /* has a field of class SECRET: wipe the frame after use */
	uint64_t from, to; /* BIT(role) */
	uint16_t size, n_fields;
	const struct proto_field *fields;
	const char *doc;
	int (*pack)(struct sink *to, const void *msg); /* codec.h */
	int (*unpack)(struct reader *from, void *ret);
};

#define M(NAME, name, ...) extern const struct proto_desc proto_##name##_desc;
PROTO_MESSAGES(M)
PROTO_ITEMS(M)
PROTO_RECORDS(M)
#undef M

enum proto_err {
	PROTO_E_MALFORMED = 1, /* not msgpack of the expected form, or not its shortest encoding */
	PROTO_E_TYPE,          /* no such message */
	PROTO_E_DIRECTION,     /* this role may not say that to that one */
	PROTO_E_BOUNDS,        /* a field is out of its bounds */
	PROTO_E_SPACE,         /* packing: does not fit */
};

/* NULL where there is none. */
const struct proto_desc *proto_desc_of(uint64_t type);
const struct proto_desc *const *proto_descs(size_t *ret_n);
const char *role_name(enum role role);

/*
 * Reads one frame body. On success *ret_msg holds the member named by *ret_desc. 0 or PROTO_E_*; nothing is touched on
 * failure but *ret_msg, whose contents are then undefined.
 */
MUST_USE int proto_unpack(struct span body, enum role from, enum role to, uint64_t *ret_id,
			  const struct proto_desc **ret_desc, union proto_any *ret_msg);
/* Writes [type, id, field...]. 0, PROTO_E_BOUNDS (our own message is out of bounds: a defect) or PROTO_E_SPACE. */
MUST_USE int proto_pack(const struct proto_desc *desc, uint64_t id, const void *msg, uint8_t *to, size_t cap,
			size_t *ret_len);
/* Items and records, packed alone as [field...]. `body` must be consumed exactly. */
MUST_USE int proto_unpack_record(const struct proto_desc *desc, struct span body, void *ret_rec);
MUST_USE int proto_pack_record(const struct proto_desc *desc, const void *rec, uint8_t *to, size_t cap,
			       size_t *ret_len);

/* Takes the next item of an unpacked list: true and *ret_item, or false at the end. */
bool proto_list_next(struct proto_list *list, const struct proto_desc *item, void *ret_item);
#define M(NAME, name)                                                                             \
	static inline bool proto_##name##_next(struct proto_list *list, struct proto_##name *ret) \
	{                                                                                         \
		return proto_list_next(list, &proto_##name##_desc, ret);                          \
	}
PROTO_ITEMS(M)
#undef M

/* Hash of messages.def as this program was built with it; FNV-1a over every name, bound, class and direction. */
uint64_t proto_schema_hash(void);
