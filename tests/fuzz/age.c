/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an age file, a recipient, an identity or a share. Oracles: nothing is decrypted but the one file that
 * was really made for us (an armored text may differ in white space around it only); what parses as a recipient is its
 * own text again; one share never is a root key; nothing stays in the arena.
 */
#include <assert.h>
#include <sodium.h>

#include "keyvault/age.h"
#include "keyvault/bech32.h"
#include "keyvault/share.h"

static const char identity_text[] = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
static const char content[] = "d41d8cd98f00b204e9800998ecf8427e0a315b77632fa0c1153e6d90bb482956\n";
static struct secret_arena *arena;
static struct secret identity;
static uint8_t genuine[AGE_FILE_MAX];
static size_t genuine_len;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct age_recipient to;
	uint8_t armored[AGE_FILE_MAX];
	size_t len;

	(void)argc;
	(void)argv;
	int r = sodium_init() < 0 || secret_arena_new(65536, &arena) ||
		age_parse_identity(arena, span_str(identity_text), &identity);
	assert(!r);
	secret_open(arena);
	r = crypto_scalarmult_base(to.key, identity.p);
	secret_close(arena);
	if (!r)
		r = age_encrypt(arena, &to, 1, span_str(content), armored, &len);
	assert(!r);
	r = age_unarmor(span_of(armored, len), genuine, &genuine_len);
	assert(r);
	return 0;
}

static bool is_genuine(struct span file)
{
	uint8_t plain[AGE_FILE_MAX];
	size_t len;

	if (!age_is_armored(file))
		return span_eq(file, span_of(genuine, genuine_len));
	return age_unarmor(file, plain, &len) && span_eq(span_of(plain, len), span_of(genuine, genuine_len));
}

static void try_file(struct span file)
{
	struct secret plain = SECRET_NULL;
	int r = age_decrypt(arena, &identity, file, &plain);

	assert((r == 0) == is_genuine(file));
	secret_free(arena, &plain);
}

static void try_texts(struct span text)
{
	struct secret secret = SECRET_NULL;
	struct age_recipient to;
	char back[BECH32_TEXT_MAX];
	size_t which;

	if (age_parse_recipient(text, &to) == 0) {
		size_t len = bech32_encode("age", to.key, sizeof(to.key), back);
		assert(span_eq(span_of((uint8_t *)back, len), text));
	}
	if (age_parse_identity(arena, text, &secret) == 0)
		secret_free(arena, &secret);
	int r = share_join(arena, &text, 1, &secret, &which);
	assert(r == SHARE_E_FORM || r == SHARE_E_FEW);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t mixed[AGE_FILE_MAX];
	size_t used = secret_arena_used(arena);

	try_file(span_of(data, size));
	try_texts(span_of(data, size));
	/* The input over a place in the genuine one: the first two bytes say where. */
	if (size >= 3 && size <= genuine_len) {
		size_t at = ((size_t)data[0] << 8 | data[1]) % genuine_len, n = MIN(size - 2, genuine_len - at);

		memcpy(mixed, genuine, genuine_len);
		memcpy(mixed + at, data + 2, n);
		try_file(span_of(mixed, genuine_len));
	}
	assert(secret_arena_used(arena) == used);
	return 0;
}
