/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/tokens.h"

#include <assert.h>
#include <stdlib.h>

void tokens_init(struct tokens *t, struct secret_arena *arena, const struct tokens_out *out, void *ctx)
{
	*t = (struct tokens){.arena = arena, .out = out, .ctx = ctx};
	list_init(&t->all);
}

void tokens_open(struct tokens *t, uint64_t now_ms)
{
	t->settled_at_ms = now_ms + TOKENS_SETTLE_MS;
	t->inherits_until_ms = now_ms + TOKENS_LEASE_MS;
}

static struct tokens_entry *tokens_find(const struct tokens *t, struct span id)
{
	list_for_each (it, &t->all) {
		struct tokens_entry *e = container_of(it, struct tokens_entry, in_tokens);
		if (span_eq_str(id, e->id))
			return e;
	}
	return NULL;
}

/* Is somebody at it, so that all others wait? */
static bool tokens_is_leased(const struct tokens_entry *e)
{
	return e->lease && !e->late;
}

/* ---- answers ---- */

static void tokens_answer_none(struct tokens *t, struct tokens_entry *e, enum reason why)
{
	while (e->n_waiters > 0)
		t->out->none(t->ctx, e->waiters[--e->n_waiters], why);
}

static void tokens_wipe_token(struct tokens *t, struct tokens_entry *e)
{
	secret_open(t->arena);
	secret_free(t->arena, &e->token);
	secret_close(t->arena);
}

static void tokens_remove(struct tokens *t, struct tokens_entry *e, enum reason why)
{
	tokens_answer_none(t, e, why);
	tokens_wipe_token(t, e);
	list_unlink(&e->in_tokens);
	t->n--;
	free(e->blob);
	free(e);
}

static void tokens_note_failure(struct tokens *t, struct tokens_entry *e, enum reason why, uint64_t now_ms)
{
	e->lease = 0;
	e->holder = NULL;
	e->failed = why;
	e->retry_at_ms = now_ms + (why == REASON_TOKEN_DENIED ? TOKENS_DENIED_MS : TOKENS_FAILED_MS);
	tokens_answer_none(t, e, why);
}

/* Who waits longest is to make the call. */
static void tokens_lease(struct tokens *t, struct tokens_entry *e, uint64_t now_ms)
{
	struct tokens_waiter first = e->waiters[0];

	memmove(e->waiters, e->waiters + 1, --e->n_waiters * sizeof(first));
	e->lease = ++t->last_serial;
	e->holder = first.peer;
	e->late = false;
	e->lease_end_ms = e->lease_until_ms = now_ms + TOKENS_LEASE_MS;
	enum reason why = t->out->lease(t->ctx, first, e);
	if (why == REASON_NONE)
		return;
	t->out->none(t->ctx, first, why);
	tokens_note_failure(t, e, why, now_ms);
}

/* The one place that decides what those who wait are told. */
static void tokens_advance(struct tokens *t, struct tokens_entry *e, uint64_t now_ms)
{
	if (e->n_waiters == 0 || e->blob || tokens_is_leased(e))
		return;
	if (e->token.p && e->until_ms > now_ms) {
		while (e->n_waiters > 0)
			t->out->token(t->ctx, e->waiters[--e->n_waiters], e, e->until_ms - now_ms);
		return;
	}
	if (now_ms < e->retry_at_ms)
		tokens_answer_none(t, e, e->failed);
	else if (!e->rotating || now_ms >= t->settled_at_ms)
		tokens_lease(t, e, now_ms);
}

static void tokens_await(struct tokens_entry *e, struct tokens_waiter w)
{
	for (size_t i = 0; i < e->n_waiters; i++)
		if (e->waiters[i].peer == w.peer) {
			e->waiters[i] = w; /* it no longer waits for the answer before */
			return;
		}
	assert(e->n_waiters < LANES_MAX);
	e->waiters[e->n_waiters++] = w;
}

/* Serials and leases are told from those of a core before this one. */
static void tokens_note_time(struct tokens *t, uint64_t unix_ms)
{
	t->last_serial = MAX(t->last_serial, unix_ms);
}

/* ---- room ---- */

static bool tokens_has_part(const struct tokens_entry *e, const void *peer)
{
	for (size_t i = 0; i < e->n_waiters; i++)
		if (e->waiters[i].peer == peer)
			return true;
	return tokens_is_leased(e) && e->holder == peer;
}

static size_t tokens_parts(const struct tokens *t, const void *peer)
{
	size_t n = 0;

	list_for_each (it, &t->all)
		n += tokens_has_part(container_of(it, struct tokens_entry, in_tokens), peer);
	return n;
}

/* The token that ends first goes, of those that nobody waits for: it can be got again. */
static void tokens_make_room(struct tokens *t)
{
	struct tokens_entry *first = NULL;

	list_for_each (it, &t->all) {
		struct tokens_entry *e = container_of(it, struct tokens_entry, in_tokens);
		if (!tokens_is_leased(e) && !e->blob && e->n_waiters == 0 && (!first || e->until_ms < first->until_ms))
			first = e;
	}
	if (first)
		tokens_remove(t, first, REASON_NONE);
}

static bool tokens_is_mostly(const struct tokens *t, const void *from)
{
	size_t all = 0, theirs = 0;

	list_for_each (it, &t->all) {
		const struct tokens_entry *e = container_of(it, struct tokens_entry, in_tokens);
		all += e->token.len;
		theirs += e->from == from ? e->token.len : 0;
	}
	return theirs > all / 2;
}

/* What a worker left behind that is gone goes before all else: else one could have more by coming anew. */
static bool tokens_goes_before(const struct tokens_entry *a, const struct tokens_entry *b)
{
	return !a->from == !b->from ? a->until_ms < b->until_ms : !a->from;
}

/* For a token that `from` puts, others go. False: there are none that could. */
static bool tokens_room(struct tokens *t, size_t len, const void *from, struct secret *ret)
{
	while (secret_alloc(t->arena, len, ret)) {
		struct tokens_entry *first = NULL;
		bool own = tokens_is_mostly(t, from);
		list_for_each (it, &t->all) {
			struct tokens_entry *e = container_of(it, struct tokens_entry, in_tokens);
			if (e->token.p && !e->blob && (!own || e->from == from || !e->from) &&
			    (!first || tokens_goes_before(e, first)))
				first = e;
		}
		if (!first)
			return false;
		tokens_wipe_token(t, first);
	}
	return true;
}

/* Found or made, for a peer that is to have part in it. NULL: no room, or none for this peer. */
static struct tokens_entry *tokens_make(struct tokens *t, struct span id, bool rotating, const void *peer)
{
	struct tokens_entry *e = tokens_find(t, id);

	assert(id.len <= TOKENS_ID_BYTES_MAX);
	if (!(e && tokens_has_part(e, peer)) && tokens_parts(t, peer) >= TOKENS_PEER_MAX)
		return NULL;
	if (e)
		return e;
	if (t->n == TOKENS_MAX)
		tokens_make_room(t);
	if (t->n == TOKENS_MAX)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	memcpy(e->id, id.p, id.len);
	e->rotating = rotating;
	list_init(&e->in_tokens);
	list_push(&t->all, &e->in_tokens);
	t->n++;
	return e;
}

/* ---- what egress workers say ---- */

int tokens_take(struct tokens *t, struct span id, bool rotating, uint64_t serial, struct tokens_waiter w,
		uint64_t unix_ms, uint64_t now_ms)
{
	struct tokens_entry *e = tokens_make(t, id, rotating, w.peer);

	if (!e)
		return TOKENS_E_FULL;
	tokens_note_time(t, unix_ms);
	if (serial > 0 && serial == e->serial && !e->blob)
		tokens_wipe_token(t, e);
	tokens_await(e, w);
	tokens_advance(t, e, now_ms);
	return 0;
}

static bool tokens_is_holder(const struct tokens_entry *e, uint64_t lease, const void *peer)
{
	return e->lease == lease && (e->holder == peer || !e->holder);
}

/* Where this core has given none it may be one of the core before. */
bool tokens_holds(const struct tokens *t, struct span id, uint64_t lease, const void *peer, uint64_t now_ms)
{
	const struct tokens_entry *e = tokens_find(t, id);

	return e && e->lease ? tokens_is_holder(e, lease, peer) : now_ms < t->inherits_until_ms;
}

static bool tokens_keep(struct tokens *t, struct tokens_entry *e, struct span token, struct span blob, const void *from)
{
	struct secret copy = SECRET_NULL;
	uint8_t *pending = blob.len > 0 ? malloc(blob.len) : NULL;

	if ((blob.len > 0 && !pending) || !tokens_room(t, token.len, from, &copy)) {
		free(pending);
		return false;
	}
	secret_open(t->arena);
	memcpy(copy.p, token.p, token.len);
	secret_close(t->arena);
	tokens_wipe_token(t, e);
	e->token = copy;
	e->from = from;
	e->blob = pending;
	e->blob_len = blob.len;
	if (pending)
		memcpy(pending, blob.p, blob.len);
	return true;
}

int tokens_put(struct tokens *t, struct span id, uint64_t lease, uint64_t life_ms, struct span token, struct span blob,
	       uint64_t version, struct tokens_waiter w, uint64_t unix_ms, uint64_t now_ms)
{
	if (!tokens_holds(t, id, lease, w.peer, now_ms))
		return TOKENS_E_LEASE;
	struct tokens_entry *e = tokens_make(t, id, blob.len > 0, w.peer);
	if (!e)
		return TOKENS_E_FULL;
	if (!e->blob) { /* else it is put once more, because it waits for long */
		if (!tokens_keep(t, e, token, blob, w.peer))
			return TOKENS_E_FULL;
		tokens_note_time(t, unix_ms);
		e->serial = ++t->last_serial;
		e->until_ms = now_ms + life_ms;
		e->retry_at_ms = 0;
		e->blob_version = version;
		e->resend_at_ms = now_ms + TOKENS_RESEND_MS;
	}
	e->lease = e->blob ? lease : 0;
	e->holder = e->blob ? w.peer : NULL;
	tokens_await(e, w);
	if (e->blob)
		t->out->store(t->ctx, e);
	tokens_advance(t, e, now_ms);
	return 0;
}

void tokens_fail(struct tokens *t, struct span id, uint64_t lease, enum reason why, const void *peer, uint64_t now_ms)
{
	struct tokens_entry *e = tokens_find(t, id);

	if (e && tokens_is_leased(e) && !e->blob && tokens_is_holder(e, lease, peer))
		tokens_note_failure(t, e, why, now_ms);
}

void tokens_hold(struct tokens *t, struct span id, bool rotating, uint64_t lease, void *peer, uint64_t now_ms)
{
	struct tokens_entry *e = tokens_find(t, id);

	if (e && tokens_is_leased(e) && e->lease == lease && !e->holder && !e->blob &&
	    tokens_parts(t, peer) < TOKENS_PEER_MAX) {
		e->holder = peer;
		e->lease_until_ms = e->lease_end_ms;
	} else if (now_ms < t->inherits_until_ms && (!e || (!tokens_is_leased(e) && !e->blob)) &&
		   (e = tokens_make(t, id, rotating, peer))) {
		e->lease = lease;
		e->holder = peer;
		e->late = false;
		e->lease_end_ms = e->lease_until_ms = now_ms + TOKENS_LEASE_MS;
	}
}

void tokens_peer_gone(struct tokens *t, const void *peer, uint64_t now_ms)
{
	list_for_each_safe (it, &t->all) {
		struct tokens_entry *e = container_of(it, struct tokens_entry, in_tokens);
		size_t n = 0;
		for (size_t i = 0; i < e->n_waiters; i++)
			if (e->waiters[i].peer != peer)
				e->waiters[n++] = e->waiters[i];
		e->n_waiters = n;
		if (e->from == peer)
			e->from = NULL;
		if (e->holder != peer || !e->lease)
			continue;
		e->holder = NULL;
		if (e->rotating)
			e->lease_until_ms = MIN(now_ms, e->lease_end_ms) + TOKENS_SETTLE_MS;
		else
			e->late = true;
		tokens_advance(t, e, now_ms);
	}
}

/* ---- what authd says, and time ---- */

const struct tokens_entry *tokens_pending(const struct tokens *t, struct span id)
{
	const struct tokens_entry *e = tokens_find(t, id);

	return e && e->blob ? e : NULL;
}

bool tokens_any_pending(const struct tokens *t)
{
	list_for_each (it, &t->all)
		if (container_of(it, struct tokens_entry, in_tokens)->blob)
			return true;
	return false;
}

void tokens_stored(struct tokens *t, struct span id, uint64_t now_ms)
{
	struct tokens_entry *e = tokens_find(t, id);

	assert(e && e->blob);
	free(TAKE(e->blob));
	e->lease = 0;
	e->holder = NULL;
	tokens_advance(t, e, now_ms);
}

void tokens_drop(struct tokens *t, struct span id)
{
	struct tokens_entry *e = tokens_find(t, id);

	if (e)
		tokens_remove(t, e, REASON_NO_CREDENTIAL);
}

void tokens_drop_if(struct tokens *t, bool (*is_void)(void *ctx, struct span id), void *ctx)
{
	list_for_each_safe (it, &t->all) {
		struct tokens_entry *e = container_of(it, struct tokens_entry, in_tokens);
		if (is_void(ctx, span_str(e->id)))
			tokens_remove(t, e, REASON_NO_CREDENTIAL);
	}
}

void tokens_close(struct tokens *t)
{
	while (!list_empty(&t->all))
		tokens_remove(t, container_of(t->all.next, struct tokens_entry, in_tokens), REASON_VAULT_SEALED);
}

bool tokens_tick(struct tokens *t, uint64_t now_ms)
{
	bool busy = false;

	list_for_each_safe (it, &t->all) {
		struct tokens_entry *e = container_of(it, struct tokens_entry, in_tokens);
		if (e->blob && now_ms >= e->resend_at_ms) {
			e->resend_at_ms = now_ms + TOKENS_RESEND_MS;
			t->out->store(t->ctx, e);
		}
		if (e->lease && !e->blob && now_ms >= e->lease_until_ms)
			e->late = true;
		tokens_advance(t, e, now_ms);
		busy |= e->blob || tokens_is_leased(e) || e->n_waiters > 0;
	}
	return busy;
}
