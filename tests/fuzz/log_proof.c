/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof files of anybody's making. The log has three entries, the proof of the second is genuine, and the key that
 * signed it is gone. Whatever is taken for a proof must say what the genuine one says. Twice: the input as it is, and
 * over a place in the genuine one, which the first two bytes choose.
 */
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "auditd/proof.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LEAF "the second"

static struct note_key key;
static char genuine[2048];
static size_t genuine_len;

static void add_base64(const void *p, size_t len)
{
	sodium_bin2base64(genuine + genuine_len, sizeof(genuine) - genuine_len, p, len, sodium_base64_VARIANT_ORIGINAL);
	genuine_len = strlen(genuine);
	genuine[genuine_len++] = '\n';
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t seed[crypto_sign_SEEDBYTES]; /* zeros: seeds.py knows this key */
	uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES], sig[NOTE_SIG_BYTES];
	struct checkpoint cp = {.origin = SPAN_LIT("fuzz.test/log"), .size = 3};
	struct merkle_tree tree = MERKLE_TREE_NULL;
	struct merkle_hash leaves[3];
	char text[512];
	size_t len;

	(void)argc;
	(void)argv;
	assert(sodium_init() >= 0 && crypto_sign_seed_keypair(public, secret, seed) == 0);
	assert(note_key_init(&key, cp.origin, public) == 0);
	merkle_hash_leaf(SPAN_LIT("the first"), &leaves[0]);
	merkle_hash_leaf(SPAN_LIT(LEAF), &leaves[1]);
	merkle_hash_leaf(SPAN_LIT("the third"), &leaves[2]);
	for (size_t i = 0; i < 3; i++)
		merkle_tree_append(&tree, &leaves[i]);
	merkle_tree_root(&tree, &cp.root);
	genuine_len = (size_t)sprintf(genuine, "c2sp.org/tlog-proof@v1\nextra ");
	add_base64(LEAF, sizeof(LEAF) - 1);
	genuine_len += (size_t)sprintf(genuine + genuine_len, "index 1\n");
	add_base64(&leaves[0], sizeof(leaves[0]));
	add_base64(&leaves[2], sizeof(leaves[2]));
	genuine[genuine_len++] = '\n';
	assert(checkpoint_format(&cp, text, sizeof(text), &len) == 0);
	crypto_sign_detached(sig, NULL, (const uint8_t *)text, len, secret);
	assert(note_format(span_of(text, len), &key, sig, genuine + genuine_len, sizeof(genuine) - genuine_len, &len) ==
	       0);
	genuine_len += len;
	return 0;
}

/* True when it is taken for a proof. */
static bool try_proof(struct span text)
{
	static struct proof proof;

	if (proof_check(text, &key, &proof))
		return false;
	assert(proof.index == 1 && proof.size == 3 && span_eq(span_of(proof.leaf, proof.leaf_len), SPAN_LIT(LEAF)));
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char mixed[sizeof(genuine)];

	assert(try_proof(span_of(genuine, genuine_len)));
	(void)try_proof(span_of(data, size));
	if (size < 3)
		return 0;
	size_t at = ((size_t)data[0] << 8 | data[1]) % genuine_len, n = MIN(size - 2, genuine_len - at);
	memcpy(mixed, genuine, genuine_len);
	memcpy(mixed + at, data + 2, n);
	(void)try_proof(span_of(mixed, genuine_len));
	return 0;
}
