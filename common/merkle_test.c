/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Against an independent implementation: every proof of the public test data (VECTORS_DIR/merkle), good and bad, by
 * name of its file. Against ourselves: every proof of every pair of sizes up to 70 verifies, and with one bit changed
 * does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/merkle.h"
#include "tests/support/vectors.h"

#define TEST_LEAVES 70

/* ---- own trees ---- */

static int naive_node(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret)
{
	struct merkle_hash left, right;

	if (level == 0) {
		*ret = ((const struct merkle_hash *)ctx)[index];
		return 0;
	}
	(void)naive_node(ctx, level - 1, 2 * index, &left);
	(void)naive_node(ctx, level - 1, 2 * index + 1, &right);
	merkle_hash_node(&left, &right, ret);
	return 0;
}

static void make_leaves(struct merkle_hash leaves[TEST_LEAVES])
{
	for (uint8_t i = 0; i < TEST_LEAVES; i++)
		merkle_hash_leaf(span_of(&i, 1), &leaves[i]);
}

static void test_roots_agree(void **state)
{
	struct merkle_hash leaves[TEST_LEAVES], grown, computed;
	struct merkle_tree tree = MERKLE_TREE_NULL;
	struct merkle_source source = {naive_node, leaves};

	(void)state;
	make_leaves(leaves);
	for (size_t i = 0; i < TEST_LEAVES; i++) {
		merkle_tree_root(&tree, &grown);
		assert_int_equal(merkle_root(&source, i, &computed), 0);
		assert_true(merkle_hash_eq(&grown, &computed));
		merkle_tree_append(&tree, &leaves[i]);
	}
}

static void test_inclusion_of_everything(void **state)
{
	struct merkle_hash leaves[TEST_LEAVES], root;
	struct merkle_source source = {naive_node, leaves};
	struct merkle_proof proof;

	(void)state;
	make_leaves(leaves);
	for (size_t size = 1; size <= TEST_LEAVES; size++) {
		assert_int_equal(merkle_root(&source, size, &root), 0);
		for (size_t i = 0; i < size; i++) {
			assert_int_equal(merkle_prove_inclusion(&source, i, size, &proof), 0);
			assert_int_equal(merkle_verify_inclusion(&leaves[i], i, size, proof.hashes, proof.n, &root), 0);
			assert_int_not_equal(merkle_verify_inclusion(&leaves[(i + 1) % TEST_LEAVES], i, size,
								     proof.hashes, proof.n, &root),
					     0);
			for (size_t k = 0; k < proof.n; k++) {
				proof.hashes[k].b[k % 32] ^= 4;
				assert_int_not_equal(
					merkle_verify_inclusion(&leaves[i], i, size, proof.hashes, proof.n, &root), 0);
				proof.hashes[k].b[k % 32] ^= 4;
			}
		}
	}
}

static void test_consistency_of_everything(void **state)
{
	struct merkle_hash leaves[TEST_LEAVES], old_root, root;
	struct merkle_source source = {naive_node, leaves};
	struct merkle_proof proof;

	(void)state;
	make_leaves(leaves);
	for (size_t size = 1; size <= TEST_LEAVES; size++) {
		assert_int_equal(merkle_root(&source, size, &root), 0);
		for (size_t old = 1; old <= size; old++) {
			assert_int_equal(merkle_root(&source, old, &old_root), 0);
			assert_int_equal(merkle_prove_consistency(&source, old, size, &proof), 0);
			assert_int_equal(merkle_verify_consistency(old, &old_root, size, &root, proof.hashes, proof.n),
					 0);
			old_root.b[0] ^= 1;
			assert_int_not_equal(
				merkle_verify_consistency(old, &old_root, size, &root, proof.hashes, proof.n), 0);
			old_root.b[0] ^= 1;
			for (size_t k = 0; k < proof.n; k++) {
				proof.hashes[k].b[31] ^= 128;
				assert_int_not_equal(
					merkle_verify_consistency(old, &old_root, size, &root, proof.hashes, proof.n),
					0);
				proof.hashes[k].b[31] ^= 128;
			}
		}
	}
}

/* ---- vectors ---- */

/* cmocka and ftw give a callback no context. */
static struct {
	unsigned good, bad;
} seen;

/* The data has hashes that are none, of fewer bytes: here they are filled up with zeros. False for longer and empty
 * ones. */
static bool vector_hash(const json_t *value, struct merkle_hash *ret)
{
	const char *text = json_string_value(value);
	size_t len = 0;

	*ret = (struct merkle_hash){0};
	return text &&
	       sodium_base642bin(ret->b, sizeof ret->b, text, strlen(text), NULL, &len, NULL,
				 sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       len > 0;
}

static bool vector_proof(const json_t *list, struct merkle_hash *hashes, size_t cap)
{
	if (json_array_size(list) > cap)
		return false;
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!vector_hash(json_array_get(list, i), &hashes[i]))
			return false;
	return true;
}

/* Read as reals: jansson's integers are signed and the data has 2^64 - 1. */
static bool vector_u64(const json_t *root, const char *key, uint64_t *ret)
{
	double value = json_real_value(json_object_get(root, key));

	*ret = value >= 0x1p64 ? UINT64_MAX : (uint64_t)value;
	return value >= 0;
}

static bool vector_accepted(const json_t *v)
{
	struct merkle_hash hashes[MERKLE_PROOF_MAX], a, b;
	const json_t *list = json_object_get(v, "proof");
	uint64_t first, second;

	if (!vector_proof(list, hashes, ARRAY_LEN(hashes)))
		return false;
	if (json_object_get(v, "leafIdx"))
		return vector_u64(v, "leafIdx", &first) && vector_u64(v, "treeSize", &second) &&
		       vector_hash(json_object_get(v, "leafHash"), &a) && vector_hash(json_object_get(v, "root"), &b) &&
		       merkle_verify_inclusion(&a, first, second, hashes, json_array_size(list), &b) == 0;
	return vector_u64(v, "size1", &first) && vector_u64(v, "size2", &second) &&
	       vector_hash(json_object_get(v, "root1"), &a) && vector_hash(json_object_get(v, "root2"), &b) &&
	       merkle_verify_consistency(first, &a, second, &b, hashes, json_array_size(list)) == 0;
}

static int vector_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	size_t len = strlen(path);
	if (type != FTW_F || len < 5 || strcmp(path + len - 5, ".json") != 0)
		return 0;
	json_t *v = json_load_file(path, JSON_DECODE_INT_AS_REAL, NULL);
	if (!v)
		fail_msg("%s: not JSON", path);
	bool bad = json_is_true(json_object_get(v, "wantErr"));
	if (vector_accepted(v) == bad)
		fail_msg("%s: %s", path, bad ? "accepted" : "refused");
	json_decref(v);
	seen.good += !bad;
	seen.bad += bad;
	return 0;
}

static void test_public_proofs(void **state)
{
	static const char *const kinds[] = {"merkle/testdata/inclusion", "merkle/testdata/consistency"};
	char path[VECTORS_PATH_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		vectors_path(kinds[i], path);
		assert_int_equal(nftw(path, vector_file, 8, FTW_PHYS), 0);
	}
	print_message("%u proofs accepted, %u refused\n", seen.good, seen.bad);
	assert_true(seen.good >= 8 && seen.bad >= 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_roots_agree),
		cmocka_unit_test(test_inclusion_of_everything),
		cmocka_unit_test(test_consistency_of_everything),
		cmocka_unit_test(test_public_proofs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
