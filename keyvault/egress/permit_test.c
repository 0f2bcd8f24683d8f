/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/permit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sodium.h>
#include <cmocka.h>

#include "common/grant.h"

#define NOW_MS UINT64_C(7200000)
#define PATH   "/v1/chat/completions"

static const uint8_t key[GRANT_KEY_BYTES] = {1, 2, 3};
static uint8_t schedule[HMAC_SCHEDULE_BYTES]; /* of key */

struct fixture {
	struct replay replay;
	struct voids voids;
	struct permit_env env;
	struct proto_grant_route routes[2];
	struct proto_grant grant; /* to be minted */
	struct proto_open open;   /* to be asked for */
	uint8_t bytes[GRANT_BYTES_MAX];
	size_t len;
};

static int set_up(void **state)
{
	static struct fixture f;

	if (sodium_init() < 0)
		return -1;
	hmac_prepare(span_of(key, sizeof(key)), schedule);
	f = (struct fixture){0};
	assert_int_equal(replay_init(&f.replay), 0);
	f.env = (struct permit_env){
		.key = schedule, .epoch = 7, .lane = 3, .now_ms = NOW_MS, .replay = &f.replay, .voids = &f.voids};
	f.routes[0] = f.routes[1] = (struct proto_grant_route){.credential = SPAN_LIT("openai"),
							       .host = SPAN_LIT("api.openai.com"),
							       .port = 443,
							       .method = PROTO_POST,
							       .path = SPAN_LIT(PATH)};
	f.routes[1].credential = SPAN_LIT("other");
	f.grant = (struct proto_grant){.epoch = 7,
				       .lane = 3,
				       .series = 1,
				       .number = 1000000,
				       .request_id = SPAN_LIT("req-1"),
				       .tenant = SPAN_LIT("acme"),
				       .principal = SPAN_LIT("key-1"),
				       .body_bytes_max = 100,
				       .expires_ms = NOW_MS + 30000,
				       .routes = {.items = f.routes, .count = 2}};
	f.open = (struct proto_open){.route = 0, .method = PROTO_POST, .path = SPAN_LIT(PATH), .body_bytes = 100};
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	replay_deinit(&((struct fixture *)*state)->replay);
	return 0;
}

static enum reason ask(struct fixture *f)
{
	struct proto_grant grant;
	struct proto_grant_route route;
	bool authentic;

	assert_int_equal(grant_mint(schedule, &f->grant, f->bytes, sizeof(f->bytes), &f->len), 0);
	f->open.grant = span_of(f->bytes, f->len);
	enum reason why = permit_open(&f->env, &f->open, &authentic, &grant, &route);
	if (why == REASON_NONE) {
		assert_true(authentic);
		assert_true(span_eq(route.credential, f->routes[f->open.route].credential));
	}
	return why;
}

static void each_route_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f), REASON_NONE);
	assert_int_equal(ask(f), REASON_GRANT_USED);
	f->open.route = 1;
	assert_int_equal(ask(f), REASON_NONE);
	assert_int_equal(ask(f), REASON_GRANT_USED);
}

/* A route's number is the grant's and its place. */
static void numbers_are_what_is_remembered(void **state)
{
	struct fixture *f = *state;

	f->open.route = 1;
	assert_int_equal(ask(f), REASON_NONE);
	f->open.route = 0;
	f->grant.number++;
	f->grant.request_id = SPAN_LIT("req-2");
	assert_int_equal(ask(f), REASON_GRANT_USED);
	f->grant.renewed = 1;
	assert_int_equal(ask(f), REASON_NONE);
	assert_int_equal(ask(f), REASON_GRANT_USED);
	f->grant.renewed = 0;
	f->grant.series = 2;
	assert_int_equal(ask(f), REASON_NONE);
	f->grant.number -= REPLAY_WINDOW_ROUTES;
	assert_int_equal(ask(f), REASON_NONE);
	f->grant.number -= 64;
	assert_int_equal(ask(f), REASON_GRANT_OUTRUN);
}

static void withdrawn_ones(void **state)
{
	struct fixture *f = *state;

	f->grant.series = 4;
	f->open.route = 1;
	voids_add(&f->voids, &(struct proto_grants_void){5, VOIDS_CREDENTIAL, SPAN_LIT("other"), 0}, NOW_MS);
	assert_int_equal(ask(f), REASON_GRANT_REVOKED);
	f->open.route = 0; /* with another provider key */
	assert_int_equal(ask(f), REASON_NONE);
	f->grant.number += 10;
	voids_add(&f->voids, &(struct proto_grants_void){5, VOIDS_TENANT, SPAN_LIT("acme"), 0}, NOW_MS);
	assert_int_equal(ask(f), REASON_GRANT_REVOKED);
	f->grant.renewed = 1;
	assert_int_equal(ask(f), REASON_GRANT_REVOKED);
	f->grant.series = 5;
	assert_int_equal(ask(f), REASON_NONE);
	voids_reset(&f->voids);
	f->grant.series = 4;
	assert_int_equal(ask(f), REASON_NONE); /* what was refused was not used */
}

static void no_more_than_granted(void **state)
{
	struct fixture *f = *state;
	const struct proto_open good = f->open;

	f->open.body_bytes = 101;
	assert_int_equal(ask(f), REASON_GRANT_EXCEEDED);
	f->open = good;
	f->open.route = 2;
	assert_int_equal(ask(f), REASON_GRANT_EXCEEDED);
	f->open.route = 3;
	assert_int_equal(ask(f), REASON_GRANT_EXCEEDED);
	f->open = good;
	f->open.method = PROTO_GET;
	assert_int_equal(ask(f), REASON_GRANT_EXCEEDED);
	f->open = good;
	f->open.path = SPAN_LIT(PATH "/");
	assert_int_equal(ask(f), REASON_GRANT_EXCEEDED);
	f->open = good;
	f->env.lane = 2;
	assert_int_equal(ask(f), REASON_GRANT_EXCEEDED);
	f->env.lane = 3;
	assert_int_equal(ask(f), REASON_NONE); /* a refused attempt uses nothing up */
}

static void in_time(void **state)
{
	struct fixture *f = *state;

	f->env.now_ms = f->grant.expires_ms;
	assert_int_equal(ask(f), REASON_GRANT_EXPIRED);
	f->env.now_ms = f->grant.expires_ms - PERMIT_LIFETIME_MS_MAX - 1;
	assert_int_equal(ask(f), REASON_GRANT_EXPIRED);
	f->env.now_ms = f->grant.expires_ms - 1;
	assert_int_equal(ask(f), REASON_NONE);
}

static void of_this_epoch(void **state)
{
	struct fixture *f = *state;
	struct proto_grant grant;
	struct proto_grant_route route;
	bool authentic;

	f->grant.epoch = 6;
	assert_int_equal(ask(f), REASON_GRANT_STALE);
	f->grant.epoch = 7;
	f->env.key = NULL;
	assert_int_equal(ask(f), REASON_GRANT_STALE);
	/* Another key: forged when it names this epoch, stale when it names another. */
	uint8_t other[HMAC_SCHEDULE_BYTES];
	hmac_prepare(SPAN_LIT("another"), other);
	f->env.key = schedule;
	for (f->grant.epoch = 6; f->grant.epoch <= 7; f->grant.epoch++) {
		assert_int_equal(grant_mint(other, &f->grant, f->bytes, sizeof(f->bytes), &f->len), 0);
		f->open.grant = span_of(f->bytes, f->len);
		assert_int_equal(permit_open(&f->env, &f->open, &authentic, &grant, &route),
				 f->grant.epoch == 6 ? REASON_GRANT_STALE : REASON_GRANT_FORGED);
		assert_false(authentic);
	}
}

static void early_is_what_names_a_later_epoch(void **state)
{
	struct fixture *f = *state;

	for (f->grant.epoch = 6; f->grant.epoch <= 8; f->grant.epoch++) {
		(void)ask(f);
		assert_int_equal(permit_is_early(&f->env, f->open.grant), f->grant.epoch == 8);
	}
	assert_true(permit_is_early(&f->env, span_of(f->bytes, f->len)));
	assert_false(permit_is_early(&f->env, span_of(f->bytes, f->len - 1)));
	assert_false(permit_is_early(&f->env, span_of(f->bytes, GRANT_MAC_BYTES)));
}

static void every_byte_counts(void **state)
{
	struct fixture *f = *state;
	struct proto_grant grant;
	struct proto_grant_route route;
	bool authentic;

	assert_int_equal(grant_mint(schedule, &f->grant, f->bytes, sizeof(f->bytes), &f->len), 0);
	for (size_t len = GRANT_MAC_BYTES + 1; len <= f->len; len++)
		for (size_t at = 0; at < len; at++) {
			f->bytes[at] ^= 0x40;
			f->open.grant = span_of(f->bytes, len);
			assert_int_not_equal(permit_open(&f->env, &f->open, &authentic, &grant, &route), REASON_NONE);
			assert_false(authentic);
			f->bytes[at] ^= 0x40;
		}
}

static const struct proto_binding good_binding = {.tenant = SPAN_LIT("*"),
						  .credential = SPAN_LIT("openai"),
						  .version = 1,
						  .provider = SPAN_LIT("openai"),
						  .scheme = SPAN_LIT("https"),
						  .host = SPAN_LIT("api.openai.com"),
						  .port = 443,
						  .path_prefix = SPAN_LIT("/v1"),
						  .methods = BIT(PROTO_POST),
						  .header = SPAN_LIT("authorization"),
						  .prefix = SPAN_LIT("Bearer "),
						  .not_before = 100,
						  .not_after = 200};

static enum reason bind(struct fixture *f, const struct proto_binding *b, uint64_t unix_s)
{
	return permit_binding(b, &f->routes[0], SPAN_LIT("acme"), unix_s);
}

#define REFUSED_WITH(field, ...)                                              \
	do {                                                                  \
		struct proto_binding b_ = good_binding;                       \
		b_.field = (__VA_ARGS__);                                     \
		assert_int_equal(bind(f, &b_, 150), REASON_BINDING_MISMATCH); \
	} while (0)

static void bound_in_every_field(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(bind(f, &good_binding, 150), REASON_NONE);
	assert_int_equal(bind(f, &good_binding, 100), REASON_NONE);
	assert_int_equal(bind(f, &good_binding, 99), REASON_NO_CREDENTIAL);
	assert_int_equal(bind(f, &good_binding, 199), REASON_NONE);
	assert_int_equal(bind(f, &good_binding, 200), REASON_NO_CREDENTIAL);
	REFUSED_WITH(tenant, SPAN_LIT("acm"));
	REFUSED_WITH(credential, SPAN_LIT("other"));
	REFUSED_WITH(host, SPAN_LIT("api.openai.com.evil.test"));
	REFUSED_WITH(port, 8443);
	REFUSED_WITH(path_prefix, SPAN_LIT("/v1/chat/completionsx"));
	REFUSED_WITH(path_prefix, SPAN_LIT("/v1/cha"));
	REFUSED_WITH(path_prefix, SPAN_LIT("/v2"));
	REFUSED_WITH(methods, BIT(PROTO_GET) | BIT(PROTO_DELETE));
	struct proto_binding b = good_binding;
	b.tenant = SPAN_LIT("acme");
	b.path_prefix = SPAN_LIT("/v1/");
	b.not_after = 0;
	assert_int_equal(bind(f, &b, UINT32_MAX), REASON_NONE);
}

#define INSANE_WITH(field, ...)                         \
	do {                                            \
		struct proto_binding b_ = good_binding; \
		b_.field = (__VA_ARGS__);               \
		assert_false(permit_binding_sane(&b_)); \
	} while (0)

static void sane(void **state)
{
	(void)state;
	assert_true(permit_binding_sane(&good_binding));
	INSANE_WITH(scheme, SPAN_LIT("http"));
	INSANE_WITH(host, SPAN_LIT("a\r\nb"));
	INSANE_WITH(host, SPAN_LIT("a/b"));
	INSANE_WITH(host, SPAN_LIT("A.com"));
	INSANE_WITH(path_prefix, SPAN_LIT("/v1/../x"));
	INSANE_WITH(header, SPAN_LIT("a b"));
	INSANE_WITH(prefix, SPAN_LIT("Bearer\r\n"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(each_route_once),      T(numbers_are_what_is_remembered),
		T(withdrawn_ones),       T(early_is_what_names_a_later_epoch),
		T(no_more_than_granted), T(in_time),
		T(of_this_epoch),        T(every_byte_counts),
		T(bound_in_every_field), T(sane),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
