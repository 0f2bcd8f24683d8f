/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `vault restore` reads and sends, and what it says instead of sending: files are real, a person at a terminal and
 * the core are not.
 */
#include "cli/vault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ"

struct world {
	struct cli cli;
	char folder[32], paths[4][64];
	char *err;
	size_t err_len;
	/* the person */
	const char *const *types;
	size_t n_typed;
	char asked[1024];
	/* the core */
	bool has_root;
	unsigned sent;
	char identity[256], backup[64], shares[512], passphrase[32];
	unsigned n_shares;
	bool key_file;
};

/* The stand-ins get the command's context, which is the world's first member. */

static struct world *world_of(const struct cli *cli)
{
	return (struct world *)(uintptr_t)cli;
}

bool __wrap_locked_asks(void);
static bool terminal;
bool __wrap_locked_asks(void)
{
	return terminal;
}

int __wrap_cli_config(struct cli *cli);
int __wrap_cli_config(struct cli *cli)
{
	(void)cli;
	return CLI_DONE;
}

int __real_locked_read(const struct cli *cli, const char *what, const char *prompt, const char *file, size_t max,
		       struct locked *ret);
int __wrap_locked_read(const struct cli *cli, const char *what, const char *prompt, const char *file, size_t max,
		       struct locked *ret);
int __wrap_locked_read(const struct cli *cli, const char *what, const char *prompt, const char *file, size_t max,
		       struct locked *ret)
{
	struct world *w = world_of(cli);

	if (file)
		return __real_locked_read(cli, what, prompt, file, max, ret);
	strcat(strcat(w->asked, prompt), "|");
	const char *text = w->types[w->n_typed++];
	if (!text)
		return CLI_FAILED;
	assert_int_equal(locked_new(cli, max + 1, ret), CLI_DONE);
	ret->len = strlen(text);
	memcpy(ret->p, text, ret->len);
	return CLI_DONE;
}

int __wrap_vault_new_passphrase(struct cli *cli, struct locked *ret);
int __wrap_vault_new_passphrase(struct cli *cli, struct locked *ret)
{
	assert_int_equal(locked_new(cli, 32, ret), CLI_DONE);
	memcpy(ret->p, "phrase", ret->len = 6);
	return CLI_DONE;
}

int __wrap_vault_open_key_file(struct cli *cli, int *ret_fd);
int __wrap_vault_open_key_file(struct cli *cli, int *ret_fd)
{
	*ret_fd = open(cli_option(cli, "--key-file"), O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? cli_fail(cli, "no such key") : CLI_DONE;
}

int __wrap_vault_check_fresh(struct cli *cli);
int __wrap_vault_check_fresh(struct cli *cli)
{
	return world_of(cli)->has_root ? cli_fail(cli, "there is one already") : CLI_DONE;
}

static void copy(char *to, size_t cap, struct span s)
{
	assert_true(s.len < cap);
	(void)snprintf(to, cap, "%.*s", SPAN_ARG(s));
}

int __wrap_vault_send(struct cli *cli, enum proto_type type, const void *msg, int fd, const char *done);
int __wrap_vault_send(struct cli *cli, enum proto_type type, const void *msg, int fd, const char *done)
{
	const struct proto_vault_restore *m = msg;
	struct proto_list shares = m->shares;
	struct proto_share share;
	struct world *w = world_of(cli);

	assert_int_equal(type, PROTO_VAULT_RESTORE);
	assert_non_null(done);
	w->sent++;
	copy(w->identity, sizeof(w->identity), m->identity);
	copy(w->backup, sizeof(w->backup), m->backup);
	copy(w->passphrase, sizeof(w->passphrase), m->passphrase);
	w->key_file = m->key_file;
	assert_int_equal(fd >= 0, m->key_file);
	w->n_shares = 0;
	w->shares[0] = 0;
	while (proto_share_next(&shares, &share)) {
		(void)snprintf(w->shares + strlen(w->shares), sizeof(w->shares) - strlen(w->shares), "%.*s|",
			       SPAN_ARG(share.text));
		w->n_shares++;
	}
	return CLI_DONE;
}

/* ---- the world ---- */

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->folder, "/tmp/restore-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	for (size_t i = 0; i < ARRAY_LEN(w->paths); i++)
		(void)snprintf(w->paths[i], sizeof(w->paths[i]), "%s/%zu", w->folder, i);
	for (size_t i = 0; i < cli_n_commands; i++)
		if (strcmp(cli_commands[i].words, "vault restore") == 0)
			w->cli.command = &cli_commands[i];
	assert_non_null(w->cli.command);
	w->cli.err = w->cli.out = open_memstream(&w->err, &w->err_len);
	terminal = true;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	(void)fclose(w->cli.err);
	free(w->err);
	for (size_t i = 0; i < ARRAY_LEN(w->paths); i++)
		(void)unlink(w->paths[i]);
	assert_int_equal(rmdir(w->folder), 0);
	free(w);
	return 0;
}

static void option(struct world *w, const char *name, const char *value)
{
	for (size_t i = 0; i < CLI_OPTIONS_MAX; i++)
		if (w->cli.command->options[i].name && strcmp(w->cli.command->options[i].name, name) == 0)
			w->cli.options[i] = value;
}

static const char *put(struct world *w, size_t i, const void *bytes, size_t len)
{
	int fd = open(w->paths[i], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, bytes, len), len);
	(void)close(fd);
	return w->paths[i];
}

static const char *put_text(struct world *w, size_t i, const char *text)
{
	return put(w, i, text, strlen(text));
}

static void expect(struct world *w, int code, const char *said)
{
	w->sent = 0;
	assert_int_equal(cmd_vault_restore(&w->cli), code);
	assert_int_equal(w->sent, code == CLI_DONE);
	assert_int_equal(fflush(w->cli.err), 0);
	if (said && !strstr(w->err, said))
		fail_msg("'%s' is not in '%s'", said, w->err);
	assert_int_equal(fseek(w->cli.err, 0, SEEK_SET), 0);
}

/* ---- tests ---- */

static void exactly_one_way(void **state)
{
	struct world *w = *state;

	expect(w, CLI_USAGE, "say one of");
	option(w, "--shares", "");
	option(w, "--age", "x");
	expect(w, CLI_USAGE, "say one of");
	option(w, "--key-file", "x");
	expect(w, CLI_USAGE, "say one of");
	option(w, "--age", NULL);
	expect(w, CLI_USAGE, "say one of");
}

static void as_many_shares_as_the_first_one_says(void **state)
{
	static const struct {
		const char *first;
		unsigned needed; /* 0: no share */
	} rows[] = {
		{"bhshare1qvrest", 3},  {"BHSHARE1QVREST", 3}, {"bh-share 1q v rest", 3}, {"bhshare1qgrest", 2},
		{"bhshare1zqrest", 16}, {"bhshare1zyrest", 0}, /* 17 */
		{"bhshare1qyrest", 0},                         /* 1 */
		{"bhshare1qqrest", 0},  {"bhshare1qbrest", 0}, /* not in the alphabet */
		{"bhshare2qvrest", 0},  {"xhshare1qvrest", 0}, {"bhshare1q", 0},          {"", 0},
	};
	const char *typed[20];
	struct world *w = *state;

	option(w, "--shares", "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < ARRAY_LEN(typed); k++)
			typed[k] = rows[i].first;
		w->types = typed;
		w->n_typed = 0;
		w->asked[0] = 0;
		expect(w, rows[i].needed ? CLI_DONE : CLI_FAILED, rows[i].needed ? NULL : "that is not a share");
		assert_int_equal(w->n_typed, rows[i].needed ? rows[i].needed : 1);
		if (rows[i].needed)
			assert_int_equal(w->n_shares, rows[i].needed);
		if (rows[i].needed == 3)
			assert_string_equal(w->asked, "A share (not shown)|Share 2 of 3 (not shown)|"
						      "Share 3 of 3 (not shown)|");
	}
	assert_string_equal(w->passphrase, "phrase");
}

static void shares_from_files(void **state)
{
	struct world *w = *state;

	option(w, "--shares", "");
	terminal = false;
	expect(w, CLI_FAILED, "shares are typed on a terminal, or named as files");
	w->cli.args[0] = put_text(w, 0, "bhshare1first\n");
	w->cli.args[1] = put_text(w, 1, "bhshare1second\n");
	w->cli.n_args = 2;
	expect(w, CLI_DONE, NULL);
	assert_string_equal(w->shares, "bhshare1first|bhshare1second|");
	w->cli.args[1] = "/nowhere";
	expect(w, CLI_FAILED, "/nowhere");
}

static void a_person_who_gives_up_sends_nothing(void **state)
{
	static const char *const typed[] = {"bhshare1qvrest", NULL};
	struct world *w = *state;

	option(w, "--shares", "");
	w->types = typed;
	expect(w, CLI_FAILED, NULL);
	assert_int_equal(w->n_typed, 2);
}

static void the_last_identity_of_the_file_counts(void **state)
{
	static const struct {
		const char *text, *identity; /* NULL: there is none */
	} rows[] = {
		{"# created: 2026\n# public key: age1qqq\n" ID "\n", ID},
		{ID, ID},
		{ID "\r\n", ID},
		{"AGE-SECRET-KEY-1FIRST-AND-OLDER\n" ID "\n\n# end\n", ID},
		{"# AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQ\n", NULL},
		{"", NULL},
		{"0123456789abcdef\n", NULL}, /* 16: too short to be one */
		{"0123456789abcdefg\n", "0123456789abcdefg"},
	};
	struct world *w = *state;
	char line[130];

	w->cli.args[0] = put_text(w, 0, "sealed");
	w->cli.n_args = 1;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		option(w, "--age", put_text(w, 1, rows[i].text));
		expect(w, rows[i].identity ? CLI_DONE : CLI_FAILED,
		       rows[i].identity ? NULL : "no AGE-SECRET-KEY-1... in it");
		if (rows[i].identity)
			assert_string_equal(w->identity, rows[i].identity);
		if (rows[i].identity)
			assert_string_equal(w->backup, "sealed");
	}
	memset(line, 'x', sizeof(line));
	option(w, "--age", put(w, 1, line, 128));
	expect(w, CLI_DONE, NULL);
	assert_int_equal(strlen(w->identity), 128);
	option(w, "--age", put(w, 1, line, 129));
	expect(w, CLI_FAILED, "no AGE-SECRET-KEY");
}

static void what_cannot_be_a_copy(void **state)
{
	struct world *w = *state;
	static char big[8192];

	option(w, "--age", put_text(w, 1, ID "\n"));
	expect(w, CLI_USAGE, "needs one FILE");
	w->cli.n_args = 2;
	expect(w, CLI_USAGE, "needs one FILE");
	w->cli.n_args = 1;
	w->cli.args[0] = put_text(w, 0, "");
	expect(w, CLI_FAILED, "not a copy of a root key");
	w->cli.args[0] = put(w, 0, big, sizeof(big));
	expect(w, CLI_FAILED, "not a copy of a root key");
	w->cli.args[0] = put(w, 0, big, sizeof(big) - 1);
	option(w, "--age", "/nowhere/at/all");
	expect(w, CLI_FAILED, "/nowhere/at/all: No such file");
	w->cli.args[0] = "/nowhere";
	expect(w, CLI_FAILED, "/nowhere: No such file");
	w->cli.args[0] = w->folder;
	expect(w, CLI_FAILED, "Is a directory");
}

/* Five keepers, one after the other, for nothing. */
static void nobody_is_asked_where_there_is_a_root_key(void **state)
{
	static const char *const types[] = {"bhshare1qgrest", "another"};
	struct world *w = *state;

	w->types = types;
	w->has_root = true;
	expect(w, CLI_USAGE, "say one of");
	option(w, "--shares", "");
	expect(w, CLI_FAILED, "there is one already");
	assert_string_equal(w->asked, "");
	w->has_root = false;
	expect(w, CLI_DONE, NULL);
	assert_int_equal(w->n_shares, 2);
}

/* `vault restore --age <(...) <(...)`: a pipe gives what is in it, and the rest comes later. */
static pid_t write_in_pieces(const char *path, const char *text)
{
	size_t half = strlen(text) / 2;
	int left = 1, fd;

	(void)unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	(void)alarm(60); /* where nobody reads */
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, half) != (ssize_t)half)
		_exit(1);
	while (left > 0)
		if (ioctl(fd, FIONREAD, &left) || sched_yield())
			_exit(1);
	_exit(write(fd, text + half, strlen(text) - half) < 0);
}

static void what_comes_through_a_pipe_is_read_to_its_end(void **state)
{
	struct world *w = *state;

	w->cli.args[0] = w->paths[0];
	w->cli.n_args = 1;
	option(w, "--age", w->paths[1]);
	pid_t copy_by = write_in_pieces(w->paths[0], "sealed in two halves");
	pid_t identity_by = write_in_pieces(w->paths[1], "# created by age-keygen, and then\n" ID "\n");
	expect(w, CLI_DONE, NULL);
	assert_string_equal(w->backup, "sealed in two halves");
	assert_string_equal(w->identity, ID);
	assert_int_equal(waitpid(copy_by, NULL, 0), copy_by);
	assert_int_equal(waitpid(identity_by, NULL, 0), identity_by);
}

static void a_key_file_goes_as_a_descriptor(void **state)
{
	struct world *w = *state;

	option(w, "--key-file", put_text(w, 0, "the key"));
	expect(w, CLI_DONE, NULL);
	assert_true(w->key_file);
	w->cli.n_args = 1;
	w->cli.args[0] = "more";
	expect(w, CLI_USAGE, "takes no FILE");
	w->cli.n_args = 0;
	option(w, "--key-file", "/nowhere");
	expect(w, CLI_FAILED, "no such key");
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(exactly_one_way),
		TEST(as_many_shares_as_the_first_one_says),
		TEST(shares_from_files),
		TEST(a_person_who_gives_up_sends_nothing),
		TEST(the_last_identity_of_the_file_counts),
		TEST(what_cannot_be_a_copy),
		TEST(nobody_is_asked_where_there_is_a_root_key),
		TEST(what_comes_through_a_pipe_is_read_to_its_end),
		TEST(a_key_file_goes_as_a_descriptor),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
