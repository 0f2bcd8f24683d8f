/* SPDX-License-Identifier: Apache-2.0 */
/* The state table: how each state is waited in, left and ended, and when a request may be sent again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/exchange_world.h"

static void go_on(struct exchange_world *w, struct exchange *x)
{
	switch (x->state) {
	case EXCHANGE_GRANT:
		fake.permit = REASON_NONE;
		fake.early = false;
		exchange_key(&w->eg);
		return;
	case EXCHANGE_CREDENTIAL:
		x->credential_waiter.ready(&x->credential_waiter, REASON_NONE);
		return;
	case EXCHANGE_RECORD:
		fake.recorded(x, true);
		return;
	case EXCHANGE_CONNECT:
		x->pool_waiter.ready(&x->pool_waiter, &w->upstream, REASON_NONE);
		return;
	case EXCHANGE_SEND:
		connection_says(w, true);
		return;
	default:
		connection_says(w, false);
	}
}

/* ---- the table ---- */

static void nothing_needs_to_wait(void **state)
{
	struct exchange_world *w = *state;

	fake.pending = fake.head = fake.over = true;
	assert_null(begin(w));
	assert_int_equal(fake.ends, 1);
	assert_int_equal(fake.gets + fake.takes + fake.returned + fake.uses + fake.unrefs, 5);
	assert_true(fake.kept);
	assert_int_equal(w->eg.permitted, 1);
	assert_int_equal(fake.intents, 0);
	assert_int_equal(fake.notes, 1);
	assert_int_equal(fake.woken, 1);
	assert_int_equal(w->eg.count.fresh, 1);
	assert_int_equal(w->eg.count.reused, 0);
}

static void each_state_can_be_waited_in(void **state)
{
	struct exchange_world *w = *state;

	for (enum exchange_state s = EXCHANGE_GRANT; s < EXCHANGE_OVER; s++) {
		struct exchange *x = begin_in(w, s);
		if (s == EXCHANGE_HEAD)
			fake.head = true;
		for (enum exchange_state at = s; at < EXCHANGE_BODY; at = x->state) {
			if (at == EXCHANGE_HEAD)
				fake.head = true;
			go_on(w, x);
			assert_true(x->state > at);
		}
		assert_int_equal(x->state, EXCHANGE_BODY);
		assert_true(x->request.owned == NULL);
		fake.over = true;
		go_on(w, x);
		assert_int_equal(fake.ends, s + 1);
		assert_int_equal(fake.brokens, 0);
		assert_true(fake.kept);
		fake.over = fake.head = false;
	}
	assert_int_equal(fake.uses, EXCHANGE_OVER);
	assert_int_equal(fake.intents, 1); /* in strict mode only */
}

static void each_state_has_its_time(void **state)
{
	static const struct {
		enum exchange_state state;
		uint64_t ms;
		enum reason why;
		bool sent;
	} rows[] = {
		{EXCHANGE_GRANT, 1000, REASON_GRANT_STALE, false},
		{EXCHANGE_CREDENTIAL, EXCHANGE_CREDENTIAL_MS, REASON_VAULT_SEALED, false},
		{EXCHANGE_RECORD, EGRESS_INTENT_MS + 1000, REASON_AUDIT_GONE, false},
		{EXCHANGE_CONNECT, 3000, REASON_UPSTREAM_TIMEOUT, false}, /* connect_timeout_ms */
		{EXCHANGE_SEND, 60000, REASON_UPSTREAM_TIMEOUT, true},
		{EXCHANGE_HEAD, 3600000, REASON_UPSTREAM_TIMEOUT, true},
		{EXCHANGE_BODY, 3600000, REASON_UPSTREAM_TIMEOUT, true},
	};
	struct exchange_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned returned = fake.returned;
		struct exchange *x = begin_in(w, rows[i].state);
		assert_int_equal(x->deadline_ms, fake.now_ms + rows[i].ms);
		exchange_timeout(x);
		expect_broken(w, rows[i].why, rows[i].sent);
		assert_int_equal(fake.returned - returned, rows[i].state >= EXCHANGE_SEND);
		assert_false(fake.kept);
	}
	assert_int_equal(fake.uses, 3);
}

static void who_waits_for_others_connections_is_not_late_for_the_provider(void **state)
{
	struct exchange_world *w = *state;

	fake.full = true;
	exchange_timeout(begin_in(w, EXCHANGE_CONNECT));
	expect_broken(w, REASON_OVERLOADED, false);
	exchange_timeout(begin_in(w, EXCHANGE_SEND)); /* it has one */
	expect_broken(w, REASON_UPSTREAM_TIMEOUT, true);
}

static void each_state_can_be_cancelled(void **state)
{
	struct exchange_world *w = *state;

	for (enum exchange_state s = EXCHANGE_GRANT; s < EXCHANGE_OVER; s++) {
		exchange_cancel(begin_in(w, s));
		assert_int_equal(fake.ends + fake.brokens, 0); /* the router said so itself */
		assert_false(fake.kept);
		assert_int_equal(w->eg.n_exchanges, 0);
		assert_int_equal(fake.forgotten, s + 1);  /* nobody comes back to it */
		assert_int_equal(fake.pool_forgotten, s); /* but in the first state it has no credential */
	}
	assert_int_equal(fake.uses, 3); /* what was sent was used */
	w->credential.pooled = false;   /* it has just been asked for */
	exchange_cancel(begin_in(w, EXCHANGE_CREDENTIAL));
	assert_int_equal(fake.pool_forgotten, EXCHANGE_OVER - 1);
}

static void a_body_that_goes_on_lives(void **state)
{
	struct exchange_world *w = *state;
	struct exchange *x = begin_in(w, EXCHANGE_BODY);
	uint64_t deadline_ms = x->deadline_ms;

	fake.now_ms += 1000;
	connection_says(w, false);
	assert_int_equal(x->deadline_ms, deadline_ms + 1000);
	fake.pump = REASON_UPSTREAM_BROKEN;
	connection_says(w, false);
	expect_broken(w, REASON_UPSTREAM_BROKEN, true);
	assert_false(fake.kept);
}

/* ---- what is refused ---- */

static void a_grant_that_does_not_hold_is_recorded(void **state)
{
	struct exchange_world *w = *state;

	fake.permit = REASON_GRANT_FORGED;
	assert_null(begin(w));
	expect_broken(w, REASON_GRANT_FORGED, false);
	assert_int_equal(fake.refusals, 1);
	assert_int_equal(w->eg.permitted, 0);
	fake.permit = REASON_GRANT_STALE; /* not early, and there is no key: it comes, unless the vault is sealed */
	struct exchange *x = begin(w);
	assert_int_equal(x->state, EXCHANGE_GRANT);
	fake.permit = REASON_GRANT_USED;
	exchange_key(&w->eg);
	expect_broken(w, REASON_GRANT_USED, false);
	fake.permit = REASON_GRANT_STALE;
	w->eg.sealed = true;
	assert_null(begin(w));
	expect_broken(w, REASON_GRANT_STALE, false);
	w->eg.sealed = false;
	w->eg.n_exchanges = EGRESS_KEYLESS_MAX - 1;
	x = begin(w);
	assert_int_equal(x->state, EXCHANGE_GRANT);
	exchange_cancel(x);
	w->eg.n_exchanges = EGRESS_KEYLESS_MAX;
	assert_null(begin(w)); /* one too many to wait */
	w->eg.n_exchanges = 0;
	expect_broken(w, REASON_GRANT_STALE, false);
	assert_int_equal(fake.refusals, 4);
}

static void one_that_waits_for_yet_another_key_waits_on(void **state)
{
	struct exchange_world *w = *state;
	struct exchange *x = begin_in(w, EXCHANGE_GRANT);
	uint64_t deadline_ms = x->deadline_ms;

	fake.now_ms += 500;
	exchange_key(&w->eg);
	assert_int_equal(x->state, EXCHANGE_GRANT);
	assert_int_equal(x->deadline_ms, deadline_ms);
	assert_ptr_equal(w->eg.states[EXCHANGE_GRANT].next, &x->in_state); /* where its time is looked after */
	assert_int_equal(fake.notes, 0);                                   /* it may be anybody's */
	exchange_timeout(x);
	expect_broken(w, REASON_GRANT_STALE, false);
}

static void a_binding_that_is_another_is_recorded(void **state)
{
	struct exchange_world *w = *state;

	fake.binding = REASON_BINDING_MISMATCH;
	assert_null(begin(w));
	expect_broken(w, REASON_BINDING_MISMATCH, false);
	assert_int_equal(fake.refusals, 1);
	assert_int_equal(fake.rejects, 0);
	fake.binding = REASON_NO_CREDENTIAL; /* its time is over */
	assert_null(begin(w));
	expect_broken(w, REASON_NO_CREDENTIAL, false);
	assert_int_equal(fake.rejects, 1);
	assert_int_equal(fake.takes, 0);
	assert_int_equal(fake.unrefs, 2);
}

static void what_is_not_there_is_told(void **state)
{
	struct exchange_world *w = *state;

	fake.get = CREDENTIAL_E_DOWN;
	assert_null(begin(w));
	expect_broken(w, REASON_VAULT_SEALED, false);
	fake.get = CREDENTIAL_E_FULL;
	assert_null(begin(w));
	expect_broken(w, REASON_OVERLOADED, false);
	fake.get = 0;
	fake.take = POOL_E_FULL;
	assert_null(begin(w));
	expect_broken(w, REASON_OVERLOADED, false);
	fake.take = POOL_E_DOWN;
	assert_null(begin(w));
	expect_broken(w, REASON_EGRESS_GONE, false);
	struct exchange *x = begin_in(w, EXCHANGE_CREDENTIAL);
	x->credential_waiter.ready(&x->credential_waiter, REASON_NO_CREDENTIAL);
	expect_broken(w, REASON_NO_CREDENTIAL, false);
	x = begin_in(w, EXCHANGE_CONNECT);
	x->pool_waiter.ready(&x->pool_waiter, NULL, REASON_DIAL_DENIED);
	expect_broken(w, REASON_DIAL_DENIED, false);
	assert_int_equal(fake.returned, 0);
}

static void strict_mode_sends_nothing_without_its_record(void **state)
{
	struct exchange_world *w = *state;

	struct exchange *x = begin_in(w, EXCHANGE_RECORD);

	fake.recorded(x, false);
	expect_broken(w, REASON_AUDIT_GONE, false);
	fake.no_log = true;
	assert_null(begin(w));
	expect_broken(w, REASON_AUDIT_GONE, false);
	fake.no_log = false;
	x = begin_in(w, EXCHANGE_RECORD);
	w->credential.state = CREDENTIAL_RETIRED; /* meanwhile */
	fake.recorded(x, true);
	expect_broken(w, REASON_VAULT_SEALED, false);
	assert_int_equal(fake.takes, 0);
}

static void what_is_no_request_is_a_violation(void **state)
{
	struct exchange_world *w = *state;
	struct proto_open open = {.grant = SPAN_LIT("grant"), .method = PROTO_POST, .path = SPAN_LIT("/v1")};

	open.body_bytes = 2;
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, -1), IPC_E_VIOLATION); /* no body at all */
	open.body = SPAN_LIT("{");
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, -1), IPC_E_VIOLATION);
	open.body = SPAN_LIT("{}");
	struct exchange *x = begin_in(w, EXCHANGE_HEAD);
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, -1), IPC_E_VIOLATION); /* taken */
	exchange_cancel(x);
	w->eg.n_exchanges = EGRESS_EXCHANGES_MAX;
	assert_null(begin(w));
	assert_int_equal(fake.broken.reason, REASON_OVERLOADED);
	assert_int_equal(fake.broken.sent, 0);
	fake.ipc_says = IPC_E_FULL;
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, -1), IPC_E_VIOLATION); /* nor does it read */
	fake.ipc_says = 0;
	w->eg.n_exchanges = 0;
	w->eg.draining = true;
	assert_null(begin(w));
	assert_int_equal(fake.broken.reason, REASON_SHUTTING_DOWN);
	assert_int_equal(w->eg.count.opened, 1);
}

/* ---- once more ---- */

static void a_dead_idle_connection_is_replaced_once(void **state)
{
	struct exchange_world *w = *state;

	w->upstream.reused = true;
	fake.send_says = TLS_E_BROKEN;
	assert_null(begin(w)); /* the second is dead too */
	expect_broken(w, REASON_UPSTREAM_BROKEN, false);
	assert_int_equal(fake.takes, 2);
	assert_true(fake.fresh);
	assert_int_equal(fake.returned, 2);
	assert_int_equal(fake.keeps, 0);
	assert_int_equal(w->eg.count.reused, 2);
	assert_int_equal(fake.uses, 0);
	w->upstream.reused = false; /* a new one is not replaced */
	assert_null(begin(w));
	expect_broken(w, REASON_UPSTREAM_BROKEN, false);
	assert_int_equal(fake.takes, 3);
	assert_false(fake.fresh);
}

/* What may have reached the provider is not sent twice; what it says of it is passed on. */
static void a_byte_that_was_sent_is_not_sent_again(void **state)
{
	struct exchange_world *w = *state;
	struct exchange *x = begin_in(w, EXCHANGE_SEND);

	w->upstream.reused = true;
	assert_int_equal(w->upstream.events, UV_WRITABLE);
	connection_says(w, false); /* an early answer waits */
	assert_int_equal(x->state, EXCHANGE_SEND);
	assert_int_equal(fake.pumped, 0);
	fake.write_says = TLS_E_WRITE;
	connection_says(w, true);
	assert_int_equal(x->state, EXCHANGE_SEND);
	fake.write_says = TLS_E_BROKEN;
	connection_says(w, true);
	assert_int_equal(x->state, EXCHANGE_HEAD);
	assert_int_equal(w->upstream.events, UV_READABLE);
	assert_int_equal(fake.pumped, 1); /* asked at once: nothing may wake it */
	assert_int_equal(fake.takes, 1);
	fake.head = fake.over = true;
	connection_says(w, false);
	assert_int_equal(fake.ends, 1);
	assert_false(fake.kept); /* it did not take all of the request */
}

static void a_credential_that_is_replaced_before_is_asked_for_again(void **state)
{
	struct exchange_world *w = *state;
	struct exchange *x = begin_in(w, EXCHANGE_CONNECT);

	w->credential.replaced = true;
	for (unsigned i = 1; i <= EXCHANGE_TURNS_MAX; i++) {
		x->pool_waiter.ready(&x->pool_waiter, NULL, REASON_VAULT_SEALED);
		assert_int_equal(x->state, EXCHANGE_CONNECT);
		assert_int_equal(fake.gets, i + 1);
		assert_int_equal(fake.unrefs, i);
		assert_int_equal(fake.keys, 1);
	}
	x->pool_waiter.ready(&x->pool_waiter, NULL, REASON_VAULT_SEALED);
	expect_broken(w, REASON_VAULT_SEALED, false);
	fake.gets = 0;
	x = begin_in(w, EXCHANGE_CREDENTIAL);
	x->credential_waiter.ready(&x->credential_waiter, REASON_NO_CREDENTIAL);
	assert_int_equal(x->state, EXCHANGE_CREDENTIAL);
	assert_int_equal(fake.gets, 2);
	assert_false(x->spare);
	assert_int_equal(x->request.grant.len, 0); /* it was used */
	exchange_cancel(x);
	fake.spare = true;
	x = begin_in(w, EXCHANGE_CREDENTIAL);
	assert_true(x->spare);
	exchange_cancel(x);
	fake.get = fake.take = 0;
	fake.send_why = REASON_VAULT_SEALED; /* in the last moment */
	fake.send_says = TLS_E_BROKEN;
	assert_null(begin(w));
	expect_broken(w, REASON_VAULT_SEALED, false);
	assert_int_equal(fake.returned, EXCHANGE_TURNS_MAX + 1);
	assert_int_equal(fake.keeps, 0); /* a connection of a key that is no more */
}

static void a_401_that_can_be_tried_again_was_not_sent(void **state)
{
	struct exchange_world *w = *state;

	(void)begin_in(w, EXCHANGE_HEAD);
	fake.pump = REASON_UPSTREAM_BROKEN;
	fake.refused = true;
	connection_says(w, false);
	expect_broken(w, REASON_UPSTREAM_BROKEN, false);
	assert_int_equal(fake.rejects, 1);
	assert_int_equal(fake.uses, 1); /* but it was */
}

/* ---- the router's side ---- */

static void credit_is_bounded_and_wakes(void **state)
{
	struct exchange_world *w = *state;
	struct exchange *x = begin_in(w, EXCHANGE_SEND);

	x->credit = 1;
	exchange_credit(x, EGRESS_CREDIT_BYTES - 2);
	assert_int_equal(x->credit, EGRESS_CREDIT_BYTES - 1);
	exchange_credit(x, 2);
	assert_int_equal(x->credit, EGRESS_CREDIT_BYTES);
	assert_int_equal(fake.resumed, 0); /* it is not its turn to read */
	exchange_cancel(x);
	x = begin_in(w, EXCHANGE_BODY);
	exchange_credit(x, 5);
	assert_int_equal(fake.resumed, 1);
	exchange_cancel(x);
}

static void a_router_that_does_not_read_is_dropped(void **state)
{
	struct exchange_world *w = *state;

	fake.ipc_says = IPC_E_FULL;
	exchange_break(begin_in(w, EXCHANGE_HEAD), REASON_SHUTTING_DOWN);
	assert_int_equal(fake.dropped, 1);
}

/* Only what both sides have ended in order serves another request. */
static void what_is_kept(void **state)
{
	struct exchange_world *w = *state;

	fake.pending = fake.head = fake.over = true;
	assert_null(begin(w));
	assert_true(fake.kept);
	(void)begin_in(w, EXCHANGE_HEAD);
	w->credential.state = CREDENTIAL_RETIRED;
	connection_says(w, false);
	assert_false(fake.kept); /* its key is no more */
	assert_int_equal(fake.ends, 2);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, exchange_setup, exchange_teardown)
	const struct CMUnitTest tests[] = {
		TEST(nothing_needs_to_wait),
		TEST(each_state_can_be_waited_in),
		TEST(each_state_has_its_time),
		TEST(who_waits_for_others_connections_is_not_late_for_the_provider),
		TEST(each_state_can_be_cancelled),
		TEST(a_body_that_goes_on_lives),
		TEST(a_grant_that_does_not_hold_is_recorded),
		TEST(one_that_waits_for_yet_another_key_waits_on),
		TEST(a_binding_that_is_another_is_recorded),
		TEST(what_is_not_there_is_told),
		TEST(strict_mode_sends_nothing_without_its_record),
		TEST(what_is_no_request_is_a_violation),
		TEST(a_dead_idle_connection_is_replaced_once),
		TEST(a_byte_that_was_sent_is_not_sent_again),
		TEST(a_credential_that_is_replaced_before_is_asked_for_again),
		TEST(a_401_that_can_be_tried_again_was_not_sent),
		TEST(credit_is_bounded_and_wakes),
		TEST(a_router_that_does_not_read_is_dropped),
		TEST(what_is_kept),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
