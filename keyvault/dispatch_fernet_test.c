/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fernet at the admin socket: a token's key becomes a sealed credential that the egress can use; a key leaves only when
 * the configuration, the operator and the log have said yes, and never without its record.
 */
#include "tests/support/core_world.h"
#include "tests/support/within.h"

#include <stdlib.h>
#include <sodium.h>

#define KEY_A "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
#define KEY_B "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static const struct proto_fernet_key keys_ab[] = {{SPAN_LIT(KEY_A)}, {SPAN_LIT(KEY_B)}};

/* A token under the i-th of the keys above. */
static struct span make_token(struct world *w, size_t i, const char *plain, uint64_t time_s,
			      char to[FERNET_STORED_CHARS_MAX + 1])
{
	uint8_t iv[FERNET_IV_BYTES];
	struct fernet_keys k;

	fernet_keys_init(&k, w->core.arena);
	assert_int_equal(fernet_keys_add(&k, keys_ab[i].key), 0);
	randombytes_buf(iv, sizeof(iv));
	assert_int_equal(fernet_encrypt(&k, span_str(plain), time_s, iv, to), 0);
	fernet_keys_deinit(&k);
	return span_str(to);
}

/* What is in a token, by the i-th key. */
static void assert_token(struct world *w, size_t i, struct span token, const char *plain, struct fernet_origin *ret)
{
	struct secret got = SECRET_NULL;
	struct fernet_keys k;

	fernet_keys_init(&k, w->core.arena);
	assert_int_equal(fernet_keys_add(&k, keys_ab[i].key), 0);
	assert_int_equal(fernet_decrypt(&k, token, (struct fernet_limit){0}, &got, ret), 0);
	secret_open(w->core.arena);
	assert_true(span_eq_str(span_of(got.p, got.len), plain));
	secret_close(w->core.arena);
	secret_free(w->core.arena, &got);
	fernet_keys_deinit(&k);
}

static void say_import(struct peer *admin, struct span token, uint64_t ttl_s, size_t n_keys)
{
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	peer_say(admin, PROTO_VAULT_IMPORT_FERNET, 8,
		 &(struct proto_vault_import_fernet){.binding = pack_binding("openai", 1, packed),
						     .token = token,
						     .ttl_s = ttl_s,
						     .keys = {.items = keys_ab, .count = n_keys}});
}

static void say_export(struct peer *admin, const char *id, const char *confirm, const char *key)
{
	peer_say(admin, PROTO_VAULT_EXPORT_FERNET, 9,
		 &(struct proto_vault_export_fernet){
			 .credential = span_str(id), .confirm = span_str(confirm), .key = span_str(key)});
}

static void a_token_becomes_a_credential(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD), *egress = peer_meet(w, EGRESS0);
	char text[FERNET_STORED_CHARS_MAX + 1];
	struct span token = make_token(w, 1, "sk-imported", 1000, text);
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	say_import(admin, token, 0, 2);
	peer_expect_refused(w, admin, "uninitialised");
	admin_init(w, admin);
	say_import(admin, token, 0, 1);
	peer_expect_refused(w, admin, "wrong_fernet_key");
	say_import(admin, token, 0, 0);
	peer_expect_refused(w, admin, "bad_fernet_key");
	say_import(admin, SPAN_LIT("v1:gAAAA"), 0, 2);
	peer_expect_refused(w, admin, "bad_token");
	say_import(admin, token, 60, 2);
	peer_expect_refused(w, admin, "token_age");
	say_import(admin, make_token(w, 0, "two words", 1000, text), 0, 2);
	peer_expect_refused(w, admin, "bad_secret");
	say_import(admin, make_token(w, 0, "", 1000, text), 0, 2);
	peer_expect_refused(w, admin, "bad_secret");
	assert_int_equal(w->log.count[EVENT_VAULT_SEAL_CREDENTIAL], 0);

	say_import(admin, make_token(w, 1, "sk-imported", 1000, text), 0, 2);
	peer_expect(w, admin, PROTO_VAULT_ADDED);
	assert_int_equal(admin->id, 8);
	assert_int_equal(w->log.count[EVENT_VAULT_SEAL_CREDENTIAL], 1);
	peer_say(
		authd, PROTO_CREDENTIAL_LOAD, 0,
		&(struct proto_credential_load){.credential = SPAN_LIT("openai"), .blob = admin->msg.vault_added.blob});
	peer_expect(w, egress, PROTO_SEALED);
	for (int i = 0; i < TURNS_MAX && store_count(&w->core.vault.store) == 0; i++)
		world_turn(w);
	peer_say(egress, PROTO_UNSEAL, 42, &(struct proto_unseal){.credential = SPAN_LIT("openai")});
	peer_expect(w, egress, PROTO_UNSEALED);
	assert_true(span_eq_str(egress->msg.unsealed.secret, "sk-imported"));
	assert_true(span_eq(egress->msg.unsealed.binding, pack_binding("openai", 1, packed)));
	admin_seal(w, admin);
	say_import(admin, token, 0, 2);
	peer_expect_refused(w, admin, "sealed");
	peer_leave(w, egress);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

static void no_token_is_imported_without_its_record(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	char text[FERNET_STORED_CHARS_MAX + 1];
	struct span token = make_token(w, 0, "sk-imported", 1000, text);

	admin_init(w, admin);
	w->log.mode = LOG_DOWN;
	say_import(admin, token, 0, 2);
	peer_expect_refused(w, admin, "audit_unavailable");
	w->log.mode = LOG_LATER;
	say_import(admin, token, 0, 2);
	peer_expect_silence(w, admin);
	w->log.done(w->log.ctx, false);
	peer_expect_refused(w, admin, "audit_unavailable");
	peer_leave(w, admin);
}

/* Configuration, confirmation, key, existence: each alone is enough to refuse, and every refusal is recorded. */
static void a_release_has_locks(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD);

	admin_init(w, admin);
	admin_add(w, admin, authd, "openai", 1, "sk-exported");
	say_export(admin, "openai", "openai", KEY_A);
	peer_expect_refused(w, admin, "export_off");
	w->core.vault.may_export = true;
	say_export(admin, "openai", "", KEY_A);
	peer_expect_refused(w, admin, "unconfirmed");
	say_export(admin, "openai", "opena", KEY_A);
	peer_expect_refused(w, admin, "unconfirmed");
	say_export(admin, "nobody", "nobody", KEY_A);
	peer_expect_refused(w, admin, "not_found");
	say_export(admin, "openai", "openai", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4!");
	peer_expect_refused(w, admin, "bad_fernet_key");
	assert_int_equal(w->log.count[EVENT_VAULT_EXPORT_REFUSE], 5);
	admin_seal(w, admin);
	say_export(admin, "openai", "openai", KEY_A);
	peer_expect_refused(w, admin, "sealed");
	assert_int_equal(w->log.count[EVENT_VAULT_EXPORT_REFUSE], 6);
	assert_int_equal(w->log.count[EVENT_VAULT_EXPORT_CREDENTIAL], 0);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

static void no_key_is_released_without_its_record(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD);
	struct fernet_origin origin;

	w->core.vault.may_export = true;
	admin_init(w, admin);
	admin_add(w, admin, authd, "openai", 1, "sk-exported");
	w->log.mode = LOG_DOWN;
	say_export(admin, "openai", "openai", KEY_A);
	peer_expect_refused(w, admin, "audit_unavailable");
	w->log.mode = LOG_LATER;
	say_export(admin, "openai", "openai", KEY_A);
	peer_expect_silence(w, admin);
	w->log.done(w->log.ctx, false);
	peer_expect_refused(w, admin, "audit_unavailable");
	say_export(admin, "openai", "openai", KEY_A);
	peer_expect_silence(w, admin); /* nothing leaves before the log has it */
	assert_int_equal(w->log.count[EVENT_VAULT_EXPORT_CREDENTIAL], 2);
	w->log.done(w->log.ctx, true);
	peer_expect(w, admin, PROTO_VAULT_FERNET);
	assert_int_equal(admin->id, 9);
	assert_token(w, 0, admin->msg.vault_fernet.token, "sk-exported", &origin);
	assert_within(origin.time_s, core_unix_ms() / 1000 - 5, core_unix_ms() / 1000);

	/* The operator goes away before the log answers; and one who asks twice is dropped. */
	say_export(admin, "openai", "openai", KEY_A);
	peer_expect_silence(w, admin);
	peer_leave(w, admin);
	w->log.done(w->log.ctx, true);
	admin = peer_meet(w, ADMIN);
	say_export(admin, "openai", "openai", KEY_A);
	say_export(admin, "openai", "openai", KEY_B);
	assert_false(peer_hear(w, admin));
	w->log.done(w->log.ctx, true);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

/* In any state of the vault: none of its keys takes part. */
static void a_token_is_encrypted_anew(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);
	char text[FERNET_STORED_CHARS_MAX + 1];
	struct proto_vault_rotate_fernet ask = {.token = make_token(w, 1, "sk-old", 12345, text),
						.keys = {.items = keys_ab, .count = 2}};
	struct fernet_origin origin, again;

	peer_say(admin, PROTO_VAULT_ROTATE_FERNET, 3, &ask);
	peer_expect(w, admin, PROTO_VAULT_FERNET);
	assert_int_equal(admin->id, 3);
	assert_token(w, 0, admin->msg.vault_fernet.token, "sk-old", &origin);
	assert_int_equal(origin.time_s, 12345);
	peer_say(admin, PROTO_VAULT_ROTATE_FERNET, 4, &ask);
	peer_expect(w, admin, PROTO_VAULT_FERNET);
	assert_token(w, 0, admin->msg.vault_fernet.token, "sk-old", &again);
	assert_memory_not_equal(origin.iv, again.iv, sizeof(origin.iv));
	ask.keys.count = 1;
	peer_say(admin, PROTO_VAULT_ROTATE_FERNET, 5, &ask);
	peer_expect_refused(w, admin, "wrong_fernet_key");
	peer_leave(w, admin);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_token_becomes_a_credential),
		TEST(no_token_is_imported_without_its_record),
		TEST(a_release_has_locks),
		TEST(no_key_is_released_without_its_record),
		TEST(a_token_is_encrypted_anew),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dispatch_fernet", tests, NULL, NULL);
}
