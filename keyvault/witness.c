/* SPDX-License-Identifier: Apache-2.0 */
/* A slot: "BHW1" | u64 BE count | u64 BE size | root 32 | u8 origin length | origin, zero-padded | BLAKE2b-256 of all
 * that. */
#include "keyvault/witness.h"

#include <assert.h>
#include <sodium.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/err.h"

#define WITNESS_SLOT_EVERY 4096
#define WITNESS_MAGIC      "BHW1"
#define WITNESS_SUM_BYTES  32

enum {
	WITNESS_AT_COUNT = 4,
	WITNESS_AT_SIZE = WITNESS_AT_COUNT + 8,
	WITNESS_AT_ROOT = WITNESS_AT_SIZE + 8,
	WITNESS_AT_ORIGIN = WITNESS_AT_ROOT + WITNESS_ROOT_BYTES,
	WITNESS_AT_SUM = WITNESS_AT_ORIGIN + 1 + WITNESS_ORIGIN_BYTES_MAX,
	WITNESS_SLOT_BYTES = WITNESS_AT_SUM + WITNESS_SUM_BYTES,
};

static bool witness_parse(const uint8_t slot[WITNESS_SLOT_BYTES], struct witness *ret_witness)
{
	uint8_t sum[WITNESS_SUM_BYTES];
	size_t origin_len = slot[WITNESS_AT_ORIGIN];

	(void)crypto_generichash(sum, sizeof(sum), slot, WITNESS_AT_SUM, NULL, 0);
	if (!span_eq(span_of(slot, 4), SPAN_LIT(WITNESS_MAGIC)) ||
	    !span_eq(span_of(slot + WITNESS_AT_SUM, sizeof(sum)), span_of(sum, sizeof(sum))) || origin_len == 0 ||
	    origin_len > WITNESS_ORIGIN_BYTES_MAX)
		return false;
	ret_witness->count = get_be64(slot + WITNESS_AT_COUNT);
	ret_witness->size = get_be64(slot + WITNESS_AT_SIZE);
	memcpy(ret_witness->root, slot + WITNESS_AT_ROOT, WITNESS_ROOT_BYTES);
	memcpy(ret_witness->origin, slot + WITNESS_AT_ORIGIN + 1, WITNESS_ORIGIN_BYTES_MAX);
	return true;
}

int witness_load(int fd, struct witness *ret_witness)
{
	struct witness w = {.fd = fd};
	bool empty = true;

	for (unsigned i = 0; i < 2; i++) {
		uint8_t slot[WITNESS_SLOT_BYTES];
		struct witness found = {.fd = fd};
		ssize_t n = pread(fd, slot, sizeof(slot), (off_t)i * WITNESS_SLOT_EVERY);
		if (n < 0)
			return err_origin(-errno);
		/* Zeros: of the very first save only the length reached the disk, so nothing followed from it. */
		empty = empty && sodium_is_zero(slot, (size_t)n);
		if (n == sizeof(slot) && witness_parse(slot, &found) && found.count > w.count)
			w = found;
	}
	if (w.count == 0 && !empty)
		return WITNESS_E_DAMAGED;
	*ret_witness = w;
	return 0;
}

int witness_save(struct witness *w, struct span origin, uint64_t size, const uint8_t root[WITNESS_ROOT_BYTES])
{
	struct witness next = {.fd = w->fd, .count = w->count + 1, .size = size};
	uint8_t slot[WITNESS_SLOT_BYTES] = {0};

	assert(origin.len > 0 && origin.len <= WITNESS_ORIGIN_BYTES_MAX);
	memcpy(next.root, root, sizeof(next.root));
	memcpy(next.origin, origin.p, origin.len);
	memcpy(slot, WITNESS_MAGIC, 4);
	put_be64(slot + WITNESS_AT_COUNT, next.count);
	put_be64(slot + WITNESS_AT_SIZE, size);
	memcpy(slot + WITNESS_AT_ROOT, root, WITNESS_ROOT_BYTES);
	slot[WITNESS_AT_ORIGIN] = (uint8_t)origin.len;
	memcpy(slot + WITNESS_AT_ORIGIN + 1, origin.p, origin.len);
	(void)crypto_generichash(slot + WITNESS_AT_SUM, WITNESS_SUM_BYTES, slot, WITNESS_AT_SUM, NULL, 0);
	off_t at = (off_t)(next.count % 2) * WITNESS_SLOT_EVERY;
	if (pwrite(w->fd, slot, sizeof(slot), at) != sizeof(slot) || fdatasync(w->fd))
		return WITNESS_E_STORAGE;
	*w = next;
	return 0;
}
