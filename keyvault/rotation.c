/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives a rotation (rotate.h). Before each step the log must have its record; a log or an authd that is away is waited
 * for, and a step that could not be saved is tried again.
 *
 *      VAULT_ROTATE -> record pending -> begin -> DONE to the operator, who may go
 *      then, from the loop: record acknowledged -> read back -> record active -> flip
 *      -> CREDENTIAL_SWAP, CREDENTIAL_SWAPPED, again and again -> record rewrapped
 *      -> CREDENTIAL_REPLAY, CREDENTIAL_LOAD..., CREDENTIAL_REPLAYED -> record verified -> record retired -> wipe
 *
 * One batch is under way at a time, of at most 64 credentials: a millisecond or two of this process and of authd, so
 * that a request waits no longer. A rate limit lies between batches. (Four under way at a time were not faster: both
 * processes work most of the time as it is.)
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"
#include "keyvault/core.h"

#define ROTATION_AUDIT_MS 5000
#define ROTATION_AUTHD_MS 30000
#define ROTATION_RETRY_MS 500
#define ROTATION_TICK_MS  100   /* of the rate limit */
#define ROTATION_ROOM_MS  10000 /* what has no room is told and recorded each time */

#define ROTATION_SWAP_BYTES 12288
#define ROTATION_ITEM_BYTES 120 /* of a swap, besides its part */

static void on_rotation_timer(uv_timer_t *timer);

static void rotation_later(struct core *c, uint64_t ms)
{
	(void)uv_timer_start(&c->rotation.timer, on_rotation_timer, ms, 0);
}

static void rotation_wait(struct core *c, const char *what)
{
	c->rotation.waits = what;
	rotation_later(c, ROTATION_RETRY_MS);
}

static void rotation_record(const struct core *c, enum rotate_step step, enum rotate_what what, struct span tenant,
			    const char *actor, struct proto_event *ret_event)
{
	*ret_event = (struct proto_event){.code = EVENT_VAULT_ROTATE,
					  .actor = span_str(actor),
					  .tenant = tenant,
					  .resource = span_str(rotate_what_name(what)),
					  .reason = span_str(rotate_step_name(step)),
					  .bytes = c->rotation.done};
}

/* ---- one step ---- */

static void rotation_finish(struct core *c)
{
	c->rotation.finished++;
	log_event(&c->daemon.log, LOG_VAULT_ROTATED, LOG_U64("credentials", c->rotation.done));
}

static void on_step_recorded(void *ctx, bool durable)
{
	struct core *c = ctx;

	c->rotation.busy = false;
	if (!vault_is_open(&c->vault) || rotate_step(&c->vault) == ROTATE_IDLE)
		return;
	if (!durable) {
		rotation_wait(c, "audit");
		return;
	}
	/* What was loaded while the record was written may be under the old key. */
	if (rotate_step(&c->vault) >= ROTATE_ACTIVE && rotate_left(&c->vault) > 0) {
		rotate_reopen(&c->vault);
		rotation_later(c, 0);
		return;
	}
	int r = rotate_advance(&c->vault);
	if (r) {
		log_event(&c->daemon.log, LOG_VAULT_REFUSED,
			  LOG_STR("why", r > 0 ? vault_refusal(r)->text : "no memory"));
		rotation_wait(c, "storage");
		return;
	}
	if (rotate_step(&c->vault) == ROTATE_IDLE)
		rotation_finish(c);
	rotation_later(c, 0);
}

static void rotation_step(struct core *c)
{
	const struct keys_rotation *r = &c->vault.keys.rotation;
	struct proto_event event;

	rotation_record(c, rotate_step(&c->vault) + 1, (enum rotate_what)r->what, span_str(r->tenant), "keyvault",
			&event);
	c->rotation.busy = true;
	if (audit_record_wait(c->audit, &event, ROTATION_AUDIT_MS, on_step_recorded, c)) {
		c->rotation.busy = false;
		rotation_wait(c, "audit");
	}
}

/* ---- the credentials ---- */

static size_t rotation_batch_max(const struct core *c)
{
	uint32_t rate = c->vault.keys.rotation.rate;

	return rate ? MIN((size_t)rate * ROTATION_TICK_MS / 1000 + 1, (size_t)CORE_SWAPS_MAX) : CORE_SWAPS_MAX;
}

/* What fits into the one buffer of this connection, which lies in the arena, with room for what else is said. */
static size_t rotation_fill(struct core *c, struct proto_credential_swap_item *items)
{
	struct core_rotation *r = &c->rotation;
	size_t used = 0, max = rotation_batch_max(c);

	for (r->n_swaps = 0; r->n_swaps < max && used < ROTATION_SWAP_BYTES; r->n_swaps++) {
		struct rotate_swap *swap = &r->swaps[r->n_swaps];
		size_t at = r->at;
		swap->blob = r->blobs[r->n_swaps];
		if (!rotate_pick(&c->vault, &r->at, swap))
			break;
		used += swap->len + ROTATION_ITEM_BYTES;
		if (used > ROTATION_SWAP_BYTES && r->n_swaps > 0) {
			r->at = at; /* the next time */
			break;
		}
		items[r->n_swaps] =
			(struct proto_credential_swap_item){.credential = span_str(swap->id),
							    .version = swap->version,
							    .old = span_of(swap->old, sizeof(swap->old)),
							    .at = swap->at,
							    .part = span_of(swap->blob + swap->at, swap->len)};
	}
	return r->n_swaps;
}

static void on_swapped(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	struct core *c = ctx;
	struct core_rotation *r = &c->rotation;
	uint32_t rate = c->vault.keys.rotation.rate;

	if (fd >= 0)
		(void)close(fd);
	r->busy = false;
	if (outcome != IPC_REPLY || desc->type != PROTO_CREDENTIAL_SWAPPED || !vault_is_open(&c->vault)) {
		rotation_wait(c, "authd");
		return;
	}
	const struct proto_credential_swapped *m = msg;
	for (size_t i = 0; i < MIN(m->done.len, r->n_swaps); i++)
		if (m->done.p[i] == 1) {
			r->done++;
			if (rotate_swapped(&c->vault, &r->swaps[i]))
				rotation_wait(c, "memory"); /* authd has it, and sends it again */
		}
	rotation_later(c, m->done.len == 0 ? ROTATION_RETRY_MS : rate ? r->n_swaps * 1000 / rate : 0);
}

static void on_replayed(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	struct core *c = ctx;

	(void)msg;
	if (fd >= 0)
		(void)close(fd);
	c->rotation.busy = false;
	if (outcome != IPC_REPLY || desc->type != PROTO_CREDENTIAL_REPLAYED || !vault_is_open(&c->vault)) {
		rotation_wait(c, "authd");
		return;
	}
	(void)store_drop_unseen(&c->vault.store); /* rows that are gone */
	c->rotation.at = 0;
	bool left = rotate_left(&c->vault) > 0;
	if (left && rotate_step(&c->vault) != ROTATE_IDLE)
		rotate_reopen(&c->vault);
	c->rotation.replayed = !left && !c->rotation.missed;
	if (c->rotation.missed)
		c->rotation.waits = "storage";
	rotation_later(c, c->rotation.missed ? ROTATION_ROOM_MS : left ? ROTATION_TICK_MS : 0);
}

/* Nothing that authd has may be under an old key: it is asked for everything, not for what it thinks. */
static void rotation_replay(struct core *c)
{
	store_unsee(&c->vault.store);
	c->rotation.missed = false;
	c->rotation.busy = true;
	if (ipc_call(core_authd(c), PROTO_CREDENTIAL_REPLAY, &(struct proto_credential_replay){}, -1, ROTATION_AUTHD_MS,
		     on_replayed, c, NULL)) {
		c->rotation.busy = false;
		rotation_wait(c, "authd");
	}
}

static void rotation_swap(struct core *c)
{
	struct proto_credential_swap_item items[CORE_SWAPS_MAX];
	size_t n = rotation_fill(c, items);
	struct proto_credential_swap swap = {.items = {.items = items, .count = n}};

	if (n == 0) { /* to be counted now, and not for each batch: that takes as long as there are credentials */
		c->rotation.at = 0;
		if (rotate_left(&c->vault) == 0)
			rotation_step(c);
		else
			rotation_replay(c); /* they cannot be replaced as they are: authd says again what it has */
		return;
	}
	c->rotation.busy = true;
	if (ipc_call(core_authd(c), PROTO_CREDENTIAL_SWAP, &swap, -1, ROTATION_AUTHD_MS, on_swapped, c, NULL)) {
		c->rotation.busy = false;
		c->rotation.at = 0;
		rotation_wait(c, "authd");
	}
}

/* ---- what comes next ---- */

static void on_rotation_timer(uv_timer_t *timer)
{
	struct core *c = timer->data;
	struct core_rotation *r = &c->rotation;

	if (r->busy || !vault_is_open(&c->vault) || rotate_step(&c->vault) == ROTATE_IDLE)
		return;
	const char *waits = rotate_waits(&c->vault);
	r->waits = waits ? waits : "";
	if (waits)
		return; /* until the vault is opened again */
	bool root = c->vault.keys.rotation.what == ROTATE_ROOT;
	/* What was sealed under the old key and is not stored yet would be left behind. */
	if (rotate_step(&c->vault) == ROTATE_ACTIVE && tokens_any_pending(&c->tokens))
		rotation_wait(c, "token");
	else if (rotate_step(&c->vault) == ROTATE_ACTIVE)
		rotation_swap(c);
	else if (rotate_step(&c->vault) == ROTATE_REWRAPPED && !root && !r->replayed)
		rotation_replay(c);
	else
		rotation_step(c);
}

void core_rotation_kick(struct core *c)
{
	if (vault_is_open(&c->vault) && rotate_step(&c->vault) != ROTATE_IDLE && !c->rotation.busy)
		rotation_later(c, 0);
}

int core_rotation_init(struct core *c)
{
	c->rotation.timer.data = c;
	c->rotation.waits = "";
	return uv_timer_init(&c->daemon.loop, &c->rotation.timer) ? err_origin(-EIO) : 0;
}

/* ---- the operator ---- */

/* VAULT_ROTATE, until the log has it. The secrets are wiped with it. */
struct rotation_request {
	struct ipc_conn *conn; /* first; NULL: the operator has gone */
	struct core *core;
	uint64_t id;
	enum rotate_what what;
	char tenant[KEYS_TENANT_BYTES];
	uint32_t rate;
	struct secret by, root; /* root keys, now and then */
	uint8_t sealed[ROOT_SEALED_BYTES];
};

static void rotation_request_free(struct rotation_request *q)
{
	if (q->conn)
		ipc_conn_set_ctx(q->conn, NULL);
	secret_free(q->core->arena, &q->by);
	secret_free(q->core->arena, &q->root);
	free(q);
}

static int rotation_begin(struct rotation_request *q)
{
	struct core *c = q->core;
	struct vault *v = &c->vault;

	if (!vault_is_open(v))
		return VAULT_E_SEALED;
	c->rotation.done = 0;
	c->rotation.at = 0;
	c->rotation.replayed = false;
	if (q->what != ROTATE_ROOT)
		return rotate_begin(v, q->what, span_str(q->tenant), q->rate);
	secret_open(c->arena);
	struct span file = v->files.configured_key  ? SPAN_NULL
			   : v->files.by_passphrase ? span_of(q->sealed, sizeof(q->sealed))
						    : span_of(q->root.p, q->root.len);
	int r = rotate_begin_root(v, &q->by, &q->root, file);
	secret_close(c->arena);
	return r;
}

static void on_begin_recorded(void *ctx, bool durable)
{
	struct rotation_request *q = ctx;
	struct core *c = q->core;
	int e = durable ? rotation_begin(q) : 0, r = 0;

	if (e < 0)
		e = VAULT_E_FULL;
	if (!e)
		core_rotation_kick(c);
	if (q->conn)
		r = !durable ? core_refuse(q->conn, q->id, "audit_unavailable",
					   "the log did not confirm in time; nothing was done")
		    : e      ? core_refuse_vault(q->conn, q->id, e)
			     : core_done(q->conn, q->id, "begun");
	if (r)
		ipc_drop(q->conn, "could not be answered");
	rotation_request_free(q);
}

/* The operator's new one, which came as bytes. */
static int rotation_parse_root(struct rotation_request *q, struct span file)
{
	struct files *f = &q->core->vault.files;
	int e = root_parse_file(q->core->arena, file, &q->root);

	if (!e || e == ROOT_E_FULL)
		return e ? VAULT_E_FULL : 0;
	(void)snprintf(f->why, sizeof(f->why), "the new root key: %s", root_err_text(e));
	return VAULT_E_KEY_FILE;
}

/* The two root keys: the operator proves the one, the other is made or given. */
static int rotation_take_root(struct rotation_request *q, const struct proto_vault_rotate *m, int key_fd,
			      uint64_t now_ms)
{
	struct core *c = q->core;
	struct vault *v = &c->vault;
	uint8_t old_id[KEYS_ROOT_ID_BYTES], new_id[KEYS_ROOT_ID_BYTES];

	int r = vault_current_root(v, m->passphrase, key_fd, now_ms, &q->by);
	if (r)
		return r;
	if (v->files.configured_key)
		r = rotation_parse_root(q, m->root);
	else
		r = root_generate(c->arena, &q->root) ? VAULT_E_FULL : 0;
	if (!r && v->files.by_passphrase)
		r = root_seal(c->arena, &q->root, m->passphrase, q->sealed) ? VAULT_E_MEMORY : 0;
	if (r)
		return r;
	keys_root_id(c->arena, &q->by, old_id);
	keys_root_id(c->arena, &q->root, new_id);
	return memcmp(old_id, new_id, sizeof(old_id)) == 0 ? VAULT_E_SAME : 0;
}

static int rotation_prepare(struct rotation_request *q, const struct proto_vault_rotate *m, int key_fd, uint64_t now_ms)
{
	struct vault *v = &q->core->vault;
	int r = vault_is_open(v)       ? rotate_check(v, q->what, m->tenant)
		: v->files.initialised ? VAULT_E_SEALED
				       : VAULT_E_UNINITIALISED;

	if (!r && q->what == ROTATE_ROOT)
		return rotation_take_root(q, m, key_fd, now_ms);
	if (key_fd >= 0)
		(void)close(key_fd);
	return r;
}

static bool rotation_is_this(const struct core *c, const struct proto_vault_rotate *m)
{
	const struct keys_rotation *r = &c->vault.keys.rotation;

	return vault_is_open(&c->vault) && r->what == m->what && span_eq_str(m->tenant, r->tenant);
}

int core_handle_rotate(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_rotate *m = msg;
	struct core *c = ctx;
	struct proto_event event;
	char actor[CORE_ACTOR_BYTES];

	struct rotation_request *q = calloc(1, sizeof(*q));
	if (!q || ipc_conn_ctx(conn) || rotation_is_this(c, m)) {
		if (fd >= 0)
			(void)close(fd);
		free(q);
		return !q                   ? err_origin(-ENOMEM)
		       : ipc_conn_ctx(conn) ? IPC_E_VIOLATION
					    : core_done(conn, id, "under way already");
	}
	*q = (struct rotation_request){.core = c, .id = id};
	q->what = (enum rotate_what)m->what;
	q->rate = (uint32_t)m->rate;
	if (m->tenant.len)
		memcpy(q->tenant, m->tenant.p, m->tenant.len);
	int r = rotation_prepare(q, m, fd, ipc_now_ms(c->daemon.ipc));
	if (r) {
		rotation_request_free(q);
		return r < 0 ? r : core_refuse_proof(c, conn, id, r);
	}
	core_actor(conn, actor);
	c->rotation.done = 0;
	rotation_record(c, ROTATE_PENDING, q->what, span_str(q->tenant), actor, &event);
	q->conn = conn;
	ipc_conn_set_ctx(conn, q);
	if (audit_record_wait(c->audit, &event, ROTATION_AUDIT_MS, on_begin_recorded, q) == 0)
		return 0;
	rotation_request_free(q);
	return core_refuse(conn, id, "audit_unavailable",
			   "the log is not available; no key is rotated without its record");
}

int core_handle_rotation(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct core *c = ctx;
	const struct vault *v = &c->vault;
	const struct keys_rotation *r = &v->keys.rotation;
	bool on = r->what != ROTATE_NONE;
	size_t left = 0, total = 0;
	bool begun = on && r->step >= ROTATE_ACTIVE; /* before that nothing is of the old, so nothing left, nor done */

	(void)msg;
	(void)fd;
	if (!vault_is_open(v)) /* then we do not know */
		return core_refuse_vault(conn, id, v->files.initialised ? VAULT_E_SEALED : VAULT_E_UNINITIALISED);
	if (on)
		rotate_count(&c->vault, &left, &total);
	return core_send(conn, PROTO_VAULT_ROTATION_REP, id,
			 &(struct proto_vault_rotation_rep){
				 .what = on ? r->what : 0,
				 .tenant = span_str(on ? r->tenant : ""),
				 .step = span_str(on ? rotate_step_name((enum rotate_step)r->step) : ""),
				 .done = begun ? total - left : 0,
				 .total = total,
				 .waits = span_str(on ? c->rotation.waits : ""),
				 .finished = c->rotation.finished});
}
