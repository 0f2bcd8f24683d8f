/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a sealed credential. Oracle: nothing opens but the one blob that was really sealed, so an input that
 * differs from it in any way must be refused; and a blob that parses is exactly its parts, one after the other.
 */
#include <assert.h>
#include <sodium.h>
#include <sys/mman.h>

#include "keyvault/root.h"
#include "keyvault/seal.h"

static struct secret_arena *arena;
static struct keyring keyring;
static struct keys keys;
static uint8_t genuine[SEAL_BYTES_MAX];
static size_t genuine_len;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct proto_binding b = {.tenant = SPAN_LIT("*"),
					.credential = SPAN_LIT("local"),
					.version = 1,
					.since = 1,
					.provider = SPAN_LIT("local"),
					.scheme = SPAN_LIT("https"),
					.host = SPAN_LIT("upstream.test"),
					.port = 443,
					.path_prefix = SPAN_LIT("/"),
					.methods = 3,
					.header = SPAN_LIT("authorization"),
					.prefix = SPAN_LIT("Bearer ")};
	uint8_t packed[SEAL_BINDING_BYTES_MAX];
	struct secret root = SECRET_NULL;
	size_t len;

	(void)argc;
	(void)argv;
	int r = sodium_init() < 0 || secret_arena_new(65536, &arena) || root_generate(arena, &root) ||
		proto_pack_record(&proto_binding_desc, &b, packed, sizeof(packed), &len);
	assert(!r);
	keyring_init(&keyring, arena);
	keys_init(&keys, arena, &keyring, memfd_create("keys", MFD_CLOEXEC));
	r = keys_create(&keys, &root);
	secret_free(arena, &root);
	const struct keys_tenant *tenant;
	if (!r)
		r = keys_ensure(&keys, b.tenant, &tenant);
	if (!r)
		r = seal_credential(&keys, span_of(packed, len), SPAN_LIT("sk-1"), genuine, &genuine_len);
	assert(!r);
	return 0;
}

static bool is_genuine(struct span blob)
{
	return span_eq(blob, span_of(genuine, genuine_len));
}

static void try_blob(struct span blob)
{
	struct seal_view v;
	struct secret plain = SECRET_NULL;

	if (seal_parse(blob, &v))
		return;
	const uint8_t *at = blob.p;
	const struct span parts[] = {v.head, v.key_id, v.wrapped, v.nonce, v.box};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		assert(parts[i].p == at);
		at += parts[i].len;
	}
	assert(at == blob.p + blob.len && v.commitment.p + v.commitment.len == v.key_id.p);
	size_t used = secret_arena_used(arena);
	int r = seal_open(&keys, &v, &plain);
	assert((r == 0) == is_genuine(blob));
	secret_free(arena, &plain);
	assert(secret_arena_used(arena) == used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t mixed[SEAL_BYTES_MAX];

	try_blob(span_of(data, size));
	/* The input over a place in the genuine one: the first two bytes say where. */
	if (size < 3 || size > genuine_len)
		return 0;
	size_t at = ((size_t)data[0] << 8 | data[1]) % genuine_len, n = MIN(size - 2, genuine_len - at);
	memcpy(mixed, genuine, genuine_len);
	memcpy(mixed + at, data + 2, n);
	try_blob(span_of(mixed, genuine_len));
	return 0;
}
