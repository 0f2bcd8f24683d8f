/* SPDX-License-Identifier: Apache-2.0 */
/* The signer against an auditd that lies, and its memory against crashes. Trees are real ones, made with common/merkle.
 */
#include "keyvault/signer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sodium.h>
#include <unistd.h>
#include <cmocka.h>

#define LEAVES 40

struct fixture {
	int fd;
	char path[32];
	struct secret_arena *arena;
	struct signer signer;
	struct secret seed, cosigner_seed;
	struct merkle_hash leaves[LEAVES];
};

/* A source of nodes: recomputed from the leaves each time. */
static int node(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret)
{
	const struct fixture *f = ctx;

	if (level == 0) {
		*ret = f->leaves[index];
		return 0;
	}
	struct merkle_hash left, right;
	int r = node(ctx, level - 1, 2 * index, &left);
	r = r ? r : node(ctx, level - 1, 2 * index + 1, &right);
	merkle_hash_node(&left, &right, ret);
	return r;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct witness w;

	strcpy(f->path, "/tmp/witness-XXXXXX");
	f->fd = mkstemp(f->path);
	assert_true(f->fd >= 0);
	assert_int_equal(secret_arena_new(65536, &f->arena), 0);
	assert_int_equal(witness_load(f->fd, &w), 0);
	assert_int_equal(secret_alloc(f->arena, 32, &f->seed), 0);
	assert_int_equal(secret_alloc(f->arena, 32, &f->cosigner_seed), 0);
	secret_open(f->arena);
	memset(f->cosigner_seed.p, 1, 32);
	secret_close(f->arena);
	signer_init(&f->signer, f->arena, &w);
	assert_int_equal(signer_open(&f->signer, &f->seed, &f->cosigner_seed), 0);
	for (uint8_t i = 0; i < LEAVES; i++)
		merkle_hash_leaf(span_of(&i, 1), &f->leaves[i]);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	signer_close(&f->signer);
	secret_free(f->arena, &f->seed);
	secret_free(f->arena, &f->cosigner_seed);
	assert_int_equal(secret_arena_used(f->arena), 0);
	secret_arena_free(f->arena);
	(void)unlink(f->path);
	(void)close(f->fd);
	free(f);
	return 0;
}

/* As after a restart: what is remembered comes from the file. */
static void reload(struct fixture *f)
{
	struct witness w;

	signer_close(&f->signer);
	assert_int_equal(witness_load(f->fd, &w), 0);
	signer_init(&f->signer, f->arena, &w);
	assert_int_equal(signer_open(&f->signer, &f->seed, &f->cosigner_seed), 0);
}

/* Asks for a signature over the first `size` leaves, with an honest proof from `old_size`. */
static int ask(struct fixture *f, uint64_t old_size, uint64_t size, const char *origin)
{
	const struct merkle_source source = {node, f};
	struct merkle_proof proof = {0};
	struct merkle_hash root;
	struct note_key key, cosigner;
	struct span text;
	uint64_t at;
	char note[SIGNER_NOTE_BYTES_MAX], vkey[NOTE_VKEY_MAX];
	size_t len;

	assert_int_equal(merkle_root(&source, size, &root), 0);
	if (old_size > 0 && old_size < size)
		assert_int_equal(merkle_prove_consistency(&source, old_size, size, &proof), 0);
	struct proto_sign_checkpoint m = {.origin = span_str(origin),
					  .old_size = old_size,
					  .size = size,
					  .root = span_of(root.b, sizeof(root.b)),
					  .proof = span_of(proof.hashes, proof.n * sizeof(proof.hashes[0]))};
	int r = signer_sign(&f->signer, &m, 1700000000, note, &len);
	if (r)
		return r;
	signer_vkey(&f->signer, vkey);
	assert_int_equal(note_key_parse(&key, span_str(vkey)), 0);
	assert_int_equal(note_verify(span_of(note, len), &key, &text), 0);
	signer_cosigner_vkey(&f->signer, vkey);
	assert_int_equal(note_cosigner_parse(&cosigner, span_str(vkey)), 0);
	assert_int_equal(note_verify_cosigned(span_of(note, len), &cosigner, &text, &at), 0);
	assert_int_equal(at, 1700000000);
	assert_memory_not_equal(cosigner.public, key.public, sizeof(key.public));
	size_t id = strcspn(key.name, "/");
	assert_true(strncmp(key.name, cosigner.name, id) == 0 && strcmp(cosigner.name + id, "/witness") == 0);
	struct checkpoint cp;
	assert_int_equal(checkpoint_parse(text, &cp), 0);
	assert_int_equal(cp.size, size);
	assert_true(merkle_hash_eq(&cp.root, &root));
	return 0;
}

static void growth_is_signed_and_remembered(void **state)
{
	struct fixture *f = *state;
	char origin[NOTE_NAME_MAX + 1];

	strcpy(origin, f->signer.witness.origin);
	assert_int_equal(ask(f, 0, 0, origin), 0);
	for (uint64_t old = 0, size = 1; size < LEAVES; old = size, size += 1 + size / 3) {
		assert_int_equal(ask(f, old, size, origin), 0);
		assert_int_equal(ask(f, size, size, origin), 0); /* again, the same */
		reload(f);
		assert_int_equal(f->signer.witness.size, size);
		assert_string_equal(f->signer.witness.origin, origin);
	}
}

static void rollback_fork_and_foreign_logs_are_refused(void **state)
{
	struct fixture *f = *state;
	const char *origin = f->signer.witness.origin;

	assert_int_equal(ask(f, 0, 20, origin), 0);
	reload(f);
	assert_int_equal(ask(f, 0, 21, origin), SIGNER_E_SIZE);
	assert_int_equal(ask(f, 19, 21, origin), SIGNER_E_SIZE);
	assert_int_equal(ask(f, 20, 19, origin), SIGNER_E_SIZE);
	assert_int_equal(ask(f, 20, 21, "another.log/audit"), SIGNER_E_ORIGIN);

	struct merkle_hash was = f->leaves[7];
	f->leaves[7].b[0] ^= 1; /* history is edited, with a proof that is honest about the edited log */
	assert_int_equal(ask(f, 20, 20, origin), SIGNER_E_FORK);
	for (uint64_t size = 21; size < LEAVES; size++)
		assert_int_equal(ask(f, 20, size, origin), SIGNER_E_FORK);
	f->leaves[7] = was;
	assert_int_equal(ask(f, 20, 21, origin), 0);
}

static void wrong_proofs_are_refused(void **state)
{
	struct fixture *f = *state;
	struct merkle_hash root = f->leaves[0];
	uint8_t bytes[4096] = {0};
	char note[SIGNER_NOTE_BYTES_MAX];
	size_t len;

	assert_int_equal(ask(f, 0, 8, f->signer.witness.origin), 0);
	struct proto_sign_checkpoint m = {.origin = span_str(f->signer.witness.origin),
					  .old_size = 8,
					  .size = 9,
					  .root = span_of(root.b, sizeof(root.b))};
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		m.proof = span_of(bytes, n);
		assert_int_equal(signer_sign(&f->signer, &m, 1700000000, note, &len), SIGNER_E_FORK);
	}
	m.size = UINT64_MAX;
	assert_int_equal(signer_sign(&f->signer, &m, 1700000000, note, &len), SIGNER_E_FORK);
	assert_int_equal(f->signer.witness.size, 8);
}

static void a_sealed_vault_signs_nothing(void **state)
{
	struct fixture *f = *state;
	char vkey[NOTE_VKEY_MAX];

	signer_close(&f->signer);
	assert_int_equal(ask(f, 0, 3, f->signer.witness.origin), SIGNER_E_CLOSED);
	signer_vkey(&f->signer, vkey);
	assert_string_equal(vkey, "");
	reload(f);
}

static void nothing_is_signed_that_cannot_be_remembered(void **state)
{
	struct fixture *f = *state;
	int fd = f->signer.witness.fd;

	f->signer.witness.fd = -1;
	assert_int_equal(ask(f, 0, 3, f->signer.witness.origin), SIGNER_E_STORAGE);
	assert_int_equal(f->signer.witness.size, 0);
	f->signer.witness.fd = fd;
	assert_int_equal(ask(f, 0, 3, f->signer.witness.origin), 0);
}

/* A crash in the middle of a save: some bytes new, the rest as they were. The save before it must survive. */
static void a_torn_write_loses_one_save_at_most(void **state)
{
	struct fixture *f = *state;
	uint8_t before[2][4096], after[2][4096], torn[4096];
	struct witness w;

	assert_int_equal(ask(f, 0, 5, f->signer.witness.origin), 0);
	assert_int_equal(ask(f, 5, 9, f->signer.witness.origin), 0);
	memset(before, 0, sizeof(before));
	memset(after, 0, sizeof(after));
	assert_true(pread(f->fd, before, sizeof(before), 0) > 4096);
	assert_int_equal(ask(f, 9, 12, f->signer.witness.origin), 0);
	assert_true(pread(f->fd, after, sizeof(after), 0) > 4096);
	size_t slot = memcmp(before[0], after[0], 4096) != 0 ? 0 : 1;
	assert_memory_equal(before[!slot], after[!slot], 4096);
	for (size_t cut = 0; cut <= 256; cut++) {
		memcpy(torn, before[slot], sizeof(torn));
		memcpy(torn, after[slot], cut);
		assert_int_equal(pwrite(f->fd, torn, sizeof(torn), (off_t)slot * 4096), 4096);
		assert_int_equal(witness_load(f->fd, &w), 0);
		assert_true(w.size == 9 || w.size == 12);
		assert_true(w.size == 9 || memcmp(torn, after[slot], sizeof(torn)) == 0);
	}
}

static void a_damaged_witness_is_not_an_empty_one(void **state)
{
	struct fixture *f = *state;
	struct witness w;

	assert_int_equal(ftruncate(f->fd, 0), 0);
	assert_int_equal(witness_load(f->fd, &w), 0);
	assert_int_equal(pwrite(f->fd, "x", 1, 0), 1);
	assert_int_equal(witness_load(f->fd, &w), WITNESS_E_DAMAGED);
	assert_int_equal(ftruncate(f->fd, 8192), 0);
	assert_int_equal(witness_load(f->fd, &w), WITNESS_E_DAMAGED);
}

/* The power went at the first save: the file has its length, and nothing in it. */
static void a_first_save_that_was_lost_is_none(void **state)
{
	struct fixture *f = *state;
	struct witness w;

	assert_int_equal(ftruncate(f->fd, 0), 0);
	assert_int_equal(ftruncate(f->fd, 4096 + 256), 0);
	assert_int_equal(witness_load(f->fd, &w), 0);
	assert_int_equal(w.count, 0);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(growth_is_signed_and_remembered),
		TEST(rollback_fork_and_foreign_logs_are_refused),
		TEST(wrong_proofs_are_refused),
		TEST(a_sealed_vault_signs_nothing),
		TEST(nothing_is_signed_that_cannot_be_remembered),
		TEST(a_torn_write_loses_one_save_at_most),
		TEST(a_damaged_witness_is_not_an_empty_one),
		TEST(a_first_save_that_was_lost_is_none),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("signer", tests, NULL, NULL);
}
