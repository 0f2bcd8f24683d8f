/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One provider key takes over from another: what a worker's 401 changes, for whom, once; and that the old version is
 * taken away later, by an authd that is there. Time is the test's: it calls what the timer would call.
 */
#include "tests/support/core_world.h"

#include <stdlib.h>
#include <sodium.h>

#define ID    SPAN_LIT("openai")
#define DRAIN 5000

struct peers {
	struct peer *admin, *authd, *egress[2];
};

/* Two live versions of a credential, `id`. */
static void add_pair(struct world *w, struct peers *p, const char *id)
{
	struct proto_binding next = binding_of(id, 2);

	next.since = 1;
	admin_add(w, p->admin, p->authd, id, 1, "sk-one");
	admin_add_bound(w, p->admin, p->authd, &next, "sk-two");
}

static struct peers begin(struct world *w)
{
	struct peers p = {peer_meet(w, ADMIN), peer_meet(w, AUTHD), {NULL}};

	peer_expect(w, p.authd, PROTO_SEALED);
	admin_init(w, p.admin);
	peer_expect(w, p.authd, PROTO_PEPPER);
	add_pair(w, &p, "openai");
	for (unsigned i = 0; i < 2; i++) {
		p.egress[i] = peer_meet(w, i ? EGRESS1 : EGRESS0);
		authd_take_key(w, p.authd);
		peer_expect(w, p.egress[i], PROTO_EDGE_KEY);
	}
	return p;
}

static void end(struct world *w, struct peers *p)
{
	for (unsigned i = 0; i < 2; i++)
		peer_leave(w, p->egress[i]);
	if (p->authd)
		peer_leave(w, p->authd);
	peer_leave(w, p->admin);
}

static void expect_secret(struct world *w, struct peer *egress, const char *secret)
{
	peer_say(egress, PROTO_UNSEAL, 42, &(struct proto_unseal){.credential = ID});
	peer_expect(w, egress, PROTO_UNSEALED);
	assert_true(span_eq_str(egress->msg.unsealed.secret, secret));
}

static void reject(struct peer *egress, const char *id, uint64_t version)
{
	peer_say(egress, PROTO_CREDENTIAL_REJECTED, 0,
		 &(struct proto_credential_rejected){.credential = span_str(id), .version = version});
}

/* Its time has come. */
static void fire(struct world *w)
{
	uv_timer_t *timer = &w->core.retirements.timer;

	assert_true(uv_is_active((uv_handle_t *)timer));
	(void)uv_timer_stop(timer); /* as libuv does before it calls */
	timer->timer_cb(timer);
}

static void a_refused_version_is_switched_for_all_and_taken_away_later(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	uv_handle_t *timer = (uv_handle_t *)&w->core.retirements.timer;

	expect_secret(w, p.egress[0], "sk-one");
	reject(p.egress[0], "openai", 1);
	peer_expect(w, p.egress[1], PROTO_CREDENTIAL_DROP);
	assert_true(span_eq(p.egress[1]->msg.credential_drop.credential, ID));
	assert_int_equal(p.egress[1]->msg.credential_drop.version, 1);
	peer_expect_silence(w, p.egress[0]); /* has dropped it itself */
	peer_expect_silence(w, p.authd);     /* not yet */
	expect_secret(w, p.egress[0], "sk-two");
	expect_secret(w, p.egress[1], "sk-two");
	assert_int_equal(w->log.count[EVENT_CREDENTIAL_SWITCH], 1);
	assert_string_equal(w->log.reason, "unauthorized");
	assert_true(uv_is_active(timer));
	uint64_t due_ms = uv_timer_get_due_in(&w->core.retirements.timer);
	assert_true(due_ms > DRAIN - 2000 && due_ms <= DRAIN);

	reject(p.egress[1], "openai", 1); /* it had been sent already */
	peer_expect_silence(w, p.egress[0]);
	assert_int_equal(w->log.count[EVENT_CREDENTIAL_SWITCH], 1);
	assert_int_equal(w->core.retirements.n, 1);

	fire(w);
	peer_expect(w, p.authd, PROTO_CREDENTIAL_RETIRE);
	assert_true(span_eq(p.authd->msg.credential_retire.credential, ID));
	assert_int_equal(p.authd->msg.credential_retire.version, 1);
	assert_int_equal(w->core.retirements.n, 0);
	assert_false(uv_is_active(timer));
	end(w, &p);
}

static void what_is_no_other_is_not_switched(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);

	admin_add(w, p.admin, p.authd, "alone", 1, "sk-alone");
	reject(p.egress[0], "alone", 1);
	reject(p.egress[0], "unknown", 1);
	reject(p.egress[0], "openai", 2); /* not the one in use */
	reject(p.egress[0], "openai", 3);
	peer_expect_silence(w, p.egress[0]);
	expect_secret(w, p.egress[0], "sk-one");
	assert_int_equal(w->log.count[EVENT_CREDENTIAL_SWITCH], 0);
	assert_int_equal(w->core.retirements.n, 0);
	assert_false(uv_is_active((uv_handle_t *)&w->core.retirements.timer));
	end(w, &p);
}

static void an_authd_that_is_away_is_told_later(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	struct core_retirements *r = &w->core.retirements;

	peer_leave(w, TAKE(p.authd));
	reject(p.egress[0], "openai", 1);
	peer_expect(w, p.egress[1], PROTO_CREDENTIAL_DROP);
	r->list[0].at_ms = 0;
	fire(w);
	assert_int_equal(r->n, 1);
	assert_true(r->list[0].at_ms >= ipc_now_ms(w->core.daemon.ipc) + DRAIN - 1000);
	p.authd = peer_meet(w, AUTHD);
	authd_take_key(w, p.authd);
	authd_take_key(w, p.authd);
	peer_expect(w, p.authd, PROTO_PEPPER);
	fire(w);
	peer_expect(w, p.authd, PROTO_CREDENTIAL_RETIRE);
	assert_int_equal(r->n, 0);
	end(w, &p);
}

static void several_go_one_after_another(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	struct core_retirements *r = &w->core.retirements;

	add_pair(w, &p, "second");
	reject(p.egress[0], "openai", 1);
	peer_expect(w, p.egress[1], PROTO_CREDENTIAL_DROP);
	reject(p.egress[0], "second", 1);
	peer_expect(w, p.egress[1], PROTO_CREDENTIAL_DROP);
	assert_int_equal(r->n, 2);
	r->list[1].at_ms += 1000000;
	fire(w);
	peer_expect(w, p.authd, PROTO_CREDENTIAL_RETIRE);
	assert_true(span_eq(p.authd->msg.credential_retire.credential, ID));
	peer_expect_silence(w, p.authd);
	assert_int_equal(r->n, 1);
	assert_true(uv_timer_get_due_in(&r->timer) > 900000);
	fire(w);
	peer_expect(w, p.authd, PROTO_CREDENTIAL_RETIRE);
	assert_true(span_eq_str(p.authd->msg.credential_retire.credential, "second"));
	assert_int_equal(r->n, 0);
	end(w, &p);
}

static void the_list_is_bounded(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	struct core_retirements *r = &w->core.retirements;

	r->n = CORE_RETIREMENTS_MAX;
	reject(p.egress[0], "openai", 1);
	peer_expect(w, p.egress[1], PROTO_CREDENTIAL_DROP); /* traffic moves all the same */
	expect_secret(w, p.egress[0], "sk-two");
	assert_int_equal(r->n, CORE_RETIREMENTS_MAX);
	r->n = 0;
	end(w, &p);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_refused_version_is_switched_for_all_and_taken_away_later),
		TEST(what_is_no_other_is_not_switched),
		TEST(an_authd_that_is_away_is_told_later),
		TEST(several_go_one_after_another),
		TEST(the_list_is_bounded),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("retire", tests, NULL, NULL);
}
