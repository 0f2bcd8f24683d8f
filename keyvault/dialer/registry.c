/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/dialer/registry.h"

#include <assert.h>
#include <sys/socket.h>

enum { PRIVATE, NEVER };

/* clang-format off */
#define ROW(block_, bits_, verdict, what_, by_) {.block = (block_), .bits = (bits_), .never = (verdict) == NEVER, .what = (what_), .by = (by_)},
#define SPECIAL(...)
#define CARRIER(...)
#define GLOBAL(...)
#define NAME(...)

#undef SPECIAL
#define SPECIAL ROW
static const struct registry_row registry_rows[] = {
#include "keyvault/dialer/registry.def"
};
#undef SPECIAL
#define SPECIAL(...)

#undef GLOBAL
#define GLOBAL(block, bits, by) ROW(block, bits, PRIVATE, "global unicast", by)
static const struct registry_row registry_global[] = {
#include "keyvault/dialer/registry.def"
};
#undef GLOBAL
#define GLOBAL(...)

#undef CARRIER
#define CARRIER(block, bits, what) ROW(block, bits, PRIVATE, what, "")
static const struct registry_row registry_carriers[] = {
#include "keyvault/dialer/registry.def"
};
#undef CARRIER
#define CARRIER(...)

#undef NAME
#define NAME(name_, verdict, by_) {.name = (name_), .never = (verdict) == NEVER, .by = (by_)},
static const struct registry_name registry_names[] = {
#include "keyvault/dialer/registry.def"
};
/* clang-format on */

static const struct registry_row registry_not_global = {
	.block = "::", .what = "not global unicast", .by = "RFC 4291", .never = true};

static bool registry_within(const struct address *a, const char *block, unsigned bits)
{
	struct address_block b = {.bits = bits};
	bool ok = address_parse(span_str(block), &b.first);

	assert(ok); /* our own table */
	return ok && address_within(a, &b);
}

const struct registry_row *registry_special(const struct address *a)
{
	for (size_t i = 0; i < ARRAY_LEN(registry_rows); i++)
		if (registry_within(a, registry_rows[i].block, registry_rows[i].bits))
			return &registry_rows[i];
	if (a->family == AF_INET)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(registry_global); i++)
		if (registry_within(a, registry_global[i].block, registry_global[i].bits))
			return NULL;
	return &registry_not_global;
}

const char *registry_carried(const struct address *a, struct address *ret_v4)
{
	for (size_t i = 0; i < ARRAY_LEN(registry_carriers); i++) {
		if (!registry_within(a, registry_carriers[i].block, registry_carriers[i].bits))
			continue;
		ret_v4->family = AF_INET;
		memcpy(ret_v4->v4, a->v6 + 12, 4);
		return registry_carriers[i].what;
	}
	return NULL;
}

const struct registry_name *registry_name(struct span host)
{
	for (size_t i = 0; i < ARRAY_LEN(registry_names); i++) {
		struct span tail = span_str(registry_names[i].name);
		size_t before = host.len - tail.len;
		if (host.len < tail.len || memcmp(host.p + before, tail.p, tail.len) != 0)
			continue;
		if (before == 0 || host.p[before - 1] == '.')
			return &registry_names[i];
	}
	return NULL;
}
