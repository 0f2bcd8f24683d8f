/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens on the core's edges: who gets the secret of a lease, what a worker may put in its place and what not,
 * and that nobody hears of a token before authd has what belongs to it.
 */
#include "tests/support/core_world.h"

#include <stdlib.h>
#include <sodium.h>

#define OLD SPAN_LIT("refresh_token=old")
#define NEW SPAN_LIT("refresh_token=new")

struct peers {
	struct peer *admin, *authd, *egress[2];
};

static struct proto_binding oauth(const char *id, uint64_t version, uint64_t auth)
{
	struct proto_binding b = binding_of(id, version);

	b.auth = auth;
	b.client_id = SPAN_LIT("me");
	b.token_host = SPAN_LIT("t.test");
	b.token_port = 443;
	b.token_path = SPAN_LIT("/token");
	return b;
}

/* An open vault with one credential of each kind; nothing unheard. */
static struct peers begin(struct world *w)
{
	struct peers p = {peer_meet(w, ADMIN), peer_meet(w, AUTHD), {NULL}};
	const struct proto_binding refresh = oauth("refresh", 1, PROTO_AUTH_OAUTH_REFRESH),
				   client = oauth("client", 1, PROTO_AUTH_OAUTH_CLIENT);

	peer_expect(w, p.authd, PROTO_SEALED);
	admin_init(w, p.admin);
	peer_expect(w, p.authd, PROTO_PEPPER);
	admin_add_bound(w, p.admin, p.authd, &refresh, "refresh_token=old");
	admin_add_bound(w, p.admin, p.authd, &client, "client_secret=s");
	admin_add(w, p.admin, p.authd, "plain", 1, "sk-one");
	for (unsigned i = 0; i < 2; i++) {
		p.egress[i] = peer_meet(w, i ? EGRESS1 : EGRESS0);
		authd_take_key(w, p.authd);
		peer_expect(w, p.egress[i], PROTO_EDGE_KEY);
	}
	w->core.tokens.settled_at_ms = 0; /* it is an old core */
	return p;
}

static void end(struct world *w, struct peers *p)
{
	for (unsigned i = 0; i < 2; i++)
		if (p->egress[i])
			peer_leave(w, p->egress[i]);
	if (p->authd)
		peer_leave(w, p->authd);
	peer_leave(w, p->admin);
}

static void take(struct peer *egress, uint64_t id, const char *credential)
{
	peer_say(egress, PROTO_TOKEN_TAKE, id, &(struct proto_token_take){.credential = span_str(credential)});
}

static uint64_t lease(struct world *w, struct peer *egress, const char *credential)
{
	take(egress, 11, credential);
	peer_expect(w, egress, PROTO_TOKEN_LEASE);
	assert_int_equal(egress->id, 11);
	return egress->msg.token_lease.lease;
}

static struct proto_token_put put_of(const char *credential, uint64_t lease)
{
	return (struct proto_token_put){.credential = span_str(credential),
					.lease = lease,
					.version = 1,
					.life_ms = 60000,
					.token = SPAN_LIT("tok")};
}

static void expect_token(struct world *w, struct peer *egress, uint64_t id)
{
	peer_expect(w, egress, PROTO_TOKEN);
	assert_int_equal(egress->id, id);
	assert_true(span_eq_str(egress->msg.token.token, "tok"));
	assert_true(egress->msg.token.life_ms > 50000 && egress->msg.token.life_ms <= 60000);
}

static void one_lease_serves_all(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	uint64_t unseals = w->core.unseals, of = lease(w, p.egress[0], "client");
	struct proto_token_put put = put_of("client", of);

	assert_true(of + 10000 > core_unix_ms() && of < core_unix_ms() + 10000); /* told from another core's */
	assert_true(span_eq_str(p.egress[0]->msg.token_lease.secret, "client_secret=s"));
	assert_int_equal(p.egress[0]->msg.token_lease.version, 1);
	assert_int_equal(w->core.unseals, unseals + 1);
	take(p.egress[1], 12, "client");
	peer_expect_silence(w, p.egress[1]);
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 13, &put);
	expect_token(w, p.egress[0], 13);
	expect_token(w, p.egress[1], 12);
	assert_int_equal(p.egress[0]->msg.token.serial, p.egress[1]->msg.token.serial);
	assert_int_equal(w->log.count[EVENT_VAULT_RESEAL], 0);
	peer_expect_silence(w, p.authd);
	/* The secret itself is never in an UNSEALED. */
	peer_say(p.egress[0], PROTO_UNSEAL, 14, &(struct proto_unseal){.credential = SPAN_LIT("client")});
	peer_expect(w, p.egress[0], PROTO_UNSEALED);
	assert_int_equal(p.egress[0]->msg.unsealed.secret.len, 0);
	end(w, &p);
}

/* A captured worker would write into the heads of the others. */
static void a_token_that_breaks_a_head_is_not_kept(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	struct proto_token_put put = put_of("client", lease(w, p.egress[0], "client"));

	put.token = SPAN_LIT("tok\r\nx: y");
	take(p.egress[1], 12, "client");
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 13, &put);
	assert_false(peer_hear(w, p.egress[0]));
	peer_expect(w, p.egress[1], PROTO_TOKEN_LEASE);
	end(w, &p);
}

static void of_what_no_tokens_are_made(void **state)
{
	static const char *const ids[] = {"plain", "unknown"};
	struct world *w = *state;
	struct peers p = begin(w);

	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct proto_token_put put = put_of(ids[i], 1);
		take(p.egress[0], 11, ids[i]);
		peer_expect_refused(w, p.egress[0], "not_found");
		peer_say(p.egress[0], PROTO_TOKEN_PUT, 12, &put);
		peer_expect_refused(w, p.egress[0], "not_found");
	}
	assert_int_equal(w->core.tokens.n, 0);
	admin_seal(w, p.admin);
	peer_expect(w, p.egress[0], PROTO_SEALED);
	take(p.egress[0], 11, "client");
	peer_expect_refused(w, p.egress[0], "sealed");
	peer_say(p.egress[0], PROTO_TOKEN_HOLD, 0,
		 &(struct proto_token_hold){.credential = SPAN_LIT("client"), .lease = 5, .version = 1});
	take(p.egress[0], 11, "client");
	peer_expect_refused(w, p.egress[0], "sealed");
	assert_int_equal(w->core.tokens.n, 0);
	end(w, &p);
}

static void only_the_holder_of_that_version_puts(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	uint64_t of = lease(w, p.egress[0], "refresh");
	struct proto_token_put put = put_of("refresh", of);

	put.secret = NEW;
	peer_say(p.egress[1], PROTO_TOKEN_PUT, 12, &put);
	peer_expect_refused(w, p.egress[1], "rollback");
	put.version = 2;
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 12, &put);
	peer_expect_refused(w, p.egress[0], "rollback");
	put = put_of("refresh", of + 1);
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 12, &put);
	peer_expect_refused(w, p.egress[0], "rollback");
	put = put_of("client", lease(w, p.egress[0], "client"));
	put.secret = SPAN_LIT("client_secret=mine"); /* a lease does not let it replace that */
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 13, &put);
	peer_expect_refused(w, p.egress[0], "bad_binding");
	peer_expect_silence(w, p.authd);
	assert_int_equal(w->core.tokens.n, 2);
	end(w, &p);
}

static void reseal(struct world *w, struct peers *p, uint8_t blob[SEAL_BYTES_MAX], size_t *ret_len)
{
	struct proto_token_put put = put_of("refresh", lease(w, p->egress[0], "refresh"));
	struct seal_view view;

	assert_true(span_eq(p->egress[0]->msg.token_lease.secret, OLD));
	put.secret = NEW;
	peer_say(p->egress[0], PROTO_TOKEN_PUT, 13, &put);
	if (!p->authd)
		return;
	peer_expect(w, p->authd, PROTO_CREDENTIAL_RESEAL);
	assert_int_equal(p->authd->msg.credential_reseal.version, 2);
	assert_true(span_eq_str(p->authd->msg.credential_reseal.credential, "refresh"));
	struct span sealed = p->authd->msg.credential_reseal.blob;
	memcpy(blob, sealed.p, sealed.len);
	*ret_len = sealed.len;
	assert_int_equal(seal_parse(span_of(blob, sealed.len), &view), 0);
	assert_int_equal(view.binding.version, 2);
	assert_int_equal(view.binding.since, 2); /* the one before is void */
}

static void say_load(struct peer *authd, struct span blob)
{
	peer_say(authd, PROTO_CREDENTIAL_LOAD, 0,
		 &(struct proto_credential_load){.credential = SPAN_LIT("refresh"), .blob = blob});
}

static void a_new_secret_is_stored_before_anybody_has_its_token(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	uint8_t blob[SEAL_BYTES_MAX];
	size_t len = 0;

	reseal(w, &p, blob, &len);
	take(p.egress[1], 12, "refresh");
	peer_expect_silence(w, p.egress[0]);
	peer_expect_silence(w, p.egress[1]);
	assert_int_equal(w->log.count[EVENT_VAULT_RESEAL], 0);
	say_load(p.authd, span_of(blob, len));
	expect_token(w, p.egress[0], 13); /* and no CREDENTIAL_DROP before it: it is the same credential */
	expect_token(w, p.egress[1], 12);
	assert_int_equal(w->log.count[EVENT_VAULT_RESEAL], 1);
	assert_null(tokens_pending(&w->core.tokens, SPAN_LIT("refresh")));

	/* What is sealed is what the service gave. */
	peer_say(
		p.egress[1], PROTO_TOKEN_TAKE, 14,
		&(struct proto_token_take){.credential = SPAN_LIT("refresh"), .serial = p.egress[1]->msg.token.serial});
	peer_expect(w, p.egress[1], PROTO_TOKEN_LEASE);
	assert_true(span_eq(p.egress[1]->msg.token_lease.secret, NEW));
	assert_int_equal(p.egress[1]->msg.token_lease.version, 2);
	end(w, &p);
}

static void another_credential_in_between_is_not_taken_for_it(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	uint8_t blob[SEAL_BYTES_MAX];
	size_t len = 0;
	const struct proto_binding operators = oauth("refresh", 3, PROTO_AUTH_OAUTH_REFRESH);

	reseal(w, &p, blob, &len);
	admin_add_bound(w, p.admin, p.authd, &operators, "refresh_token=operators");
	peer_expect(w, p.egress[0], PROTO_TOKEN_NONE);
	assert_int_equal(p.egress[0]->msg.token_none.reason, REASON_NO_CREDENTIAL);
	peer_expect(w, p.egress[0], PROTO_CREDENTIAL_DROP);
	assert_int_equal(w->log.count[EVENT_VAULT_RESEAL], 0);
	say_load(p.authd, span_of(blob, len)); /* too late */
	(void)lease(w, p.egress[0], "refresh");
	assert_true(span_eq_str(p.egress[0]->msg.token_lease.secret, "refresh_token=operators"));
	end(w, &p);
}

/* authd was away, has the version before, and says so: it gets the new one at once. */
static void an_authd_that_comes_back_is_told(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	uint8_t blob[SEAL_BYTES_MAX], old[SEAL_BYTES_MAX];
	const struct store_version *v = store_current(store_find(&w->core.vault.store, SPAN_LIT("refresh")));
	size_t len = 0, old_len = v->blob_len;

	memcpy(old, v->blob, old_len);
	peer_leave(w, TAKE(p.authd));
	reseal(w, &p, blob, &len);
	peer_expect_silence(w, p.egress[0]);
	container_of(w->core.tokens.all.next, struct tokens_entry, in_tokens)->resend_at_ms = UINT64_MAX;
	p.authd = peer_meet(w, AUTHD);
	authd_take_key(w, p.authd);
	authd_take_key(w, p.authd);
	peer_expect(w, p.authd, PROTO_PEPPER);
	say_load(p.authd, span_of(old, old_len));
	peer_expect(w, p.authd, PROTO_CREDENTIAL_RESEAL);
	struct span again = p.authd->msg.credential_reseal.blob;
	peer_expect_silence(w, p.egress[0]);
	say_load(p.authd, again);
	expect_token(w, p.egress[0], 13);
	peer_expect_silence(w, p.authd);
	end(w, &p);
}

static void what_fails_is_told_to_those_who_wait(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	struct proto_token_fail fail = {.credential = SPAN_LIT("client"), .reason = REASON_TOKEN_DENIED};

	fail.lease = lease(w, p.egress[0], "client");
	take(p.egress[1], 12, "client");
	peer_expect_silence(w, p.egress[1]);
	peer_say(p.egress[0], PROTO_TOKEN_FAIL, 0, &fail);
	peer_expect(w, p.egress[1], PROTO_TOKEN_NONE);
	assert_int_equal(p.egress[1]->msg.token_none.reason, REASON_TOKEN_DENIED);
	fail.reason = N_REASONS; /* no reason: the end of that worker */
	peer_say(p.egress[0], PROTO_TOKEN_FAIL, 0, &fail);
	assert_false(peer_hear(w, p.egress[0]));
	end(w, &p);
}

/* What does not open is no lease, and is recorded. */
static void a_damaged_secret_is_no_lease(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	const struct store_version *v = store_current(store_find(&w->core.vault.store, SPAN_LIT("client")));

	v->blob[v->blob_len - 1] ^= 1;
	take(p.egress[0], 11, "client");
	peer_expect(w, p.egress[0], PROTO_TOKEN_NONE);
	assert_int_equal(p.egress[0]->msg.token_none.reason, REASON_NO_CREDENTIAL);
	assert_int_equal(w->log.count[EVENT_VAULT_REJECT], 1);
	assert_string_equal(w->log.reason, "not_authentic");
	end(w, &p);
}

static void a_worker_that_dies_leaves_its_lease(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);

	(void)lease(w, p.egress[0], "client");
	take(p.egress[1], 11, "client");
	peer_expect_silence(w, p.egress[1]);
	peer_leave(w, TAKE(p.egress[0]));
	peer_expect(w, p.egress[1], PROTO_TOKEN_LEASE);
	end(w, &p);
}

/* A lease of another core: held also before authd has said that there is such a credential. */
static void a_lease_of_before_is_held(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	struct proto_token_put put = put_of("refresh", 5);

	peer_say(p.egress[0], PROTO_TOKEN_HOLD, 0,
		 &(struct proto_token_hold){.credential = SPAN_LIT("unknown"), .lease = 4, .version = 1});
	peer_say(p.egress[0], PROTO_TOKEN_HOLD, 0,
		 &(struct proto_token_hold){.credential = SPAN_LIT("refresh"), .lease = 5, .version = 1});
	peer_expect_silence(w, p.egress[0]);
	assert_int_equal(w->core.tokens.n, 2);
	take(p.egress[1], 12, "refresh");
	peer_expect_silence(w, p.egress[1]);
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 13, &put);
	expect_token(w, p.egress[0], 13);
	expect_token(w, p.egress[1], 12);
	end(w, &p);
}

/* What authd has not said until it has said all is no credential. */
static void a_lease_of_no_credential_is_none(void **state)
{
	static const char *const ids[] = {"unknown", "plain", "refresh"};
	struct world *w = *state;
	struct peers p = begin(w);

	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_LEN(ids); i++)
			peer_say(p.egress[0], PROTO_TOKEN_HOLD, 0,
				 &(struct proto_token_hold){.credential = span_str(ids[i]), .lease = 4, .version = 1});
		peer_expect_silence(w, p.egress[0]);
		assert_int_equal(w->core.tokens.n, round == 0 ? ARRAY_LEN(ids) : 1);
		if (round > 0)
			break;
		peer_say(p.authd, PROTO_CREDENTIALS_SENT, 0, &(struct proto_credentials_sent){});
		peer_expect_silence(w, p.authd);
		assert_int_equal(w->core.tokens.n, 1);
		assert_string_equal(container_of(w->core.tokens.all.next, struct tokens_entry, in_tokens)->id,
				    "refresh");
	}
	end(w, &p);
}

/* What came of it is put before authd has said that there is such a credential. However long that takes, it is taken.
 */
static void what_is_put_too_early_is_not_too_late(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	struct proto_token_put put = put_of("refresh", 5);
	uint8_t blob[SEAL_BYTES_MAX];
	const struct store_version *v = store_current(store_find(&w->core.vault.store, SPAN_LIT("refresh")));
	size_t len = v->blob_len;

	memcpy(blob, v->blob, len);
	store_drop(&w->core.vault.store, SPAN_LIT("refresh"), 1);
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 12, &put);
	peer_expect_refused(w, p.egress[0], "not_found");
	assert_int_equal(w->core.tokens.n, 0); /* that one is not put again: it can be got anew */
	put.secret = NEW;
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 12, &put);
	peer_expect_refused(w, p.egress[0], "not_found");
	w->core.tokens.inherits_until_ms = 0;
	say_load(p.authd, span_of(blob, len));
	peer_say(p.egress[1], PROTO_TOKEN_PUT, 12, &put);
	peer_expect_refused(w, p.egress[1], "rollback"); /* it is not that worker's */
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 13, &put);
	peer_expect(w, p.authd, PROTO_CREDENTIAL_RESEAL);
	say_load(p.authd, p.authd->msg.credential_reseal.blob);
	expect_token(w, p.egress[0], 13);
	put = put_of("unknown", 6);
	put.secret = NEW;
	peer_say(p.authd, PROTO_CREDENTIALS_SENT, 0, &(struct proto_credentials_sent){});
	peer_expect_silence(w, p.authd);
	tokens_open(&w->core.tokens, ipc_now_ms(w->core.daemon.ipc));
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 14, &put); /* authd has said all there is */
	peer_expect_refused(w, p.egress[0], "not_found");
	assert_int_equal(w->core.tokens.n, 1);
	end(w, &p);
}

static const struct tokens_entry *entry(const struct world *w)
{
	assert_int_equal(w->core.tokens.n, 1);
	return container_of(w->core.tokens.all.next, struct tokens_entry, in_tokens);
}

/* Which secrets are replaced by use is the binding's to say, and whatever has begun is looked after. */
static void each_is_treated_as_what_it_is(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	uv_timer_t *tick = &w->core.tokens_tick;

	(void)lease(w, p.egress[0], "client");
	assert_false(entry(w)->rotating);
	assert_true(uv_is_active((uv_handle_t *)tick));
	tokens_drop(&w->core.tokens, SPAN_LIT("client"));
	struct proto_token_put put = put_of("refresh", lease(w, p.egress[0], "refresh"));
	assert_true(entry(w)->rotating);
	(void)uv_timer_stop(tick);
	put.secret = SPAN_LIT("x");
	peer_say(p.egress[0], PROTO_TOKEN_PUT, 13, &put);
	peer_expect(w, p.authd, PROTO_CREDENTIAL_RESEAL);
	assert_true(uv_is_active((uv_handle_t *)tick));
	tokens_drop(&w->core.tokens, SPAN_LIT("refresh"));
	peer_expect(w, p.egress[0], PROTO_TOKEN_NONE);
	peer_say(p.egress[0], PROTO_TOKEN_HOLD, 0,
		 &(struct proto_token_hold){.credential = SPAN_LIT("refresh"), .lease = 5, .version = 1});
	peer_expect_silence(w, p.egress[0]);
	assert_true(entry(w)->rotating);
	end(w, &p);
}

/* The timer runs while something is waited for, and not longer: an idle core sleeps. */
static void time_passes_only_while_it_must(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	uv_handle_t *tick = (uv_handle_t *)&w->core.tokens_tick;
	uint8_t blob[SEAL_BYTES_MAX];
	size_t len = 0;

	assert_false(uv_is_active(tick));
	reseal(w, &p, blob, &len);
	assert_true(uv_is_active(tick));
	container_of(w->core.tokens.all.next, struct tokens_entry, in_tokens)->resend_at_ms = 0;
	peer_expect(w, p.authd, PROTO_CREDENTIAL_RESEAL); /* once more */
	assert_true(uv_is_active(tick));
	assert_int_equal(p.authd->msg.credential_reseal.blob.len, len);
	say_load(p.authd, span_of(blob, len));
	expect_token(w, p.egress[0], 13);
	for (int i = 0; i < TURNS_MAX && uv_is_active(tick); i++)
		(void)uv_run(&w->core.daemon.loop, UV_RUN_ONCE);
	assert_false(uv_is_active(tick));
	end(w, &p);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_lease_serves_all),
		TEST(a_token_that_breaks_a_head_is_not_kept),
		TEST(of_what_no_tokens_are_made),
		TEST(only_the_holder_of_that_version_puts),
		TEST(a_new_secret_is_stored_before_anybody_has_its_token),
		TEST(another_credential_in_between_is_not_taken_for_it),
		TEST(an_authd_that_comes_back_is_told),
		TEST(what_fails_is_told_to_those_who_wait),
		TEST(a_damaged_secret_is_no_lease),
		TEST(a_worker_that_dies_leaves_its_lease),
		TEST(a_lease_of_before_is_held),
		TEST(a_lease_of_no_credential_is_none),
		TEST(what_is_put_too_early_is_not_too_late),
		TEST(each_is_treated_as_what_it_is),
		TEST(time_passes_only_while_it_must),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dispatch_tokens", tests, NULL, NULL);
}
