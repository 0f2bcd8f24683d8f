/* SPDX-License-Identifier: Apache-2.0 */
/* The promise of the ring: whatever is pushed and popped, its items cover the sequence without holes, and strings stay
 * whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "common/audit_ring.h"

struct model {
	struct audit_ring ring;
	struct tally tally;
	uint64_t covered; /* sequence numbers seen so far, in order */
	uint64_t gaps, events;
};

static void fill(char *text, size_t len, uint64_t seq)
{
	memset(text, 'a' + (int)(seq % 26), len);
}

static size_t text_len(uint64_t seq)
{
	return (size_t)(seq * 7919 % 257);
}

static void push(struct model *m)
{
	char actor[128], model[256];
	uint64_t seq = m->ring.seq + 1;
	size_t len = text_len(seq);

	fill(actor, sizeof(actor), seq);
	fill(model, sizeof(model), seq);
	(void)audit_ring_push(&m->ring,
			      &(struct proto_event){
				      .code = 1,
				      .actor = span_of(actor, MIN(len, sizeof(actor))),
				      .model = span_of(model, MIN(len, sizeof(model))),
			      },
			      seq);
}

/* As auditd reads it. */
static union proto_any message(const struct audit_ring *ring, const struct audit_item *item)
{
	const struct proto_desc *desc;
	union proto_any msg;
	uint64_t id;

	assert_int_equal(proto_unpack(audit_ring_message(ring, item), ROLE_ROUTER, ROLE_AUDITD, &id, &desc, &msg), 0);
	assert_int_equal(desc->type, item->is_gap ? PROTO_GAP : PROTO_EVENT);
	assert_int_equal(id, 0);
	return msg;
}

static void pop(struct model *m)
{
	const struct audit_item *item = audit_ring_at(&m->ring, 0);
	const union proto_any msg = message(&m->ring, item);
	char want[256];

	if (item->is_gap) {
		assert_int_equal(msg.gap.first_seq, m->covered + 1);
		assert_true(msg.gap.last_seq >= msg.gap.first_seq);
		assert_int_equal(msg.gap.last_seq, item->last_seq);
		m->gaps++;
	} else {
		size_t len = text_len(msg.event.seq);
		assert_int_equal(msg.event.seq, m->covered + 1);
		assert_int_equal(msg.event.seq, item->last_seq);
		assert_int_equal(msg.event.time_ns, msg.event.seq);
		assert_int_equal(msg.event.model.len, MIN(len, sizeof(want)));
		fill(want, sizeof(want), msg.event.seq);
		assert_memory_equal(msg.event.model.p, want, msg.event.model.len);
		assert_memory_equal(msg.event.actor.p, want, msg.event.actor.len);
		m->events++;
	}
	m->covered = item->last_seq;
	audit_ring_pop(&m->ring);
}

static void test_no_holes(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 200; seed++) {
		struct model m = {0};
		assert_int_equal(audit_ring_init(&m.ring, 1 + seed % 40, &m.tally), 0);
		srandom(seed);
		for (unsigned step = 0; step < 2000; step++) {
			unsigned favour = step / 100 % 3; /* overrun, drain, even */
			if ((unsigned)random() % 4 < 1 + favour && m.ring.n > 0)
				pop(&m);
			else
				push(&m);
		}
		audit_ring_settle(&m.ring);
		while (m.ring.n > 0) {
			pop(&m);
			audit_ring_settle(&m.ring);
		}
		assert_int_equal(m.covered, m.ring.seq);
		assert_true(m.events > 0);
		assert_true(m.gaps > 0 || seed % 40 > 30);
		audit_ring_deinit(&m.ring);
	}
}

/* ---- lives that end without notice ---- */

struct lives {
	struct audit_ring ring;
	struct tally tally;
	uint64_t made;                        /* all that was pushed, or was owed at a death */
	uint64_t accepted, recorded, missing; /* as auditd has it */
	size_t sent;
};

/* auditd takes what was sent next: as handle_event() and handle_gap() do. */
static void lives_deliver(struct lives *w)
{
	const struct audit_item *item = audit_ring_at(&w->ring, w->sent++);
	const union proto_any msg = message(&w->ring, item);

	if (!item->is_gap) {
		assert_int_equal(msg.event.seq, w->accepted + 1);
		w->accepted++;
		w->recorded++;
	} else if (msg.gap.last_seq > w->accepted) {
		assert_true(msg.gap.first_seq <= w->accepted + 1);
		assert_true(msg.gap.cause == GAP_DIED || msg.gap.cause == GAP_OVERFLOW);
		w->missing += msg.gap.last_seq - w->accepted;
		w->accepted = msg.gap.last_seq;
	}
}

static void lives_step(struct lives *w)
{
	audit_ring_settle(&w->ring);
	switch (random() % 10) {
	case 0:
	case 1:
		if (w->sent < w->ring.n)
			lives_deliver(w);
		break;
	case 2:
		if (w->sent > 0) {
			audit_ring_pop(&w->ring);
			w->sent--;
		}
		break;
	case 3:
		audit_ring_promise(&w->ring);
		break;
	case 4:
		if (w->ring.owed > 0)
			audit_ring_forget(&w->ring);
		break;
	default:
		if (w->ring.owed > 0)
			audit_ring_redeem(&w->ring);
		(void)audit_ring_push(&w->ring, &(struct proto_event){.code = 1}, 0);
		w->made++;
	}
	assert_int_equal(w->tally.made, w->ring.seq + w->ring.owed);
}

static void test_lives_that_end_without_notice(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 200; seed++) {
		struct lives w = {0};
		srandom(seed);
		for (unsigned life = 0; life < 20; life++) {
			assert_int_equal(audit_ring_init(&w.ring, 1 + (size_t)random() % 40, &w.tally), 0);
			assert_int_equal(w.ring.seq, w.made);
			w.sent = 0;
			for (long steps = random() % 200; steps > 0; steps--)
				lives_step(&w);
			w.made += w.ring.owed;
			audit_ring_deinit(&w.ring);
		}
		assert_int_equal(audit_ring_init(&w.ring, 1, &w.tally), 0);
		for (w.sent = 0; w.sent < w.ring.n;)
			lives_deliver(&w);
		assert_int_equal(w.recorded + w.missing, w.made);
		assert_true(w.recorded > 100 && w.missing > 100);
		audit_ring_deinit(&w.ring);
	}
}

static void test_a_first_life_has_no_gap(void **state)
{
	struct tally tally = {0};
	struct audit_ring ring;

	(void)state;
	assert_int_equal(audit_ring_init(&ring, 4, &tally), 0);
	assert_int_equal(ring.n, 0);
	assert_int_equal(ring.seq, 0);
	audit_ring_deinit(&ring);
}

static void test_empty_and_overlong_strings(void **state)
{
	struct audit_ring ring;
	struct tally tally = {0};
	static char big[4096];

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(audit_ring_init(&ring, 8, &tally), 0);
	for (int i = 0; i < 8; i++)
		assert_non_null(audit_ring_push(&ring, &(struct proto_event){.code = 2}, 0));
	assert_null(audit_ring_push(&ring, &(struct proto_event){.code = 2}, 0));
	while (ring.n > 0)
		audit_ring_pop(&ring);
	struct span long_one = span_of(big, sizeof(big));
	struct audit_item *item = audit_ring_push(&ring,
						  &(struct proto_event){.code = UINT64_MAX,
									.actor = long_one,
									.tenant = long_one,
									.address = long_one,
									.resource = long_one,
									.request_id = long_one,
									.status = UINT64_MAX,
									.reason = long_one,
									.model = long_one,
									.provider = long_one,
									.credential = long_one,
									.tokens_in = UINT64_MAX,
									.tokens_out = UINT64_MAX,
									.latency_us = UINT64_MAX,
									.bytes = UINT64_MAX,
									.digest = long_one,
									.subject = long_one,
									.sealed = long_one,
									.cost_nano = UINT64_MAX,
									.head_digest = long_one,
									.scrubbed = UINT32_MAX},
						  UINT64_MAX);
	assert_non_null(item);
	const union proto_any msg = message(&ring, item), gap = message(&ring, audit_ring_at(&ring, 0));
	assert_int_equal(msg.event.model.len, 256);
	assert_int_equal(msg.event.tokens_in, UINT32_MAX);
	assert_int_equal(msg.event.seq, 10);
	assert_int_equal(gap.gap.first_seq, 9);
	audit_ring_deinit(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_holes),
		cmocka_unit_test(test_lives_that_end_without_notice),
		cmocka_unit_test(test_a_first_life_has_no_gap),
		cmocka_unit_test(test_empty_and_overlong_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
