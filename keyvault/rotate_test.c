/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotations with authd's real database, and a core that dies: after each single thing that a rotation does, everything
 * that is not on disk is forgotten, and the vault is opened again from its files. What must hold then: every credential
 * opens, the pepper is the same, and the rotation comes to its end, after which nothing old opens.
 */
#include "keyvault/rotate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/rows.h"
#include "tests/support/vault_fixture.h"
#include "tests/support/within.h"

#define CREDENTIALS 7
#define BATCH       3
#define DEATHS_MAX  64

static const char phrase[] = "correct horse battery";

struct fixture {
	struct vault_fixture v;
	struct rows *rows;
	uint8_t pepper[KEYRING_KEY_BYTES];
	uint8_t old[CREDENTIALS][SEAL_BYTES_MAX]; /* as they were before the rotation */
	size_t old_len[CREDENTIALS], n_old;
	unsigned left; /* things that may be done before the core dies; 0: it is immortal */
	bool dead;
};

/* ---- a vault on disk ---- */

static void see_row(void *ctx, const char *id, struct span blob)
{
	struct fixture *f = ctx;
	bool changed;

	assert_int_equal(vault_load(&f->v.vault, span_str(id), blob, &changed), 0);
}

static int unseal(struct fixture *f)
{
	return vault_unseal(&f->v.vault, span_str(phrase), vault_fixture_key(&f->v), 0);
}

static void open_vault(struct fixture *f)
{
	assert_int_equal(vault_start(&f->v.vault, &f->v.config, f->v.arena, -1), 0);
	assert_int_equal(unseal(f), 0);
	assert_int_equal(rows_each(f->rows, see_row, f), 0);
}

static void die(struct fixture *f)
{
	vault_deinit(&f->v.vault);
	assert_int_equal(secret_arena_used(f->v.arena), 0);
	f->dead = false;
	open_vault(f);
}

static void add(struct fixture *f, const char *id, const char *tenant)
{
	struct proto_binding b = binding_of(id, 1);
	uint8_t packed[SEAL_BINDING_BYTES_MAX], blob[SEAL_BYTES_MAX];
	size_t len;
	bool changed;

	b.tenant = span_str(tenant);
	assert_int_equal(vault_add(&f->v.vault, binding_pack(&b, packed), span_str(id), blob, &len), 0);
	assert_int_equal(rows_put(f->rows, id, 1, span_of(blob, len)), 0);
	assert_int_equal(vault_load(&f->v.vault, span_str(id), span_of(blob, len), &changed), 0);
}

static void pepper_of(struct fixture *f, uint8_t to[KEYRING_KEY_BYTES])
{
	secret_open(f->v.arena);
	memcpy(to, keyring_purpose(&f->v.vault.keyring, PURPOSE_PEPPER)->p, KEYRING_KEY_BYTES);
	secret_close(f->v.arena);
}

static int setup_with(void **state, unsigned unseal_by)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char id[16];

	vault_fixture_init(&f->v);
	f->v.config.keyvault.unseal = unseal_by;
	f->rows = rows_open(f->v.dir);
	assert_non_null(f->rows);
	assert_int_equal(vault_start(&f->v.vault, &f->v.config, f->v.arena, -1), 0);
	assert_int_equal(vault_init(&f->v.vault, span_str(phrase)), 0);
	for (unsigned i = 0; i < CREDENTIALS; i++) {
		(void)snprintf(id, sizeof(id), "key-%u", i);
		add(f, id, i % 3 ? "*" : "acme");
	}
	pepper_of(f, f->pepper);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, CONFIG_UNSEAL_KEY_FILE);
}

static int setup_passphrase(void **state)
{
	return setup_with(state, CONFIG_UNSEAL_PASSPHRASE);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rows_close(f->rows);
	vault_fixture_deinit(&f->v);
	free(f);
	return 0;
}

/* ---- what must hold at every moment ---- */

static void expect_all(struct fixture *f)
{
	uint8_t pepper[KEYRING_KEY_BYTES];
	char id[16];

	for (unsigned i = 0; i < CREDENTIALS; i++) {
		struct secret plain = SECRET_NULL;
		struct span binding;
		(void)snprintf(id, sizeof(id), "key-%u", i);
		assert_int_equal(vault_fetch(&f->v.vault, span_str(id), 1000, &binding, &plain), 0);
		secret_open(f->v.arena);
		assert_memory_equal(plain.p, id, strlen(id));
		secret_close(f->v.arena);
		secret_free(f->v.arena, &plain);
	}
	pepper_of(f, pepper);
	assert_memory_equal(pepper, f->pepper, sizeof(pepper)); /* gateway keys stay valid */
}

/* ---- a rotation, done one thing at a time ---- */

/* One thing has been done; the last one that this core does? */
static bool lives(struct fixture *f)
{
	if (f->left && --f->left == 0)
		f->dead = true;
	return !f->dead;
}

/* A batch for the database; when the core dies before the answer, only the database knows of it. */
static void swap_batch(struct fixture *f)
{
	static uint8_t blobs[BATCH][SEAL_BYTES_MAX];
	struct rotate_swap swaps[BATCH];
	struct rows_swap items[BATCH];
	uint8_t done[BATCH];
	size_t n = 0, at = 0;

	for (swaps[0].blob = blobs[0]; n < BATCH && rotate_pick(&f->v.vault, &at, &swaps[n]);) {
		const struct rotate_swap *s = &swaps[n];
		items[n] = (struct rows_swap){s->id, s->version, s->old, s->at, span_of(s->blob + s->at, s->len)};
		if (++n < BATCH)
			swaps[n].blob = blobs[n];
	}
	assert_true(n > 0);
	if (!lives(f))
		return;
	assert_int_equal(rows_swap(f->rows, items, n, done), 0);
	for (size_t i = 0; lives(f) && i < n; i++) {
		assert_int_equal(done[i], 1);
		assert_int_equal(rotate_swapped(&f->v.vault, &swaps[i]), 0);
	}
}

static int begin(struct fixture *f, enum rotate_what what)
{
	struct secret by = SECRET_NULL, root = SECRET_NULL;
	uint8_t sealed[ROOT_SEALED_BYTES];

	if (what != ROTATE_ROOT)
		return rotate_begin(&f->v.vault, what, SPAN_NULL, 0);
	assert_int_equal(vault_current_root(&f->v.vault, span_str(phrase), vault_fixture_key(&f->v), 0, &by), 0);
	assert_int_equal(root_generate(f->v.arena, &root), 0);
	struct span file = span_of(root.p, root.len);
	if (f->v.vault.files.by_passphrase) {
		assert_int_equal(root_seal(f->v.arena, &root, span_str(phrase), sealed), 0);
		file = span_of(sealed, sizeof(sealed));
	}
	secret_open(f->v.arena);
	int r = rotate_begin_root(&f->v.vault, &by, &root, file);
	secret_close(f->v.arena);
	secret_free(f->v.arena, &by);
	secret_free(f->v.arena, &root);
	return r;
}

/* To this step or the core's end. */
static void go_to(struct fixture *f, enum rotate_step step)
{
	while (lives(f) && rotate_step(&f->v.vault) != step) {
		if (rotate_step(&f->v.vault) >= ROTATE_ACTIVE && rotate_left(&f->v.vault) > 0) {
			rotate_reopen(&f->v.vault);
			swap_batch(f);
		} else {
			assert_int_equal(rotate_advance(&f->v.vault), 0);
		}
		if (!f->dead)
			expect_all(f);
	}
}

static void go_on(struct fixture *f)
{
	go_to(f, ROTATE_IDLE);
}

static void keep_old(void *ctx, const char *id, struct span blob)
{
	struct fixture *f = ctx;

	(void)id;
	memcpy(f->old[f->n_old], blob.p, blob.len);
	f->old_len[f->n_old++] = blob.len;
}

/* What a thief of an old copy of the database has is worth nothing to anybody who has not the old keys. */
static void expect_old_void(struct fixture *f, enum rotate_what what)
{
	for (size_t i = 0; what != ROTATE_ROOT && i < f->n_old; i++) {
		struct seal_view view;
		struct secret plain = SECRET_NULL;
		assert_int_equal(seal_parse(span_of(f->old[i], f->old_len[i]), &view), 0);
		int r = seal_open(&f->v.vault.keys, &view, &plain);
		assert_int_equal(r, what == ROTATE_TENANT ? SEAL_E_KEY : SEAL_E_OLD);
	}
}

/* The half of the key table that is in use, so that the other one is read next. */
static void spoil_half(struct fixture *f)
{
	off_t at = (off_t)(f->v.vault.keys.count % 2) * KEYS_HALF_EVERY + 400;
	uint8_t byte;

	assert_int_equal(pread(f->v.vault.keys.fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(f->v.vault.keys.fd, &byte, 1, at), 1);
}

/* The core dies after its `deaths`th thing, for every `deaths` until it comes to the end without. */
static void dies_everywhere(struct fixture *f, enum rotate_what what)
{
	bool done = false;

	for (unsigned deaths = 1; !done && deaths < DEATHS_MAX; deaths++) {
		f->n_old = 0;
		assert_int_equal(rows_each(f->rows, keep_old, f), 0);
		f->left = deaths;
		f->dead = false;
		assert_int_equal(begin(f, what), 0);
		go_on(f);
		done = !f->dead;
		f->left = 0;
		die(f);
		expect_all(f);
		assert_true(rotate_step(&f->v.vault) == ROTATE_IDLE || !done);
		go_on(f);
		assert_int_equal(rotate_step(&f->v.vault), ROTATE_IDLE);
		assert_false(files_has_next(&f->v.vault.files));
		assert_int_equal(f->v.vault.keys.n_roots, 1);
		expect_old_void(f, what);
		spoil_half(f); /* neither half has the old key */
		die(f);
		assert_int_equal(f->v.vault.keys.n_roots, 1);
		expect_old_void(f, what);
		expect_all(f);
		go_on(f); /* that half was saved before the end */
	}
	assert_true(done);
}

static void a_core_that_dies_anywhere_loses_nothing(void **state)
{
	dies_everywhere(*state, ROTATE_TENANT);
	dies_everywhere(*state, ROTATE_CREDENTIAL);
	dies_everywhere(*state, ROTATE_ROOT);
}

/* The last save of all was not done: its half is as it was before. */
static void a_core_that_dies_while_it_wipes_goes_on(void **state)
{
	static uint8_t half[KEYS_HALF_EVERY];
	struct fixture *f = *state;

	for (enum rotate_what what = ROTATE_ROOT; what <= ROTATE_CREDENTIAL; what++) {
		f->n_old = 0;
		assert_int_equal(rows_each(f->rows, keep_old, f), 0);
		assert_int_equal(begin(f, what), 0);
		go_to(f, ROTATE_VERIFIED);
		off_t at = (off_t)(f->v.vault.keys.count % 2) * KEYS_HALF_EVERY;
		ssize_t n = pread(f->v.vault.keys.fd, half, sizeof(half), at);
		assert_true(n > 0);
		assert_int_equal(rotate_advance(&f->v.vault), 0);
		assert_int_equal(pwrite(f->v.vault.keys.fd, half, (size_t)n, at), n);
		die(f);
		expect_all(f);
		go_on(f);
		spoil_half(f);
		die(f);
		assert_int_equal(f->v.vault.keys.n_roots, 1);
		expect_old_void(f, what);
		expect_all(f);
		go_on(f);
	}
}

/* A copy of the key table from the midst of a rotation, and the root key from before it: that key is the one. */
static void a_restored_root_key_stays(void **state)
{
	struct fixture *f = *state;
	struct secret root = SECRET_NULL;
	char path[128];

	for (enum rotate_step step = ROTATE_PENDING; step <= ROTATE_VERIFIED; step++) {
		assert_int_equal(vault_current_root(&f->v.vault, SPAN_NULL, vault_fixture_key(&f->v), 0, &root), 0);
		assert_int_equal(begin(f, ROTATE_ROOT), 0);
		go_to(f, step);
		vault_deinit(&f->v.vault);
		(void)snprintf(path, sizeof(path), "%s/keyvault/root.key", f->v.dir);
		assert_int_equal(unlink(path), 0);
		(void)snprintf(path, sizeof(path), "%s/keyvault/root.next", f->v.dir);
		(void)unlink(path);
		assert_int_equal(vault_start(&f->v.vault, &f->v.config, f->v.arena, -1), 0);
		assert_int_equal(vault_restore(&f->v.vault, &root, SPAN_NULL), 0);
		secret_free(f->v.arena, &root);
		go_on(f);
		die(f);
		expect_all(f);
		assert_int_equal(rotate_step(&f->v.vault), ROTATE_IDLE);
		assert_int_equal(f->v.vault.keys.n_roots, 1);
	}
}

/* ---- nothing is left of a key in memory, the arena included ---- */

#define MAPPING_BYTES_MAX ((size_t)1 << 30)
#define MASK              0x5a /* the needle itself must not be found */

static unsigned count_in(const uint8_t *p, size_t len, const uint8_t masked[KEYRING_KEY_BYTES])
{
	unsigned n = 0;

	for (size_t i = 0; i + KEYRING_KEY_BYTES <= len; i++) {
		size_t k = 0;
		while (k < KEYRING_KEY_BYTES && (p[i + k] ^ MASK) == masked[k])
			k++;
		n += k == KEYRING_KEY_BYTES;
	}
	return n;
}

/* In every page of this process that can be written; the arena is open, and one that /proc/self/mem can read. */
static unsigned count_everywhere(struct fixture *f, const uint8_t masked[KEYRING_KEY_BYTES])
{
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned long low, high;
	char line[512], mode[5];
	unsigned n = 0;

	secret_open(f->v.arena);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %4s", &low, &high, mode) != 3 || mode[1] != 'w' ||
		    high - low > MAPPING_BYTES_MAX) /* a sanitizer's own */
			continue;
		uint8_t *copy = malloc(high - low);
		ssize_t got = pread(mem, copy, high - low, (off_t)low);
		n += got > 0 ? count_in(copy, (size_t)got, masked) : 0;
		secret_wipe(copy, high - low); /* else it is what the next search finds */
		free(copy);
	}
	secret_close(f->v.arena);
	(void)fclose(maps);
	(void)close(mem);
	return n;
}

static void an_old_key_is_nowhere(void **state)
{
	struct fixture *f = *state;
	struct secret key = SECRET_NULL;
	uint8_t masked[KEYRING_KEY_BYTES];

	vault_deinit(&f->v.vault);
	secret_arena_free(f->v.arena);
	assert_int_equal(secret_arena_new_without(65536, SECRET_WITHOUT_MEMFD | SECRET_WITHOUT_PKEY, &f->v.arena), 0);
	open_vault(f);
	assert_int_equal(keys_unwrap(&f->v.vault.keys, keys_active(&f->v.vault.keys, SPAN_LIT("acme")), &key), 0);
	secret_open(f->v.arena);
	for (size_t i = 0; i < sizeof(masked); i++)
		masked[i] = key.p[i] ^ MASK;
	secret_close(f->v.arena);
	assert_within(count_everywhere(f, masked), 1, 1000); /* the search finds what is there */
	secret_free(f->v.arena, &key);
	assert_int_equal(begin(f, ROTATE_TENANT), 0);
	go_on(f);
	assert_int_equal(rotate_step(&f->v.vault), ROTATE_IDLE);
	assert_int_equal(count_everywhere(f, masked), 0);
}

/* A disk that is full: the step is not done, the old state stands, and the next try succeeds. */
static void a_step_that_cannot_be_saved_is_not_done(void **state)
{
	struct fixture *f = *state;
	int fd = f->v.vault.keys.fd, full = open("/dev/full", O_RDWR | O_CLOEXEC);

	assert_true(full >= 0);
	f->v.vault.keys.fd = full;
	assert_int_equal(begin(f, ROTATE_TENANT), VAULT_E_STORAGE);
	assert_int_equal(rotate_step(&f->v.vault), ROTATE_IDLE);
	f->v.vault.keys.fd = fd;
	assert_int_equal(begin(f, ROTATE_TENANT), 0);
	assert_int_equal(begin(f, ROTATE_CREDENTIAL), VAULT_E_BUSY);
	assert_int_equal(rotate_advance(&f->v.vault), 0);
	f->v.vault.keys.fd = full;
	assert_int_equal(rotate_advance(&f->v.vault), VAULT_E_STORAGE);
	assert_int_equal(rotate_step(&f->v.vault), ROTATE_ACKNOWLEDGED);
	assert_int_equal(rotate_left(&f->v.vault), 0); /* nothing was flipped */
	f->v.vault.keys.fd = fd;
	(void)close(full);
	go_on(f);
	expect_all(f);
}

/* A key that does not come back from the disk as it was written must never become the active one. */
static void what_cannot_be_read_back_is_not_used(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(begin(f, ROTATE_TENANT), 0);
	uint8_t zeros[512] = {0};
	off_t half = (off_t)(f->v.vault.keys.count % 2) * KEYS_HALF_EVERY;
	assert_int_equal(pwrite(f->v.vault.keys.fd, zeros, sizeof(zeros), half + 350), sizeof(zeros));
	assert_int_equal(rotate_advance(&f->v.vault), VAULT_E_ROOT);
	assert_int_equal(rotate_step(&f->v.vault), ROTATE_PENDING);
	expect_all(f);
}

static void the_root_key_under_a_passphrase(void **state)
{
	struct fixture *f = *state;
	uint8_t before[ROOT_SEALED_BYTES];

	memcpy(before, f->v.vault.files.sealed, sizeof(before));
	assert_int_equal(begin(f, ROTATE_ROOT), 0);
	assert_int_equal(rotate_advance(&f->v.vault), 0);
	die(f);
	go_on(f);
	assert_memory_not_equal(f->v.vault.files.sealed, before, sizeof(before));
	die(f);
	expect_all(f);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_core_that_dies_anywhere_loses_nothing),
		TEST(a_core_that_dies_while_it_wipes_goes_on),
		TEST(a_restored_root_key_stays),
		TEST(a_step_that_cannot_be_saved_is_not_done),
		TEST(what_cannot_be_read_back_is_not_used),
		TEST(an_old_key_is_nowhere),
		cmocka_unit_test_setup_teardown(the_root_key_under_a_passphrase, setup_passphrase, teardown),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("rotate", tests, NULL, NULL);
}
