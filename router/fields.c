/* SPDX-License-Identifier: Apache-2.0 */
#include "router/fields.h"

#include "common/err.h"

#define FIELDS_UP_MAX          48 /* OPEN.headers */
#define FIELDS_NAME_BYTES_MAX  128
#define FIELDS_VALUE_BYTES_MAX 8192

/* A name that ends in `-` stands for all that begin with it. */
#define FIELDS_UP(F)             \
	F("accept")              \
	F("anthropic-beta")      \
	F("anthropic-version")   \
	F("idempotency-key")     \
	F("openai-beta")         \
	F("openai-organization") \
	F("openai-project")      \
	F("x-claude-code-")      \
	F("x-stainless-")        \
	F("user-agent")          \
	F("session_id")          \
	F("originator")

static const char *const up[] = {
#define F(name) name,
	FIELDS_UP(F)
#undef F
};

/* As the egress has named them. */
static const char *const down[] = {
#define PASSED(theirs, ours) ours,
#include "proto/passed.def"
#undef PASSED
};

static bool fields_name_is(struct span name, const char *pattern)
{
	if ((name.p[0] | 0x20) != pattern[0])
		return false;
	size_t len = strlen(pattern);
	if (pattern[len - 1] != '-')
		return http_name_is(name, pattern);
	return name.len > len && http_name_is(span_of(name.p, len), pattern);
}

/* Letters of both cases at once, by their last five bits. */
static inline uint64_t fields_initial(uint8_t c)
{
	return BIT(c & 0x1f);
}

static bool fields_may_go_up(struct span name)
{
#define F(text) | fields_initial((uint8_t)(text)[0])
	const uint64_t initials = 0 FIELDS_UP(F);
#undef F

	if (!(initials & fields_initial(name.p[0])))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(up); i++)
		if (fields_name_is(name, up[i]))
			return true;
	return false;
}

/* The name in small letters. */
static int fields_pack(struct buf *to, struct span name, struct span value)
{
	const struct proto_header item = {.name = name, .value = value};
	uint8_t *p;
	size_t len;

	if (value.len > FIELDS_VALUE_BYTES_MAX)
		return FIELDS_E_TOO_LARGE;
	int r = buf_reserve(to, name.len + value.len + 16, &p);
	if (r)
		return r < 0 ? r : FIELDS_E_TOO_LARGE;
	r = proto_pack_record(&proto_header_desc, &item, p, name.len + value.len + 16, &len);
	if (r)
		return err_fold(r);
	buf_commit(to, len);
	return 0;
}

static int fields_pack_client(struct buf *to, const struct http_field *field)
{
	uint8_t lower[FIELDS_NAME_BYTES_MAX];
	struct span name = field->name;

	if (name.len > sizeof(lower))
		return FIELDS_E_TOO_LARGE;
	for (size_t i = 0; i < name.len; i++)
		lower[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i];
	return fields_pack(to, span_of(lower, name.len), field->value);
}

int fields_to_upstream(const struct http_head *head, struct span request_id, struct buf *to, size_t *ret_n)
{
	int r = fields_pack(to, SPAN_LIT("content-type"), SPAN_LIT("application/json"));
	size_t n = 2;

	if (!r)
		r = fields_pack(to, SPAN_LIT("x-request-id"), request_id);
	for (size_t i = 0; i < head->n_fields && !r; i++) {
		if (!fields_may_go_up(head->fields[i].name))
			continue;
		if (n == FIELDS_UP_MAX)
			return FIELDS_E_TOO_LARGE;
		r = fields_pack_client(to, &head->fields[i]);
		n++;
	}
	*ret_n = n;
	return r;
}

/* The egress promises it; a captured one might not keep it. */
static bool fields_one_line(struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.p[i] < 0x20 && value.p[i] != '\t')
			return false;
	return true;
}

void fields_to_client(struct http_write *w, struct proto_list *list)
{
	struct proto_header h;

	while (proto_header_next(list, &h))
		for (size_t i = 0; i < ARRAY_LEN(down); i++) {
			if (!http_name_is(h.name, down[i]))
				continue;
			if (fields_one_line(h.value))
				http_write_field(w, down[i], h.value);
			break;
		}
}

struct span fields_find(const struct proto_list *list, const char *name)
{
	struct proto_list rest = *list;
	struct proto_header h;

	while (proto_header_next(&rest, &h))
		if (http_name_is(h.name, name))
			return h.value;
	return SPAN_NULL;
}
