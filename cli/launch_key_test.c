/* SPDX-License-Identifier: Apache-2.0 */
/* The root key for a core that starts: which files are handed to it, which stop the start, and the mark of a seal. */
#include "cli/launch_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config_tree.h"
#include "cli/root_source.h"

static const char key[] = "8f3c1a5e7b2d4960fedcba9876543210a1b2c3d4e5f60718293a4b5c6d7e8f90\n";

struct world {
	struct launcher l;
	struct cli cli;
	struct launch_child children[2];
	char folder[32], path[64];
	char *err;
	size_t err_len;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char state_folder[64];

	strcpy(w->folder, "/tmp/key-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	(void)snprintf(state_folder, sizeof(state_folder), "%s/keyvault", w->folder);
	assert_int_equal(mkdir(state_folder, 0700), 0);
	w->cli.err = open_memstream(&w->err, &w->err_len);
	w->children[0].role = ROLE_ROUTER;
	w->children[1].role = ROLE_KEYVAULT;
	w->l = (struct launcher){.cli = &w->cli, .children = w->children, .n_children = 2};
	w->l.log = (struct log){.daemon = "test", .level = LOG_LEVEL_ERROR + 1};
	(void)unsetenv("CREDENTIALS_DIRECTORY");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char command[64];

	(void)fclose(w->cli.err);
	free(w->err);
	w->cli.config = config_tree_free(w->cli.config);
	(void)snprintf(command, sizeof(command), "rm -rf %s", w->folder);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

/* In the test's folder; key_file NULL: not given. */
static void configure(struct world *w, const char *unseal, const char *key_file)
{
	static char *nothing[] = {NULL};
	char yaml[512];

	w->cli.config = config_tree_free(w->cli.config);
	assert_int_equal(config_tree_new("b.yaml", w->folder, &w->cli.config), 0);
	(void)snprintf(yaml, sizeof(yaml), "state_dir: %s\nrun_dir: %s\nkeyvault: { unseal: %s%s%s }\n", w->folder,
		       w->folder, unseal, key_file ? ", key_file: " : "", key_file ? key_file : "");
	assert_int_equal(config_yaml(w->cli.config, span_str(yaml)), 0);
	assert_int_equal(config_env(w->cli.config, nothing), 0);
	assert_int_equal(config_complete(w->cli.config), 0);
}

static const char *put(struct world *w, const char *name, const char *text, mode_t mode)
{
	(void)snprintf(w->path, sizeof(w->path), "%s/%s", w->folder, name);
	int fd = open(w->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
	return w->path;
}

/* What a core that starts is given. */
static void expect_given(struct world *w, bool given)
{
	char text[128] = "";
	int fd = launch_open_key(&w->l);

	assert_int_equal(fd >= 0, given);
	if (!given)
		return;
	assert_int_equal(read(fd, text, sizeof(text)), strlen(key));
	assert_string_equal(text, key);
	(void)close(fd);
}

static void checked(struct world *w, int code, const char *said)
{
	assert_int_equal(launch_check_key(&w->l), code);
	assert_int_equal(fflush(w->cli.err), 0);
	if (said && !strstr(w->err, said))
		fail_msg("'%s' is not in '%s'", said, w->err);
}

static void with_a_passphrase_there_is_no_file(void **state)
{
	struct world *w = *state;

	(void)put(w, "keyvault/root.key", key, 0644);
	configure(w, "passphrase", NULL);
	checked(w, CLI_DONE, NULL);
	expect_given(w, false);
}

static void a_key_of_ours_may_be_yet_to_come(void **state)
{
	struct world *w = *state;

	configure(w, "key_file", NULL);
	checked(w, CLI_DONE, NULL);
	expect_given(w, false);
	(void)put(w, "keyvault/root.key", key, 0600);
	checked(w, CLI_DONE, NULL);
	expect_given(w, true);
	assert_int_equal(chmod(w->path, 0644), 0); /* and not be open to others */
	checked(w, CLI_FAILED, "the root key: ");
	expect_given(w, false);
}

static void a_key_of_yours_must_be_there(void **state)
{
	struct world *w = *state;
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/yours", w->folder);
	configure(w, "key_file", path);
	checked(w, CLI_FAILED, path);
	expect_given(w, false);
	(void)put(w, "yours", "", 0600);
	checked(w, CLI_FAILED, path);
	(void)put(w, "yours", key, 0600);
	checked(w, CLI_DONE, NULL);
	expect_given(w, true);
	assert_int_equal(chmod(path, 0640), 0);
	if (chown(path, geteuid(), 12345)) /* only root can */
		return;
	checked(w, CLI_FAILED, "the root key: ");
}

static void a_credential_is_systemds(void **state)
{
	struct world *w = *state;

	configure(w, "credential", NULL);
	checked(w, CLI_FAILED, "$CREDENTIALS_DIRECTORY is not set");
	(void)put(w, "bulkhead.root", key, 0400);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", w->folder, 1), 0);
	checked(w, CLI_DONE, NULL);
	expect_given(w, true);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", w->folder + 1, 1), 0); /* not from the root */
	checked(w, CLI_FAILED, "$CREDENTIALS_DIRECTORY is not set");
	expect_given(w, false);
}

static void a_sealed_vault_stays_sealed_over_a_death_of_the_core(void **state)
{
	struct world *w = *state;

	configure(w, "key_file", NULL);
	(void)put(w, "keyvault/root.key", key, 0600);
	assert_int_equal(root_source_mark(&w->cli), 0);
	expect_given(w, false);
	w->l.n_children = 1; /* a launcher without a core leaves another's mark alone */
	launch_forget_seal(&w->l);
	expect_given(w, false);
	w->l.n_children = 2;
	launch_forget_seal(&w->l);
	expect_given(w, true);
	launch_forget_seal(&w->l);
	assert_int_equal(fflush(w->cli.err), 0);
	assert_int_equal(w->err_len, 0);
}

static void a_launcher_without_a_core_needs_no_key(void **state)
{
	struct world *w = *state;

	configure(w, "key_file", "/nowhere");
	checked(w, CLI_FAILED, "/nowhere");
	w->l.n_children = 1;
	checked(w, CLI_DONE, NULL);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(with_a_passphrase_there_is_no_file),
		TEST(a_key_of_ours_may_be_yet_to_come),
		TEST(a_key_of_yours_must_be_there),
		TEST(a_credential_is_systemds),
		TEST(a_sealed_vault_stays_sealed_over_a_death_of_the_core),
		TEST(a_launcher_without_a_core_needs_no_key),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("launch_key", tests, NULL, NULL);
}
