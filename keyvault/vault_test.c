/* SPDX-License-Identifier: Apache-2.0 */
/* The core without IPC: files at start, init, unseal, seal, and credentials that a store pushes, honest or not. */
#include "tests/support/vault_fixture.h"

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

static const char phrase[] = "correct horse battery";

static int start(struct vault_fixture *f)
{
	return vault_start(&f->vault, &f->config, f->arena, vault_fixture_key(f));
}

static int setup(void **state)
{
	struct vault_fixture *f = calloc(1, sizeof(*f));

	vault_fixture_init(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	vault_fixture_deinit(*state);
	free(*state);
	return 0;
}

static void restart(struct vault_fixture *f, int answer)
{
	vault_deinit(&f->vault);
	assert_int_equal(secret_arena_used(f->arena), 0);
	assert_int_equal(start(f), answer);
}

/* ---- files ---- */

static void a_key_file_vault_opens_by_itself(void **state)
{
	struct vault_fixture *f = *state;
	char origin[NOTE_NAME_MAX + 1];

	assert_int_equal(start(f), 0);
	assert_string_equal(vault_state(&f->vault), "uninitialised");
	assert_int_equal(vault_unseal(&f->vault, SPAN_NULL, -1, 0), VAULT_E_UNINITIALISED);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	assert_string_equal(vault_state(&f->vault), "unsealed");
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), VAULT_E_INITIALISED);
	strcpy(origin, f->vault.signer.witness.origin);
	restart(f, 0);
	assert_string_equal(vault_state(&f->vault), "unsealed");
	assert_string_equal(f->vault.signer.witness.origin, origin);
}

static void a_passphrase_vault_starts_sealed(void **state)
{
	struct vault_fixture *f = *state;

	f->config.keyvault.unseal = CONFIG_UNSEAL_PASSPHRASE;
	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, span_str("short")), VAULT_E_SHORT);
	assert_string_equal(vault_state(&f->vault), "uninitialised");
	assert_int_equal(vault_init(&f->vault, span_str(phrase)), 0);
	restart(f, 0);
	assert_string_equal(vault_state(&f->vault), "sealed");
	assert_int_equal(f->vault.files.root_fd, -1);
	assert_int_equal(vault_unseal(&f->vault, span_str(phrase), -1, 0), 0);
	assert_int_equal(vault_unseal(&f->vault, span_str("whatever"), -1, 0), VAULT_E_OPEN);

	/* A changed configuration must not lead to a second root key. */
	f->config.keyvault.unseal = CONFIG_UNSEAL_KEY_FILE;
	restart(f, VAULT_E_KEY_FILE);
	assert_non_null(strstr(f->vault.files.why, "root.sealed"));
	f->config.keyvault.unseal = CONFIG_UNSEAL_PASSPHRASE;
	restart(f, 0);

	/* A truncated root is damage, never a reason to make a new one. */
	vault_deinit(&f->vault);
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/keyvault/root.sealed", f->dir);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(start(f), VAULT_E_KEY_FILE);
	assert_non_null(strstr(f->vault.files.why, "root.sealed"));
}

static void wrong_passphrases_have_to_wait(void **state)
{
	struct vault_fixture *f = *state;
	uint64_t now_ms = 5000;

	f->config.keyvault.unseal = CONFIG_UNSEAL_PASSPHRASE;
	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, span_str(phrase)), 0);
	vault_seal(&f->vault);
	for (unsigned i = 1; i < VAULT_TRIES_FREE; i++)
		assert_int_equal(vault_unseal(&f->vault, span_str("wrong wrong"), -1, now_ms), VAULT_E_PASSPHRASE);
	for (uint64_t wait_ms = 1000; wait_ms <= 4000; wait_ms *= 2) {
		assert_int_equal(vault_unseal(&f->vault, span_str("wrong wrong"), -1, now_ms), VAULT_E_PASSPHRASE);
		assert_int_equal(vault_unseal(&f->vault, span_str(phrase), -1, now_ms + wait_ms - 1), VAULT_E_WAIT);
		now_ms += wait_ms;
	}
	f->vault.wrong_tries = 1000;
	assert_int_equal(vault_unseal(&f->vault, span_str("wrong wrong"), -1, now_ms), VAULT_E_PASSPHRASE);
	assert_int_equal(f->vault.retry_at_ms, now_ms + VAULT_WAIT_MS_MAX);
	assert_int_equal(vault_unseal(&f->vault, span_str(phrase), -1, now_ms + VAULT_WAIT_MS_MAX), 0);
	vault_seal(&f->vault);
	assert_int_equal(vault_unseal(&f->vault, span_str(phrase), -1, now_ms + VAULT_WAIT_MS_MAX), 0);
}

static void nothing_half_written_counts(void **state)
{
	struct vault_fixture *f = *state;

	f->config.keyvault.unseal = CONFIG_UNSEAL_PASSPHRASE;
	assert_int_equal(start(f), 0);
	int fd = f->vault.files.root_fd;
	f->vault.files.root_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_int_equal(vault_init(&f->vault, span_str(phrase)), VAULT_E_STORAGE);
	(void)close(f->vault.files.root_fd);
	f->vault.files.root_fd = fd;
	assert_string_equal(vault_state(&f->vault), "uninitialised");
	assert_int_equal(secret_arena_used(f->arena), 0);
	assert_int_equal(vault_init(&f->vault, span_str(phrase)), 0);
}

/* A vault whose first key table looks like this: as long as `bytes`, with zeros from `from` to `to`; a single
 * byte that is zero becomes one. */
static void cut_keys(struct vault_fixture *f, off_t bytes, off_t from, off_t to)
{
	uint8_t put[512] = {0};
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/keyvault/keys", f->dir);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (to - from == 1) {
		assert_int_equal(pread(fd, put, 1, KEYS_HALF_EVERY + from), 1);
		put[0] = put[0] == 0;
	}
	assert_int_equal(pwrite(fd, put, (size_t)(to - from), KEYS_HALF_EVERY + from), to - from);
	assert_int_equal(ftruncate(fd, KEYS_HALF_EVERY + bytes), 0);
	assert_int_equal(close(fd), 0);
}

static void remove_file(const struct vault_fixture *f, const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/keyvault/%s", f->dir, name);
	assert_int_equal(unlink(path), 0);
}

static void begin_anew(struct vault_fixture *f)
{
	vault_deinit(&f->vault);
	remove_file(f, "root.key");
	remove_file(f, "keys");
	remove_file(f, "witness");
	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
}

/* A root file that was lost is restored; another one in its place would open nothing, and be in the way. */
static void no_second_root_key_beside_what_hangs_on_a_first(void **state)
{
	static const uint8_t log_root[WITNESS_ROOT_BYTES];
	struct vault_fixture *f = *state;
	struct secret root = SECRET_NULL;

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	assert_int_equal(witness_save(&f->vault.signer.witness, SPAN_LIT("log"), 0, log_root), 0);
	assert_int_equal(vault_current_root(&f->vault, SPAN_NULL, vault_fixture_key(f), 0, &root), 0);
	vault_deinit(&f->vault);
	remove_file(f, "root.key");
	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), VAULT_E_ROOT);
	assert_string_equal(vault_state(&f->vault), "uninitialised");
	assert_int_equal(vault_restore(&f->vault, &root, SPAN_NULL), 0);
	secret_free(f->arena, &root);
	vault_deinit(&f->vault);
	remove_file(f, "root.key");
	remove_file(f, "keys");
	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), VAULT_E_ROOT); /* it has signed checkpoints */
	assert_string_equal(vault_state(&f->vault), "uninitialised");
}

/* The power fails during `vault init`: the root key is there, what it should open is not. */
static void a_first_save_that_was_cut_off_is_named(void **state)
{
	static const struct {
		off_t bytes, from, to;
		int answer;
	} rows[] = {
		{1, 0, 1, VAULT_E_TORN},       /* nothing came of it but a length */
		{336, 0, 336, VAULT_E_TORN},   /* the same */
		{100, 0, 0, VAULT_E_TORN},     /* some of it */
		{335, 0, 0, VAULT_E_TORN},     /* all but a byte */
		{336, 200, 336, VAULT_E_TORN}, /* some, then zeros */
		{336, 304, 336, VAULT_E_TORN}, /* all but the MAC */
		{336, 17, 18, VAULT_E_ROOT},   /* that is damage, or another root key: what hangs on it may be dear */
		{336, 335, 336, VAULT_E_ROOT},
	};
	struct vault_fixture *f = *state;

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin_anew(f);
		cut_keys(f, rows[i].bytes, rows[i].from, rows[i].to);
		restart(f, rows[i].answer);
		assert_int_equal(vault_unseal(&f->vault, SPAN_NULL, vault_fixture_key(f), 0), rows[i].answer);
		assert_string_equal(vault_state(&f->vault), "sealed");
	}
	begin_anew(f);
	remove_file(f, "witness"); /* which is written after it, */
	remove_file(f, "keys");    /* and what it says is to be done */
	restart(f, 0);
	restart(f, 0);
	assert_string_equal(vault_state(&f->vault), "unsealed");
}

/* Once a tenant has a key there was a second save, in the other half. */
static void a_later_save_that_was_cut_off_is_not(void **state)
{
	struct vault_fixture *f = *state;
	const struct keys_tenant *key;

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	assert_int_equal(keys_ensure(&f->vault.keys, SPAN_LIT("acme"), &key), 0);
	uint8_t zero = 0;
	assert_int_equal(pwrite(f->vault.files.keys_fd, &zero, 1, 0), 1); /* and its beginning is lost as well */
	cut_keys(f, 336, 0, 336);
	restart(f, VAULT_E_ROOT);
}

/* ---- credentials ---- */

struct blob {
	uint8_t bytes[SEAL_BYTES_MAX];
	size_t len;
};

static struct span span_blob(const struct blob *b)
{
	return span_of(b->bytes, b->len);
}

static void make(struct vault_fixture *f, const char *id, uint64_t version, const char *secret, struct blob *ret)
{
	const struct proto_binding b = binding_of(id, version);
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	assert_int_equal(vault_add(&f->vault, binding_pack(&b, packed), span_str(secret), ret->bytes, &ret->len), 0);
}

static int load(struct vault_fixture *f, const char *id, const struct blob *b, bool *ret_replaced)
{
	return vault_load(&f->vault, span_str(id), span_blob(b), ret_replaced);
}

static void expect_secret(struct vault_fixture *f, const char *id, const char *secret)
{
	struct secret plain = SECRET_NULL;
	struct span binding;

	assert_int_equal(vault_fetch(&f->vault, span_str(id), 1000, &binding, &plain), 0);
	secret_open(f->arena);
	assert_int_equal(plain.len, strlen(secret));
	assert_memory_equal(plain.p, secret, plain.len);
	secret_close(f->arena);
	secret_free(f->arena, &plain);
}

static void versions_only_grow(void **state)
{
	struct vault_fixture *f = *state;
	struct blob one, two, other_two, three;
	bool replaced;

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	make(f, "openai", 1, "sk-one", &one);
	make(f, "openai", 2, "sk-two", &two);
	make(f, "openai", 2, "sk-two", &other_two);
	make(f, "openai", 3, "sk-three", &three);
	assert_int_equal(load(f, "openai", &one, &replaced), 0);
	assert_false(replaced);
	assert_int_equal(load(f, "openai", &two, &replaced), 0);
	assert_true(replaced);
	assert_int_equal(load(f, "openai", &two, &replaced), 0); /* authd has connected again */
	assert_false(replaced);
	assert_int_equal(load(f, "openai", &one, &replaced), VAULT_E_OLD);
	assert_int_equal(load(f, "openai", &other_two, &replaced), VAULT_E_OLD);
	assert_int_equal(load(f, "another", &three, &replaced), VAULT_E_FORGED);
	expect_secret(f, "openai", "sk-two");
	assert_int_equal(vault_drop(&f->vault, span_str("openai"), UINT32_MAX, &replaced), 0);
	assert_true(replaced);
	assert_int_equal(load(f, "openai", &two, &replaced), VAULT_E_OLD); /* removal does not forget the version */
	assert_int_equal(load(f, "openai", &three, &replaced), 0);
	expect_secret(f, "openai", "sk-three");
	restart(f, 0); /* nor does a restart */
	assert_int_equal(load(f, "openai", &two, &replaced), VAULT_E_OLD);
	assert_int_equal(load(f, "openai", &three, &replaced), 0);
	expect_secret(f, "openai", "sk-three");
}

static void names_are_remembered_up_to_a_number(void **state)
{
	struct vault_fixture *f = *state;
	struct blob known, next, other;
	bool replaced;

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	make(f, "openai", 1, "sk-one", &known);
	make(f, "openai", 2, "sk-two", &next);
	make(f, "another", 1, "sk-other", &other);
	assert_int_equal(load(f, "openai", &known, &replaced), 0);
	f->vault.marks.places = MARKS_MAX; /* as if as many had come and gone */
	assert_int_equal(vault_check_new(&f->vault, span_str("another"), span_blob(&other)), VAULT_E_PLACES);
	assert_int_equal(load(f, "another", &other, &replaced), VAULT_E_PLACES);
	assert_string_equal(vault_refusal(VAULT_E_PLACES)->reason, "marks_full");
	assert_int_equal(load(f, "openai", &next, &replaced), 0); /* who is in it is not concerned */
	expect_secret(f, "openai", "sk-two");
}

static void forged_blobs_do_not_displace_good_ones(void **state)
{
	struct vault_fixture *f = *state;
	struct blob good, forged;
	struct secret plain;
	struct span binding;
	bool replaced;

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	make(f, "openai", 1, "sk-one", &good);
	make(f, "openai", 9, "sk-two", &forged);
	forged.bytes[forged.len - 1] ^= 1;
	assert_int_equal(load(f, "openai", &good, &replaced), 0);
	assert_int_equal(load(f, "openai", &forged, &replaced), VAULT_E_FORGED);
	expect_secret(f, "openai", "sk-one");
	assert_int_equal(vault_fetch(&f->vault, span_str("nobody"), 1000, &binding, &plain), VAULT_E_UNKNOWN);
	vault_seal(&f->vault);
	assert_int_equal(vault_fetch(&f->vault, span_str("openai"), 1000, &binding, &plain), VAULT_E_SEALED);
}

/* What comes while the vault is sealed is checked when it opens. */
static void waiting_blobs_are_checked_at_opening(void **state)
{
	struct vault_fixture *f = *state;
	struct blob good, forged;
	char id[STORE_ID_BYTES_MAX + 1];
	size_t at = 0;
	bool replaced;
	int why;

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	make(f, "a-good", 1, "sk-one", &good);
	make(f, "b-forged", 7, "sk-two", &forged);
	forged.bytes[forged.len - 1] ^= 1;
	vault_seal(&f->vault);
	assert_int_equal(load(f, "a-good", &good, &replaced), 0);
	assert_int_equal(load(f, "b-forged", &forged, &replaced), 0);
	assert_int_equal(store_count(&f->vault.store), 2);
	assert_int_equal(vault_unseal(&f->vault, SPAN_NULL, vault_fixture_key(f), 0), 0);
	assert_true(vault_next_rejected(&f->vault, &at, id, &why));
	assert_string_equal(id, "b-forged");
	assert_false(vault_next_rejected(&f->vault, &at, id, &why));
	assert_int_equal(store_count(&f->vault.store), 1);
	expect_secret(f, "a-good", "sk-one");
	make(f, "b-forged", 1, "sk-real", &good); /* the forged version was never believed */
	assert_int_equal(load(f, "b-forged", &good, &replaced), 0);
}

/* A renewed key is stored while the vault is being sealed: the one that it replaces is not used again. */
static void what_came_while_sealed_replaces_what_was_there(void **state)
{
	struct vault_fixture *f = *state;
	struct blob one, two, other;
	char id[STORE_ID_BYTES_MAX + 1];
	size_t at = 0;
	bool replaced;
	int why;

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	make(f, "openai", 1, "sk-one", &one);
	make(f, "openai", 2, "sk-two", &two);
	make(f, "other", 1, "sk-other", &other);
	assert_int_equal(load(f, "openai", &one, &replaced), 0);
	vault_seal(&f->vault);
	assert_int_equal(load(f, "openai", &two, &replaced), 0);
	assert_int_equal(load(f, "other", &other, &replaced), 0);
	assert_int_equal(vault_unseal(&f->vault, SPAN_NULL, vault_fixture_key(f), 0), 0);
	assert_false(vault_next_rejected(&f->vault, &at, id, &why));
	expect_secret(f, "openai", "sk-two");
	expect_secret(f, "other", "sk-other");
	assert_int_equal(store_count(&f->vault.store), 2);
	assert_int_equal(load(f, "openai", &one, &replaced), VAULT_E_OLD);
}

static void the_store_is_bounded_and_sorted(void **state)
{
	struct store s = STORE_NULL;
	char id[16];

	(void)state;
	for (unsigned i = 0; i < STORE_ENTRIES_MAX; i++) {
		(void)snprintf(id, sizeof(id), "c%u", i * 2654435761U % STORE_ENTRIES_MAX);
		assert_int_equal(store_put(&s, span_str(id), 1, span_str(id), true), 0);
	}
	assert_int_equal(store_put(&s, span_str("more"), 1, span_str("x"), true), STORE_E_FULL);
	for (unsigned i = 0; i < STORE_ENTRIES_MAX; i++) {
		(void)snprintf(id, sizeof(id), "c%u", i);
		const struct store_entry *e = store_find(&s, span_str(id));
		assert_non_null(e);
		assert_true(span_eq_str(span_of(e->live[0].blob, e->live[0].blob_len), id));
	}
	assert_null(store_find(&s, span_str("c")));
	store_deinit(&s);
}

/* ---- lanes ---- */

static void edge_keys_are_fresh_and_epochs_grow(void **state)
{
	struct vault_fixture *f = *state;
	int first_peer, second_peer;
	uint8_t before[LANES_KEY_BYTES];

	assert_int_equal(start(f), 0);
	struct lanes *l = &f->vault.lanes;
	assert_null(lanes_attach(l, 3, &first_peer));
	assert_int_equal(lanes_mint(l, 3, 1000), 0);
	uint64_t epoch = l->lane[3].epoch;
	secret_open(f->arena);
	memcpy(before, l->lane[3].key.p, sizeof(before));
	secret_close(f->arena);
	assert_ptr_equal(lanes_attach(l, 3, &second_peer), &first_peer);
	assert_int_equal(l->lane[3].epoch, 0);
	assert_int_equal(lanes_mint(l, 3, 900), 0); /* the clock went back */
	assert_true(l->lane[3].epoch > epoch);
	secret_open(f->arena);
	assert_memory_not_equal(before, l->lane[3].key.p, sizeof(before));
	secret_close(f->arena);
	lanes_detach(l, 3, &first_peer); /* the late end of the connection that was replaced */
	assert_int_not_equal(l->lane[3].epoch, 0);
	lanes_detach(l, 3, &second_peer);
	assert_int_equal(l->lane[3].epoch, 0);
	assert_int_equal(secret_arena_used(f->arena), 0);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_key_file_vault_opens_by_itself),
		TEST(a_passphrase_vault_starts_sealed),
		TEST(wrong_passphrases_have_to_wait),
		TEST(nothing_half_written_counts),
		TEST(no_second_root_key_beside_what_hangs_on_a_first),
		TEST(a_first_save_that_was_cut_off_is_named),
		TEST(a_later_save_that_was_cut_off_is_not),
		TEST(versions_only_grow),
		TEST(names_are_remembered_up_to_a_number),
		TEST(forged_blobs_do_not_displace_good_ones),
		TEST(waiting_blobs_are_checked_at_opening),
		TEST(what_came_while_sealed_replaces_what_was_there),
		cmocka_unit_test(the_store_is_bounded_and_sorted),
		TEST(edge_keys_are_fresh_and_epochs_grow),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("vault", tests, NULL, NULL);
}
