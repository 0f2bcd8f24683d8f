/* SPDX-License-Identifier: Apache-2.0 */
/* Cosignatures, against one that another implementation made, and the policies that count them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>

#include "common/tlog_policy.h"

#define N_WITNESSES 6
#define LOG_TEXT    "log.test/audit\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
/* By Python's cryptography, of a seed of zeros, at 1679315147. */
#define W1_VKEY "witness.test/w1+fe77f347+BDtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
#define W1_LINE                                                                                               \
	"— witness.test/w1 "                                                                                \
	"/nfzRwAAAABkGFDLaNxQMZzSB01Xvy5ZclaFEtO0aSiyA0+63C2nJ4TOYIPInwLpMNwBpoGN6V+Y0b2lbW10W+S5v+8RjBQVYJj" \
	"vCg==\n"

struct signer {
	struct note_key key;
	uint8_t secret[64];
	char vkey[NOTE_VKEY_MAX];
};

struct world {
	struct signer log, witnesses[N_WITNESSES];
};

static void make_signer(struct signer *s, const char *name, uint8_t seed_byte, bool cosigner)
{
	uint8_t public[32], seed[32] = {seed_byte};

	crypto_sign_seed_keypair(public, s->secret, seed);
	assert_int_equal(cosigner ? note_cosigner_init(&s->key, span_str(name), public)
				  : note_key_init(&s->key, span_str(name), public),
			 0);
	note_key_format(&s->key, s->vkey);
}

static int make_world(void **state)
{
	static struct world w;
	char name[32];

	make_signer(&w.log, "log.test/audit", 100, false);
	for (unsigned i = 0; i < N_WITNESSES; i++) {
		(void)snprintf(name, sizeof name, "witness.test/w%u", i);
		make_signer(&w.witnesses[i], name, (uint8_t)i, true);
	}
	*state = &w;
	return 0;
}

/* The log's checkpoint, cosigned by the witnesses in the mask. */
static size_t make_note(const struct world *w, unsigned mask, char *to, size_t cap)
{
	struct span text = SPAN_LIT(LOG_TEXT);
	uint8_t sig[64];
	char message[512];
	size_t len, message_len;

	crypto_sign_detached(sig, NULL, text.p, text.len, w->log.secret);
	assert_int_equal(note_format(text, &w->log.key, sig, to, cap, &len), 0);
	for (unsigned i = 0; i < N_WITNESSES; i++) {
		if (!(mask & 1U << i))
			continue;
		assert_int_equal(note_cosigned_text(text, 1000 + i, message, sizeof message, &message_len), 0);
		crypto_sign_detached(sig, NULL, (const uint8_t *)message, message_len, w->witnesses[i].secret);
		assert_int_equal(note_add_cosignature(to, cap, &len, &w->witnesses[i].key, 1000 + i, sig), 0);
	}
	return len;
}

/* ---- cosignatures ---- */

static void test_another_implementation(void **state)
{
	static const char note[] = LOG_TEXT "\n" W1_LINE;
	const struct world *w = *state;
	struct note_key key;
	struct span text;
	uint64_t at;
	char made[1024] = LOG_TEXT "\n", message[512];
	uint8_t sig[64];
	size_t len = strlen(made), message_len;

	assert_int_equal(note_cosigner_parse(&key, SPAN_LIT(W1_VKEY)), 0);
	assert_memory_equal(key.public, w->witnesses[0].key.public, sizeof key.public);
	assert_int_equal(note_verify_cosigned(span_str(note), &key, &text, &at), 0);
	assert_int_equal(at, 1679315147);
	assert_true(span_eq_str(text, LOG_TEXT));
	assert_int_equal(note_cosigned_text(text, at, message, sizeof message, &message_len), 0);
	crypto_sign_detached(sig, NULL, (const uint8_t *)message, message_len, w->witnesses[0].secret);
	assert_int_equal(note_add_cosignature(made, sizeof made, &len, &key, at, sig), 0);
	assert_string_equal(made, note);
	for (size_t bit = 0; bit < 8 * strlen(note); bit++) {
		memcpy(made, note, sizeof note);
		made[bit / 8] = (char)(made[bit / 8] ^ 1 << bit % 8);
		assert_int_not_equal(note_verify_cosigned(span_of(made, strlen(note)), &key, &text, &at), 0);
	}
}

/* Each kind of key is good for its own purpose only, also where name and public key are the same. */
static void test_kinds_of_keys(void **state)
{
	const struct world *w = *state;
	struct note_key log, witness;
	struct span text;
	char note[2048];

	assert_int_equal(note_key_parse(&log, SPAN_LIT(W1_VKEY)), NOTE_E_MALFORMED);
	assert_int_equal(note_cosigner_parse(&witness, span_str(w->log.vkey)), NOTE_E_MALFORMED);
	size_t len = make_note(w, 0, note, sizeof note);
	assert_int_equal(note_cosigner_init(&witness, span_str(w->log.key.name), w->log.key.public), 0);
	assert_int_equal(note_verify(span_of(note, len), &witness, &text), NOTE_E_UNSIGNED);
	memcpy(witness.id, w->log.key.id, sizeof witness.id); /* a collision of ids: still not a cosignature */
	assert_int_equal(note_verify(span_of(note, len), &witness, &text), NOTE_E_SIGNATURE);
}

/* A witness that signs twice: its later time counts. A time that nobody may sign is refused even if it is signed. */
static void test_times(void **state)
{
	static const uint64_t times[] = {5, 9, 7};
	const struct signer *s = &((const struct world *)*state)->witnesses[1];
	char note[2048] = LOG_TEXT "\n", message[512];
	size_t len = strlen(note), message_len;
	struct span text;
	uint8_t sig[64];
	uint64_t at;

	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		assert_int_equal(
			note_cosigned_text(SPAN_LIT(LOG_TEXT), times[i], message, sizeof message, &message_len), 0);
		crypto_sign_detached(sig, NULL, (const uint8_t *)message, message_len, s->secret);
		assert_int_equal(note_add_cosignature(note, sizeof note, &len, &s->key, times[i], sig), 0);
	}
	assert_int_equal(note_verify_cosigned(span_of(note, len), &s->key, &text, &at), 0);
	assert_int_equal(at, 9);
	assert_int_equal(note_cosigned_text(SPAN_LIT(LOG_TEXT), BIT(63), message, sizeof message, &message_len), 0);
	crypto_sign_detached(sig, NULL, (const uint8_t *)message, message_len, s->secret);
	assert_int_equal(note_add_cosignature(note, sizeof note, &len, &s->key, BIT(63), sig), 0);
	assert_int_equal(note_verify_cosigned(span_of(note, len), &s->key, &text, &at), NOTE_E_SIGNATURE);
	assert_int_equal(note_cosigned_text(SPAN_LIT(LOG_TEXT), 5, message,
					    strlen("cosignature/v1\ntime 5\n" LOG_TEXT) - 1, &message_len),
			 NOTE_E_SPACE);
	len = 10;
	assert_int_equal(note_add_cosignature(note, 60, &len, &s->key, 5, sig), NOTE_E_SPACE);
	assert_int_equal(len, 10);
}

/* ---- policies ---- */

/* `text` with %0 to %5 as the witnesses' keys and %L as the log's. */
static struct span expand(const struct world *w, const char *text, char *to, size_t cap)
{
	size_t len = 0;

	for (; *text; text++) {
		const char *key =
			text[0] == '%' ? text[1] == 'L' ? w->log.vkey : w->witnesses[text[1] - '0'].vkey : NULL;
		len += (size_t)(key ? snprintf(to + len, cap - len, "%s", key)
				    : snprintf(to + len, cap - len, "%c", *text));
		text += key != NULL;
	}
	return span_of(to, len);
}

#define EXAMPLE                                                                                              \
	"# the example of the specification\nlog %L\n\nwitness X1 %0\nwitness X2 %1\n\t witness  X3 \t%2 \n" \
	"group X-witnesses 2 X1 X2 X3\nwitness Y1 %3 https://y1.test/\nwitness Y2 %4\nwitness Y3 %5\n"       \
	"group Y-witnesses any Y1 Y2 Y3\n \ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"

static void test_every_subset(void **state)
{
	const struct world *w = *state;
	struct tlog_policy policy;
	struct tlog_policy_result result;
	char text[4096], note[4096];

	assert_int_equal(tlog_policy_parse(expand(w, EXAMPLE, text, sizeof text), &policy), 0);
	assert_true(span_eq_str(policy.nodes[4].url, "https://y1.test/"));
	for (unsigned mask = 0; mask < 1U << N_WITNESSES; mask++) {
		bool good = __builtin_popcount(mask & 7) >= 2 && (mask & 070);
		size_t len = make_note(w, mask, note, sizeof note);
		assert_int_equal(tlog_policy_check(&policy, NULL, span_of(note, len), &result),
				 good ? 0 : TLOG_POLICY_E_QUORUM);
		assert_int_equal(result.cosigned, __builtin_popcount(mask));
		assert_int_equal(result.witnesses, N_WITNESSES);
		assert_int_equal(result.checkpoint.size, 7);
		assert_int_equal(result.oldest_unix_s, mask ? 1000 + __builtin_ctz(mask) : 0);
		assert_int_equal(result.missing.len == 0, mask == 077);
	}
}

static void test_whose_log(void **state)
{
	const struct world *w = *state;
	static struct tlog_policy policy;
	struct tlog_policy_result result;
	struct note_key other = w->log.key;
	char text[4096], note[4096];

	size_t len = make_note(w, 1, note, sizeof note);
	assert_int_equal(tlog_policy_parse(expand(w, "quorum none\n", text, sizeof text), &policy), 0);
	assert_int_equal(tlog_policy_check(&policy, NULL, span_of(note, len), &result), TLOG_POLICY_E_LOG);
	assert_int_equal(tlog_policy_check(&policy, &w->log.key, span_of(note, len), &result), 0);
	assert_string_equal(result.log.name, "log.test/audit");
	other.public[3] ^= 1;
	assert_int_equal(tlog_policy_check(&policy, &other, span_of(note, len), &result), TLOG_POLICY_E_SIGNATURE);
	/* signed by a log that is trusted, as another log's checkpoint */
	struct span text_of_log = SPAN_LIT(LOG_TEXT);
	uint8_t sig[64];
	assert_int_equal(note_key_init(&other, SPAN_LIT("other.test/audit"), w->log.key.public), 0);
	crypto_sign_detached(sig, NULL, text_of_log.p, text_of_log.len, w->log.secret);
	char foreign[1024];
	size_t foreign_len;
	assert_int_equal(note_format(text_of_log, &other, sig, foreign, sizeof foreign, &foreign_len), 0);
	assert_int_equal(tlog_policy_check(&policy, &other, span_of(foreign, foreign_len), &result), TLOG_POLICY_E_LOG);
	/* not signed by the key of that name at all */
	assert_int_equal(note_key_init(&other, SPAN_LIT("other.test/audit"), w->log.key.public), 0);
	assert_int_equal(tlog_policy_check(&policy, &other, span_of(note, len), &result), TLOG_POLICY_E_LOG);
	assert_int_equal(tlog_policy_check(&policy, &w->log.key, span_of(note, len - 1), &result),
			 TLOG_POLICY_E_MALFORMED);
	/* a known witness whose cosignature is wrong: no quorum heals that */
	assert_int_equal(tlog_policy_parse(expand(w, "witness A %0\nwitness B %1\ngroup G any A B\nquorum G\n", text,
						  sizeof text),
					   &policy),
			 0);
	len = make_note(w, 3, note, sizeof note);
	policy.nodes[0].key.public[0] ^= 1;
	assert_int_equal(tlog_policy_check(&policy, &w->log.key, span_of(note, len), &result), TLOG_POLICY_E_SIGNATURE);
}

static void test_malformed(void **state)
{
	static const struct {
		unsigned line;
		const char *text;
	} bad[] = {
		{0, ""},
		{1, "quorum none"},
		{1, "quorum\n"},
		{2, "log %L\nquorum W\n"},
		{2, "quorum none\nquorum none\n"},
		{1, "quorum none none\n"},
		{1, "log %0\nquorum none\n"},
		{1, "log\nquorum none\n"},
		{1, "log %L https://a b\nquorum none\n"},
		{2, "log %L\nlog %L\nquorum none\n"},
		{1, "witness W %L\nquorum W\n"},
		{1, "witness none %0\nquorum none\n"},
		{1, "witness W %0 u u\nquorum W\n"},
		{2, "witness W %0\nwitness W %1\nquorum W\n"},
		{2, "witness W %0\nwitness V %0\nquorum W\n"},
		{1, "group G any W\nwitness W %0\nquorum G\n"},
		{1, "group G any\nquorum G\n"},
		{1, "group G all\nquorum G\n"},
		{1, "group G any G\nquorum G\n"},
		{2, "witness W %0\ngroup G 0 W\nquorum G\n"},
		{2, "witness W %0\ngroup G 2 W\nquorum G\n"},
		{2, "witness W %0\ngroup G 01 W\nquorum G\n"},
		{2, "witness W %0\ngroup G some W\nquorum G\n"},
		{2, "witness W %0\ngroup G 1 W W\nquorum G\n"},
		{3, "witness W %0\ngroup G any W\ngroup H any W\nquorum H\n"},
		{2, "witness W %0\ngroup G all W none\nquorum G\n"},
		{1, "quorum W\nwitness W %0\n"},
		{1, "quorums none\n"},
		{0, "quorum none\r\n"},
		{0, "# \x01\nquorum none\n"},
		{0, "# \x7f\nquorum none\n"},
		{1, "# nothing else\n"},
	};
	const struct world *w = *state;
	static struct tlog_policy policy;
	char text[4096];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (tlog_policy_parse(expand(w, bad[i].text, text, sizeof text), &policy) != TLOG_POLICY_E_MALFORMED)
			fail_msg("accepted: %s", bad[i].text);
		if (policy.line != bad[i].line || !policy.why)
			fail_msg("line %u: %s", policy.line, bad[i].text);
	}
	/* not UTF-8, but opaque */
	assert_int_equal(
		tlog_policy_parse(expand(w, "witness \xff\xfe %0\nquorum \xff\xfe\n", text, sizeof text), &policy), 0);
}

static void test_limits(void **state)
{
	static struct tlog_policy policy;
	static char text[TLOG_POLICY_BYTES_MAX];
	char vkey[NOTE_VKEY_MAX];
	size_t len = 0;
	unsigned n = TLOG_POLICY_NODES_MAX;
	struct signer s;

	(void)state;
	for (unsigned i = 0; i <= n; i++) {
		make_signer(&s, "w", (uint8_t)i, true);
		note_key_format(&s.key, vkey);
		len += (size_t)snprintf(text + len, sizeof text - len, "witness w%u %s\n", i, vkey);
		if (i + 1 < n)
			continue;
		size_t end = len + (size_t)snprintf(text + len, sizeof text - len, "quorum none\n");
		assert_int_equal(tlog_policy_parse(span_of(text, end), &policy), i < n ? 0 : TLOG_POLICY_E_MALFORMED);
	}
	len = 0;
	for (unsigned i = 0; i <= TLOG_POLICY_LOGS_MAX; i++) {
		make_signer(&s, "log", (uint8_t)i, false);
		len += (size_t)snprintf(text + len, sizeof text - len, "log %s\n", s.vkey);
	}
	len += (size_t)snprintf(text + len, sizeof text - len, "quorum none\n");
	assert_int_equal(tlog_policy_parse(span_of(text, len), &policy), TLOG_POLICY_E_MALFORMED);
	assert_int_equal(policy.line, TLOG_POLICY_LOGS_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_another_implementation),
		cmocka_unit_test(test_kinds_of_keys),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_every_subset),
		cmocka_unit_test(test_whose_log),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_limits),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, make_world, NULL);
}
