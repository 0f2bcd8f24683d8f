/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of the root key at the admin socket: none without the operator's proof, none without its record, and what is
 * copied brings the same vault back. A copy that is not whole changes nothing.
 */
#include "tests/support/core_world.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "keyvault/age.h"
#include "keyvault/share.h"

#define SHARES       5
#define CLOCK_LAG_MS 2      /* of libuv's, which may be the kernel's coarse one */
#define STALL_MS_MAX 600000 /* that the machine may stand still */

struct copy {
	char shares[SHARES][SHARE_TEXT_BYTES + 1];
	size_t n;
};

static void say_backup(struct world *w, struct peer *admin, const struct proto_vault_backup *m, bool proof)
{
	struct proto_vault_backup with = *m;

	with.key_file = proof;
	peer_say_fd(admin, PROTO_VAULT_BACKUP, 9, &with, proof ? world_key(w) : -1);
}

static void take_shares(struct world *w, struct peer *admin, unsigned n, unsigned threshold, struct copy *ret)
{
	struct proto_share item;

	say_backup(w, admin, &(struct proto_vault_backup){.shares = n, .threshold = threshold}, true);
	peer_expect(w, admin, PROTO_VAULT_BACKED_UP);
	assert_int_equal(admin->msg.vault_backed_up.file.len, 0);
	struct proto_list shares = admin->msg.vault_backed_up.shares;
	for (ret->n = 0; proto_share_next(&shares, &item); ret->n++)
		(void)snprintf(ret->shares[ret->n], sizeof(ret->shares[0]), "%.*s", SPAN_ARG(item.text));
	assert_int_equal(ret->n, n);
}

/* The first `n` of them, or other ones where `from` says so. */
static void say_restore(struct peer *admin, const struct copy *c, const size_t *from, size_t n)
{
	struct proto_share items[SHARES];

	for (size_t i = 0; i < n; i++)
		items[i].text = span_str(c->shares[from ? from[i] : i]);
	peer_say(admin, PROTO_VAULT_RESTORE, 10, &(struct proto_vault_restore){.shares = {.items = items, .count = n}});
}

static void expect_bad_copy(struct world *w, struct peer *admin, const char *text)
{
	peer_expect_refused(w, admin, "bad_copy");
	if (!memmem(admin->msg.refused.text.p, admin->msg.refused.text.len, text, strlen(text)))
		fail_msg("'%s' is not in '%.*s'", text, SPAN_ARG(admin->msg.refused.text));
	assert_false(vault_is_open(&w->core.vault));
}

/* The vault is there but for its root key, as after the loss of a disk. */
static void lose_root(struct world *w)
{
	char path[128];

	vault_deinit(&w->core.vault);
	(void)snprintf(path, sizeof(path), "%s/keyvault/root.key", w->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(vault_start(&w->core.vault, &w->core.config, w->core.arena, -1), 0);
}

static void no_copy_without_proof(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	const struct proto_vault_backup m = {.shares = 3, .threshold = 2};
	char other[] = "/tmp/other-XXXXXX";

	say_backup(w, admin, &m, false);
	peer_expect_refused(w, admin, "uninitialised");
	admin_init(w, admin);
	say_backup(w, admin, &m, false); /* an open vault is not enough */
	peer_expect_refused(w, admin, "no_key_file");
	int fd = mkostemp(other, O_CLOEXEC);
	assert_int_equal(write(fd, "8f3c1a5e7b2d4960fedcba9876543210a1b2c3d4e5f60718293a4b5c6d7e8f90", 64), 64);
	struct proto_vault_backup with = m;
	with.key_file = 1;
	peer_say_fd(admin, PROTO_VAULT_BACKUP, 9, &with, fd);
	peer_expect_refused(w, admin, "other_key");
	assert_int_equal(unlink(other), 0);
	assert_int_equal(w->log.count[EVENT_VAULT_BACKUP], 0);
	peer_leave(w, admin);
}

static void fire_rotation(struct world *w)
{
	uv_timer_t *timer = &w->core.rotation.timer;

	(void)uv_timer_stop(timer);
	timer->timer_cb(timer);
}

/* It would be a copy of a key that is void as soon as the rotation is over, and nobody would know. */
static void no_copy_of_a_root_key_that_goes(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	const struct proto_vault_backup m = {.shares = 3, .threshold = 2};
	const struct proto_vault_rotate rotate = {.what = ROTATE_ROOT, .key_file = 1};
	struct copy c;

	admin_init(w, admin);
	w->log.mode = LOG_LATER;
	peer_say_fd(admin, PROTO_VAULT_ROTATE, 9, &rotate, world_key(w));
	for (int i = 0; i < TURNS_MAX && w->log.count[EVENT_VAULT_ROTATE] == 0; i++)
		world_turn(w);
	w->log.done(w->log.ctx, true);
	peer_expect(w, admin, PROTO_DONE);
	for (enum rotate_step step = ROTATE_PENDING; step <= ROTATE_VERIFIED; step++) {
		assert_int_equal(rotate_step(&w->core.vault), step);
		say_backup(w, admin, &m, false); /* the proof comes first */
		peer_expect_refused(w, admin, "no_key_file");
		say_backup(w, admin, &m, true);
		peer_expect_refused(w, admin, "busy");
		if (!w->core.rotation.busy)
			fire_rotation(w);
		w->log.done(w->log.ctx, true);
	}
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_IDLE);
	assert_int_equal(w->log.count[EVENT_VAULT_BACKUP], 0);
	w->log.mode = LOG_YES;
	take_shares(w, admin, 3, 2, &c);
	peer_leave(w, admin);
}

/* When Argon2 was last done. The wrapper has no context to be given. */
static uint64_t argon2_done_ms;

int __real_crypto_pwhash_argon2id(unsigned char *out, unsigned long long out_len, const char *passphrase,
				  unsigned long long len, const unsigned char *salt, unsigned long long passes,
				  size_t memory, int algorithm);
int __wrap_crypto_pwhash_argon2id(unsigned char *out, unsigned long long out_len, const char *passphrase,
				  unsigned long long len, const unsigned char *salt, unsigned long long passes,
				  size_t memory, int algorithm);
int __wrap_crypto_pwhash_argon2id(unsigned char *out, unsigned long long out_len, const char *passphrase,
				  unsigned long long len, const unsigned char *salt, unsigned long long passes,
				  size_t memory, int algorithm)
{
	int r = __real_crypto_pwhash_argon2id(out, out_len, passphrase, len, salt, passes, memory, algorithm);

	argon2_done_ms = uv_hrtime() / 1000000;
	return r;
}

/* A passphrase to try. */
static void guess(struct world *w, struct peer *admin, enum proto_type type, const void *msg, const char *refused)
{
	peer_say(admin, type, 9, msg);
	peer_expect_refused(w, admin, refused);
}

/* Wherever a passphrase is asked for: a wrong one is recorded, and from the third on the next has to wait, from the
 * answer on: Argon2 takes about as long as the first wait. */
static void each_wrong_passphrase_is_recorded_and_waited_for(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	const struct span wrong = SPAN_LIT("not this one");
	const struct proto_vault_rotate rotate = {.what = ROTATE_ROOT, .passphrase = wrong};
	const struct proto_vault_backup backup = {.shares = 3, .threshold = 2, .passphrase = wrong};
	const struct proto_vault_unseal unseal = {.passphrase = wrong};

	vault_deinit(&w->core.vault);
	w->core.config.keyvault.unseal = CONFIG_UNSEAL_PASSPHRASE;
	assert_int_equal(vault_start(&w->core.vault, &w->core.config, w->core.arena, -1), 0);
	admin_do(w, admin, PROTO_VAULT_INIT, &(struct proto_vault_init){.passphrase = SPAN_LIT("correct horse")});
	guess(w, admin, PROTO_VAULT_ROTATE, &rotate, "wrong_passphrase");
	assert_int_equal(w->log.count[EVENT_VAULT_UNSEAL_FAIL], 1);
	guess(w, admin, PROTO_VAULT_BACKUP, &backup, "wrong_passphrase");
	assert_int_equal(w->log.count[EVENT_VAULT_UNSEAL_FAIL], 2);
	admin_seal(w, admin);
	guess(w, admin, PROTO_VAULT_UNSEAL, &unseal, "wrong_passphrase");
	assert_int_equal(w->log.count[EVENT_VAULT_UNSEAL_FAIL], 3);
	assert_true(w->core.vault.retry_at_ms + CLOCK_LAG_MS >= argon2_done_ms + 1000);
	w->core.vault.retry_at_ms += STALL_MS_MAX;
	guess(w, admin, PROTO_VAULT_UNSEAL, &unseal, "too_many_tries");
	assert_int_equal(w->log.count[EVENT_VAULT_UNSEAL_FAIL], 3);
	peer_leave(w, admin);
}

static void no_copy_without_its_record(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	const struct proto_vault_backup m = {.shares = 3, .threshold = 2};

	admin_init(w, admin);
	w->log.mode = LOG_DOWN;
	say_backup(w, admin, &m, true);
	peer_expect_refused(w, admin, "audit_unavailable");
	w->log.mode = LOG_LATER;
	say_backup(w, admin, &m, true);
	peer_expect_silence(w, admin);
	assert_string_equal(w->log.reason, "shares: 2 of 3");
	w->log.done(w->log.ctx, false);
	peer_expect_refused(w, admin, "audit_unavailable");
	say_backup(w, admin, &m, true);
	peer_expect_silence(w, admin);
	peer_leave(w, admin); /* whoever asked is gone: nobody gets it, and nothing of it is left */
	w->log.done(w->log.ctx, true);
}

static void shares_bring_the_vault_back(void **state)
{
	static const size_t last[] = {4, 1, 3};
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	uint8_t before[32], after[32];
	struct copy copy, other;

	admin_init(w, admin);
	secret_open(w->core.arena);
	memcpy(before, keyring_purpose(&w->core.vault.keyring, PURPOSE_PEPPER)->p, 32);
	secret_close(w->core.arena);
	take_shares(w, admin, SHARES, 3, &copy);
	take_shares(w, admin, 3, 2, &other);
	say_restore(admin, &copy, NULL, 3);
	peer_expect_refused(w, admin, "already_initialised");
	lose_root(w);

	say_restore(admin, &copy, NULL, 2);
	expect_bad_copy(w, admin, share_err_text(SHARE_E_FEW));
	copy.shares[1][40] = copy.shares[1][40] == 'q' ? 'p' : 'q';
	say_restore(admin, &copy, NULL, 3);
	expect_bad_copy(w, admin, "share 2: ");
	strcpy(copy.shares[1], copy.shares[0]);
	say_restore(admin, &copy, NULL, 3);
	expect_bad_copy(w, admin, "share 2: ");
	strcpy(copy.shares[1], other.shares[1]);
	say_restore(admin, &copy, NULL, 3);
	expect_bad_copy(w, admin, "share 2: ");
	assert_int_equal(w->log.count[EVENT_VAULT_RESTORE], 0);

	strcpy(copy.shares[1], copy.shares[2]); /* the three that are left, in any order */
	say_restore(admin, &copy, last, 3);
	peer_expect(w, admin, PROTO_DONE);
	assert_string_equal(w->log.reason, "shares");
	assert_int_equal(w->log.count[EVENT_VAULT_RESTORE], 1);
	secret_open(w->core.arena);
	memcpy(after, keyring_purpose(&w->core.vault.keyring, PURPOSE_PEPPER)->p, 32);
	secret_close(w->core.arena);
	assert_memory_equal(before, after, 32);
	peer_leave(w, admin);
}

static void numbers_that_make_no_sense(void **state)
{
	static const unsigned wrong[][2] = {{0, 0}, {1, 1}, {3, 1}, {2, 3}, {16, 0}};
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	const struct proto_recipient nobody = {SPAN_LIT("age1nobody")};

	admin_init(w, admin);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		say_backup(w, admin, &(struct proto_vault_backup){.shares = wrong[i][0], .threshold = wrong[i][1]},
			   true);
		peer_expect_refused(w, admin, "bad_backup");
	}
	say_backup(w, admin, &(struct proto_vault_backup){.recipients = {.items = &nobody, .count = 1}}, true);
	peer_expect_refused(w, admin, "bad_backup");
	assert_int_equal(w->log.count[EVENT_VAULT_BACKUP], 0);
	peer_leave(w, admin);
}

static void a_key_file_brings_it_back_and_another_does_not(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	const struct proto_vault_restore m = {.key_file = 1};
	int pair[2];

	admin_init(w, admin);
	int key = world_key(w);
	lose_root(w);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	(void)close(pair[1]);
	peer_say_fd(admin, PROTO_VAULT_RESTORE, 10, &m, pair[0]);
	expect_bad_copy(w, admin, "no root key");
	peer_say(admin, PROTO_VAULT_RESTORE, 10, &(struct proto_vault_restore){.identity = SPAN_LIT("x")});
	expect_bad_copy(w, admin, age_err_text(AGE_E_IDENTITY));
	peer_say_fd(admin, PROTO_VAULT_RESTORE, 10, &m, key);
	peer_expect(w, admin, PROTO_DONE);
	assert_string_equal(w->log.reason, "key file");
	assert_true(vault_is_open(&w->core.vault));
	peer_leave(w, admin);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(no_copy_without_proof),
		TEST(no_copy_of_a_root_key_that_goes),
		TEST(each_wrong_passphrase_is_recorded_and_waited_for),
		TEST(no_copy_without_its_record),
		TEST(shares_bring_the_vault_back),
		TEST(numbers_that_make_no_sense),
		TEST(a_key_file_brings_it_back_and_another_does_not),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dispatch_backup", tests, NULL, NULL);
}
