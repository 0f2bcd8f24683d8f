/* SPDX-License-Identifier: Apache-2.0 */
/* Files and environments, right and wrong: each wrong one with the words that its operator must be told. */
#include "cli/config_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>

static char *nothing[] = {NULL};

static struct config_tree *load(const char *yaml, char **environ_, int *ret_r)
{
	struct config_tree *t = NULL;

	assert_int_equal(config_tree_new("bulkhead.yaml", "/etc/bulkhead", &t), 0);
	*ret_r = config_yaml(t, span_str(yaml));
	if (!*ret_r)
		*ret_r = config_env(t, environ_);
	if (!*ret_r)
		*ret_r = config_complete(t);
	assert_true((*ret_r == 0) == (t->problem[0] == 0));
	return t;
}

static const char operators_file[] = "router:    { listen: \"127.0.0.1:8080\", workers: 2 }\n"
				     "state_dir: ./state\n"
				     "run_dir:   ./run\n"
				     "providers:\n"
				     "  - name: openai\n"
				     "  - name: local\n"
				     "    base_url: https://upstream.test:18443/v1\n"
				     "    connect_to: 127.0.0.1\n"
				     "    ca_file: ./ca.pem\n"
				     "    dialect: openai\n"
				     "    auth: bearer\n"
				     "models:\n"
				     "  - { match: \"gpt-*\", providers: [openai, local] }\n"
				     "  - { match: \"*\",     providers: [local] }\n";

static void test_operators_file(void **state)
{
	int r;
	struct config_tree *t = load(operators_file, nothing, &r);

	(void)state;
	assert_int_equal(r, 0);
	assert_string_equal(config_tree_get(t, CONFIG_BULKHEAD, 0, "state_dir"), "/etc/bulkhead/state");
	assert_string_equal(config_tree_get(t, CONFIG_ROUTER, 0, "workers"), "2");
	assert_string_equal(config_tree_get(t, CONFIG_ROUTER, 0, "connections_max"), "10000");
	assert_string_equal(config_tree_get(t, CONFIG_KEYVAULT, 0, "unseal"), "passphrase");
	assert_string_equal(config_tree_get(t, CONFIG_PROVIDERS, 0, "base_url"), "https://api.openai.com/v1");
	assert_string_equal(config_tree_get(t, CONFIG_PROVIDERS, 1, "ca_file"), "/etc/bulkhead/ca.pem");
	assert_string_equal(config_tree_get(t, CONFIG_MODELS, 0, "providers"), "openai,local");
	config_tree_free(t);
}

/* What is packed for a daemon is what the daemon binds. */
static void test_packs(void **state)
{
	static uint8_t frame[PROTO_FRAME_BYTES_MAX];
	struct config config = CONFIG_NULL;
	int r;
	struct config_tree *t = load(operators_file, nothing, &r);
	size_t len;

	(void)state;
	assert_int_equal(config_tree_pack(t, BIT(N_CONFIG_SECTIONS) - 1, frame, sizeof(frame), &len), 0);
	assert_int_equal(config_bind(span_of(frame, len), ROLE_AUTHD, BIT(N_CONFIG_SECTIONS) - 1, &config), 0);
	assert_int_equal(config.router.workers, 2);
	assert_int_equal(config.n_providers, 2);
	assert_string_equal(config.models[0].providers, "openai,local");
	config_deinit(&config);
	assert_int_equal(config_tree_pack(t, BIT(CONFIG_KEYVAULT), frame, sizeof(frame), &len), 0);
	assert_int_equal(config_bind(span_of(frame, len), ROLE_KEYVAULT, BIT(CONFIG_KEYVAULT), &config), 0);
	assert_int_equal(config.sections, BIT(CONFIG_KEYVAULT));
	config_deinit(&config);
	config_tree_free(t);
}

struct wrong_file {
	const char *yaml, *problem;
};

static void refuse_all(const struct wrong_file *wrong, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r;
		struct config_tree *t = load(wrong[i].yaml, nothing, &r);

		if (r != CONFIG_TREE_E_INVALID || !strstr(t->problem, wrong[i].problem))
			fail_msg("%s: %d '%s'", wrong[i].yaml, r, t->problem);
		config_tree_free(t);
	}
}

static void test_wrong_permissions_to_connect(void **state)
{
	static const struct wrong_file wrong[] = {
		{"providers: [{ name: x, base_url: 'https://x.test', connect_to: 0177.0.0.1 }]", "IP address"},
		{"providers: [{ name: x, base_url: 'https://x.test', connect_within: [10.0.0.0/8, 10.0.0.1/8] }]",
		 "'10.0.0.1/8' is not one"},
		{"providers: [{ name: x, base_url: 'https://x.test', connect_within: 0.0.0.0/0 }]",
		 "'0.0.0.0/0' is not one"},
		{"providers: [{ name: x, base_url: 'https://x.test', connect_within: '::/0' }]", "'::/0' is not one"},
		{"providers: [{ name: x, base_url: 'https://x.test', connect_within: x.test }]", "'x.test' is not one"},
		{"providers: [{ name: x, base_url: 'https://x.test', connect_to: 10.0.0.1, connect_within: 10.0.0.1 }]",
		 "both connect_to and connect_within"},
		{"providers: [{ name: x, base_url: 'https://x.test', connect_to: 10.0.0.1 },\n"
		 "{ name: y, base_url: 'https://x.test:443/v2', connect_to: 10.0.0.2 }]",
		 "bulkhead.yaml:2: providers 'x' and 'y' share x.test:443 and must have the same connect_to"},
		{"router: { trusted_proxies: [10.0.0.0/8, 10.0.0.0/33] }", "'10.0.0.0/33' is not one"},
		{"router: { trusted_proxies: '10.0.0.0/8, proxy.internal' }", "'proxy.internal' is not one"},
		{"dialer: { resolvers: dns.example }", "resolvers must be at most 4"},
		{"dialer: { resolvers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4, 1.1.1.5] }", "resolvers must be at most 4"},
		{"dialer: { resolvers: '1.1.1.1:0' }", "resolvers must be at most 4"},
	};

	(void)state;
	refuse_all(wrong, ARRAY_LEN(wrong));
}

static void test_wrong_files(void **state)
{
	static const struct wrong_file wrong[] = {
		{"auditd: { legal_hold: maybe }", "legal_hold must be yes or no, not 'maybe'"},
		{"router:\n\tworkers: 1",
		 "bulkhead.yaml:2: not YAML: found character that cannot start any token (a tab?"},
		{"router:\n   workers: 1\n  listen: x", "(are keys that belong together indented alike?)"},
		{"router: { lisen: x }", "bulkhead.yaml:1: unknown key 'lisen' in router; did you mean 'listen'?"},
		{"\nruter: {}", "bulkhead.yaml:2: unknown key 'ruter'; did you mean 'router'?"},
		{"quite_something_else: 1", "unknown key 'quite_something_else'"},
		{"router:\n  workers: 65", "bulkhead.yaml:2: workers must be a number from 1 to 64, not '65'"},
		{"router: { workers: two }", "must be a number"},
		{"router: { workers: [1, 2] }", "workers must be one value"},
		{"router: { workers: {} }", "workers must be one value"},
		{"router: { workers: 1, workers: 2 }", "given twice"},
		{"router: {}\nrouter: {}", "bulkhead.yaml:2: router is given twice"},
		{"models: []\nmodels: []", "bulkhead.yaml:2: models is given twice"},
		{"providers:\nproviders: [{ name: openai }]", "bulkhead.yaml:2: providers is given twice"},
		{"models:\n  - match: *\n    providers: [a]",
		 "bulkhead.yaml:2: not YAML: did not find expected alphabetic "
		 "or numeric character (what begins with * needs quotes)"},
		{"router: []", "router must be a mapping"},
		{"router: { listen: localhost:8080 }", "numeric address"},
		{"auditd: { strict_tenants: 'bank, clinic' }", "' clinic' cannot be a tenant's name"},
		{"auditd: { strict_tenants: [bank, -x] }", "'-x' cannot be a tenant's name"},
		{"keyvault: { unseal: magic }", "one of passphrase,key_file"},
	};

	(void)state;
	refuse_all(wrong, ARRAY_LEN(wrong));
}

static void test_wrong_providers_and_models(void **state)
{
	static const struct wrong_file wrong[] = {
		{"providers: {}", "providers must be a list"},
		{"providers: [openai]", "provider must be a mapping"},
		{"providers: [{ base_url: 'https://x.test' }]", "name must be given"},
		{"providers: [{ name: unheard_of }]", "give its base_url"},
		{"providers: [{ name: openai }, { name: openai }]", "given twice"},
		{"providers: [{ name: Up }]", "base_url"},
		{"providers: [{ name: 'a b', base_url: 'https://x.test' }]", "use a-z"},
		{"providers: [{ name: _x, base_url: 'https://x.test' }]", "use a-z"},
		{"providers: [{ name: x, base_url: 'http://x.test' }]", "must be https"},
		{"providers: [{ name: x, base_url: 'https://x.test', connect_to: localhost }]", "IP address"},
		{"providers: [{ name: x, base_url: 'https://x.test', auth: header, header: Host }]",
		 "header of provider"},
		{"providers: [{ name: x, base_url: 'https://x.test', auth: header, header: host }]",
		 "header of provider"},
		{"models: [{ match: '*', providers: [openai] }]", "not in `providers`"},
		{"providers: [{ name: openai }]\nmodels: [{ match: 'a*', providers: [openai], names: [ab, b] }]",
		 "'b' of its"},
		{"models: [{ match: 'a*b', providers: [] }]", "providers must be a text"},
		{"providers: [{ name: openai }]\nmodels: [{ match: 'a*b', providers: [openai] }]",
		 "match 'a*b' must be"},
		{"providers: [{ name: openai }]\nmodels: [{ match: 'gpt 4', providers: [openai] }]",
		 "match 'gpt 4' must be"},
		{"providers: [{ name: openai }]\nmodels: [{ match: 'a*', providers: [openai], names: ['a 4'] }]",
		 "does not match 'a 4'"},
		{"providers: [{ name: openai }]\nmodels: [{ match: a, providers: [openai, 'x,y'] }]", "plain texts"},
	};

	(void)state;
	refuse_all(wrong, ARRAY_LEN(wrong));
}

static void test_what_is_no_plain_yaml(void **state)
{
	static const struct wrong_file wrong[] = {
		{"a: &x 1\nb: *x", "unknown key"},
		{"state_dir: *x", "one value"},
		{"state_dir: a\n---\nstate_dir: b", "one document"},
		{"- a", "a mapping of sections expected"},
		{"{", "not YAML"},
		{"router: { ? [a] : b }", "a key expected"},
		{"run_dir: \"a\\nb\"", "must be a text"},
	};

	(void)state;
	refuse_all(wrong, ARRAY_LEN(wrong));
}

static void test_empty_files(void **state)
{
	static const char *const empty[] = {"", "# nothing\n", "router:\n", "providers:\nmodels: []\n", "~"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
		int r;
		struct config_tree *t = load(empty[i], nothing, &r);

		if (r)
			fail_msg("'%s': %s", empty[i], t->problem);
		assert_string_equal(config_tree_get(t, CONFIG_ROUTER, 0, "workers"), "2");
		config_tree_free(t);
	}
}

static void test_environment(void **state)
{
	char *good[] = {(char[]){"PATH=/bin"},
			(char[]){"BULKHEAD_ROUTER_WORKERS=7"},
			(char[]){"BULKHEAD_RUN_DIR=r"},
			(char[]){"BULKHEAD_AUDITD_LEGAL_HOLD=yes"},
			(char[]){"BULKHEAD_CONFIG=x"},
			(char[]){"BULKHEAD_ROUTER_SERVICE_HOST=10.0.0.1"},
			(char[]){"BULKHEAD_ROUTER_PORT=tcp://x"},
			NULL};
	char *unknown[] = {(char[]){"BULKHEAD_ROUTER_WORKRS=7"}, NULL};
	char *out_of_range[] = {(char[]){"BULKHEAD_ROUTER_WORKERS=0"}, NULL};
	int r;
	struct config_tree *t = load(operators_file, good, &r);

	(void)state;
	assert_int_equal(r, 0);
	assert_string_equal(config_tree_get(t, CONFIG_ROUTER, 0, "workers"), "7");
	assert_string_equal(config_tree_get(t, CONFIG_BULKHEAD, 0, "run_dir"), "/etc/bulkhead/r");
	assert_string_equal(config_tree_get(t, CONFIG_AUDITD, 0, "legal_hold"), "1");
	config_tree_free(t);
	t = load("", unknown, &r);
	assert_non_null(
		strstr(t->problem, "BULKHEAD_ROUTER_WORKRS overrides no key; did you mean 'BULKHEAD_ROUTER_WORKERS'?"));
	config_tree_free(t);
	t = load("", out_of_range, &r);
	assert_non_null(strstr(t->problem, "BULKHEAD_ROUTER_WORKERS must be a number"));
	config_tree_free(t);
}

/* What is neither a key nor anybody else's: named with what it is like. */
static void test_stray_variables(void **state)
{
	static const struct {
		const char *variable, *nearest; /* NULL: it is none */
	} cases[] = {
		{"BULKHEAD_ROUTR_LISTEN=127.0.0.1:1", "BULKHEAD_ROUTER_LISTEN"},
		{"BULKHEAD_STATEDIR=/x", "BULKHEAD_STATE_DIR"},
		{"BULKHEAD_RUNDIR=", "BULKHEAD_RUN_DIR"},
		{"BULKHEAD_ROUTER_PORT=9090", "BULKHEAD_ROUTER_LISTEN"},
		{"BULKHEAD_PORT=9090", ""},
		{"BULKHEAD_PROVIDERS_0_NAME=openai", ""},
		{"BULKHEAD_=x", ""},
		{"BULKHEAD_A_NAME_THAT_IS_LONGER_THAN_ANY_OVERRIDE_THAT_THERE_IS_AND_LONGER_THAN_ITS_ROOM=x", ""},
		{"BULKHEAD_ROUTER_LISTEN=127.0.0.1:1", NULL},
		{"BULKHEAD_STATE_DIR=/x", NULL},
		{"BULKHEAD_SHIPPER_WITNESS_CA_FILE=/x", NULL},
		{"BULKHEAD_CONFIG=x", NULL},
		{"BULKHEAD_BUILD=build/asan", NULL},
		{"BULKHEAD_SERVICE_HOST=10.0.0.1", NULL},
		{"BULKHEAD_FRONT_SERVICE_PORT_HTTP=8080", NULL},
		{"BULKHEAD_PORT=tcp://10.0.0.1:8080", NULL},
		{"BULKHEAD_PORT_8080_TCP_ADDR=10.0.0.1", NULL},
		{"BULKHEAD=x", NULL},
		{"BULKHEAD_ROUTER_LISTN", NULL},
		{"PATH=BULKHEAD_STATEDIR", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[128], nearest[CONFIG_ENV_BYTES];
		char *environ_[] = {(char[]){"HOME=/root"}, text, NULL};
		struct span name;

		(void)snprintf(text, sizeof(text), "%s", cases[i].variable);
		char **at = config_env_stray(environ_, &name, nearest);
		if ((at != NULL) != (cases[i].nearest != NULL))
			fail_msg("%s", cases[i].variable);
		if (!at)
			continue;
		assert_ptr_equal(at, &environ_[1]);
		assert_int_equal(name.len, strcspn(text, "="));
		assert_string_equal(nearest, cases[i].nearest);
		assert_null(config_env_stray(at + 1, &name, nearest));
	}
}

static void test_limits(void **state)
{
	char yaml[4096] = "providers:\n";
	int r;

	(void)state;
	for (int i = 0; i < 33; i++)
		sprintf(yaml + strlen(yaml), "- { name: p%d, base_url: 'https://h.test' }\n", i);
	struct config_tree *t = load(yaml, nothing, &r);
	assert_non_null(strstr(t->problem, "at most 32 providers"));
	config_tree_free(t);
}

/* 4 kB of names a rule: how many rules is a matter of what a daemon can be told. */
static int of_names(int rules, bool *ret_told)
{
	static char yaml[CONFIG_FILE_BYTES_MAX];
	size_t at = (size_t)sprintf(yaml, "providers: [{ name: openai }]\nmodels:\n");
	int r;

	for (int i = 0; i < rules; i++) {
		at += (size_t)sprintf(yaml + at, "- { match: \"*\", providers: openai, names: [");
		for (int n = 0; n < 100; n++)
			at += (size_t)sprintf(yaml + at, "%s%03d-%035d", n ? "," : "", i, n);
		at += (size_t)sprintf(yaml + at, "] }\n");
	}
	struct config_tree *t = load(yaml, nothing, &r);
	*ret_told = strstr(t->problem, "too large: all of it, `names` of models above all, must fit 128 KiB");
	config_tree_free(t);
	return r;
}

static void test_what_no_daemon_could_be_told(void **state)
{
	bool told;

	(void)state;
	assert_int_equal(of_names(31, &told), 0);
	assert_int_equal(of_names(33, &told), CONFIG_TREE_E_INVALID);
	assert_true(told);
}

static void test_nearest(void **state)
{
	static const char *const words[] = {"listen", "workers", NULL};

	(void)state;
	assert_string_equal(config_nearest(SPAN_LIT("lisetn"), words), "listen");
	assert_string_equal(config_nearest(SPAN_LIT("worker"), words), "workers");
	assert_null(config_nearest(SPAN_LIT("zzzzzz"), words));
	assert_null(config_nearest(SPAN_LIT("0123456789012345678901234567890123456789x"), words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operators_file),
		cmocka_unit_test(test_packs),
		cmocka_unit_test(test_wrong_files),
		cmocka_unit_test(test_wrong_providers_and_models),
		cmocka_unit_test(test_what_is_no_plain_yaml),
		cmocka_unit_test(test_wrong_permissions_to_connect),
		cmocka_unit_test(test_empty_files),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_stray_variables),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_what_no_daemon_could_be_told),
		cmocka_unit_test(test_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
