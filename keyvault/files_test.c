/* SPDX-License-Identifier: Apache-2.0 */
/* The root key and its files: what a core keeps open, what it refuses, and a root key that comes back from a copy. */
#include "keyvault/files.h"

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

#include "tests/support/vault_fixture.h"

static const char phrase[] = "correct horse battery";

struct fixture {
	struct vault_fixture v;
	char key_file[128];
};

static int start(struct fixture *f)
{
	return vault_start(&f->v.vault, &f->v.config, f->v.arena, vault_fixture_key(&f->v));
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vault_fixture_init(&f->v);
	(void)snprintf(f->key_file, sizeof(f->key_file), "%s/key", f->v.dir);
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

static void restart(struct fixture *f, int answer)
{
	vault_deinit(&f->v.vault);
	assert_int_equal(secret_arena_used(f->v.arena), 0);
	assert_int_equal(start(f), answer);
}

static void write_file(struct fixture *f, const char *name, const void *bytes, size_t len, mode_t mode)
{
	char path[192];

	(void)snprintf(path, sizeof(path), "%s/%s", f->v.dir, name);
	(void)unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(write(fd, bytes, len), len);
	(void)close(fd);
}

/* Not even the core can open it again, until somebody else opens the key file: what is left are root.next, keys, marks,
 * witness, and the root file for writing only. */
static void a_sealed_core_holds_no_way_to_the_key(void **state)
{
	struct fixture *f = *state;
	unsigned before = open_fds();

	assert_int_equal(start(f), 0);
	assert_int_equal(open_fds(), before + 6); /* the empty root.key too */
	assert_int_equal(vault_init(&f->v.vault, SPAN_NULL), 0);
	assert_int_equal(open_fds(), before + 5);
	restart(f, 0);
	assert_true(vault_is_open(&f->v.vault));
	assert_int_equal(open_fds(), before + 5);
	vault_seal(&f->v.vault);
	char byte;
	assert_int_equal(pread(f->v.vault.files.replace_fd, &byte, 1, 0), -1);
	assert_int_equal(pread(f->v.vault.files.next_fd, &byte, 1, 0), 0);
	assert_int_equal(secret_arena_used(f->v.arena), 0);
	assert_int_equal(vault_unseal(&f->v.vault, SPAN_NULL, -1, 0), VAULT_E_NO_KEY);
	assert_string_equal(vault_state(&f->v.vault), "sealed");
	assert_int_equal(vault_unseal(&f->v.vault, SPAN_NULL, vault_fixture_key(&f->v), 0), 0);
	assert_int_equal(vault_unseal(&f->v.vault, SPAN_NULL, vault_fixture_key(&f->v), 0), VAULT_E_OPEN);
	assert_int_equal(open_fds(), before + 5);

	/* The launcher starts a core without the key after `vault seal`. */
	vault_deinit(&f->v.vault);
	assert_int_equal(vault_start(&f->v.vault, &f->v.config, f->v.arena, -1), 0);
	assert_string_equal(vault_state(&f->v.vault), "sealed");
}

static void a_configured_key_file_must_be_good(void **state)
{
	static const char good[] = "d41d8cd98f00b204e9800998ecf8427e0a315b77632fa0c1153e6d90bb482956\n";
	struct fixture *f = *state;

	f->v.config.keyvault.key_file = f->key_file;
	write_file(f, "key", good, 40, 0400);
	assert_int_equal(start(f), VAULT_E_KEY_FILE);
	assert_non_null(strstr(f->v.vault.files.why, "too short"));
	assert_non_null(strstr(f->v.vault.files.why, f->key_file));
	write_file(f, "key", "0000000000000000000000000000000000000000000000000000000000000000", 64, 0400);
	restart(f, VAULT_E_KEY_FILE);
	assert_non_null(strstr(f->v.vault.files.why, "not random"));
	restart(f, VAULT_E_KEY_FILE);
	write_file(f, "key", good, sizeof(good) - 1, 0400);
	restart(f, 0);
	assert_true(vault_is_open(&f->v.vault));
	assert_int_equal(vault_init(&f->v.vault, SPAN_NULL), VAULT_E_INITIALISED);

	/* Something that is no file: read without waiting for it. */
	int pipe_fds[2];
	vault_seal(&f->v.vault);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(vault_unseal(&f->v.vault, SPAN_NULL, pipe_fds[0], 0), VAULT_E_KEY_FILE);
	(void)close(pipe_fds[1]);

	/* A name for messages only: the core gets a descriptor whatever the source. */
	f->v.config.keyvault.unseal = CONFIG_UNSEAL_CREDENTIAL;
	f->v.config.keyvault.credential = "bulkhead.root";
	restart(f, 0);
	assert_true(vault_is_open(&f->v.vault));
	write_file(f, "key", good, 20, 0400);
	restart(f, VAULT_E_KEY_FILE);
	assert_non_null(strstr(f->v.vault.files.why, "bulkhead.root"));
}

static void state_files_must_be_ours_alone(void **state)
{
	struct fixture *f = *state;
	char path[128], target[128];

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->v.vault, SPAN_NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/keyvault/root.key", f->v.dir);
	(void)snprintf(target, sizeof(target), "%s/elsewhere", f->v.dir);
	assert_int_equal(chmod(path, 0640), 0);
	restart(f, VAULT_E_KEY_FILE);
	assert_non_null(strstr(f->v.vault.files.why, "others may read it"));
	assert_int_equal(chmod(path, 0600), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 0), 0);
		restart(f, VAULT_E_KEY_FILE);
		assert_non_null(strstr(f->v.vault.files.why, "another user"));
		assert_int_equal(chown(path, 0, 0), 0);
	}
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
	restart(f, VAULT_E_KEY_FILE);
	assert_non_null(strstr(f->v.vault.files.why, "symbolic link"));
}

static void a_new_root_takes_the_form_of_the_old(void **state)
{
	struct fixture *f = *state;
	static const size_t lengths[] = {32, 33, 44, 45, 64, 65};
	uint8_t next[ROOT_KEY_BYTES], old[ROOT_KEY_BYTES];
	char text[ROOT_FILE_BYTES_MAX + 1], path[128];
	struct stat st;

	assert_int_equal(start(f), 0);
	(void)snprintf(path, sizeof(path), "%s/keyvault/root.key", f->v.dir);
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		struct secret root = SECRET_NULL;

		randombytes_buf(old, sizeof(old));
		randombytes_buf(next, sizeof(next));
		assert_true(root_format_file(old, text, lengths[i]));
		write_file(f, "keyvault/root.key", text, lengths[i], 0600);
		struct files files;
		assert_int_equal(files_open(&files, &f->v.config), 0);
		assert_int_equal(files_read_key(&files, open(path, O_RDONLY | O_CLOEXEC), f->v.arena, &root), 0);
		secret_open(f->v.arena);
		assert_memory_equal(root.p, old, sizeof(old));
		secret_close(f->v.arena);
		secret_free(f->v.arena, &root);
		static const uint8_t left[ROOT_FILE_BYTES_MAX + ROOT_SEALED_BYTES]; /* could not be dropped */
		assert_int_equal(pwrite(files.next_fd, left, sizeof(left), 0), sizeof(left));
		assert_int_equal(files_write_next(&files, span_of(next, sizeof(next))), 0);
		assert_int_equal(files_take_next(&files, f->v.arena), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, lengths[i]);
		assert_int_equal(files_read_key(&files, open(path, O_RDONLY | O_CLOEXEC), f->v.arena, &root), 0);
		secret_open(f->v.arena);
		assert_memory_equal(root.p, next, sizeof(next));
		secret_close(f->v.arena);
		secret_free(f->v.arena, &root);
		assert_int_equal(files_drop_next(&files), 0);
		files_close(&files);
	}
	assert_false(root_format_file(next, text, 31));
	assert_false(root_format_file(next, text, 43));
}

static void a_restored_root_opens_the_same_vault(void **state)
{
	struct fixture *f = *state;
	struct secret root = SECRET_NULL, other = SECRET_NULL;
	char origin[NOTE_NAME_MAX + 1], path[128];

	assert_int_equal(start(f), 0);
	assert_int_equal(vault_init(&f->v.vault, SPAN_NULL), 0);
	strcpy(origin, f->v.vault.signer.witness.origin);
	assert_int_equal(vault_current_root(&f->v.vault, SPAN_NULL, -1, 0, &root), VAULT_E_NO_KEY);
	assert_int_equal(vault_current_root(&f->v.vault, SPAN_NULL, vault_fixture_key(&f->v), 0, &root), 0);
	assert_int_equal(vault_restore(&f->v.vault, &root, SPAN_NULL), VAULT_E_INITIALISED);
	write_file(f, "other", "d41d8cd98f00b204e9800998ecf8427e0a315b77632fa0c1153e6d90bb482956\n", 65, 0400);
	(void)snprintf(path, sizeof(path), "%s/other", f->v.dir);
	assert_int_equal(vault_current_root(&f->v.vault, SPAN_NULL, open(path, O_RDONLY | O_CLOEXEC), 0, &other),
			 VAULT_E_OTHER_KEY);
	vault_seal(&f->v.vault);
	assert_int_equal(vault_current_root(&f->v.vault, SPAN_NULL, vault_fixture_key(&f->v), 0, &other),
			 VAULT_E_SEALED);

	/* Everything is lost; the new vault opens by passphrase. */
	vault_deinit(&f->v.vault);
	(void)snprintf(path, sizeof(path), "%s/keyvault/root.key", f->v.dir);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/keyvault/witness", f->v.dir);
	assert_int_equal(unlink(path), 0);
	f->v.config.keyvault.unseal = CONFIG_UNSEAL_PASSPHRASE;
	assert_int_equal(start(f), 0);
	assert_int_equal(vault_restore(&f->v.vault, &root, span_str("short")), VAULT_E_SHORT);
	assert_string_equal(vault_state(&f->v.vault), "uninitialised");
	assert_int_equal(f->v.vault.signer.witness.count, 0);
	assert_int_equal(vault_restore(&f->v.vault, &root, span_str(phrase)), 0);
	assert_string_equal(f->v.vault.signer.witness.origin, origin); /* the same keys */
	assert_int_equal(vault_current_root(&f->v.vault, span_str("not it at all"), -1, 0, &other), VAULT_E_PASSPHRASE);
	assert_int_equal(vault_current_root(&f->v.vault, span_str(phrase), -1, 0, &other), 0);
	secret_open(f->v.arena);
	assert_memory_equal(root.p, other.p, ROOT_KEY_BYTES);
	secret_close(f->v.arena);
	secret_free(f->v.arena, &other);

	f->v.config.keyvault.unseal = CONFIG_UNSEAL_CREDENTIAL;
	f->v.config.keyvault.credential = "x";
	(void)snprintf(path, sizeof(path), "%s/keyvault/root.sealed", f->v.dir);
	assert_int_equal(unlink(path), 0);
	vault_deinit(&f->v.vault);
	assert_int_equal(vault_start(&f->v.vault, &f->v.config, f->v.arena, -1), 0);
	assert_int_equal(vault_restore(&f->v.vault, &root, SPAN_NULL), VAULT_E_ELSEWHERE);
	secret_free(f->v.arena, &root);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_sealed_core_holds_no_way_to_the_key),
		TEST(a_configured_key_file_must_be_good),
		TEST(state_files_must_be_ours_alone),
		TEST(a_new_root_takes_the_form_of_the_old),
		TEST(a_restored_root_opens_the_same_vault),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
