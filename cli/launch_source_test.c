/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with provider keys, real ones, in a folder of the test's: when each is taken, by whom, and how often that is
 * tried. The command that takes one is no process here, and time is the test's.
 */
#include "cli/launch_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config_tree.h"

struct world {
	struct launcher l;
	struct cli cli;
	uv_timer_t *tick;
	char folder[32];
};

/* The wrappers have no context to be given. */
static struct {
	unsigned begun, killed;
	char provider[32], config[64];
	int refuse;
	uv_process_t *process;
	uv_exit_cb exit_cb;
	uv_close_cb close_cb;
} child;
static uint64_t clock_ms;
static struct {
	unsigned n;
	char provider[32], why[128];
} told;

void __wrap_log_event_fields(const struct log *log, enum log_id id, const struct log_field *fields, size_t n);
void __wrap_log_event_fields(const struct log *log, enum log_id id, const struct log_field *fields, size_t n)
{
	(void)log;
	assert_int_equal(id, LOG_SOURCE_KEPT);
	assert_int_equal(n, 3); /* the first one is a placeholder */
	told.n++;
	(void)snprintf(told.provider, sizeof(told.provider), "%s", fields[1].str);
	(void)snprintf(told.why, sizeof(told.why), "%s", fields[2].str);
}

int __wrap_uv_spawn(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *o);
int __wrap_uv_spawn(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *o)
{
	(void)loop;
	assert_string_equal(o->file, "/proc/self/exe");
	assert_string_equal(o->args[1], "vault");
	assert_string_equal(o->args[2], "sync");
	assert_string_equal(o->args[4], "-c");
	assert_null(o->args[6]);
	(void)snprintf(child.provider, sizeof(child.provider), "%s", o->args[3]);
	(void)snprintf(child.config, sizeof(child.config), "%s", o->args[5]);
	child.begun++;
	child.process = process;
	child.exit_cb = o->exit_cb;
	return child.refuse;
}

int __wrap_uv_process_kill(uv_process_t *process, int signum);
int __wrap_uv_process_kill(uv_process_t *process, int signum)
{
	assert_ptr_equal(process, child.process);
	assert_int_equal(signum, SIGKILL);
	child.killed++;
	return 0;
}

void __real_uv_close(uv_handle_t *handle, uv_close_cb close_cb);
void __wrap_uv_close(uv_handle_t *handle, uv_close_cb close_cb);
void __wrap_uv_close(uv_handle_t *handle, uv_close_cb close_cb)
{
	if (child.process && handle == (uv_handle_t *)child.process)
		child.close_cb = close_cb;
	else
		__real_uv_close(handle, close_cb);
}

int __real_uv_is_active(const uv_handle_t *handle);
int __wrap_uv_is_active(const uv_handle_t *handle);
int __wrap_uv_is_active(const uv_handle_t *handle)
{
	return handle == (const uv_handle_t *)child.process ? child.exit_cb != NULL : __real_uv_is_active(handle);
}

uint64_t __wrap_uv_now(const uv_loop_t *loop);
uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
	(void)loop;
	return clock_ms;
}

int __real_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
	assert_int_equal(timeout, 1000);
	assert_int_equal(repeat, 1000);
	return __real_uv_timer_start(timer, cb, timeout, repeat);
}

/* ---- the world ---- */

static void put_file(struct world *w, const char *name, const char *text)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", w->folder, name);
	(void)unlink(path);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(chmod(path, 0600), 0);
	(void)fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void on_handle(uv_handle_t *handle, void *arg)
{
	struct world *w = arg;

	if (handle->type == UV_TIMER)
		w->tick = (uv_timer_t *)handle;
}

static int setup(void **state)
{
	static char *nothing[] = {NULL};
	struct world *w = calloc(1, sizeof(*w));
	char yaml[512];

	memset(&child, 0, sizeof(child));
	memset(&told, 0, sizeof(told));
	clock_ms = 100000;
	strcpy(w->folder, "/tmp/source-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	w->cli.err = w->cli.out = stderr;
	w->l = (struct launcher){.cli = &w->cli, .whole = true, .vault_open = true};
	w->l.log = (struct log){.daemon = "test", .level = LOG_LEVEL_ERROR + 1};
	assert_int_equal(uv_loop_init(&w->l.loop), 0);
	assert_int_equal(config_tree_new("/etc/b.yaml", w->folder, &w->cli.config), 0);
	(void)snprintf(yaml, sizeof(yaml),
		       "providers: [{ name: one, base_url: 'https://b.test', key_file: %s/one },"
		       " { name: plain, base_url: 'https://a.test' },"
		       " { name: two, base_url: 'https://c.test', key_file: %s/two }]",
		       w->folder, w->folder);
	assert_int_equal(config_yaml(w->cli.config, span_str(yaml)), 0);
	assert_int_equal(config_env(w->cli.config, nothing), 0);
	assert_int_equal(config_complete(w->cli.config), 0);
	put_file(w, "one", "sk-one-0123456789\n");
	assert_int_equal(launch_sources_start(&w->l), CLI_DONE);
	assert_non_null(w->l.sources);
	uv_walk(&w->l.loop, on_handle, w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char command[64];

	launch_sources_stop(&w->l);
	__real_uv_close((uv_handle_t *)w->tick, NULL);
	(void)uv_run(&w->l.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->l.loop), 0);
	launch_sources_free(&w->l);
	w->cli.config = config_tree_free(w->cli.config);
	(void)snprintf(command, sizeof(command), "rm -rf %s", w->folder);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

/* A second passes. */
static void tick(struct world *w)
{
	clock_ms += 1000;
	w->tick->timer_cb(w->tick);
}

static void ends(int64_t status, int signum)
{
	uv_exit_cb cb = TAKE(child.exit_cb);

	assert_non_null(cb);
	cb(child.process, status, signum);
	child.close_cb((uv_handle_t *)child.process);
}

/* Two looks, and the command for `one` runs. */
static void take_one(struct world *w)
{
	unsigned before = child.begun;

	tick(w);
	tick(w);
	assert_int_equal(child.begun, before + 1);
	assert_string_equal(child.provider, "one");
	assert_string_equal(child.config, "/etc/b.yaml");
}

/* ---- tests ---- */

static void a_file_is_taken_when_it_was_the_same_twice(void **state)
{
	struct world *w = *state;

	tick(w);
	assert_int_equal(child.begun, 0);
	put_file(w, "one", "sk-one-9876543210\n"); /* still being written */
	tick(w);
	assert_int_equal(child.begun, 0);
	tick(w);
	assert_int_equal(child.begun, 1);
	tick(w);
	assert_int_equal(child.begun, 1); /* it runs */
	ends(0, 0);
	tick(w);
	tick(w);
	assert_int_equal(child.begun, 1);
	put_file(w, "one", "sk-one-5555555555\n");
	take_one(w);
}

static void what_changes_while_it_is_taken_is_taken_again(void **state)
{
	struct world *w = *state;

	take_one(w);
	put_file(w, "one", "sk-one-5555555555\n"); /* the command has read the one before, perhaps */
	tick(w);
	tick(w);
	ends(0, 0);
	tick(w);
	assert_int_equal(child.begun, 2);
	ends(0, 0);
	tick(w);
	assert_int_equal(child.begun, 2);
}

static void one_after_another(void **state)
{
	struct world *w = *state;

	put_file(w, "two", "sk-two-0123456789\n");
	take_one(w);
	tick(w);
	assert_int_equal(child.begun, 1);
	ends(0, 0);
	tick(w);
	assert_int_equal(child.begun, 2);
	assert_string_equal(child.provider, "two");
	ends(1, 0);
	tick(w);
	assert_int_equal(child.begun, 2); /* it is this one that failed, and waits */
	tick(w);
	assert_int_equal(child.begun, 3);
	assert_string_equal(child.provider, "two");
}

/* The command for `one` has failed so often: it runs again after so many seconds, and not before. */
static void fails_and_waits(struct world *w, unsigned wait_s)
{
	unsigned before = child.begun;

	if (before % 2)
		ends(1, 0);
	else
		ends(0, SIGKILL); /* a command that was killed has done nothing */
	for (unsigned s = 1; s < wait_s; s++)
		tick(w);
	assert_int_equal(child.begun, before);
	tick(w);
	assert_int_equal(child.begun, before + 1);
}

static void what_fails_is_tried_again_more_and_more_rarely(void **state)
{
	struct world *w = *state;

	take_one(w);
	for (unsigned wait_s = 2; wait_s < 600; wait_s *= 2)
		fails_and_waits(w, wait_s);
	fails_and_waits(w, 600);
	fails_and_waits(w, 600);
	ends(0, 0);
	for (int s = 0; s < 1000; s++)
		tick(w);
	assert_int_equal(child.begun, 12);
	put_file(w, "one", "sk-one-5555555555\n");
	take_one(w);
	fails_and_waits(w, 2); /* and from the beginning */
}

static void what_failed_is_tried_at_once_when_something_changes(void **state)
{
	struct world *w = *state;

	take_one(w);
	fails_and_waits(w, 2);
	fails_and_waits(w, 4);
	ends(1, 0);
	tick(w);
	launch_sources_heard(&w->l, true); /* it was open all the time */
	tick(w);
	assert_int_equal(child.begun, 3);
	launch_sources_heard(&w->l, false);
	tick(w);
	launch_sources_heard(&w->l, true); /* the vault has opened: perhaps that was it */
	tick(w);
	assert_int_equal(child.begun, 4);
	ends(1, 0);
	put_file(w, "one", "sk-one-5555555555\n");
	take_one(w); /* another file: at once */
}

static void what_fails_for_the_third_time_is_told_once(void **state)
{
	struct world *w = *state;

	take_one(w);
	for (unsigned wait_s = 2; wait_s <= 4; wait_s *= 2)
		fails_and_waits(w, wait_s);
	told.n = 0; /* `two` is not there */
	fails_and_waits(w, 8);
	assert_int_equal(told.n, 1);
	assert_string_equal(told.provider, "one");
	assert_non_null(strstr(told.why, "not taken"));
	fails_and_waits(w, 16);
	assert_int_equal(told.n, 1);
}

static void nothing_is_taken_while_the_vault_is_sealed(void **state)
{
	struct world *w = *state;

	launch_sources_heard(&w->l, false);
	for (int s = 0; s < 5; s++)
		tick(w);
	assert_int_equal(child.begun, 0);
	launch_sources_heard(&w->l, true);
	tick(w);
	assert_int_equal(child.begun, 1);
}

static void a_file_that_goes_or_is_open_to_others_changes_nothing(void **state)
{
	struct world *w = *state;
	char path[64];

	take_one(w);
	ends(0, 0);
	(void)snprintf(path, sizeof(path), "%s/one", w->folder);
	assert_int_equal(chmod(path, 0644), 0);
	tick(w);
	tick(w);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(unlink(path), 0);
	tick(w);
	tick(w);
	assert_int_equal(child.begun, 1);
	put_file(w, "one", "sk-one-5555555555\n");
	tick(w);
	assert_int_equal(child.begun, 1); /* seen once */
	tick(w);
	assert_int_equal(child.begun, 2);
}

static void a_command_that_hangs_is_killed(void **state)
{
	struct world *w = *state;

	take_one(w);
	for (int s = 0; s < 59; s++)
		tick(w);
	assert_int_equal(child.killed, 0);
	tick(w);
	assert_int_equal(child.killed, 1);
	ends(0, SIGKILL);
	launch_sources_stop(&w->l);
	assert_int_equal(child.killed, 1); /* it has ended */
}

static void a_running_command_ends_with_the_launcher(void **state)
{
	struct world *w = *state;

	take_one(w);
	launch_sources_stop(&w->l);
	assert_int_equal(child.killed, 1);
	assert_false(__real_uv_is_active((uv_handle_t *)w->tick));
	ends(0, SIGKILL);
}

static void one_daemon_alone_watches_nothing(void **state)
{
	struct world *w = *state;
	struct launcher l = {.cli = &w->cli};

	assert_int_equal(launch_sources_start(&l), CLI_DONE);
	assert_null(l.sources);
	launch_sources_heard(&l, true);
	launch_sources_stop(&l);
	launch_sources_free(&l);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_taken_when_it_was_the_same_twice),
		TEST(what_changes_while_it_is_taken_is_taken_again),
		TEST(one_after_another),
		TEST(what_fails_is_tried_again_more_and_more_rarely),
		TEST(what_failed_is_tried_at_once_when_something_changes),
		TEST(what_fails_for_the_third_time_is_told_once),
		TEST(nothing_is_taken_while_the_vault_is_sealed),
		TEST(a_file_that_goes_or_is_open_to_others_changes_nothing),
		TEST(a_command_that_hangs_is_killed),
		TEST(a_running_command_ends_with_the_launcher),
		TEST(one_daemon_alone_watches_nothing),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("launch_source", tests, NULL, NULL);
}
