/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "authd/models.h"

static const struct log log_of_test = {.daemon = "test"};

#define TENANT SPAN_LIT("acme")

static struct config_provider providers[] = {
	{.name = "openai", .base_url = "https://api.openai.com/v1"},
	{.name = "local", .base_url = "https://upstream.test:18443/v1/"},
	{.name = "bare", .base_url = "https://bare.test"},
	{.name = "p4", .base_url = "https://p4.test"},
	{.name = "p5", .base_url = "https://p5.test"},
};

static struct config_model rules[] = {
	{.match = "gpt-4", .providers = "bare"},
	{.match = "gpt-*", .providers = "openai,local", .names = "gpt-4o,gpt-4,gpt-4o-mini,gpt-4o"},
	{.match = "lonely-*", .providers = "p4"},
	{.match = "*", .providers = "local,openai,bare,p4,p5", .names = "llama3"},
};

struct fixture {
	struct models *models;
	struct credentials credentials;
};

static struct fixture fixture;

static void store_for(const char *provider, const char *tenant, const char *id)
{
	struct credentials_row row = {.version = fixture.credentials.n + 1, .live = true};

	(void)snprintf(row.id, sizeof(row.id), "%s", id);
	(void)snprintf(row.provider, sizeof(row.provider), "%s", provider);
	(void)snprintf(row.tenant, sizeof(row.tenant), "%s", tenant);
	assert_int_equal(credentials_add(&fixture.credentials, &row), 0);
}

static int setup(void **state)
{
	struct config config = {.providers = providers,
				.n_providers = ARRAY_LEN(providers),
				.models = rules,
				.n_models = ARRAY_LEN(rules)};

	(void)state;
	return models_new(&config, &log_of_test, &fixture.models);
}

static int teardown(void **state)
{
	(void)state;
	fixture.models = models_free(fixture.models);
	credentials_deinit(&fixture.credentials);
	return 0;
}

static int plan(const char *scope, const char *model, struct models_plan *p)
{
	return models_plan(fixture.models, &fixture.credentials, TENANT, scope, span_str(model),
			   ENDPOINT_CHAT_COMPLETIONS, p);
}

static void test_names(void **state)
{
	(void)state;
	static const char *const good[] = {"a", "0", "gpt-4o", "org/model:free", "a.b_c:d/e-f", "A1"};
	static const char *const bad[] = {"",     "-a",   ".a",   "/a",       "a b",   "a..b", "a\n", "a*", "*",
					  "a\"b", "a\\b", "a%2e", "\xc3\xa4", "a?b=c", "a#",   "a..", "a,b"};
	char longest[258];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(config_model_valid(span_str(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(config_model_valid(span_str(bad[i])));
	memset(longest, 'm', sizeof(longest));
	assert_true(config_model_valid(span_of(longest, 256)));
	assert_false(config_model_valid(span_of(longest, 257)));
	assert_false(config_model_valid(span_of("a\0b", 3)));
}

static void test_scopes(void **state)
{
	(void)state;
	static const char *const good[] = {"*", "gpt-*", "gpt-4", "gpt-*,o1,claude-*"};
	static const char *const bad[] = {"", ",", "a,", ",a", "a,,b", "a, b", "**", "*a", "a*b", "a**", "a..*"};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(models_scope_valid(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(models_scope_valid(bad[i]));
}

static void test_the_first_matching_rule_decides(void **state)
{
	(void)state;
	struct models_plan p;

	store_for("openai", "*", "openai");
	store_for("local", "*", "local");
	store_for("bare", "*", "bare");
	assert_int_equal(plan("*", "gpt-4", &p), 0);
	assert_int_equal(p.n, 1);
	assert_string_equal(p.routes[0].provider->name, "bare");
	assert_int_equal(plan("*", "gpt-4o", &p), 0);
	assert_int_equal(p.n, 2);
	assert_string_equal(p.routes[0].provider->name, "openai");
	assert_string_equal(p.routes[1].provider->name, "local");
	assert_int_equal(plan("*", "other", &p), 0);
	assert_int_equal(p.n, 3);
	assert_string_equal(p.routes[0].provider->name, "local");
}

static void test_routes_are_complete(void **state)
{
	(void)state;
	struct models_plan p;

	store_for("openai", "*", "openai");
	store_for("local", "*", "local-1");
	store_for("bare", "*", "bare");
	assert_int_equal(plan("*", "other", &p), 0);
	assert_string_equal(p.routes[0].path, "/v1/chat/completions");
	assert_int_equal(p.routes[0].path_len, 20);
	assert_string_equal(p.routes[0].credential, "local-1");
	assert_string_equal(p.routes[0].provider->url.host, "upstream.test");
	assert_int_equal(p.routes[0].provider->url.port, 18443);
	assert_string_equal(p.routes[2].path, "/chat/completions");
	assert_int_equal(p.routes[2].provider->url.port, 443);
}

static void test_at_most_four_routes(void **state)
{
	(void)state;
	struct models_plan p;

	for (size_t i = 0; i < ARRAY_LEN(providers); i++)
		store_for(providers[i].name, "*", providers[i].name);
	assert_int_equal(plan("*", "other", &p), 0);
	assert_int_equal(p.n, 4);
	assert_string_equal(p.routes[3].provider->name, "p4");
}

static void test_an_empty_set_is_a_refusal_not_any(void **state)
{
	(void)state;
	struct models_plan p = {.n = 4711};

	assert_int_equal(plan("*", "other", &p), MODELS_E_NO_CREDENTIAL);
	store_for("openai", "*", "openai");
	assert_int_equal(plan("*", "lonely-1", &p), MODELS_E_NO_CREDENTIAL); /* a later rule would have one */
	assert_int_equal(plan("*", "gpt-4", &p), MODELS_E_NO_CREDENTIAL);
	assert_int_equal(p.n, 4711);
}

static void test_a_tenants_own_credential_comes_first(void **state)
{
	(void)state;
	struct models_plan p;

	store_for("openai", "other", "openai-other");
	assert_int_equal(plan("*", "gpt-x", &p), MODELS_E_NO_CREDENTIAL);
	store_for("openai", "*", "openai");
	assert_int_equal(plan("*", "gpt-x", &p), 0);
	assert_string_equal(p.routes[0].credential, "openai");
	store_for("openai", "acme", "openai-acme");
	assert_int_equal(plan("*", "gpt-x", &p), 0);
	assert_string_equal(p.routes[0].credential, "openai-acme");
	fixture.credentials.rows[1].live = false;
	assert_int_equal(plan("*", "gpt-x", &p), 0);
	assert_string_equal(p.routes[0].credential, "openai");
}

static void test_scope_limits_the_key(void **state)
{
	(void)state;
	struct models_plan p;

	store_for("openai", "*", "openai");
	assert_int_equal(plan("gpt-*", "gpt-x", &p), 0);
	assert_int_equal(plan("o1,gpt-*", "gpt-x", &p), 0);
	assert_int_equal(plan("gpt-*", "gpt-", &p), 0);
	assert_int_equal(plan("gpt-*", "gpt", &p), MODELS_E_FORBIDDEN);
	assert_int_equal(plan("gpt-*", "o1", &p), MODELS_E_FORBIDDEN);
	assert_int_equal(plan("o1", "o1-mini", &p), MODELS_E_FORBIDDEN);
	assert_int_equal(plan("o1-mini", "o1", &p), MODELS_E_FORBIDDEN);
	assert_int_equal(plan("", "gpt-x", &p), MODELS_E_FORBIDDEN);
	assert_int_equal(models_permit(fixture.models, "gpt-*", SPAN_LIT("gpt-x")), 0);
	assert_int_equal(models_permit(fixture.models, "gpt-*", SPAN_LIT("o1")), MODELS_E_FORBIDDEN);
}

static void test_without_rules_nothing_is_permitted(void **state)
{
	(void)state;
	struct config config = {.providers = providers, .n_providers = 1};
	struct models *m;

	assert_int_equal(models_new(&config, &log_of_test, &m), 0);
	assert_int_equal(models_permit(m, "*", SPAN_LIT("gpt-x")), MODELS_E_FORBIDDEN);
	models_free(m);
}

static void test_a_wrong_configuration_is_refused(void **state)
{
	(void)state;
	static struct config_model wrong[] = {{.match = "*", .providers = "openai,nobody"},
					      {.match = "a*b", .providers = "openai"},
					      {.match = "gpt-*", .providers = "openai", .names = "o1"},
					      {.match = "gpt-*", .providers = "openai", .names = "gpt-4*"}};
	struct config_provider no_url = {.name = "openai", .base_url = "http://api.openai.com"};
	struct config config = {.providers = providers, .n_providers = 1, .n_models = 1};
	struct models *m = NULL;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		config.models = &wrong[i];
		assert_int_equal(models_new(&config, &log_of_test, &m), MODELS_E_INVALID);
	}
	config = (struct config){.providers = &no_url, .n_providers = 1};
	assert_int_equal(models_new(&config, &log_of_test, &m), MODELS_E_INVALID);
	assert_null(m);
}

static void expect_list(const char *scope, const char *want)
{
	struct proto_model listed[16];
	char text[512] = "";
	size_t n = models_list(fixture.models, &fixture.credentials, TENANT, scope, listed, ARRAY_LEN(listed)), at = 0;

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s@%.*s", i ? " " : "",
				       SPAN_ARG(listed[i].name), SPAN_ARG(listed[i].provider));
	assert_string_equal(text, want);
}

static void test_listing(void **state)
{
	(void)state;
	struct proto_model one[1];

	expect_list("*", "");
	store_for("openai", "*", "openai");
	store_for("local", "*", "local");
	expect_list("*", "gpt-4o@openai gpt-4o-mini@openai llama3@local"); /* of gpt-4 the first rule decides */
	expect_list("gpt-*", "gpt-4o@openai gpt-4o-mini@openai");
	expect_list("gpt-4o,claude-*", "gpt-4o@openai");
	expect_list("claude-2,gpt-9", "gpt-9@openai claude-2@local");
	expect_list("claude-*", "");       /* patterns are not names */
	expect_list("lonely-1,gpt-4", ""); /* the rules that decide have no credential */
	assert_int_equal(models_list(fixture.models, &fixture.credentials, TENANT, "*", one, 1), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_names),
		T(test_scopes),
		T(test_the_first_matching_rule_decides),
		T(test_routes_are_complete),
		T(test_at_most_four_routes),
		T(test_an_empty_set_is_a_refusal_not_any),
		T(test_a_tenants_own_credential_comes_first),
		T(test_scope_limits_the_key),
		T(test_without_rules_nothing_is_permitted),
		T(test_a_wrong_configuration_is_refused),
		T(test_listing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
