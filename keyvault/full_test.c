/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secret arena refuses: each operation of the core is repeated with its first allocation failing, then its second,
 * and so on until one run is not disturbed. Every disturbed one must answer, change nothing, and keep nothing.
 */
#include "tests/support/vault_fixture.h"
#include "tests/support/within.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sodium.h>
#include <unistd.h>
#include <cmocka.h>

static const char key[] = "sk-of-a-full-arena";

struct fixture {
	struct vault_fixture v;
	uint8_t blob[SEAL_BYTES_MAX];
	size_t blob_len;
	uint64_t now_ms;
	struct secret root; /* of another vault */
};

static unsigned fail_at; /* that allocation from now on; 0: none */
static bool failed;

int __real_secret_alloc(struct secret_arena *a, size_t len, struct secret *ret_secret);
int __wrap_secret_alloc(struct secret_arena *a, size_t len, struct secret *ret_secret);
int __wrap_secret_alloc(struct secret_arena *a, size_t len, struct secret *ret_secret)
{
	if (fail_at == 0 || --fail_at > 0)
		return __real_secret_alloc(a, len, ret_secret);
	failed = true;
	return SECRET_E_FULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vault_fixture_init(&f->v);
	assert_int_equal(vault_start(&f->v.vault, &f->v.config, f->v.arena, -1), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vault_fixture_deinit(&f->v);
	free(f);
	return 0;
}

/* Repeats `act` until nothing stood in its way; how often something did. */
static unsigned disturb(struct fixture *f, int (*act)(struct fixture *f))
{
	const char *state = vault_state(&f->v.vault);
	size_t used = secret_arena_used(f->v.arena), n = store_count(&f->v.vault.store);

	for (unsigned times = 0;; times++) {
		fail_at = times + 1;
		failed = false;
		int r = act(f);
		fail_at = 0;
		if (!failed) {
			assert_int_equal(r, 0);
			return times;
		}
		assert_int_equal(r, VAULT_E_FULL);
		assert_string_equal(vault_state(&f->v.vault), state);
		assert_int_equal(secret_arena_used(f->v.arena), used);
		assert_int_equal(store_count(&f->v.vault.store), n);
	}
}

/* A root key that was written stays, though there was no room to use it: the vault is sealed then, as after a start. */
static void initialise(struct fixture *f)
{
	unsigned times = 0;

	for (; times == 0 || (failed && !f->v.vault.files.initialised); times++) {
		fail_at = times + 1;
		failed = false;
		int r = vault_init(&f->v.vault, SPAN_NULL);
		fail_at = 0;
		assert_int_equal(r, VAULT_E_FULL);
		assert_false(vault_is_open(&f->v.vault));
		assert_int_equal(secret_arena_used(f->v.arena), 0);
	}
	assert_within(times, 2, 100);
	assert_string_equal(vault_state(&f->v.vault), "sealed");
}

static int act_unseal(struct fixture *f)
{
	return vault_unseal(&f->v.vault, SPAN_NULL, vault_fixture_key(&f->v), f->now_ms += VAULT_WAIT_MS_MAX);
}

static int act_add(struct fixture *f)
{
	const struct proto_binding b = binding_of("openai", 1);
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	return vault_add(&f->v.vault, binding_pack(&b, packed), span_str(key), f->blob, &f->blob_len);
}

static int act_load(struct fixture *f)
{
	bool replaced;

	return vault_load(&f->v.vault, SPAN_LIT("openai"), span_of(f->blob, f->blob_len), &replaced);
}

static int act_fetch(struct fixture *f)
{
	struct secret plain = SECRET_NULL;
	struct span binding;

	int r = vault_fetch(&f->v.vault, SPAN_LIT("openai"), 1000, &binding, &plain);
	secret_free(f->v.arena, &plain);
	return r;
}

static int act_root(struct fixture *f)
{
	struct secret root = SECRET_NULL;

	int r = vault_current_root(&f->v.vault, SPAN_NULL, vault_fixture_key(&f->v), f->now_ms += VAULT_WAIT_MS_MAX,
				   &root);
	secret_free(f->v.arena, &root);
	return r;
}

static int act_mint(struct fixture *f)
{
	return lanes_mint(&f->v.vault.lanes, 1, 1000) == LANES_E_FULL ? VAULT_E_FULL : 0;
}

static void every_operation_refuses(void **state)
{
	struct fixture *f = *state;
	int peer;

	initialise(f);
	assert_within(disturb(f, act_unseal), 3, 100);
	assert_within(disturb(f, act_add), 1, 100);
	assert_within(disturb(f, act_load), 1, 100);
	assert_within(disturb(f, act_fetch), 2, 100);
	assert_within(disturb(f, act_root), 1, 100);
	assert_null(lanes_attach(&f->v.vault.lanes, 1, &peer));
	assert_within(disturb(f, act_mint), 1, 100);
	vault_seal(&f->v.vault);
	assert_int_equal(secret_arena_used(f->v.arena), 0);
	assert_within(disturb(f, act_unseal), 3, 100);
	assert_int_equal(act_fetch(f), 0);
}

static int act_restore(struct fixture *f)
{
	return vault_restore(&f->v.vault, &f->root, SPAN_NULL);
}

static void a_restore_refuses(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(root_generate(f->v.arena, &f->root), 0);
	assert_int_equal(act_restore(f), VAULT_E_ROOT); /* a root key alone opens nothing */
	assert_int_equal(keys_create(&f->v.vault.keys, &f->root), 0);
	keys_close(&f->v.vault.keys);
	assert_within(disturb(f, act_restore), 2, 100);
	assert_string_equal(vault_state(&f->v.vault), "unsealed");
	secret_free(f->v.arena, &f->root);
}

/* At start there is nothing yet that could stay as it was: the process does not start, and says why. */
static void a_start_refuses(void **state)
{
	struct fixture *f = *state;
	unsigned times = 0;

	assert_int_equal(vault_init(&f->v.vault, SPAN_NULL), 0);
	for (;; times++) {
		vault_deinit(&f->v.vault);
		assert_int_equal(secret_arena_used(f->v.arena), 0);
		fail_at = times + 1;
		failed = false;
		int r = vault_start(&f->v.vault, &f->v.config, f->v.arena, vault_fixture_key(&f->v));
		fail_at = 0;
		if (!failed) {
			assert_int_equal(r, 0);
			break;
		}
		assert_int_equal(r, VAULT_E_FULL);
		assert_string_equal(vault_refusal(r)->reason, "arena_full");
	}
	assert_within(times, 3, 100);
	assert_string_equal(vault_state(&f->v.vault), "unsealed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_operation_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restore_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(a_start_refuses, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("full", tests, NULL, NULL);
}
