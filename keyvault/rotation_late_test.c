/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rotation (rotation.c) that is overtaken: by a row that comes while a record is written, by a seal; and what comes
 * with it.
 */
#include "tests/support/core_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

static size_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	assert_int_equal(closedir(dir), 0);
	return n;
}

static void fire(struct world *w)
{
	uv_timer_t *timer = &w->core.rotation.timer;

	assert_true(uv_is_active((uv_handle_t *)timer));
	(void)uv_timer_stop(timer);
	timer->timer_cb(timer);
}

/* An open vault with one credential, and the blob of another that the core has not been sent. */
static void begin(struct world *w, struct peer **ret_admin, struct peer **ret_authd)
{
	struct peer *admin = *ret_admin = peer_meet(w, ADMIN), *authd = *ret_authd = peer_meet(w, AUTHD);

	peer_expect(w, authd, PROTO_SEALED);
	admin_init(w, admin);
	peer_expect(w, authd, PROTO_PEPPER);
	admin_add(w, admin, authd, "early", 1, "sk-early");
	admin_say_add(admin, "late", 1, "sk-late");
	peer_expect(w, admin, PROTO_VAULT_ADDED);
}

/* A swap of one row, which authd does. What follows may have begun when this returns. */
static void expect_swap(struct world *w, struct peer *authd, const char *id)
{
	static const uint8_t done[] = {1};
	struct proto_credential_swap_item item;

	while (!w->core.rotation.busy)
		fire(w);
	peer_expect(w, authd, PROTO_CREDENTIAL_SWAP);
	struct proto_list items = authd->msg.credential_swap.items;
	assert_true(proto_credential_swap_item_next(&items, &item));
	assert_true(span_eq_str(item.credential, id));
	assert_false(proto_credential_swap_item_next(&items, &item));
	peer_say(authd, PROTO_CREDENTIAL_SWAPPED, authd->id,
		 &(struct proto_credential_swapped){.done = span_of(done, sizeof(done))});
	for (int i = 0; i < TURNS_MAX && rotate_left(&w->core.vault) > 0; i++)
		world_turn(w);
	assert_int_equal(rotate_left(&w->core.vault), 0);
}

/* authd has been asked for all rows, and has none but those. */
static void expect_replay(struct world *w, struct peer *authd)
{
	peer_expect(w, authd, PROTO_CREDENTIAL_REPLAY);
	peer_say(authd, PROTO_CREDENTIAL_REPLAYED, authd->id, &(struct proto_credential_replayed){});
}

/* The record of this step is asked for; those before it are written. */
static void expect_record(struct world *w, struct peer *authd, enum rotate_step step)
{
	for (enum rotate_step at = ROTATE_REWRAPPED;; at++) {
		for (int i = 0; i < TURNS_MAX && strcmp(w->log.reason, rotate_step_name(at)) != 0; i++)
			world_turn(w);
		assert_string_equal(w->log.reason, rotate_step_name(at));
		if (at == step)
			return;
		w->log.done(w->log.ctx, true);
		if (at == ROTATE_REWRAPPED)
			expect_replay(w, authd);
	}
}

/* A step is being recorded when a row comes that is not under the new key: it would be lost with the old one. */
static void late_for(struct world *w, enum rotate_step step)
{
	struct peer *admin, *authd;
	uint8_t blob[SEAL_BYTES_MAX];

	begin(w, &admin, &authd);
	size_t len = admin->msg.vault_added.blob.len;
	memcpy(blob, admin->msg.vault_added.blob.p, len);
	admin_do(w, admin, PROTO_VAULT_ROTATE, &(struct proto_vault_rotate){.what = ROTATE_TENANT});
	while (!w->core.rotation.busy)
		fire(w);
	w->log.mode = LOG_LATER;
	expect_swap(w, authd, "early");
	expect_record(w, authd, step);
	assert_int_equal(rotate_step(&w->core.vault), step - 1);
	peer_say(authd, PROTO_CREDENTIAL_LOAD, 0,
		 &(struct proto_credential_load){.credential = SPAN_LIT("late"), .blob = span_of(blob, len)});
	for (int i = 0; i < TURNS_MAX && rotate_left(&w->core.vault) == 0; i++)
		world_turn(w);
	assert_int_equal(rotate_left(&w->core.vault), 1);
	w->log.mode = LOG_YES;
	w->log.done(w->log.ctx, true);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_ACTIVE);
	expect_swap(w, authd, "late");
	peer_leave(w, authd);
	peer_leave(w, admin);
}

/* "None" would be a lie, and a lie that says of one that was watched that it is done. */
static void a_sealed_vault_does_not_say_that_there_is_none(void **state)
{
	struct world *w = *state;
	struct peer *admin, *authd;

	begin(w, &admin, &authd);
	admin_do(w, admin, PROTO_VAULT_ROTATE, &(struct proto_vault_rotate){.what = ROTATE_TENANT});
	expect_swap(w, authd, "early");
	admin_seal(w, admin);
	peer_say(admin, PROTO_VAULT_ROTATION, 9, &(struct proto_vault_rotation){});
	peer_expect_refused(w, admin, "sealed");
	admin_unseal(w, admin);
	peer_say(admin, PROTO_VAULT_ROTATION, 9, &(struct proto_vault_rotation){});
	peer_expect(w, admin, PROTO_VAULT_ROTATION_REP);
	assert_int_equal(admin->msg.vault_rotation_rep.what, ROTATE_TENANT);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

static void a_row_that_comes_while_rewrapped_is_recorded(void **state)
{
	late_for(*state, ROTATE_REWRAPPED);
}

static void a_row_that_comes_while_verified_is_recorded(void **state)
{
	late_for(*state, ROTATE_VERIFIED);
}

static void a_row_that_comes_while_retired_is_recorded(void **state)
{
	late_for(*state, ROTATE_RETIRED);
}

/* A row that authd has and the core could not take, as the disk is full, goes with the old key if that is wiped. */
static void a_row_that_has_no_room_keeps_the_old_key(void **state)
{
	struct world *w = *state;
	struct marks *marks = &w->core.vault.marks;
	struct peer *admin, *authd;
	uint8_t blob[SEAL_BYTES_MAX];
	int marks_fd = marks->fd;

	begin(w, &admin, &authd);
	size_t len = admin->msg.vault_added.blob.len;
	memcpy(blob, admin->msg.vault_added.blob.p, len);
	const struct proto_credential_load late = {.credential = SPAN_LIT("late"), .blob = span_of(blob, len)};
	admin_do(w, admin, PROTO_VAULT_ROTATE, &(struct proto_vault_rotate){.what = ROTATE_TENANT});
	while (!w->core.rotation.busy)
		fire(w);
	expect_swap(w, authd, "early");
	marks->fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	peer_expect(w, authd, PROTO_CREDENTIAL_REPLAY);
	peer_say(authd, PROTO_CREDENTIAL_LOAD, 0, &late);
	peer_say(authd, PROTO_CREDENTIAL_REPLAYED, authd->id, &(struct proto_credential_replayed){});
	for (int i = 0; i < TURNS_MAX && w->core.rotation.busy; i++)
		world_turn(w);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_REWRAPPED);
	assert_string_equal(w->log.reason, "storage");
	assert_string_equal(w->core.rotation.waits, "storage");
	(void)close(marks->fd);
	marks->fd = marks_fd;
	fire(w);
	peer_expect(w, authd, PROTO_CREDENTIAL_REPLAY);
	peer_say(authd, PROTO_CREDENTIAL_LOAD, 0, &late);
	peer_say(authd, PROTO_CREDENTIAL_REPLAYED, authd->id, &(struct proto_credential_replayed){});
	for (int i = 0; i < TURNS_MAX && w->core.rotation.busy; i++)
		world_turn(w);
	expect_swap(w, authd, "late");
	peer_leave(w, authd);
	peer_leave(w, admin);
}

/* The descriptor of a key that is not needed: of tenant keys, of what is refused, of what is under way. */
static void a_key_file_that_is_not_needed_is_closed(void **state)
{
	struct world *w = *state;
	struct peer *admin, *authd;
	struct proto_vault_rotate m = {.what = ROTATE_TENANT, .tenant = SPAN_LIT("nobody"), .key_file = 1};

	begin(w, &admin, &authd);
	size_t before = open_files();
	peer_say_fd(admin, PROTO_VAULT_ROTATE, 9, &m, world_key(w));
	peer_expect(w, admin, PROTO_REFUSED);
	assert_int_equal(open_files(), before);
	m.tenant = SPAN_NULL;
	for (unsigned i = 0; i < 2; i++) { /* the second: "under way already" */
		peer_say_fd(admin, PROTO_VAULT_ROTATE, 9, &m, world_key(w));
		peer_expect(w, admin, PROTO_DONE);
		assert_int_equal(open_files(), before);
	}
	peer_leave(w, authd);
	peer_leave(w, admin);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_row_that_comes_while_rewrapped_is_recorded),
		TEST(a_row_that_comes_while_verified_is_recorded),
		TEST(a_row_that_comes_while_retired_is_recorded),
		TEST(a_row_that_has_no_room_keeps_the_old_key),
		TEST(a_sealed_vault_does_not_say_that_there_is_none),
		TEST(a_key_file_that_is_not_needed_is_closed),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("rotation_late", tests, NULL, NULL);
}
