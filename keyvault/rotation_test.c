/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What drives a rotation: each wait is told by its name and goes on when it is over, nothing happens without its
 * record, a rate is kept, and an operator gets one answer. authd is the test's: rows that it swaps, or does not. Time
 * is too.
 */
#include "tests/support/core_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sodium.h>

#define ROWS 12

struct row {
	char id[16];
	uint8_t blob[SEAL_BYTES_MAX];
	size_t len;
};

struct scene {
	struct peer *admin, *authd;
	struct row rows[ROWS];
	unsigned swaps, swapped, replays;
	bool refuse_once; /* a row is not what the core has seen, once */
	size_t largest;
};

static void add_row(struct world *w, struct scene *s, unsigned i)
{
	struct row *row = &s->rows[i];

	(void)snprintf(row->id, sizeof(row->id), "p%u", i);
	admin_add(w, s->admin, s->authd, row->id, 1, row->id);
	struct span blob = s->admin->msg.vault_added.blob;
	memcpy(row->blob, blob.p, row->len = blob.len);
}

static struct scene *begin(struct world *w)
{
	struct scene *s = calloc(1, sizeof(*s));

	s->admin = peer_meet(w, ADMIN);
	s->authd = peer_meet(w, AUTHD);
	peer_expect(w, s->authd, PROTO_SEALED);
	admin_init(w, s->admin);
	peer_expect(w, s->authd, PROTO_PEPPER);
	for (unsigned i = 0; i < ROWS; i++)
		add_row(w, s, i);
	return s;
}

static void end(struct world *w, struct scene *s)
{
	if (s->authd)
		peer_leave(w, s->authd);
	peer_leave(w, s->admin);
	free(s);
}

static struct row *find(struct scene *s, struct span id)
{
	for (size_t i = 0; i < ROWS; i++)
		if (span_eq_str(id, s->rows[i].id))
			return &s->rows[i];
	fail_msg("no row %.*s", SPAN_ARG(id));
	return NULL;
}

/* ---- authd ---- */

static uint8_t swap_one(struct scene *s, const struct proto_credential_swap_item *item)
{
	struct row *row = find(s, item->credential);
	uint8_t hash[32];

	(void)crypto_generichash(hash, sizeof(hash), row->blob, row->len, NULL, 0);
	assert_memory_equal(item->old.p, hash, sizeof(hash));
	assert_true(item->at + item->part.len <= row->len);
	if (s->refuse_once) {
		s->refuse_once = false;
		return 0;
	}
	memcpy(row->blob + item->at, item->part.p, item->part.len);
	s->swapped++;
	return 1;
}

static void answer_swap(struct scene *s)
{
	struct proto_list items = s->authd->msg.credential_swap.items;
	struct proto_credential_swap_item item;
	uint8_t done[CORE_SWAPS_MAX];
	size_t n = 0;

	while (proto_credential_swap_item_next(&items, &item))
		done[n++] = swap_one(s, &item);
	s->swaps++;
	s->largest = MAX(s->largest, n);
	peer_say(s->authd, PROTO_CREDENTIAL_SWAPPED, s->authd->id,
		 &(struct proto_credential_swapped){.done = span_of(done, n)});
}

static void say_rows(struct world *w, struct scene *s)
{
	for (size_t i = 0; i < ROWS; i++) {
		peer_say(s->authd, PROTO_CREDENTIAL_LOAD, 0,
			 &(struct proto_credential_load){.credential = span_str(s->rows[i].id),
							 .blob = span_of(s->rows[i].blob, s->rows[i].len)});
		world_turn(w);
	}
}

static void answer(struct world *w, struct scene *s)
{
	uint64_t id = s->authd->id;

	if (s->authd->desc->type == PROTO_CREDENTIAL_SWAP) {
		answer_swap(s);
		return;
	}
	assert_int_equal(s->authd->desc->type, PROTO_CREDENTIAL_REPLAY);
	s->replays++;
	say_rows(w, s);
	peer_say(s->authd, PROTO_CREDENTIAL_REPLAYED, id, &(struct proto_credential_replayed){.rows = ROWS});
}

/* ---- time ---- */

static uv_timer_t *timer(struct world *w)
{
	return &w->core.rotation.timer;
}

/* What is to be done later is done now. */
static void fire(struct world *w)
{
	assert_true(uv_is_active((uv_handle_t *)timer(w)));
	(void)uv_timer_stop(timer(w));
	timer(w)->timer_cb(timer(w));
}

/* Until authd's answer was taken. A timer that is due at once fires in the same turn, or (before libuv 1.45) in the
 * next: then authd is asked something again already. */
static void settle(struct world *w, const struct scene *s)
{
	uint8_t byte;
	bool asked = false;

	for (int i = 0; i < TURNS_MAX && w->core.rotation.busy && !asked; i++) {
		world_turn(w);
		asked = s->authd && recv(s->authd->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
	}
	assert_true(asked || !w->core.rotation.busy);
}

static void say_rotate(struct scene *s, enum rotate_what what, uint32_t rate)
{
	peer_say(s->admin, PROTO_VAULT_ROTATE, 9, &(struct proto_vault_rotate){.what = what, .rate = rate});
}

static void expect_done(struct world *w, struct scene *s, const char *text)
{
	peer_expect(w, s->admin, PROTO_DONE);
	assert_int_equal(s->admin->id, 9);
	assert_true(span_eq_str(s->admin->msg.done.text, text));
}

/* Begun, and nothing done yet: the loop has not turned since. */
static void begin_only(struct world *w, struct scene *s, enum rotate_what what, uint32_t rate)
{
	w->log.mode = LOG_LATER;
	say_rotate(s, what, rate);
	for (int i = 0; i < TURNS_MAX && w->log.count[EVENT_VAULT_ROTATE] == 0; i++)
		world_turn(w);
	w->log.mode = LOG_YES;
	w->log.done(w->log.ctx, true);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_PENDING);
}

/* To where it waits for authd. */
static void to_authd(struct world *w, struct scene *s)
{
	while (!w->core.rotation.busy && rotate_step(&w->core.vault) != ROTATE_IDLE)
		fire(w);
	peer_expect(w, s->authd,
		    w->core.rotation.busy && rotate_step(&w->core.vault) == ROTATE_REWRAPPED ? PROTO_CREDENTIAL_REPLAY
											     : PROTO_CREDENTIAL_SWAP);
}

/* To its end. */
static void finish(struct world *w, struct scene *s)
{
	uint64_t before = w->core.rotation.finished;

	for (unsigned i = 0; i < 1000 && w->core.rotation.finished == before; i++) {
		if (w->core.rotation.busy) {
			peer_hear(w, s->authd);
			answer(w, s);
			settle(w, s);
		} else {
			fire(w);
		}
	}
	assert_int_equal(w->core.rotation.finished, before + 1);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_IDLE);
}

static struct proto_vault_rotation_rep look(struct world *w, struct scene *s)
{
	peer_say(s->admin, PROTO_VAULT_ROTATION, 10, &(struct proto_vault_rotation){});
	peer_expect(w, s->admin, PROTO_VAULT_ROTATION_REP);
	return s->admin->msg.vault_rotation_rep;
}

/* ---- tests ---- */

static void each_step_has_its_record(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);

	begin_only(w, s, ROTATE_TENANT, 0);
	assert_string_equal(w->log.reason, "pending");
	w->log.mode = LOG_LATER; /* it stays there */
	expect_done(w, s, "begun");
	assert_true(span_eq_str(look(w, s).step, "pending"));
	assert_int_equal(look(w, s).done, 0);
	w->log.mode = LOG_YES;
	w->log.done(w->log.ctx, true);
	to_authd(w, s);
	assert_int_equal(w->log.count[EVENT_VAULT_ROTATE], 3); /* pending, acknowledged, active */
	assert_string_equal(w->log.reason, "active");
	struct proto_vault_rotation_rep rep = look(w, s);
	assert_int_equal(rep.what, ROTATE_TENANT);
	assert_int_equal(rep.total, ROWS);
	assert_int_equal(rep.done, 0);
	assert_true(span_eq_str(rep.step, "active"));
	say_rotate(s, ROTATE_TENANT, 0);
	expect_done(w, s, "under way already");
	say_rotate(s, ROTATE_CREDENTIAL, 0);
	peer_expect_refused(w, s->admin, "busy");
	answer(w, s);
	finish(w, s);
	assert_int_equal(w->log.count[EVENT_VAULT_ROTATE], 6);
	assert_string_equal(w->log.reason, "retired");
	assert_int_equal(s->swapped, ROWS);
	assert_int_equal(s->replays, 1);
	rep = look(w, s);
	assert_int_equal(rep.what, 0);
	assert_int_equal(rep.finished, 1);
	assert_false(uv_is_active((uv_handle_t *)timer(w)));
	end(w, s);
}

static void nothing_begins_without_its_record(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);

	w->log.mode = LOG_DOWN;
	say_rotate(s, ROTATE_TENANT, 0);
	peer_expect_refused(w, s->admin, "audit_unavailable");
	w->log.mode = LOG_LATER;
	say_rotate(s, ROTATE_TENANT, 0);
	peer_expect_silence(w, s->admin);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_IDLE);
	w->log.done(w->log.ctx, false);
	peer_expect_refused(w, s->admin, "audit_unavailable");
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_IDLE);

	say_rotate(s, ROTATE_TENANT, 0); /* sealed meanwhile */
	peer_expect_silence(w, s->admin);
	vault_seal(&w->core.vault);
	w->log.done(w->log.ctx, true);
	peer_expect_refused(w, s->admin, "sealed");
	admin_unseal(w, s->admin);

	say_rotate(s, ROTATE_TENANT, 0); /* a second one before the first is answered */
	say_rotate(s, ROTATE_TENANT, 0);
	assert_false(peer_hear(w, s->admin));
	peer_leave(w, s->admin);
	w->log.done(w->log.ctx, true); /* it goes on without its operator */
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_PENDING);
	s->admin = peer_meet(w, ADMIN);
	end(w, s);
}

static void what_cannot_be_rotated_is_said(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	struct proto_vault_rotate m = {.what = ROTATE_TENANT};

	peer_say(admin, PROTO_VAULT_ROTATE, 9, &m);
	peer_expect_refused(w, admin, "uninitialised");
	admin_init(w, admin);
	peer_say(admin, PROTO_VAULT_ROTATE, 9, &m); /* there is no tenant */
	peer_expect_refused(w, admin, "nothing");
	m.what = ROTATE_ROOT;
	m.key_file = 1;
	m.tenant = SPAN_LIT("acme");
	peer_say_fd(admin, PROTO_VAULT_ROTATE, 9, &m, world_key(w));
	peer_expect_refused(w, admin, "nothing");
	m.tenant = SPAN_NULL;
	m.key_file = 0;
	peer_say(admin, PROTO_VAULT_ROTATE, 9, &m);
	peer_expect_refused(w, admin, "no_key_file");
	admin_seal(w, admin);
	peer_say(admin, PROTO_VAULT_ROTATE, 9, &m);
	peer_expect_refused(w, admin, "sealed");
	assert_int_equal(w->log.count[EVENT_VAULT_ROTATE], 0);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_IDLE);
	peer_leave(w, admin);
}

static void it_waits_for_the_log(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);

	begin_only(w, s, ROTATE_TENANT, 0);
	w->log.mode = LOG_DOWN;
	fire(w);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_PENDING);
	assert_true(uv_timer_get_due_in(timer(w)) > 100);
	w->log.mode = LOG_LATER;
	expect_done(w, s, "begun");
	assert_true(span_eq_str(look(w, s).waits, "audit"));
	fire(w);
	assert_true(w->core.rotation.busy);
	assert_true(span_eq_str(look(w, s).waits, ""));
	w->log.done(w->log.ctx, false);
	assert_false(w->core.rotation.busy);
	assert_true(span_eq_str(look(w, s).waits, "audit"));
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_PENDING);
	fire(w);
	w->log.mode = LOG_YES;
	w->log.done(w->log.ctx, true);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_ACKNOWLEDGED);
	finish(w, s);
	assert_int_equal(w->log.count[EVENT_VAULT_ROTATE], 7); /* one of them twice */
	end(w, s);
}

static void it_waits_for_authd(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);

	peer_leave(w, TAKE(s->authd));
	begin_only(w, s, ROTATE_CREDENTIAL, 0);
	expect_done(w, s, "begun");
	while (uv_timer_get_due_in(timer(w)) == 0)
		fire(w);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_ACTIVE);
	assert_true(span_eq_str(look(w, s).waits, "authd"));
	assert_true(uv_timer_get_due_in(timer(w)) > 100);
	s->authd = peer_meet(w, AUTHD);
	peer_expect(w, s->authd, PROTO_PEPPER);
	peer_expect(w, s->authd, PROTO_CREDENTIAL_SWAP); /* at once: it was kicked */
	peer_leave(w, TAKE(s->authd));                   /* and dies with the question */
	settle(w, s);
	assert_true(span_eq_str(look(w, s).waits, "authd"));
	s->authd = peer_meet(w, AUTHD);
	peer_expect(w, s->authd, PROTO_PEPPER);
	finish(w, s);
	assert_int_equal(s->swapped, ROWS);
	end(w, s);
}

static void a_row_that_was_not_swapped_is_looked_at_again(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);

	s->refuse_once = true;
	say_rotate(s, ROTATE_CREDENTIAL, 0);
	expect_done(w, s, "begun");
	finish(w, s);
	assert_false(s->refuse_once);
	assert_int_equal(s->swapped, ROWS);
	end(w, s);
}

static void a_store_that_fails_is_asked_again_later(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);

	say_rotate(s, ROTATE_TENANT, 0);
	expect_done(w, s, "begun");
	to_authd(w, s);
	peer_say(s->authd, PROTO_CREDENTIAL_SWAPPED, s->authd->id, &(struct proto_credential_swapped){});
	settle(w, s);
	assert_int_equal(w->core.rotation.done, 0);
	assert_true(uv_timer_get_due_in(timer(w)) > 100);
	finish(w, s);
	assert_int_equal(s->swapped, ROWS);
	end(w, s);
}

/* 20 a second: three at once, then as long as three take. */
static void a_rate_is_kept(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);

	say_rotate(s, ROTATE_TENANT, 20);
	expect_done(w, s, "begun");
	to_authd(w, s);
	answer(w, s);
	settle(w, s);
	assert_int_equal(w->core.rotation.done, 3);
	assert_true(uv_timer_get_due_in(timer(w)) > 50 && uv_timer_get_due_in(timer(w)) <= 150);
	finish(w, s);
	assert_int_equal(s->swaps, ROWS / 3);
	assert_int_equal(s->largest, 3);
	end(w, s);
}

static void a_sealed_vault_waits_and_goes_on(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);

	say_rotate(s, ROTATE_TENANT, 0);
	expect_done(w, s, "begun");
	to_authd(w, s);
	admin_seal(w, s->admin);
	answer(w, s);
	settle(w, s);
	assert_int_equal(w->core.rotation.done, 0); /* authd has it, the core does not know */
	fire(w);
	assert_false(uv_is_active((uv_handle_t *)timer(w)));
	peer_expect(w, s->authd, PROTO_SEALED);
	admin_unseal(w, s->admin);
	peer_expect(w, s->authd, PROTO_PEPPER);
	say_rows(w, s);
	assert_int_equal(look(w, s).what, ROTATE_TENANT);
	finish(w, s);
	end(w, s);
}

/* A row that the core had not heard of is under the old key: it is rewrapped before anything old is wiped. */
static void a_row_that_is_new_to_the_core_reopens_it(void **state)
{
	struct world *w = *state;
	struct scene *s = begin(w);
	struct span id = span_str(s->rows[3].id);

	(void)store_drop_below(&w->core.vault.store, id, UINT32_MAX);
	begin_only(w, s, ROTATE_TENANT, 0);
	expect_done(w, s, "begun");
	finish(w, s);
	assert_int_equal(s->swapped, ROWS);
	assert_int_equal(s->replays, 2);
	assert_int_equal(w->log.count[EVENT_VAULT_ROTATE], 7); /* rewrapped, twice */
	end(w, s);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_step_has_its_record),
		TEST(nothing_begins_without_its_record),
		TEST(what_cannot_be_rotated_is_said),
		TEST(it_waits_for_the_log),
		TEST(it_waits_for_authd),
		TEST(a_row_that_was_not_swapped_is_looked_at_again),
		TEST(a_store_that_fails_is_asked_again_later),
		TEST(a_rate_is_kept),
		TEST(a_sealed_vault_waits_and_goes_on),
		TEST(a_row_that_is_new_to_the_core_reopens_it),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}
