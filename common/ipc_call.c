/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: a message sent that awaits one answer with the same id.
 *
 * An id is a counter and the number of a slot in the connection's table, so an answer finds its call without searching.
 * The slot of a finished, expired or forgotten call is free again and its old id matches no more: a late answer is
 * dropped. An answer with an id that was never given out is a violation.
 */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"
#include "common/ipc_internal.h"

#define SLOT_BITS 12
static_assert(IPC_CALLS_MAX == 1 << SLOT_BITS, "a slot's number must fit into an id");

#define NO_SLOT UINT32_MAX

static struct ipc_call *call_of(struct ipc_conn *c, uint64_t id)
{
	uint32_t slot = (uint32_t)(id & (IPC_CALLS_MAX - 1));

	return slot < c->n_calls && c->calls[slot].id == id && id ? &c->calls[slot] : NULL;
}

/* Frees the slot and says what to call. */
static struct ipc_call call_end(struct ipc_conn *c, struct ipc_call *call)
{
	struct ipc_call ended = *call;

	*call = (struct ipc_call){.next_free = c->free_call};
	c->free_call = (uint32_t)(call - c->calls);
	c->live_calls--;
	return ended;
}

/* A free slot, the table doubling when there is none. 0, IPC_E_FULL or -ENOMEM. */
static int call_slot(struct ipc_conn *c, uint32_t *ret_slot)
{
	if (c->live_calls == c->n_calls) {
		uint32_t n = c->n_calls ? c->n_calls * 2 : 16;
		if (n > IPC_CALLS_MAX)
			return IPC_E_FULL;
		struct ipc_call *calls = realloc(c->calls, n * sizeof *calls);
		if (!calls)
			return err_origin(-ENOMEM);
		for (uint32_t i = c->n_calls; i < n; i++)
			calls[i] = (struct ipc_call){.next_free = i + 1 < n ? i + 1 : NO_SLOT};
		c->free_call = c->n_calls;
		c->calls = calls;
		c->n_calls = n;
	}
	*ret_slot = c->free_call;
	return 0;
}

int ipc_call(struct ipc_conn *c, enum proto_type type, const void *msg, int fd, uint64_t deadline_ms, ipc_reply *reply,
	     void *ctx, uint64_t *ret_id)
{
	uint32_t slot;
	int r = !c || c->state != IPC_CONN_OPEN ? IPC_E_DOWN : call_slot(c, &slot);

	if (r) {
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	uint64_t id = (c->call_count + 1) << SLOT_BITS | slot;
	r = ipc_send_fd(c, type, id, msg, fd);
	if (r)
		return r;
	struct ipc_call *call = &c->calls[slot];
	c->call_count++;
	c->free_call = call->next_free;
	c->live_calls++;
	*call = (struct ipc_call){id, ipc_now_ms(c->ipc) + deadline_ms, reply, ctx, NO_SLOT};
	ipc_arm(c->ipc);
	if (ret_id)
		*ret_id = id;
	return 0;
}

void ipc_forget(struct ipc_conn *c, uint64_t id)
{
	struct ipc_call *call = c ? call_of(c, id) : NULL;

	if (call)
		(void)call_end(c, call);
}

bool ipc_call_answer(struct ipc_conn *c, uint64_t id, const struct proto_desc *desc, const void *msg, int fd)
{
	struct ipc_call *call = call_of(c, id);

	if (call) {
		struct ipc_call ended = call_end(c, call);
		ended.reply(ended.ctx, IPC_REPLY, desc, msg, fd);
		return true;
	}
	if (fd >= 0)
		(void)close(fd);
	return id >> SLOT_BITS != 0 && id >> SLOT_BITS <= c->call_count;
}

static void call_end_all(struct ipc_conn *c, uint64_t until_ms, enum ipc_outcome outcome)
{
	for (uint32_t i = 0; i < c->n_calls && c->live_calls > 0; i++)
		if (c->calls[i].id && c->calls[i].deadline_ms <= until_ms) {
			struct ipc_call ended = call_end(c, &c->calls[i]);
			ended.reply(ended.ctx, outcome, NULL, NULL, -1);
		}
}

void ipc_call_expire(struct ipc_conn *c, uint64_t now_ms)
{
	call_end_all(c, now_ms, IPC_TIMEOUT);
}

void ipc_call_lost(struct ipc_conn *c)
{
	call_end_all(c, UINT64_MAX, IPC_LOST);
}
