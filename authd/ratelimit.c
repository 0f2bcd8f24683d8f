/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/ratelimit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/crc32c.h"
#include "common/list.h"

#define RATELIMIT_BUCKETS   16384
#define RATELIMIT_WHO_BYTES 64
#define RATELIMIT_RUNS_MIN  4
#define RATELIMIT_RUNS_MAX  65536 /* the power of two that holds RATELIMIT_WINDOW_MS runs */
#define RATELIMIT_SWEEP     4     /* idle windows dropped in one call at most: more than one can become active */

_Static_assert(RATELIMIT_RUNS_MAX >= RATELIMIT_WINDOW_MS, "one run a millisecond");

struct ratelimit_run {
	uint64_t at_ms : 40, count : 24;
};

/* Runs are a ring of `cap` (a power of two), oldest at `first`. */
struct ratelimit_window {
	struct list in_bucket, in_order;
	uint8_t who[RATELIMIT_WHO_BYTES];
	size_t who_len;
	uint64_t admitted; /* the sum over all runs */
	size_t first, n_runs, cap;
	struct ratelimit_run *runs;
};

/* `order`: by last admission, oldest first. */
struct ratelimit {
	struct list buckets[RATELIMIT_BUCKETS];
	struct list order;
	size_t n_windows, bytes, bytes_max;
	uint64_t now_ms;
};

int ratelimit_new(size_t bytes_max, struct ratelimit **ret_limits)
{
	struct ratelimit *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	for (size_t i = 0; i < RATELIMIT_BUCKETS; i++)
		list_init(&r->buckets[i]);
	list_init(&r->order);
	r->bytes_max = bytes_max;
	*ret_limits = r;
	return 0;
}

static size_t ratelimit_window_bytes(size_t cap)
{
	return sizeof(struct ratelimit_window) + cap * sizeof(struct ratelimit_run);
}

static void ratelimit_window_free(struct ratelimit *r, struct ratelimit_window *w)
{
	list_unlink(&w->in_bucket);
	list_unlink(&w->in_order);
	r->n_windows--;
	r->bytes -= ratelimit_window_bytes(w->cap);
	free(w->runs);
	free(w);
}

struct ratelimit *ratelimit_free(struct ratelimit *r)
{
	if (!r)
		return NULL;
	list_for_each_safe (it, &r->order)
		ratelimit_window_free(r, container_of(it, struct ratelimit_window, in_order));
	free(r);
	return NULL;
}

static struct ratelimit_run *ratelimit_run(const struct ratelimit_window *w, size_t i)
{
	return &w->runs[(w->first + i) & (w->cap - 1)];
}

/* Forgets what has left the window: everything at or before now - 60 s. */
static void ratelimit_expire(struct ratelimit_window *w, uint64_t now_ms)
{
	while (w->n_runs && ratelimit_run(w, 0)->at_ms + RATELIMIT_WINDOW_MS <= now_ms) {
		w->admitted -= ratelimit_run(w, 0)->count;
		w->first = (w->first + 1) & (w->cap - 1);
		w->n_runs--;
	}
}

/* A clock that goes back would let old runs block for longer than a window: time stands still instead. */
static uint64_t ratelimit_clock(struct ratelimit *r, uint64_t now_ms)
{
	r->now_ms = MAX(r->now_ms, now_ms);
	for (int i = 0; i < RATELIMIT_SWEEP && !list_empty(&r->order); i++) {
		struct ratelimit_window *w = container_of(list_first(&r->order), struct ratelimit_window, in_order);

		ratelimit_expire(w, r->now_ms);
		if (w->n_runs)
			break;
		ratelimit_window_free(r, w);
	}
	return r->now_ms;
}

/* Identifiers are of our own making, so nobody can aim them at one bucket. */
static struct list *ratelimit_bucket(struct ratelimit *r, struct span who)
{
	return &r->buckets[crc32c(0, who.p, who.len) % RATELIMIT_BUCKETS];
}

static struct ratelimit_window *ratelimit_find(struct ratelimit *r, struct span who)
{
	struct list *bucket = ratelimit_bucket(r, who);

	list_for_each (it, bucket) {
		struct ratelimit_window *w = container_of(it, struct ratelimit_window, in_bucket);

		if (span_eq(span_of(w->who, w->who_len), who))
			return w;
	}
	return NULL;
}

/*
 * When enough of the oldest have left for one more. That is the first run, unless the limit was lowered under what is
 * already in the window.
 */
static uint64_t ratelimit_retry_after(const struct ratelimit_window *w, uint64_t limit, uint64_t now_ms)
{
	uint64_t left = w->admitted, free_at_ms = now_ms;

	for (size_t i = 0; left >= limit; i++) {
		assert(i < w->n_runs); /* an empty window admits */
		left -= ratelimit_run(w, i)->count;
		free_at_ms = ratelimit_run(w, i)->at_ms + RATELIMIT_WINDOW_MS;
	}
	return free_at_ms - now_ms;
}

static void ratelimit_judge(const struct ratelimit_window *w, uint64_t limit, uint64_t now_ms,
			    struct ratelimit_verdict *v)
{
	uint64_t admitted = w ? w->admitted : 0;

	v->admitted = admitted < limit;
	v->remaining = v->admitted ? limit - admitted : 0;
	v->reset_ms = admitted ? ratelimit_run(w, 0)->at_ms + RATELIMIT_WINDOW_MS - now_ms : 0;
	v->retry_after_ms = v->admitted ? 0 : ratelimit_retry_after(w, limit, now_ms);
}

/* Its window as it is now, NULL when there is none, and what that says. */
static struct ratelimit_window *ratelimit_now(struct ratelimit *r, struct span who, uint64_t limit, uint64_t now_ms,
					      struct ratelimit_verdict *v)
{
	assert(limit > 0 && limit < BIT(24)); /* a run can count that far */
	now_ms = ratelimit_clock(r, now_ms);

	struct ratelimit_window *w = ratelimit_find(r, who);

	if (w)
		ratelimit_expire(w, now_ms);
	ratelimit_judge(w, limit, now_ms, v);
	return w;
}

void ratelimit_look(struct ratelimit *r, struct span who, uint64_t limit, uint64_t now_ms,
		    struct ratelimit_verdict *ret_verdict)
{
	(void)ratelimit_now(r, who, limit, now_ms, ret_verdict);
}

static int ratelimit_window_new(struct ratelimit *r, struct span who, struct ratelimit_window **ret_window)
{
	struct ratelimit_window *w;

	assert(who.len > 0 && who.len <= RATELIMIT_WHO_BYTES);
	if (r->bytes + ratelimit_window_bytes(RATELIMIT_RUNS_MIN) > r->bytes_max)
		return RATELIMIT_E_FULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->runs = calloc(RATELIMIT_RUNS_MIN, sizeof(*w->runs));
	if (!w->runs) {
		free(w);
		return -ENOMEM;
	}
	w->cap = RATELIMIT_RUNS_MIN;
	memcpy(w->who, who.p, who.len);
	w->who_len = who.len;
	list_push(ratelimit_bucket(r, who), &w->in_bucket);
	list_push(&r->order, &w->in_order);
	r->n_windows++;
	r->bytes += ratelimit_window_bytes(w->cap);
	*ret_window = w;
	return 0;
}

/* A ring of another size, straightened; it holds what there is. */
static int ratelimit_resize(struct ratelimit *r, struct ratelimit_window *w, size_t cap)
{
	struct ratelimit_run *runs;
	size_t bytes = r->bytes - ratelimit_window_bytes(w->cap) + ratelimit_window_bytes(cap);

	assert(cap >= w->n_runs && cap <= RATELIMIT_RUNS_MAX);
	if (cap > w->cap && bytes > r->bytes_max)
		return RATELIMIT_E_FULL;
	runs = calloc(cap, sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_runs; i++)
		runs[i] = *ratelimit_run(w, i);
	free(w->runs);
	w->runs = runs;
	w->first = 0;
	w->cap = cap;
	r->bytes = bytes;
	return 0;
}

/* Room for one more, and none for a peak that is over: a key that goes on would keep it for ever. */
static int ratelimit_fit(struct ratelimit *r, struct ratelimit_window *w)
{
	if (w->n_runs == w->cap)
		return ratelimit_resize(r, w, 2 * w->cap);
	if (w->cap > RATELIMIT_RUNS_MIN && w->n_runs < w->cap / 8)
		return ratelimit_resize(r, w, w->cap / 2);
	return 0;
}

static int ratelimit_admit(struct ratelimit *r, struct ratelimit_window *w, uint64_t now_ms)
{
	struct ratelimit_run *last = w->n_runs ? ratelimit_run(w, w->n_runs - 1) : NULL;
	int res;

	if (last && last->at_ms == now_ms) {
		last->count++;
	} else {
		res = ratelimit_fit(r, w);
		if (res)
			return res;
		*ratelimit_run(w, w->n_runs++) =
			(struct ratelimit_run){.at_ms = now_ms & ((UINT64_C(1) << 40) - 1), .count = 1};
	}
	w->admitted++;
	list_unlink(&w->in_order);
	list_push(&r->order, &w->in_order);
	return 0;
}

int ratelimit_take(struct ratelimit *r, struct span who, uint64_t limit, uint64_t now_ms,
		   struct ratelimit_verdict *ret_verdict)
{
	struct ratelimit_verdict v;
	struct ratelimit_window *w = ratelimit_now(r, who, limit, now_ms, &v);

	if (!v.admitted) {
		*ret_verdict = v;
		return 0;
	}
	int res = w ? 0 : ratelimit_window_new(r, who, &w);
	if (res)
		return res;
	res = ratelimit_admit(r, w, r->now_ms);
	if (res)
		return res;
	ratelimit_judge(w, limit, r->now_ms, &v);
	v.admitted = true;
	v.retry_after_ms = 0;
	*ret_verdict = v;
	return 0;
}

size_t ratelimit_windows(const struct ratelimit *r)
{
	return r->n_windows;
}

size_t ratelimit_bytes(const struct ratelimit *r)
{
	return r->bytes;
}
