/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signature binds the core for ever, so the size it signed must survive whatever comes after. The core on a loop,
 * with its system calls wrapped: whenever it says anything to anybody, everything that it wrote before must be durable;
 * a size that cannot be made durable is not signed, and a key whose version cannot be is not stored; and after a power
 * failure (tests/support/power.h) the witness holds what auditd was last given.
 */
#include "tests/support/core_world.h"

#include <errno.h>
#include <stdio.h>
#include <sodium.h>
#include <unistd.h>

#include "tests/support/power.h"

/* The wrappers have no context to be given. */
static struct {
	bool armed;
	int fault;                    /* errno of the next sync; 0: it works */
	unsigned syncs, words, early; /* early: said before what was written was safe */
} disk;

ssize_t __real_pwrite(int fd, const void *p, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t len, off_t at)
{
	if (disk.armed)
		power_write(fd, at, len);
	return __real_pwrite(fd, p, len, at);
}

static int sync_one(int fd, int (*real)(int fd))
{
	if (disk.armed && disk.fault) {
		errno = disk.fault;
		power_unsynced(fd);
		return -1;
	}
	int r = real(fd);
	if (disk.armed && r == 0) {
		power_synced(fd);
		disk.syncs++;
	}
	return r;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return sync_one(fd, __real_fsync);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	return sync_one(fd, __real_fdatasync);
}

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	disk.words++;
	disk.early += disk.armed && !disk.fault && power_unsaved() > 0;
	return __real_sendmsg(fd, m, flags);
}

/* ---- a log that grows by a leaf ---- */

struct grown {
	struct note_key key;
	struct merkle_tree tree;
	struct merkle_hash leaves[8];
};

static int node(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret)
{
	const struct grown *log = ctx;
	struct merkle_hash left, right;

	if (level == 0) {
		*ret = log->leaves[index];
		return 0;
	}
	(void)node(ctx, level - 1, 2 * index, &left);
	(void)node(ctx, level - 1, 2 * index + 1, &right);
	merkle_hash_node(&left, &right, ret);
	return 0;
}

static void grow(struct grown *log)
{
	uint8_t text = (uint8_t)log->tree.size;

	merkle_hash_leaf(span_of(&text, 1), &log->leaves[log->tree.size]);
	merkle_tree_append(&log->tree, &log->leaves[log->tree.size]);
}

static void ask(struct grown *log, struct peer *auditd, uint64_t old_size)
{
	const struct merkle_source source = {node, log};
	struct merkle_proof proof = {0};
	struct merkle_hash root;

	merkle_tree_root(&log->tree, &root);
	if (old_size > 0)
		assert_int_equal(merkle_prove_consistency(&source, old_size, log->tree.size, &proof), 0);
	const struct proto_sign_checkpoint question = {
		.origin = span_str(log->key.name),
		.old_size = old_size,
		.size = log->tree.size,
		.root = span_of(root.b, sizeof(root.b)),
		.proof = span_of(proof.hashes, proof.n * sizeof(proof.hashes[0])),
	};
	peer_say(auditd, PROTO_SIGN_CHECKPOINT, 5, &question);
}

static void check_witness(const struct world *w, uint64_t size)
{
	struct witness witness;

	assert_int_equal(witness_load(w->core.vault.signer.witness.fd, &witness), 0);
	assert_int_equal(witness.size, size);
}

static struct peer *meet_signer(struct world *w, struct grown *log)
{
	struct peer *auditd = peer_meet(w, AUDITD);
	char vkey[NOTE_VKEY_MAX];

	peer_expect(w, auditd, PROTO_SIGNED_SIZE);
	(void)snprintf(vkey, sizeof(vkey), "%.*s", SPAN_ARG(auditd->msg.signed_size.vkey));
	assert_int_equal(note_key_parse(&log->key, span_str(vkey)), 0);
	return auditd;
}

static void what_is_signed_is_durable(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	struct grown log = {0};

	disk.armed = true;
	admin_init(w, admin);
	struct peer *auditd = meet_signer(w, &log);
	for (uint64_t size = 0; size < 5; size++) {
		unsigned syncs = disk.syncs, words = disk.words;
		grow(&log);
		ask(&log, auditd, size);
		peer_expect(w, auditd, PROTO_CHECKPOINT_SIGNED);
		assert_true(disk.syncs > syncs && disk.words > words + 1);
		assert_int_equal(disk.early, 0);
		power_fail();
		check_witness(w, size + 1);
	}
	disk.armed = false;
	peer_leave(w, auditd);
	peer_leave(w, admin);
}

static void what_cannot_be_made_durable_is_not_signed(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	struct grown log = {0};

	admin_init(w, admin);
	struct peer *auditd = meet_signer(w, &log);
	grow(&log);
	ask(&log, auditd, 0);
	peer_expect(w, auditd, PROTO_CHECKPOINT_SIGNED);
	grow(&log);
	disk.armed = true;
	for (int fault = EIO; fault; fault = fault == EIO ? ENOSPC : 0) {
		disk.fault = fault;
		ask(&log, auditd, 1);
		peer_expect_refused(w, auditd, "storage");
		power_fail();
		check_witness(w, 1);
	}
	disk.fault = 0;
	ask(&log, auditd, 1);
	peer_expect(w, auditd, PROTO_CHECKPOINT_SIGNED);
	power_fail();
	check_witness(w, 2);
	disk.armed = false;
	peer_leave(w, auditd);
	peer_leave(w, admin);
}

/* authd lets go of the key before: one that is then refused when it is loaded would leave that in use, and the operator
 * was told that it is replaced. */
static void a_key_that_cannot_be_remembered_is_not_stored(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD);
	uint8_t blob[SEAL_BYTES_MAX];

	peer_expect(w, authd, PROTO_SEALED);
	admin_init(w, admin);
	peer_expect(w, authd, PROTO_PEPPER);
	for (uint64_t version = 1; version <= 2; version++) {
		admin_say_add(admin, "openai", version, "sk-one");
		peer_expect(w, admin, PROTO_VAULT_ADDED);
		struct span sealed = admin->msg.vault_added.blob;
		memcpy(blob, sealed.p, sealed.len);
		const struct proto_credential_check check = {.credential = SPAN_LIT("openai"),
							     .blob = span_of(blob, sealed.len)};
		disk.armed = true;
		disk.fault = ENOSPC;
		peer_say(authd, PROTO_CREDENTIAL_CHECK, 1, &check);
		peer_expect_refused(w, authd, "storage");
		disk.fault = 0;
		peer_say(authd, PROTO_CREDENTIAL_CHECK, 2, &check);
		peer_expect(w, authd, PROTO_CREDENTIAL_GOOD);
		assert_int_equal(marks_get(&w->core.vault.marks, SPAN_LIT("openai")), version - 1); /* not yet */
		disk.armed = false;
		peer_say(authd, PROTO_CREDENTIAL_LOAD, 0,
			 &(struct proto_credential_load){.credential = check.credential, .blob = check.blob});
		for (int i = 0; i < TURNS_MAX && marks_get(&w->core.vault.marks, check.credential) < version; i++)
			world_turn(w);
		assert_int_equal(marks_get(&w->core.vault.marks, check.credential), version);
	}
	marks_close(&w->core.vault.marks); /* and so it lies on the disk, in one place */
	assert_int_equal(marks_open(&w->core.vault.marks), 0);
	assert_int_equal(w->core.vault.marks.places, 1);
	assert_int_equal(marks_get(&w->core.vault.marks, SPAN_LIT("openai")), 2);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

static void what_is_removed_goes_though_it_cannot_be_remembered(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD), *egress;
	struct secret secret;
	struct span binding;

	admin_init(w, admin);
	admin_add(w, admin, authd, "openai", 1, "sk-one");
	egress = peer_meet(w, EGRESS0);
	disk.armed = true;
	disk.fault = EIO;
	peer_say(authd, PROTO_CREDENTIAL_DROP, 0,
		 &(struct proto_credential_drop){.credential = SPAN_LIT("openai"), .version = UINT32_MAX});
	peer_expect(w, egress, PROTO_CREDENTIAL_DROP);
	assert_string_equal(w->log.reason, "storage");
	assert_int_equal(vault_fetch(&w->core.vault, SPAN_LIT("openai"), 1000, &binding, &secret), VAULT_E_UNKNOWN);
	disk.fault = 0;
	disk.armed = false;
	peer_leave(w, egress);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_signed_is_durable),
		TEST(what_cannot_be_made_durable_is_not_signed),
		TEST(a_key_that_cannot_be_remembered_is_not_stored),
		TEST(what_is_removed_goes_though_it_cannot_be_remembered),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("durable", tests, NULL, NULL);
}
