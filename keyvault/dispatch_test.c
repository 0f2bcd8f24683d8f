/* SPDX-License-Identifier: Apache-2.0 */
/* What each peer of the core is told and when, what it may ask, and what becomes of one that asks for more. */
#include "tests/support/core_world.h"

#include <stdio.h>
#include <poll.h>
#include <stdlib.h>
#include <sodium.h>

static void peers_follow_the_vault(void **state)
{
	struct world *w = *state;
	struct peer *authd = peer_meet(w, AUTHD), *egress = peer_meet(w, EGRESS0), *admin = peer_meet(w, ADMIN);
	uint8_t key[32], pepper[32];

	peer_expect(w, authd, PROTO_SEALED);
	peer_expect(w, egress, PROTO_SEALED);
	assert_false(w->core.daemon.ready);
	admin_init(w, admin);
	assert_true(w->core.daemon.ready);
	authd_take_key(w, authd);
	memcpy(key, authd->msg.edge_key.key.p, 32);
	uint64_t epoch = authd->msg.edge_key.epoch;
	peer_expect(w, authd, PROTO_PEPPER);
	memcpy(pepper, authd->msg.pepper.key.p, 32);
	peer_expect(w, egress, PROTO_EDGE_KEY);
	assert_memory_equal(egress->msg.edge_key.key.p, key, 32);
	assert_int_equal(egress->msg.edge_key.epoch, epoch);

	admin_seal(w, admin);
	peer_expect(w, egress, PROTO_SEALED);
	peer_expect(w, authd, PROTO_SEALED);
	assert_false(w->core.daemon.ready);
	assert_int_equal(w->core.vault.lanes.lane[0].epoch, 0); /* wiped, not only unused */
	admin_unseal(w, admin);
	authd_take_key(w, authd);
	peer_expect(w, authd, PROTO_PEPPER);
	assert_memory_equal(authd->msg.pepper.key.p, pepper, 32); /* gateway keys outlive a seal */
	peer_expect(w, egress, PROTO_EDGE_KEY);
	assert_memory_not_equal(egress->msg.edge_key.key.p, key, 32); /* grants do not */
	assert_true(egress->msg.edge_key.epoch > epoch);
	assert_int_equal(w->log.count[EVENT_VAULT_INIT], 1);
	assert_int_equal(w->log.count[EVENT_VAULT_SEAL], 1);
	assert_int_equal(w->log.count[EVENT_VAULT_UNSEAL], 1);
	peer_leave(w, authd);
	peer_leave(w, egress);
	peer_leave(w, admin);
}

static void a_restarted_egress_gets_a_new_epoch_and_a_restarted_authd_all_of_them(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD);

	peer_expect(w, authd, PROTO_SEALED);
	admin_init(w, admin);
	peer_expect(w, authd, PROTO_PEPPER);
	struct peer *egress0 = peer_meet(w, EGRESS0), *egress1 = peer_meet(w, EGRESS1);
	authd_take_key(w, authd);
	authd_take_key(w, authd);
	peer_expect(w, egress0, PROTO_EDGE_KEY);
	uint64_t first = egress0->msg.edge_key.epoch, series = egress0->msg.edge_key.series;
	peer_expect(w, egress1, PROTO_EDGE_KEY);
	assert_int_equal(egress1->msg.edge_key.lane, 1);
	peer_leave(w, egress0);
	peer_expect_silence(w, authd);
	egress0 = peer_meet(w, EGRESS0);
	authd_take_key(w, authd);
	peer_expect(w, egress0, PROTO_EDGE_KEY);
	assert_true(egress0->msg.edge_key.epoch > first);
	assert_int_equal(authd->msg.edge_key.epoch, egress0->msg.edge_key.epoch);
	assert_int_equal(authd->msg.edge_key.series, series);

	/* A second connection of the same lane replaces the first. */
	struct peer *again = peer_meet(w, EGRESS0);
	authd_take_key(w, authd);
	peer_expect(w, again, PROTO_EDGE_KEY);
	assert_false(peer_hear(w, egress0));
	peer_leave(w, egress0);
	peer_leave(w, authd);
	authd = peer_meet(w, AUTHD);
	authd_take_key(w, authd);
	assert_int_equal(authd->msg.edge_key.lane, 0);
	assert_int_equal(authd->msg.edge_key.epoch, again->msg.edge_key.epoch);
	assert_true(authd->msg.edge_key.series > series); /* it does not know how far its predecessor had counted */
	authd_take_key(w, authd);
	assert_int_equal(authd->msg.edge_key.lane, 1);
	peer_expect(w, authd, PROTO_PEPPER); /* last: it permits nothing before it has every edge key */
	peer_expect_silence(w, egress1);     /* which has its key; a second time would make it forget what was used */
	peer_expect_silence(w, again);
	peer_leave(w, again);
	peer_leave(w, egress1);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

/* Whoever hears of a new epoch from an egress finds an authd that knows it. */
static void an_egress_gets_its_key_after_authd_has_it(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *egress = peer_meet(w, EGRESS0);

	peer_expect(w, egress, PROTO_SEALED);
	admin_init(w, admin);
	peer_expect_silence(w, egress); /* there is no authd */
	struct peer *authd = peer_meet(w, AUTHD);
	peer_expect(w, authd, PROTO_EDGE_KEY);
	struct proto_edge_key_known known = {.lane = 0, .epoch = authd->msg.edge_key.epoch};
	peer_expect_silence(w, egress); /* authd has not said that it uses the key */
	known.epoch--;
	peer_say(authd, PROTO_EDGE_KEY_KNOWN, 0, &known); /* nor does it, by these */
	known.epoch++;
	known.lane = 1;
	peer_say(authd, PROTO_EDGE_KEY_KNOWN, 0, &known);
	peer_expect_silence(w, egress);
	known.lane = 0;
	peer_say(authd, PROTO_EDGE_KEY_KNOWN, 0, &known);
	peer_expect(w, egress, PROTO_EDGE_KEY);
	assert_int_equal(egress->msg.edge_key.epoch, known.epoch);
	peer_say(authd, PROTO_EDGE_KEY_KNOWN, 0, &known);
	peer_expect_silence(w, egress);
	admin_seal(w, admin);
	peer_expect(w, egress, PROTO_SEALED);
	peer_say(authd, PROTO_EDGE_KEY_KNOWN, 0, &known); /* late */
	peer_expect_silence(w, egress);
	peer_leave(w, egress);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

static void say_revoke(struct peer *admin, uint64_t what, const char *name)
{
	peer_say(admin, PROTO_VAULT_REVOKE_GRANTS, 5,
		 &(struct proto_vault_revoke_grants){.what = what, .name = span_str(name), .cut = 1});
}

/* GRANTS_VOID, as it should be. */
static uint64_t hear_void(struct world *w, struct peer *egress, uint64_t what, const char *name)
{
	peer_expect(w, egress, PROTO_GRANTS_VOID);
	assert_int_equal(egress->msg.grants_void.what, what);
	assert_true(span_eq_str(egress->msg.grants_void.name, name));
	assert_int_equal(egress->msg.grants_void.cut, 1);
	return egress->msg.grants_void.below;
}

static void hear_revoked(struct world *w, struct peer *admin, uint64_t lanes, uint64_t lost, uint64_t ended)
{
	peer_expect(w, admin, PROTO_VAULT_GRANTS_REVOKED);
	assert_int_equal(admin->id, 5);
	assert_int_equal(admin->msg.vault_grants_revoked.lanes, lanes);
	assert_int_equal(admin->msg.vault_grants_revoked.lost, lost);
	assert_int_equal(admin->msg.vault_grants_revoked.ended, ended);
}

static void what_was_permitted_is_revoked(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD), *egress = peer_meet(w, EGRESS0);
	const struct proto_grants_voided voided = {.ended = 3};

	admin_init(w, admin);
	peer_expect(w, authd, PROTO_SEALED);
	authd_take_key(w, authd);
	peer_expect(w, authd, PROTO_PEPPER);
	peer_expect(w, egress, PROTO_SEALED);
	peer_expect(w, egress, PROTO_EDGE_KEY);
	uint64_t epoch = egress->msg.edge_key.epoch, series = egress->msg.edge_key.series;
	assert_int_equal(egress->msg.edge_key.revoked, 0);

	say_revoke(admin, 1, "acme"); /* a tenant's: the same key, another series */
	authd_take_key(w, authd);
	assert_int_equal(authd->msg.edge_key.epoch, epoch);
	assert_true(authd->msg.edge_key.series > series);
	assert_int_equal(authd->msg.edge_key.revoked, authd->msg.edge_key.series);
	series = authd->msg.edge_key.series;
	assert_int_equal(hear_void(w, egress, 1, "acme"), series);
	peer_expect_silence(w, admin); /* before every egress has said so */
	peer_say(egress, PROTO_GRANTS_VOIDED, egress->id, &voided);
	hear_revoked(w, admin, 1, 0, 3);
	assert_int_equal(w->log.count[EVENT_VAULT_REVOKE_GRANTS], 1);

	say_revoke(admin, 0, ""); /* all: new keys besides */
	authd_take_key(w, authd);
	assert_true(authd->msg.edge_key.epoch > epoch);
	assert_true(authd->msg.edge_key.revoked > series);
	assert_int_equal(hear_void(w, egress, 0, ""), authd->msg.edge_key.revoked);
	peer_say(egress, PROTO_GRANTS_VOIDED, egress->id, &voided);
	peer_expect(w, egress, PROTO_EDGE_KEY);
	assert_int_equal(egress->msg.edge_key.epoch, authd->msg.edge_key.epoch);
	hear_revoked(w, admin, 1, 0, 3);

	say_revoke(admin, 3, "openai"); /* an egress that goes has nothing to refuse any more */
	(void)hear_void(w, egress, 3, "openai");
	peer_leave(w, egress);
	hear_revoked(w, admin, 0, 1, 0);
	say_revoke(admin, 2, "key_1"); /* there is none */
	hear_revoked(w, admin, 0, 0, 0);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

/* It may be captured: whatever it goes on with, it is cut off, and gets no other key before it comes back. */
static void an_egress_that_does_not_answer_is_lost(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *silent = peer_meet(w, EGRESS0), *good = peer_meet(w, EGRESS1);
	time_t until = time(NULL) + 10;

	admin_init(w, admin);
	peer_expect(w, silent, PROTO_SEALED);
	peer_expect(w, good, PROTO_SEALED);
	say_revoke(admin, 1, "acme");
	(void)hear_void(w, silent, 1, "acme");
	(void)hear_void(w, good, 1, "acme");
	peer_say(good, PROTO_GRANTS_VOIDED, good->id, &(struct proto_grants_voided){.ended = 2});
	peer_expect_silence(w, good);
	for (; w->core.vault.lanes.lane[0].peer && time(NULL) < until; (void)poll(NULL, 0, 10))
		world_turn(w);
	hear_revoked(w, admin, 1, 1, 2);
	assert_false(peer_hear(w, silent));
	peer_expect_silence(w, good);
	peer_leave(w, silent);
	peer_leave(w, good);
	peer_leave(w, admin);
}

static void nothing_is_revoked_without_its_record(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *egress = peer_meet(w, EGRESS0);

	admin_init(w, admin);
	peer_expect(w, egress, PROTO_SEALED);
	w->log.mode = LOG_DOWN;
	say_revoke(admin, 1, "acme");
	peer_expect_refused(w, admin, "audit_unavailable");
	w->log.mode = LOG_LATER;
	say_revoke(admin, 1, "acme");
	peer_expect_silence(w, egress);
	w->log.done(w->log.ctx, false);
	peer_expect_refused(w, admin, "audit_unavailable");
	peer_expect_silence(w, egress);
	say_revoke(admin, 1, "acme");
	peer_expect_silence(w, egress);
	peer_leave(w, admin); /* does not wait; it was recorded, so it is done */
	w->log.done(w->log.ctx, true);
	(void)hear_void(w, egress, 1, "acme");
	peer_say(egress, PROTO_GRANTS_VOIDED, egress->id, &(struct proto_grants_voided){0});
	admin = peer_meet(w, ADMIN);
	say_revoke(admin, 0, "acme"); /* all of whom? */
	assert_false(peer_hear(w, admin));
	peer_leave(w, admin);
	peer_leave(w, egress);
}

static void a_key_goes_from_the_operator_to_the_egress(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD), *egress = peer_meet(w, EGRESS1);
	const struct proto_unseal ask = {.credential = SPAN_LIT("openai")};
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	admin_say_add(admin, "openai", 1, "sk-one");
	peer_expect_refused(w, admin, "uninitialised");
	admin_init(w, admin);
	admin_add(w, admin, authd, "openai", 1, "sk-one");
	assert_int_equal(w->log.count[EVENT_VAULT_SEAL_CREDENTIAL], 1);
	peer_expect(w, egress, PROTO_SEALED);
	peer_say(egress, PROTO_UNSEAL, 42, &ask);
	peer_expect(w, egress, PROTO_UNSEALED);
	assert_int_equal(egress->id, 42);
	assert_true(span_eq_str(egress->msg.unsealed.secret, "sk-one"));
	assert_true(span_eq(egress->msg.unsealed.binding, pack_binding("openai", 1, packed)));

	admin_add(w, admin, authd, "openai", 2, "sk-two");
	peer_expect(w, egress, PROTO_CREDENTIAL_DROP);
	peer_say(egress, PROTO_UNSEAL, 43, &ask);
	peer_expect(w, egress, PROTO_UNSEALED);
	assert_true(span_eq_str(egress->msg.unsealed.secret, "sk-two"));

	peer_say(authd, PROTO_CREDENTIAL_DROP, 0,
		 &(struct proto_credential_drop){.credential = ask.credential, .version = 2});
	peer_expect(w, egress, PROTO_CREDENTIAL_DROP);
	peer_say(egress, PROTO_UNSEAL, 44, &ask);
	peer_expect_refused(w, egress, "loading"); /* authd may be about to send it */
	peer_say(authd, PROTO_CREDENTIALS_SENT, 0, &(struct proto_credentials_sent){});
	for (int i = 0; i < TURNS_MAX && !w->core.complete; i++)
		world_turn(w);
	peer_say(egress, PROTO_UNSEAL, 45, &ask);
	peer_expect_refused(w, egress, "not_found");
	admin_seal(w, admin);
	peer_expect(w, egress, PROTO_SEALED);
	peer_say(egress, PROTO_UNSEAL, 46, &ask);
	peer_expect_refused(w, egress, "sealed");
	peer_leave(w, egress);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

static void a_forged_blob_is_recorded(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD);
	uint8_t blob[SEAL_BYTES_MAX];

	admin_init(w, admin);
	admin_say_add(admin, "openai", 1, "sk-one");
	peer_expect(w, admin, PROTO_VAULT_ADDED);
	struct span sealed = admin->msg.vault_added.blob;
	memcpy(blob, sealed.p, sealed.len);
	blob[sealed.len - 1] ^= 1;
	peer_say(authd, PROTO_CREDENTIAL_LOAD, 0,
		 &(struct proto_credential_load){.credential = SPAN_LIT("openai"), .blob = span_of(blob, sealed.len)});
	peer_expect(w, authd, PROTO_SEALED);
	peer_expect(w, authd, PROTO_PEPPER);
	for (int i = 0; i < TURNS_MAX && w->log.count[EVENT_VAULT_REJECT] == 0; i++)
		world_turn(w);
	assert_int_equal(w->log.count[EVENT_VAULT_REJECT], 1);
	assert_string_equal(w->log.reason, "not_authentic");
	assert_int_equal(store_count(&w->core.vault.store), 0);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

/* authd asks before it lets go of the version before. */
static void what_would_not_open_is_not_stored(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD);
	struct proto_credential_check check = {.credential = SPAN_LIT("openai")};
	uint8_t blob[SEAL_BYTES_MAX];

	peer_expect(w, authd, PROTO_SEALED);
	admin_init(w, admin);
	peer_expect(w, authd, PROTO_PEPPER);
	admin_say_add(admin, "openai", 1, "sk-one");
	peer_expect(w, admin, PROTO_VAULT_ADDED);
	struct span sealed = admin->msg.vault_added.blob;
	memcpy(blob, sealed.p, sealed.len);
	check.blob = span_of(blob, sealed.len);
	peer_say(authd, PROTO_CREDENTIAL_CHECK, 1, &check);
	peer_expect(w, authd, PROTO_CREDENTIAL_GOOD);
	assert_int_equal(store_count(&w->core.vault.store), 0); /* asked, not loaded */
	peer_say(authd, PROTO_CREDENTIAL_CHECK, 2,
		 &(struct proto_credential_check){.credential = SPAN_LIT("other"), .blob = check.blob});
	peer_expect_refused(w, authd, "not_authentic");
	blob[sealed.len - 1] ^= 1;
	peer_say(authd, PROTO_CREDENTIAL_CHECK, 3, &check);
	peer_expect_refused(w, authd, "not_authentic");
	blob[sealed.len - 1] ^= 1;

	/* Its tenant's key is being replaced: it opens still, but not for long. */
	assert_int_equal(rotate_begin(&w->core.vault, ROTATE_TENANT, SPAN_NULL, 0), 0);
	peer_say(authd, PROTO_CREDENTIAL_CHECK, 4, &check);
	peer_expect(w, authd,
		    PROTO_CREDENTIAL_GOOD); /* the new one is not in use yet: what is loaded now is replaced */
	assert_int_equal(rotate_advance(&w->core.vault), 0);
	assert_int_equal(rotate_advance(&w->core.vault), 0);
	assert_int_equal(rotate_step(&w->core.vault), ROTATE_ACTIVE);
	peer_say(authd, PROTO_CREDENTIAL_CHECK, 5, &check);
	peer_expect_refused(w, authd, "rotated");
	admin_seal(w, admin);
	peer_expect(w, authd, PROTO_SEALED);
	peer_say(authd, PROTO_CREDENTIAL_CHECK, 6, &check);
	peer_expect_refused(w, authd, "sealed");
	peer_leave(w, authd);
	peer_leave(w, admin);
}

static void no_key_is_sealed_without_its_record(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);

	admin_init(w, admin);
	w->log.mode = LOG_DOWN;
	admin_say_add(admin, "openai", 1, "sk-one");
	peer_expect_refused(w, admin, "audit_unavailable");
	w->log.mode = LOG_LATER;
	admin_say_add(admin, "openai", 1, "sk-one");
	peer_expect_silence(w, admin);
	w->log.done(w->log.ctx, false);
	peer_expect_refused(w, admin, "audit_unavailable");
	admin_say_add(admin, "openai", 1, "sk-one");
	peer_expect_silence(w, admin);
	w->log.done(w->log.ctx, true);
	peer_expect(w, admin, PROTO_VAULT_ADDED);

	/* The operator goes away before the log answers. */
	admin_say_add(admin, "openai", 1, "sk-one");
	peer_expect_silence(w, admin);
	peer_leave(w, admin);
	w->log.done(w->log.ctx, true);

	/* One at a time: a second one before the answer is out of order. */
	admin = peer_meet(w, ADMIN);
	admin_say_add(admin, "openai", 1, "sk-one");
	admin_say_add(admin, "openai", 1, "sk-one");
	assert_false(peer_hear(w, admin));
	w->log.done(w->log.ctx, true);
	peer_leave(w, admin);
}

static void auditd_gets_signatures_while_open(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *auditd = peer_meet(w, AUDITD);
	struct merkle_tree tree = MERKLE_TREE_NULL;
	struct merkle_hash root;
	struct note_key key;
	struct span text;
	char origin[NOTE_NAME_MAX + 1], vkey[NOTE_VKEY_MAX];

	peer_expect(w, auditd, PROTO_SIGNED_SIZE);
	assert_int_equal(auditd->msg.signed_size.vkey.len, 0);
	admin_init(w, admin);
	peer_expect(w, auditd, PROTO_SIGNED_SIZE);
	(void)snprintf(vkey, sizeof(vkey), "%.*s", SPAN_ARG(auditd->msg.signed_size.vkey));
	assert_int_equal(note_key_parse(&key, span_str(vkey)), 0);
	strcpy(origin, key.name);
	merkle_hash_leaf(SPAN_LIT("leaf"), &root);
	merkle_tree_append(&tree, &root);
	merkle_tree_root(&tree, &root);
	struct proto_sign_checkpoint ask = {.origin = span_str(origin), .size = 1, .root = span_of(root.b, 32)};
	peer_say(auditd, PROTO_SIGN_CHECKPOINT, 5, &ask);
	peer_expect(w, auditd, PROTO_CHECKPOINT_SIGNED);
	assert_int_equal(note_verify(auditd->msg.checkpoint_signed.note, &key, &text), 0);
	ask.old_size = 1;
	ask.root.p = (const uint8_t *)"0123456789abcdef0123456789abcdef";
	peer_say(auditd, PROTO_SIGN_CHECKPOINT, 6, &ask);
	peer_expect_refused(w, auditd, "fork");
	assert_int_equal(w->log.count[EVENT_VAULT_REJECT], 1);
	admin_seal(w, admin);
	peer_expect(w, auditd, PROTO_SIGNED_SIZE);
	assert_int_equal(auditd->msg.signed_size.size, 1);
	assert_int_equal(auditd->msg.signed_size.vkey.len, 0);
	peer_say(auditd, PROTO_SIGN_CHECKPOINT, 7, &ask);
	peer_expect_refused(w, auditd, "sealed");
	peer_leave(w, auditd);
	peer_leave(w, admin);
}

/* Each peer says what only another may say; the core drops it and goes on. */
static void out_of_order_is_the_end_of_the_peer(void **state)
{
	static const struct {
		enum peer_name peer;
		enum proto_type type;
	} wrong[] = {
		{AUTHD, PROTO_UNSEAL},       {AUTHD, PROTO_VAULT_SEAL}, {EGRESS0, PROTO_CREDENTIAL_DROP},
		{EGRESS0, PROTO_VAULT_SEAL}, {AUDITD, PROTO_UNSEAL},    {ADMIN, PROTO_UNSEAL},
	};
	/* begins as UNSEAL does */
	static const struct proto_credential_drop any = {.credential = SPAN_LIT("openai"), .version = 1};
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN);

	admin_init(w, admin);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct peer *p = peer_meet(w, wrong[i].peer);
		peer_say(p, wrong[i].type, 1, &any);
		while (peer_hear(w, p))
			assert_string_not_equal(p->desc->name, "unsealed");
		peer_leave(w, p);
	}
	assert_true(vault_is_open(&w->core.vault));
	peer_say(admin, PROTO_VAULT_STATUS, 9, &(struct proto_vault_status){});
	peer_expect(w, admin, PROTO_VAULT_STATUS_REP);
	assert_true(span_eq_str(admin->msg.vault_status_rep.state, "unsealed"));
	peer_leave(w, admin);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(peers_follow_the_vault),
		TEST(a_restarted_egress_gets_a_new_epoch_and_a_restarted_authd_all_of_them),
		TEST(an_egress_gets_its_key_after_authd_has_it),
		TEST(what_was_permitted_is_revoked),
		TEST(an_egress_that_does_not_answer_is_lost),
		TEST(nothing_is_revoked_without_its_record),
		TEST(a_key_goes_from_the_operator_to_the_egress),
		TEST(a_forged_blob_is_recorded),
		TEST(what_would_not_open_is_not_stored),
		TEST(no_key_is_sealed_without_its_record),
		TEST(auditd_gets_signatures_while_open),
		TEST(out_of_order_is_the_end_of_the_peer),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
