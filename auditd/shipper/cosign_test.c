/* SPDX-License-Identifier: Apache-2.0 */
/* What a witness is told and what is taken of its answer: one line, its own, and nothing else. */
#include "auditd/shipper/cosign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>

#define TEXT "log.test/audit\n3\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
#define NOTE TEXT "\n\u2014 log.test/audit AAAAAAAAAAAA\n"

struct cosigner {
	struct note_key key;
	uint8_t public[32], secret[64];
};

static void cosigner_make(struct cosigner *c, const char *name)
{
	crypto_sign_keypair(c->public, c->secret);
	assert_int_equal(note_cosigner_init(&c->key, span_str(name), c->public), 0);
}

/* The line alone, with its end. */
static size_t cosigner_line(const struct cosigner *c, const char *text, char *to, size_t cap)
{
	char message[512], note[1024] = NOTE;
	size_t len, note_len = strlen(NOTE);
	uint8_t sig[NOTE_SIG_BYTES];

	assert_int_equal(note_cosigned_text(span_str(text), 1700000000, message, sizeof(message), &len), 0);
	crypto_sign_detached(sig, NULL, (const uint8_t *)message, len, c->secret);
	assert_int_equal(note_add_cosignature(note, sizeof(note), &note_len, &c->key, 1700000000, sig), 0);
	assert_true(note_len - strlen(NOTE) < cap);
	memcpy(to, note + strlen(NOTE), note_len - strlen(NOTE));
	to[note_len - strlen(NOTE)] = 0;
	return note_len - strlen(NOTE);
}

static void a_request_is_as_specified(void **state)
{
	struct merkle_proof proof = {.n = 2};
	struct buf to;

	(void)state;
	memset(proof.hashes[1].b, 0xff, MERKLE_HASH_BYTES);
	buf_init(&to, COSIGN_REQUEST_BYTES_MAX);
	assert_int_equal(cosign_request(7, &proof, SPAN_LIT(NOTE), &to), 0);
	assert_true(span_eq_str(buf_span(&to), "old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
					       "//////////////////////////////////////////8=\n\n" NOTE));
	buf_deinit(&to);
}

static void the_longest_proof_has_room(void **state)
{
	struct merkle_proof proof = {.n = MERKLE_PROOF_MAX};
	char note[16384];
	struct buf to;

	(void)state;
	memset(note, 'x', sizeof(note));
	buf_init(&to, COSIGN_REQUEST_BYTES_MAX);
	assert_int_equal(cosign_request(UINT64_MAX, &proof, span_of(note, sizeof(note)), &to), 0);
	buf_deinit(&to);
}

static void a_size_is_one_line(void **state)
{
	static const char *const bad[] = {"",  "7", "7\n\n", "07\n", "-1\n", "7 \n", "7\n8\n", "18446744073709551616\n",
					  "\n"};
	uint64_t size;

	(void)state;
	assert_true(cosign_size(SPAN_LIT("18446744073709551615\n"), &size) && size == UINT64_MAX);
	assert_true(cosign_size(SPAN_LIT("0\n"), &size) && size == 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (cosign_size(span_str(bad[i]), &size))
			fail_msg("%s", bad[i]);
}

static void its_own_line_is_taken_and_no_other(void **state)
{
	char mine[256], other[256], wrong[256], body[1200], note[1024] = NOTE;
	struct cosigner a, b, stranger;
	size_t len = strlen(NOTE);

	(void)state;
	cosigner_make(&a, "witness.test/a");
	cosigner_make(&b, "witness.test/b");
	cosigner_make(&stranger, "witness.test/a");
	size_t mine_len = cosigner_line(&a, TEXT, mine, sizeof(mine));
	cosigner_line(&b, TEXT, other, sizeof(other));
	cosigner_line(&stranger, TEXT, wrong, sizeof(wrong));
	(void)snprintf(body, sizeof(body), "%sgarbage\n\n%s%s%s", other, wrong, mine, other);
	assert_int_equal(cosign_take(SPAN_LIT(NOTE), span_str(body), &a.key, note, sizeof(note), &len), 0);
	assert_int_equal(len, strlen(NOTE) + mine_len);
	assert_memory_equal(note, NOTE, strlen(NOTE));
	assert_memory_equal(note + strlen(NOTE), mine, mine_len);

	size_t before = len;
	(void)snprintf(body, sizeof(body), "%s%s", other, wrong);
	assert_int_equal(cosign_take(SPAN_LIT(NOTE), span_str(body), &a.key, note, sizeof(note), &len), COSIGN_E_NONE);
	cosigner_line(&a, "log.test/audit\n4\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", body, sizeof(body));
	assert_int_equal(cosign_take(SPAN_LIT(NOTE), span_str(body), &a.key, note, sizeof(note), &len), COSIGN_E_NONE);
	assert_int_equal(cosign_take(SPAN_LIT(NOTE), SPAN_NULL, &a.key, note, sizeof(note), &len), COSIGN_E_NONE);
	assert_int_equal(cosign_take(SPAN_LIT(NOTE), span_of(mine, mine_len - 1), &a.key, note, sizeof(note), &len),
			 COSIGN_E_NONE);
	assert_int_equal(cosign_take(SPAN_LIT(NOTE), span_of(mine, mine_len), &a.key, note, len, &len), COSIGN_E_SPACE);
	assert_int_equal(len, before);
}

/* Every bit of it. */
static void an_altered_cosignature_is_none(void **state)
{
	char mine[256], note[1024] = NOTE;
	struct cosigner a;
	size_t len = strlen(NOTE);

	(void)state;
	cosigner_make(&a, "witness.test/a");
	size_t mine_len = cosigner_line(&a, TEXT, mine, sizeof(mine));
	for (size_t bit = 0; bit < 8 * mine_len; bit++) {
		mine[bit / 8] ^= (char)(1 << bit % 8);
		if (cosign_take(SPAN_LIT(NOTE), span_of(mine, mine_len), &a.key, note, sizeof(note), &len) == 0)
			fail_msg("bit %zu", bit);
		mine[bit / 8] ^= (char)(1 << bit % 8);
	}
	assert_int_equal(cosign_take(SPAN_LIT(NOTE), span_of(mine, mine_len), &a.key, note, sizeof(note), &len), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_as_specified),
		cmocka_unit_test(the_longest_proof_has_room),
		cmocka_unit_test(a_size_is_one_line),
		cmocka_unit_test(its_own_line_is_taken_and_no_other),
		cmocka_unit_test(an_altered_cosignature_is_none),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
