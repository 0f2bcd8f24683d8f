/* SPDX-License-Identifier: Apache-2.0 */
/* The frames that a launcher might send, right and wrong, and the base_urls that decide where a key may go. */
#include "common/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/config_rows.h"

struct pair {
	const char *key, *value;
};

static uint8_t frame[PROTO_FRAME_BYTES_MAX];

static struct span pack(const struct pair *pairs, size_t n)
{
	struct proto_config_item items[128];
	struct proto_config msg = {.items = {.items = items, .count = n}};
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		items[i] = (struct proto_config_item){.key = span_str(pairs[i].key), .value = span_str(pairs[i].value)};
	assert_int_equal(proto_pack(&proto_config_desc, 0, &msg, frame, sizeof(frame), &len), 0);
	return span_of(frame, len);
}

/* All keys of the dialer, and one provider. */
static const struct pair good[] = {
	{"dialer.resolve_timeout_ms", "10000"},
	{"providers.0.name", "local"},
	{"providers.0.base_url", "https://upstream.test:18443/v1"},
	{"providers.0.connect_to", "127.0.0.1"},
	{"providers.0.ca_file", ""},
	{"providers.0.dialect", "openai"},
	{"providers.0.auth", "header"},
	{"providers.0.header", "x-api-key"},
	{"providers.0.connect_within", "10.0.0.0/8,fd00::/8"},
	{"providers.0.key_file", ""},
	{"dialer.resolvers", ""},
	{"providers.0.pins", ""},
	{"providers.0.scope", ""},
	{"providers.0.client_id", ""},
	{"providers.0.client_auth", "form"},
	{"providers.0.token_url", "https://login.test/token"},
	{"providers.0.token_connect_to", ""},
	{"providers.0.token_pins", ""},
};

static int bind(const struct pair *pairs, size_t n)
{
	struct config config = CONFIG_NULL;
	int r = config_bind(pack(pairs, n), ROLE_DIALER, BIT(CONFIG_DIALER), &config);

	config_deinit(&config);
	return r;
}

static void test_binds(void **state)
{
	struct config config = CONFIG_NULL;

	(void)state;
	assert_int_equal(config_bind(pack(good, ARRAY_LEN(good)), ROLE_DIALER,
				     BIT(CONFIG_DIALER) | BIT(CONFIG_PROVIDERS), &config),
			 0);
	assert_int_equal(config.sections, BIT(CONFIG_DIALER) | BIT(CONFIG_PROVIDERS));
	assert_int_equal(config.dialer.resolve_timeout_ms, 10000);
	assert_int_equal(config.n_providers, 1);
	assert_string_equal(config.providers[0].connect_to, "127.0.0.1");
	assert_string_equal(config.providers[0].ca_file, "");
	assert_int_equal(config.providers[0].auth, CONFIG_AUTH_HEADER);
	assert_string_equal(config.providers[0].header, "x-api-key");
	assert_int_equal(config.providers[0].client_auth, CONFIG_CLIENT_AUTH_FORM);
	assert_string_equal(config.providers[0].token_url, "https://login.test/token");
	config_deinit(&config);
}

/* One pair replaced by a wrong one. */
static void test_refuses(void **state)
{
	static const struct {
		size_t at;
		struct pair pair;
	} wrong[] = {
		{0, {"dialer.resolve_timeout_ms", "99"}},
		{0, {"dialer.resolve_timeout_ms", "60001"}},
		{0, {"dialer.resolve_timeout_ms", "18446744073709551616"}},
		{0, {"dialer.resolve_timeout_ms", "+1000"}},
		{0, {"dialer.resolve_timeout_ms", ""}},
		{0, {"dialer.resolve", "1000"}},
		{0, {"dialer.0.resolve_timeout_ms", "1000"}},
		{0, {"dialer", "1000"}},
		{0, {"nobody.x", "1000"}},
		{0, {"providers.0.name", "twice"}},
		{1, {"providers.1.name", "gap"}},
		{1, {"providers.32.name", "too many"}},
		{1, {"providers.00.name", "x"}},
		{1, {"providers..name", "x"}},
		{1, {"providers.0.name", ""}},
		{1, {"providers.0.name", "a\nb"}},
		{5, {"providers.0.dialect", "klingon"}},
		{6, {"providers.0.auth", "1"}},
	};

	(void)state;
	assert_int_equal(bind(good, ARRAY_LEN(good)), 0);
	assert_int_equal(bind(good, ARRAY_LEN(good) - 1), CONFIG_E_INVALID);
	assert_int_equal(bind(good + 1, ARRAY_LEN(good) - 1), CONFIG_E_INVALID);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct pair pairs[ARRAY_LEN(good)];

		memcpy(pairs, good, sizeof(good));
		pairs[wrong[i].at] = wrong[i].pair;
		assert_int_equal(bind(pairs, ARRAY_LEN(pairs)), CONFIG_E_INVALID);
	}
}

static void test_refuses_other_frames(void **state)
{
	struct config config = CONFIG_NULL;
	struct span body = pack(good, ARRAY_LEN(good));

	(void)state;
	for (size_t len = 0; len < body.len; len++)
		assert_int_equal(config_bind(span_of(body.p, len), ROLE_DIALER, 0, &config), CONFIG_E_INVALID);
	assert_int_equal(config_bind(body, ROLE_CLI, 0, &config), CONFIG_E_INVALID);
	assert_int_equal(config_read(-1, ROLE_DIALER, 0, &config), CONFIG_E_INVALID);
}

/* Every default must satisfy its own row, unless it is a key that has to be given. */
static void test_defaults(void **state)
{
	(void)state;
	for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
		const struct config_section_row *section = config_section_row(s);

		for (size_t i = 0; i < section->n_rows; i++) {
			const struct config_row *row = &section->rows[i];
			const char *words = row->absent;
			struct span value = span_str(row->absent);
			uint64_t number;

			if (row->kind == CONFIG_KIND_WORD)
				assert_true(config_list_next(&words, &value));
			if (row->absent[0] || row->min == 0)
				assert_int_equal(config_value(row, value, &number), 0);
		}
	}
}

static void test_urls(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		const char *prefix;
	} right[] = {
		{"https://api.openai.com/v1", "api.openai.com", 443, "/v1"},
		{"https://api.openai.com/v1/", "api.openai.com", 443, "/v1"},
		{"https://upstream.test:18443/v1", "upstream.test", 18443, "/v1"},
		{"https://openrouter.ai/api/v1", "openrouter.ai", 443, "/api/v1"},
		{"https://[::1]:8443", "::1", 8443, ""},
		{"https://10.0.0.7", "10.0.0.7", 443, ""},
		{"https://a-b.c_d:1/~x.y/", "a-b.c_d", 1, "/~x.y"},
	};
	static const char *const wrong[] = {
		"http://api.openai.com/v1",
		"https://",
		"https:///v1",
		"https://API.openai.com",
		"https://user@host/",
		"https://host:0/",
		"https://host:65536/",
		"https://host:/x",
		"https://host:443x/",
		"https://host?q",
		"https://host/#f",
		"https://host/a?b",
		"https://host/../x",
		"https://host/a/./b",
		"https://host/a//b",
		"https://host/..",
		"https://host/%2e",
		"https://ho st/",
		"https://-host/",
		"https://host-/",
		"https://.host/",
		"https://host./",
		"https://a..b/",
		"https://[::1",
		"https://[zz]/",
		"https://::1/",
		"https://h\xc3\xb6st/",
	};
	struct config_url url;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(right); i++) {
		assert_int_equal(config_url_parse(right[i].text, &url), 0);
		assert_string_equal(url.host, right[i].host);
		assert_int_equal(url.port, right[i].port);
		assert_string_equal(url.prefix, right[i].prefix);
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (config_url_parse(wrong[i], &url) == 0)
			fail_msg("accepted: %s", wrong[i]);
}

static void test_lists(void **state)
{
	const char *at = "a,bc,,d";
	struct span item;

	(void)state;
	assert_true(config_list_next(&at, &item) && span_eq_str(item, "a"));
	assert_true(config_list_next(&at, &item) && span_eq_str(item, "bc"));
	assert_true(config_list_next(&at, &item) && item.len == 0);
	assert_true(config_list_next(&at, &item) && span_eq_str(item, "d"));
	assert_false(config_list_next(&at, &item));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_binds),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_refuses_other_frames),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
