/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a rotation (rotation.c) is in one message to authd, and rotations that have no batches: of the root key.
 */
#include "tests/support/core_world.h"

#include <stdio.h>
#include <sodium.h>
#include <unistd.h>

#define ROWS_MAX 70

/* What authd was asked. */
struct seen {
	size_t batches[8], n_batches, replays;
};

static struct peer *begin(struct world *w)
{
	struct peer *admin = peer_meet(w, ADMIN);

	admin_init(w, admin);
	return admin;
}

/* An authd with so many rows, each with a provider key of this length. */
static struct peer *meet_authd(struct world *w, struct peer *admin, size_t rows, size_t secret_bytes)
{
	struct peer *authd = peer_meet(w, AUTHD);
	char id[24], secret[4096 + 1] = {0};

	peer_expect(w, authd, PROTO_PEPPER);
	assert_true(rows <= ROWS_MAX && secret_bytes < sizeof(secret));
	memset(secret, 'k', secret_bytes);
	for (size_t i = 0; i < rows; i++) {
		(void)snprintf(id, sizeof(id), "p%02zu", i);
		admin_add(w, admin, authd, id, 1, secret);
	}
	return authd;
}

/* All that it is asked it does; and asked for its rows, it has none any more. */
static void answer(struct peer *authd, struct seen *seen)
{
	static const uint8_t done[CORE_SWAPS_MAX] = {[0 ... CORE_SWAPS_MAX - 1] = 1};
	struct proto_credential_swap_item item;
	size_t n = 0;

	if (authd->desc->type == PROTO_CREDENTIAL_REPLAY) {
		seen->replays++;
		peer_say(authd, PROTO_CREDENTIAL_REPLAYED, authd->id, &(struct proto_credential_replayed){});
		return;
	}
	assert_int_equal(authd->desc->type, PROTO_CREDENTIAL_SWAP);
	struct proto_list items = authd->msg.credential_swap.items;
	while (proto_credential_swap_item_next(&items, &item))
		n++;
	assert_true(n <= CORE_SWAPS_MAX && seen->n_batches < ARRAY_LEN(seen->batches));
	seen->batches[seen->n_batches++] = n;
	peer_say(authd, PROTO_CREDENTIAL_SWAPPED, authd->id,
		 &(struct proto_credential_swapped){.done = span_of(done, n)});
}

static void finish(struct world *w, struct peer *authd, struct seen *seen)
{
	while (seen->replays == 0) {
		assert_true(peer_hear(w, authd));
		answer(authd, seen);
	}
	for (int i = 0; i < TURNS_MAX && w->core.rotation.finished == 0; i++)
		world_turn(w);
	assert_int_equal(w->core.rotation.finished, 1);
}

static void rotate_rows(struct world *w, enum rotate_what what, uint32_t rate, size_t rows, size_t secret_bytes,
			const size_t *batches, size_t n_batches)
{
	struct peer *admin = begin(w), *authd = meet_authd(w, admin, rows, secret_bytes);
	struct seen seen = {0};

	admin_do(w, admin, PROTO_VAULT_ROTATE, &(struct proto_vault_rotate){.what = what, .rate = rate});
	finish(w, authd, &seen);
	assert_int_equal(seen.n_batches, n_batches);
	for (size_t i = 0; i < n_batches; i++)
		assert_int_equal(seen.batches[i], batches[i]);
	assert_int_equal(seen.replays, 1); /* none was passed over */
	assert_int_equal(w->core.rotation.done, rows);
	assert_int_equal(w->log.count[EVENT_VAULT_ROTATE], 6); /* each step has its record, and none has two */
	peer_leave(w, authd);
	peer_leave(w, admin);
}

/* The parts are 88 bytes, and 120 beside each: 59 of them are 12272. */
static void small_parts_come_as_many_as_fit(void **state)
{
	rotate_rows(*state, ROTATE_TENANT, 0, ROWS_MAX, 8, (const size_t[]){59, 11}, 2);
}

static void a_rate_makes_no_batch_larger(void **state)
{
	rotate_rows(*state, ROTATE_TENANT, 1000000, ROWS_MAX, 8, (const size_t[]){59, 11}, 2);
}

/* Sealed anew they are more than 4096 bytes each. */
static void large_ones_come_in_pairs(void **state)
{
	rotate_rows(*state, ROTATE_CREDENTIAL, 0, 5, 4096, (const size_t[]){2, 2, 1}, 3);
}

/* ---- the root key ---- */

static void finish_root(struct world *w)
{
	for (int i = 0; i < TURNS_MAX && w->core.rotation.finished == 0; i++)
		world_turn(w);
	assert_int_equal(w->core.rotation.finished, 1);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_IDLE);
}

static void a_root_key_takes_the_proof_of_the_old(void **state)
{
	struct world *w = *state;
	struct peer *admin = begin(w);
	struct proto_vault_rotate m = {.what = ROTATE_ROOT, .key_file = 1};
	uint8_t was[128], is[128];

	int fd = world_key(w);
	ssize_t len = read(fd, was, sizeof(was));
	(void)close(fd);
	peer_say_fd(admin, PROTO_VAULT_ROTATE, 9, &m, world_key(w));
	peer_expect(w, admin, PROTO_DONE);
	finish_root(w);
	fd = world_key(w);
	assert_int_equal(read(fd, is, sizeof(is)), len);
	(void)close(fd);
	assert_memory_not_equal(was, is, (size_t)len);
	admin_seal(w, admin);
	admin_unseal(w, admin); /* with the new one */
	peer_leave(w, admin);
}

/* Where the file is the operator's, so is the new key: the one that there is is none. */
static void the_same_root_key_again_is_none(void **state)
{
	struct world *w = *state;
	struct peer *admin = begin(w);
	struct proto_vault_rotate m = {.what = ROTATE_ROOT, .key_file = 1};
	uint8_t key[ROOT_FILE_BYTES_MAX];

	w->core.vault.files.configured_key = true;
	int fd = world_key(w);
	m.root = span_of(key, (size_t)read(fd, key, sizeof(key)));
	(void)close(fd);
	assert_int_equal(m.root.len, ROOT_KEY_BYTES);
	peer_say_fd(admin, PROTO_VAULT_ROTATE, 9, &m, world_key(w));
	peer_expect_refused(w, admin, "same_key");
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_IDLE);
	assert_int_equal(w->log.count[EVENT_VAULT_ROTATE], 0);
	key[0] ^= 1;
	peer_say_fd(admin, PROTO_VAULT_ROTATE, 9, &m, world_key(w));
	peer_expect(w, admin, PROTO_DONE);
	assert_int_not_equal(rotate_step(&w->core.vault), ROTATE_IDLE);
	peer_leave(w, admin);
}

/* The refusal sends the operator to the core's log, which must not speak of another file, or of nothing. */
static void what_is_wrong_with_a_new_root_key_is_said(void **state)
{
	struct world *w = *state;
	struct peer *admin = begin(w);
	const struct proto_vault_rotate m = {.what = ROTATE_ROOT, .key_file = 1, .root = SPAN_LIT("0123456789abcdef")};

	w->core.vault.files.configured_key = true;
	(void)snprintf(w->core.vault.files.why, sizeof(w->core.vault.files.why), "what was wrong before");
	peer_say_fd(admin, PROTO_VAULT_ROTATE, 9, &m, world_key(w));
	peer_expect_refused(w, admin, "key_file");
	assert_string_equal(w->core.vault.files.why,
			    "the new root key: too short: 32 bytes are needed, raw, in hex or in base64");
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_IDLE);
	peer_leave(w, admin);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(small_parts_come_as_many_as_fit),
		TEST(a_rate_makes_no_batch_larger),
		TEST(large_ones_come_in_pairs),
		TEST(a_root_key_takes_the_proof_of_the_old),
		TEST(the_same_root_key_again_is_none),
		TEST(what_is_wrong_with_a_new_root_key_is_said),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("rotation_batch", tests, NULL, NULL);
}
