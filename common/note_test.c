/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public log of 15 entries (VECTORS_DIR/tlog): each checkpoint's signature verifies, its root is the one that its
 * entries give, its tile is the one that we would write. And every single-bit change of a signed checkpoint is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/note.h"
#include "tests/support/vectors.h"

#define TLOG_ENTRIES 15

/* The example of the sumdb note package. */
#define PETER_VKEY "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define PETER_NOTE                                                   \
	"If you think cryptography is the answer to your problem,\n" \
	"then you don't know what your problem is.\n"                \
	"\n"                                                         \
	"— PeterNeumann "                                          \
	"x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"

static size_t slurp(char *to, size_t cap, const char *name, const char *number)
{
	char path[VECTORS_PATH_BYTES], file[256];

	(void)snprintf(file, sizeof file, "tlog/%s%s", name, number);
	vectors_path(file, path);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	size_t len = fread(to, 1, cap, f);
	assert_true(len < cap);
	(void)fclose(f);
	return len;
}

static void public_key(struct note_key *key)
{
	char text[1024];
	size_t len = slurp(text, sizeof text, "VKEY", "");

	while (len > 0 && text[len - 1] == '\n')
		len--;
	assert_int_equal(note_key_parse(key, span_of(text, len)), 0);
	char again[NOTE_VKEY_MAX];
	note_key_format(key, again);
	assert_true(span_eq_str(span_of(text, len), again));
	assert_memory_equal(key->id, "\x33\xd7\xb4\x96", 4);
}

static void test_public_log(void **state)
{
	struct note_key key;
	struct merkle_tree tree = MERKLE_TREE_NULL;
	char bundle[4096], tile[4096], note[4096];

	(void)state;
	public_key(&key);
	size_t bundle_len = slurp(bundle, sizeof bundle, "log/tile/entries/000.p/", "15");
	size_t tile_len = slurp(tile, sizeof tile, "log/tile/0/000.p/", "15");
	assert_int_equal(tile_len, TLOG_ENTRIES * MERKLE_HASH_BYTES);
	for (unsigned size = 0, at = 0; size <= TLOG_ENTRIES; size++) {
		struct span text;
		struct checkpoint cp;
		struct merkle_hash root;
		char number[16];
		(void)snprintf(number, sizeof number, "%u", size);
		size_t len = slurp(note, sizeof note, "log/checkpoint.", number);
		assert_int_equal(note_verify(span_of(note, len), &key, &text), 0);
		assert_int_equal(checkpoint_parse(text, &cp), 0);
		assert_true(span_eq_str(cp.origin, key.name));
		assert_int_equal(cp.size, size);
		merkle_tree_root(&tree, &root);
		assert_true(merkle_hash_eq(&root, &cp.root));
		if (size == TLOG_ENTRIES)
			break;
		struct merkle_hash leaf;
		size_t entry = (size_t)(uint8_t)bundle[at] << 8 | (uint8_t)bundle[at + 1];
		assert_true(at + 2 + entry <= bundle_len);
		merkle_hash_leaf(span_of(bundle + at + 2, entry), &leaf);
		assert_memory_equal(leaf.b, tile + (size_t)size * MERKLE_HASH_BYTES, MERKLE_HASH_BYTES);
		merkle_tree_append(&tree, &leaf);
		at += (unsigned)(2 + entry);
	}
}

static void test_every_bit_counts(void **state)
{
	struct note_key key;
	struct span text;
	char note[4096];

	(void)state;
	assert_int_equal(note_key_parse(&key, SPAN_LIT(PETER_VKEY)), 0);
	assert_int_equal(note_verify(SPAN_LIT(PETER_NOTE), &key, &text), 0);
	size_t len = sizeof PETER_NOTE - 1;
	for (size_t bit = 0; bit < 8 * len; bit++) {
		memcpy(note, PETER_NOTE, len);
		note[bit / 8] = (char)(note[bit / 8] ^ 1 << bit % 8);
		assert_int_not_equal(note_verify(span_of(note, len), &key, &text), 0);
	}
	for (size_t cut = 0; cut < len; cut++)
		assert_int_not_equal(note_verify(span_of(PETER_NOTE, cut), &key, &text), 0);
}

/* PeterNeumann's line, and what may and may not stand beside it. */
static void test_other_signatures(void **state)
{
	static const struct {
		const char *line;
		int want;
	} cases[] = {
		{"— witness.example AAAAAAE=\n", 0},
		{"— PeterNeumann AAAAAAE=\n", 0}, /* same name, other key */
		{"— PeterNeumann x08gowA=\n", NOTE_E_SIGNATURE},
		{"— witness.example AAAAAA==\n", NOTE_E_MALFORMED}, /* key id alone */
		{"— witness.example AAAAAAE\n", NOTE_E_MALFORMED},
		{"— witness+x AAAAAAE=\n", NOTE_E_MALFORMED},
		{"— wit\xc2\xa0ness AAAAAAE=\n", NOTE_E_MALFORMED},
		{"—  AAAAAAE=\n", NOTE_E_MALFORMED},
		{"- witness.example AAAAAAE=\n", NOTE_E_MALFORMED},
		{"— witness.example AAAAAAE= \n", NOTE_E_MALFORMED},
		{"— witness.example AAAAAAE=", NOTE_E_MALFORMED},
		{"\n", NOTE_E_MALFORMED},
	};
	struct note_key key;
	struct span text;
	char note[16384];

	(void)state;
	assert_int_equal(note_key_parse(&key, SPAN_LIT(PETER_VKEY)), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int n = snprintf(note, sizeof note, "%s%s", PETER_NOTE, cases[i].line);
		if (note_verify(span_of(note, (size_t)n), &key, &text) != cases[i].want)
			fail_msg("case %zu", i);
	}
	for (unsigned extra = 15; extra <= 100; extra += 85) { /* 16 signatures must pass, 101 need not */
		int n = snprintf(note, sizeof note, "%s", PETER_NOTE);
		for (unsigned i = 0; i < extra; i++)
			n += snprintf(note + n, sizeof note - (size_t)n, "%s", cases[0].line);
		assert_int_equal(note_verify(span_of(note, (size_t)n), &key, &text),
				 extra == 15 ? 0 : NOTE_E_MALFORMED);
	}
}

static void test_bad_keys(void **state)
{
	static const char *const bad[] = {
		"",
		"PeterNeumann",
		"PeterNeumann+c74f20a3",
		"PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+c74f20a3+Apc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n",
		"+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
	};
	struct note_key key;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (note_key_parse(&key, span_str(bad[i])) != NOTE_E_MALFORMED)
			fail_msg("accepted: %s", bad[i]);
}

static void test_checkpoint_text(void **state)
{
#define ROOT "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	static const char *const bad[] = {
		"",
		"a\n",
		"a\n1\n",
		"\n1\n" ROOT "\n",
		"a\n01\n" ROOT "\n",
		"a\n-1\n" ROOT "\n",
		"a\n18446744073709551616\n" ROOT "\n",
		"a\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF==\n",
		"a\n1\n" ROOT,
		"a\n1\n" ROOT "\n\n",
		"a\n1\n" ROOT "\nextension",
		"a\n1\n" ROOT "\n\x01\n",
		"a\n1\n" ROOT "\n\xc0\x80\n",
	};
	struct checkpoint cp;
	char text[512];
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (checkpoint_parse(span_str(bad[i]), &cp) != NOTE_E_MALFORMED)
			fail_msg("accepted: case %zu", i);
	assert_int_equal(checkpoint_parse(SPAN_LIT("a\n18446744073709551615\n" ROOT "\nextension\n"), &cp), 0);
	assert_true(cp.size == UINT64_MAX);
	assert_int_equal(checkpoint_format(&cp, text, sizeof text, &len), 0);
	assert_true(span_eq_str(span_of(text, len), "a\n18446744073709551615\n" ROOT "\n"));
	assert_int_equal(checkpoint_format(&cp, text, len, &len), NOTE_E_SPACE);
}

static void test_sign_and_verify(void **state)
{
	uint8_t public[32], secret[64], sig[64];
	struct note_key key, again;
	struct checkpoint cp = {.origin = SPAN_LIT("bulkhead.0123456789abcdef/audit"), .size = 7};
	char text[512], note[1024], vkey[NOTE_VKEY_MAX];
	size_t text_len, note_len;
	struct span signed_text;

	(void)state;
	crypto_sign_keypair(public, secret);
	assert_int_equal(note_key_init(&key, cp.origin, public), 0);
	note_key_format(&key, vkey);
	assert_int_equal(note_key_parse(&again, span_str(vkey)), 0);
	assert_int_equal(checkpoint_format(&cp, text, sizeof text, &text_len), 0);
	crypto_sign_detached(sig, NULL, (const uint8_t *)text, text_len, secret);
	assert_int_equal(note_format(span_of(text, text_len), &key, sig, note, sizeof note, &note_len), 0);
	assert_int_equal(note_verify(span_of(note, note_len), &again, &signed_text), 0);
	assert_true(span_eq(signed_text, span_of(text, text_len)));
	again.id[0] ^= 1;
	assert_int_equal(note_verify(span_of(note, note_len), &again, &signed_text), NOTE_E_UNSIGNED);
	assert_int_equal(note_format(span_of(text, text_len), &key, sig, note, note_len, &note_len), NOTE_E_SPACE);
}

/* ---- Ed25519 itself ---- */

/* All that is marked invalid must be refused: truncated, with garbage behind, malleable (S + L), not canonical. */
static void test_wycheproof_ed25519(void **state)
{
	uint8_t public[32], sig[256], msg[4096];
	size_t i, k, n = 0, malleable = 0;
	json_t *group, *test, *flag;

	(void)state;
	json_t *all = vectors_load("wycheproof/ed25519_test.json");
	json_array_foreach(json_object_get(all, "testGroups"), i, group)
	{
		struct span pk = vectors_hex(json_object_get(group, "publicKey"), "pk", public, sizeof public);
		assert_int_equal(pk.len, sizeof public);
		json_array_foreach(json_object_get(group, "tests"), k, test)
		{
			struct span m = vectors_hex(test, "msg", msg, sizeof msg);
			struct span s = vectors_hex(test, "sig", sig, sizeof sig);
			bool valid = strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;
			if (note_signature_valid(s, m, public) != valid)
				fail_msg("tcId %lld", json_integer_value(json_object_get(test, "tcId")));
			flag = json_array_get(json_object_get(test, "flags"), 0);
			malleable += strcmp(json_string_value(flag), "SignatureMalleability") == 0;
			n++;
		}
	}
	assert_int_equal(n, json_integer_value(json_object_get(all, "numberOfTests")));
	assert_true(malleable > 0);
	json_decref(all);
}

/* The order of the group added to S: by the equation alone it would be a second signature of the same text. */
static void test_a_malleable_signature_is_refused(void **state)
{
	static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
					  0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
	uint8_t public[32], secret[64], sig[64];
	struct note_key key;
	char note[1024];
	struct span text = SPAN_LIT("bulkhead\n7\n" ROOT "\n"), signed_text;
	size_t len;

	(void)state;
	crypto_sign_keypair(public, secret);
	crypto_sign_detached(sig, NULL, text.p, text.len, secret);
	assert_int_equal(note_key_init(&key, SPAN_LIT("bulkhead"), public), 0);
	assert_int_equal(note_format(text, &key, sig, note, sizeof note, &len), 0);
	assert_int_equal(note_verify(span_of(note, len), &key, &signed_text), 0);
	sodium_add(sig + 32, order, sizeof order);
	assert_int_equal(note_format(text, &key, sig, note, sizeof note, &len), 0);
	assert_int_equal(note_verify(span_of(note, len), &key, &signed_text), NOTE_E_SIGNATURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wycheproof_ed25519), cmocka_unit_test(test_a_malleable_signature_is_refused),
		cmocka_unit_test(test_public_log),         cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_other_signatures),   cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_checkpoint_text),    cmocka_unit_test(test_sign_and_verify),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
