/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   start -> resolving -> racing -> over
 *            (not when the configuration gives the address)
 *
 * One forbidden address among several condemns the answer: no provider publishes one, so somebody is trying something,
 * and the others may be theirs as well.
 *
 * A timer takes a dial from its start to the next turn of the loop, so that nothing is ever answered from within
 * dial_start(); the dial is freed when it has closed.
 */
#include "keyvault/dialer/dial.h"

#include <stdlib.h>

#include "common/err.h"

struct dial {
	struct dialer *dialer;
	struct list in_dialer;
	const struct policy_origin *origin;
	dial_done *done; /* NULL: cancelled */
	void *ctx;
	uint64_t id, port;
	struct resolve *question;
	struct race *race;
	bool one_too_many;
	uv_timer_t timer;
	size_t host_len;
	char host[DIAL_HOST_BYTES]; /* with NUL */
};

static void dial_on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The only place where a dial ends. */
static void dial_over(struct dial *dial, const struct dial_end *end)
{
	dial_done *done = dial->done;

	resolve_forget(TAKE(dial->question));
	race_cancel(TAKE(dial->race));
	list_unlink(&dial->in_dialer);
	dial->dialer->n--;
	dial->done = NULL;
	if (done)
		done(dial->ctx, dial->id, end);
	uv_close((uv_handle_t *)&dial->timer, dial_on_closed);
}

static void dial_fail(struct dial *dial, enum reason reason, const char *address, const char *why)
{
	const struct dial_end end = {.fd = -1, .reason = reason, .address = address, .why = why};

	if (reason == REASON_DIAL_DENIED)
		dial->dialer->denied++;
	else
		dial->dialer->failed++;
	dial_over(dial, &end);
}

static void dial_deny(struct dial *dial, const struct policy_refusal *refusal)
{
	dial_fail(dial, REASON_DIAL_DENIED, refusal->address, refusal->why);
}

/* ---- connecting ---- */

static void dial_on_raced(void *ctx, int fd, const struct address *address, int error)
{
	struct dial *dial = ctx;
	char text[ADDRESS_TEXT_BYTES];

	dial->race = NULL;
	address_print(address, text);
	if (fd < 0) {
		dial_fail(dial, REASON_DIAL_CONNECT, text, uv_strerror(error));
		return;
	}
	dial->dialer->connected++;
	dial_over(dial, &(const struct dial_end){.fd = fd, .reason = REASON_NONE, .address = text, .why = ""});
}

static void dial_connect(struct dial *dial, const struct address *addresses, size_t n)
{
	struct policy_refusal refusal;

	for (size_t i = 0; i < n; i++)
		if (policy_judge(dial->origin, &addresses[i], &refusal)) {
			dial_deny(dial, &refusal);
			return;
		}
	if (race_start(dial->dialer->loop, addresses, n, dial->origin->url.port, dial_on_raced, dial, &dial->race))
		dial_fail(dial, REASON_DIAL_CONNECT, "", "out of memory");
}

/* ---- where to ---- */

static void dial_on_resolved(void *ctx, const struct address *addresses, size_t n, const char *why)
{
	struct dial *dial = ctx;

	dial->question = NULL;
	if (n == 0)
		dial_fail(dial, REASON_DIAL_RESOLVE, "", why);
	else
		dial_connect(dial, addresses, n);
}

static void dial_on_start(uv_timer_t *timer)
{
	struct dial *dial = timer->data;
	struct dialer *d = dial->dialer;
	struct policy_refusal refusal;
	struct address literal;

	if (dial->one_too_many)
		dial_fail(dial, REASON_OVERLOADED, "", "too many dials at once");
	else if (policy_find(&d->policy, span_of(dial->host, dial->host_len), dial->port, &dial->origin, &refusal))
		dial_deny(dial, &refusal);
	else if (dial->origin->pinned)
		dial_connect(dial, &dial->origin->within[0].first, 1);
	else if (address_parse(span_str(dial->host), &literal))
		dial_connect(dial, &literal, 1);
	else if (resolve_ask(d->resolver, dial->host, dial_on_resolved, dial, &dial->question))
		dial_fail(dial, REASON_DIAL_RESOLVE, "", "out of memory");
}

int dial_start(struct dialer *d, struct span host, uint64_t port, dial_done *done, void *ctx, uint64_t id)
{
	struct dial *dial = calloc(1, sizeof(*dial));

	if (!dial || uv_timer_init(d->loop, &dial->timer)) {
		free(dial);
		return err_origin(-ENOMEM);
	}
	dial->dialer = d;
	dial->done = done;
	dial->ctx = ctx;
	dial->id = id;
	dial->port = port;
	dial->host_len = MIN(host.len, sizeof(dial->host) - 1);
	memcpy(dial->host, host.p, dial->host_len);
	dial->timer.data = dial;
	list_init(&dial->in_dialer);
	list_push(&d->dials, &dial->in_dialer);
	dial->one_too_many = ++d->n > DIALS_MAX;
	(void)uv_timer_start(&dial->timer, dial_on_start, 0, 0);
	return 0;
}

void dial_cancel(struct dialer *d, const void *ctx)
{
	list_for_each_safe (it, &d->dials) {
		struct dial *dial = container_of(it, struct dial, in_dialer);
		if (ctx && dial->ctx != ctx)
			continue;
		dial->done = NULL;
		dial_over(dial, NULL);
	}
}
