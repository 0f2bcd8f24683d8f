/* SPDX-License-Identifier: Apache-2.0 */
/* What `auth` asks of a provider's other keys: each rejection with its words, each default where it follows. */
#include "cli/config_auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>

#define PIN  "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define URL  "base_url: 'https://x.test/v1'"
#define TURL "token_url: 'https://t.test/token'"

static char *nothing[] = {NULL};

/* One provider, x, of these keys. */
static struct config_tree *load(const char *keys, int *ret_r)
{
	struct config_tree *t = NULL;
	char yaml[2048];

	(void)snprintf(yaml, sizeof(yaml), "\nproviders: [{ name: x, %s }]", keys);
	assert_int_equal(config_tree_new("bulkhead.yaml", "/etc/bulkhead", &t), 0);
	*ret_r = config_yaml(t, span_str(yaml));
	if (!*ret_r)
		*ret_r = config_env(t, nothing);
	if (!*ret_r)
		*ret_r = config_complete(t);
	return t;
}

static const struct {
	const char *keys, *problem; /* NULL: it is right */
} rows[] = {
	{URL ", auth: bearer", NULL},
	{URL ", auth: bearer, key_file: k", NULL},
	{URL ", auth: basic, key_file: k", NULL},
	{URL ", auth: bearer, pins: [" PIN "]", NULL},
	{URL ", auth: bearer, pins: [" PIN "x]", "pins of provider 'x' must be at most 8"},
	{URL ", auth: bearer, pins: ['47DEQpj8HBSa']", "pins of provider 'x' must be at most 8"},
	{URL ", auth: bearer, token_pins: [" PIN ", short]", "token_pins of provider 'x' must be"},
	{URL ", auth: bearer, " TURL, "has keys of a token service, but auth: bearer asks none"},
	{URL ", auth: bearer, client_id: me", "has keys of a token service, but auth: bearer asks none"},
	{URL ", auth: bearer, scope: a/b", "has keys of a token service, but auth: bearer asks none"},
	{URL ", token_connect_to: 10.0.0.1", "has keys of a token service, but auth: bearer asks none"},
	{URL ", header: api-key", "is for auth: header; auth: bearer sends the key in authorization"},
	{URL ", auth: basic, header: api-key", "is for auth: header; auth: basic sends"},
	{URL ", auth: basic, scope: a/b", "has keys of a token service, but auth: basic asks none"},
	/* signed */
	{URL ", auth: sigv4, scope: us-east-1/bedrock", NULL},
	{URL ", auth: sigv4", "needs `scope: REGION/SERVICE`"},
	{URL ", auth: sigv4, scope: us-east-1", "needs `scope: REGION/SERVICE`"},
	{URL ", auth: sigv4, scope: us-east-1/", "needs `scope: REGION/SERVICE`"},
	{URL ", auth: sigv4, scope: /bedrock", "needs `scope: REGION/SERVICE`"},
	{URL ", auth: sigv4, scope: us/bed/rock", "needs `scope: REGION/SERVICE`"},
	{URL ", auth: sigv4, scope: US/bedrock", "needs `scope: REGION/SERVICE`"},
	{URL ", auth: sigv4, scope: a/b, client_id: me", "has keys of a token service, but auth: sigv4 asks none"},
	{URL ", auth: sigv4, scope: a/b, " TURL, "has keys of a token service, but auth: sigv4 asks none"},
	{URL ", auth: sigv4, scope: a/b, key_file: k", "key_file of provider 'x' holds a key in one line"},
	/* exchanged */
	{URL ", auth: google, client_id: me", NULL},
	{URL ", auth: google", NULL}, /* its file says who it is */
	{URL ", auth: google, key_file: k", "which auth: google has not"},
	{URL ", auth: oauth_client, client_id: me, " TURL, NULL},
	{URL ", auth: oauth_refresh, client_id: me, " TURL, NULL},
	{URL ", auth: oauth_client, client_id: me, scope: 'a b', " TURL, NULL},
	{URL ", auth: oauth_client, client_id: me", "needs a token_url: https://host[:port]/path"},
	{URL ", auth: oauth_client, client_id: me, token_url: 'http://t.test/'", "token_url"},
	{URL ", auth: oauth_client, " TURL, "needs the client_id that its token service knows"},
	{URL ", auth: oauth_refresh, " TURL, "needs the client_id that its token service knows"},
	{URL ", auth: oauth_refresh, client_id: me, key_file: k, " TURL, "which auth: oauth_refresh has not"},
	{URL ", auth: oauth_client, client_id: me, token_connect_to: t.test, " TURL, "must be an IP address"},
	{URL ", auth: oauth_client, client_id: me, token_connect_to: 127.0.0.1, " TURL, NULL},
	{URL ", auth: oauth_client, client_id: me, token_connect_to: '::1', " TURL, NULL},
	/* what would break out of a claim, a form or a line */
	{URL ", auth: oauth_client, client_id: 'a b', " TURL, "must be ASCII without quotes"},
	{URL ", auth: oauth_client, client_id: 'a\"b', " TURL, "must be ASCII without quotes"},
	{URL ", auth: oauth_client, client_id: 'a\\b', " TURL, "must be ASCII without quotes"},
	{URL ", auth: oauth_client, client_id: 'a\xc3\xa4', " TURL, "must be ASCII without quotes"},
	{URL ", auth: oauth_client, client_id: me, scope: 'a\"b', " TURL, "must be ASCII without quotes"},
	{URL ", auth: oauth_client, client_id: me, scope: 'a\\b', " TURL, "must be ASCII without quotes"},
	{URL ", auth: oauth_client, client_id: '~!', scope: '~!', " TURL, NULL},
};

static void each_rule_is_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r;
		struct config_tree *t = load(rows[i].keys, &r);

		if (rows[i].problem ? r != CONFIG_TREE_E_INVALID || !strstr(t->problem, rows[i].problem) : r != 0)
			fail_msg("%s: %d '%s'", rows[i].keys, r, t->problem);
		if (r && strncmp(t->problem, "bulkhead.yaml:2: ", 17) != 0)
			fail_msg("no line: '%s'", t->problem);
		config_tree_free(t);
	}
}

static void assert_key(const char *keys, const char *key, const char *want)
{
	int r;
	struct config_tree *t = load(keys, &r);
	const char *got = config_tree_get(t, CONFIG_PROVIDERS, 0, key);

	if (r || !got || strcmp(got, want) != 0)
		fail_msg("%s: %s is '%s', %s", keys, key, got ? got : "", t->problem);
	config_tree_free(t);
}

static void defaults_follow_from_the_scheme(void **state)
{
	(void)state;
	assert_key(URL ", auth: google", "token_url", "https://oauth2.googleapis.com/token");
	assert_key(URL ", auth: google", "scope", "https://www.googleapis.com/auth/cloud-platform");
	assert_key(URL ", auth: google, scope: mine", "scope", "mine");
	assert_key(URL ", auth: google, " TURL, "token_url", "https://t.test/token");
	assert_key(URL ", auth: bearer", "scope", "");
	assert_key(URL ", auth: oauth_client, client_id: me, " TURL, "scope", "");
}

#define BEDROCK "auth: sigv4, base_url: 'https://"

static void the_host_says_for_whom_is_signed(void **state)
{
	static const char *const strange[] = {
		BEDROCK "bedrock-runtime.us-east-1.amazonaws.com.evil.test'",
		BEDROCK "bedrock-runtime.us-east-1.evil.test'",
		BEDROCK "xbedrock-runtime.us-east-1.amazonaws.com'",
		BEDROCK "bedrock-runtime.amazonaws.com'",
		BEDROCK "bedrock.us-east-1.amazonaws.com'",
		BEDROCK "bedrock-runtime.us-east-1'",
	};

	(void)state;
	assert_key(BEDROCK "bedrock-runtime.us-east-1.amazonaws.com'", "scope", "us-east-1/bedrock");
	assert_key(BEDROCK "bedrock-runtime.cn-north-1.amazonaws.com.cn/x'", "scope", "cn-north-1/bedrock");
	assert_key(BEDROCK "bedrock-runtime.us-east-1.amazonaws.com', scope: eu-west-1/other", "scope",
		   "eu-west-1/other");
	for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
		int r;
		struct config_tree *t = load(strange[i], &r);

		if (r != CONFIG_TREE_E_INVALID || !strstr(t->problem, "needs `scope: REGION/SERVICE`"))
			fail_msg("%s: %d '%s'", strange[i], r, t->problem);
		config_tree_free(t);
	}
}

static void pins_are_a_bounded_list_of_digests(void **state)
{
	uint8_t to[CONFIG_PINS_MAX * CONFIG_PIN_BYTES];
	char list[(CONFIG_PINS_MAX + 1) * sizeof(PIN)] = "";
	size_t len = 7;

	(void)state;
	assert_true(config_auth_pins("", to, &len));
	assert_int_equal(len, 0);
	for (size_t n = 1; n <= CONFIG_PINS_MAX + 1; n++) {
		strcat(list, n == 1 ? PIN : "," PIN);
		assert_int_equal(config_auth_pins(list, to, &len), n <= CONFIG_PINS_MAX);
		assert_int_equal(len, MIN(n, (size_t)CONFIG_PINS_MAX) * CONFIG_PIN_BYTES);
	}
	for (size_t n = 0; n < CONFIG_PINS_MAX; n++)
		assert_memory_equal(to + n * CONFIG_PIN_BYTES, "\xe3\xb0\xc4\x42\x98\xfc\x1c\x14", 8);
	assert_false(config_auth_pins(PIN ",AAAA", to, &len));
	assert_false(config_auth_pins("not base64", to, &len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule_is_told),
		cmocka_unit_test(defaults_follow_from_the_scheme),
		cmocka_unit_test(the_host_says_for_whom_is_signed),
		cmocka_unit_test(pins_are_a_bounded_list_of_digests),
	};

	return cmocka_run_group_tests_name("config_auth", tests, NULL, NULL);
}
