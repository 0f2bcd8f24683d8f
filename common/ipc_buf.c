/* SPDX-License-Identifier: Apache-2.0 */
/* The two buffers of a connection. In the arena they have one fixed size, since growing would mean a second copy of
 * secrets. */
#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/ipc_internal.h"

int ipc_buf_init(struct ipc_buf *b, struct secret_arena *arena, size_t cap, size_t max)
{
	*b = (struct ipc_buf){.cap = cap, .max = max};
	if (arena) {
		b->cap = b->max = IPC_SECRET_BYTES;
		if (secret_alloc(arena, b->cap, &b->secret))
			return err_origin(-ENOBUFS);
		b->mem = b->secret.p;
		return 0;
	}
	b->mem = malloc(cap);
	return b->mem ? 0 : err_origin(-ENOMEM);
}

void ipc_buf_deinit(struct ipc_buf *b, struct secret_arena *arena)
{
	if (b->secret.p) {
		secret_free(arena, &b->secret);
	} else if (b->mem) {
		if (b->dirty)
			secret_wipe(b->mem, b->cap);
		free(b->mem);
	}
	*b = (struct ipc_buf){0};
}

int ipc_buf_grow(struct ipc_buf *b)
{
	size_t held = b->end - b->begin;

	if (b->begin > 0) {
		memmove(b->mem, b->mem + b->begin, held);
		secret_wipe(b->mem + held, b->end - held); /* what is not decoded yet may be secret too */
		b->begin = 0;
		b->end = held;
		return 0;
	}
	if (b->cap >= b->max)
		return IPC_E_FULL;
	assert(!b->secret.p);
	size_t cap = MIN(b->cap * 2, b->max);
	uint8_t *mem = malloc(cap);
	if (!mem)
		return err_origin(-ENOMEM);
	memcpy(mem, b->mem, held);
	if (b->dirty)
		secret_wipe(b->mem, b->cap);
	free(b->mem);
	b->mem = mem;
	b->cap = cap;
	return 0;
}

void ipc_buf_consume(struct ipc_buf *b, size_t len)
{
	assert(len <= b->end - b->begin);
	b->begin += len;
	if (b->begin < b->end)
		return;
	if (b->dirty)
		secret_wipe(b->mem, b->end);
	b->begin = b->end = 0;
	b->dirty = false;
}
