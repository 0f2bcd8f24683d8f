/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of one watched file: when it is due, how long a failure lasts, and what is news. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/source.h"

#define NOW UINT64_C(1000000)

struct world {
	struct source_file file;
	char path[32];
	char why[KEY_FILE_WHY_BYTES];
};

/* The fake has no context to be given. */
static const char *path_now; /* NULL: it is away */

int source_open(const struct cli *cli, size_t provider, int *ret_fd, char why[KEY_FILE_WHY_BYTES])
{
	(void)cli;
	assert_int_equal(provider, 3);
	(void)strcpy(why, "it is away");
	if (!path_now)
		return -ENOENT;
	*ret_fd = open(path_now, O_RDONLY | O_CLOEXEC);
	assert_true(*ret_fd >= 0);
	return 0;
}

static void write_new(struct world *w, const char *text)
{
	(void)unlink(w->path);
	FILE *f = fopen(w->path, "w");
	assert_non_null(f);
	(void)fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->file.provider = 3;
	(void)strcpy(w->path, "/tmp/source-XXXXXX");
	close(mkstemp(w->path));
	write_new(w, "one");
	path_now = w->path;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	(void)unlink(w->path);
	free(w);
	return 0;
}

static void look(struct world *w, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		assert_true(source_look(NULL, &w->file, w->why));
}

static void take(struct world *w, bool taken, uint64_t now_ms)
{
	source_begin(&w->file);
	source_end(&w->file, taken, now_ms);
}

static void the_same_twice_is_due_until_it_is_taken(void **state)
{
	struct world *w = *state;

	look(w, 1);
	assert_false(source_is_due(&w->file, NOW));
	look(w, 1);
	assert_true(source_is_due(&w->file, NOW));
	take(w, true, NOW);
	look(w, 2);
	assert_false(source_is_due(&w->file, NOW + SOURCE_RETRY_MS_MAX));
	write_new(w, "two");
	look(w, 1);
	assert_false(source_is_due(&w->file, NOW));
	look(w, 1);
	assert_true(source_is_due(&w->file, NOW));
}

static void one_that_was_away_must_be_the_same_twice_again(void **state)
{
	struct world *w = *state;

	look(w, 2);
	path_now = NULL;
	assert_false(source_look(NULL, &w->file, w->why));
	assert_string_equal(w->why, "it is away");
	assert_false(source_is_due(&w->file, NOW));
	path_now = w->path;
	look(w, 1);
	assert_false(source_is_due(&w->file, NOW));
	look(w, 1);
	assert_true(source_is_due(&w->file, NOW));
}

static void what_changes_under_the_taking_is_not_taken(void **state)
{
	struct world *w = *state;

	look(w, 2);
	source_begin(&w->file);
	write_new(w, "two");
	look(w, 2);
	source_end(&w->file, true, NOW);
	assert_true(source_is_due(&w->file, NOW));
}

static void pauses_double_and_end(void **state)
{
	struct world *w = *state;
	uint64_t now_ms = NOW;

	look(w, 2);
	for (uint64_t pause_ms = SOURCE_RETRY_MS; pause_ms < 4 * SOURCE_RETRY_MS_MAX; pause_ms *= 2) {
		uint64_t until_ms = now_ms + MIN(pause_ms, (uint64_t)SOURCE_RETRY_MS_MAX);
		take(w, false, now_ms);
		assert_false(source_is_due(&w->file, until_ms - 1));
		assert_true(source_is_due(&w->file, until_ms));
		now_ms = until_ms;
	}
	for (unsigned i = 0; i < 100; i++)
		take(w, false, now_ms); /* for ever */
	assert_true(source_is_due(&w->file, now_ms + SOURCE_RETRY_MS_MAX));
	take(w, true, now_ms);
	write_new(w, "two");
	look(w, 2);
	take(w, false, now_ms); /* from the beginning */
	assert_true(source_is_due(&w->file, now_ms + SOURCE_RETRY_MS));
}

static void a_change_and_a_hint_end_a_pause(void **state)
{
	struct world *w = *state;

	look(w, 2);
	take(w, false, NOW);
	assert_false(source_is_due(&w->file, 1));
	source_hurry(&w->file);
	assert_true(source_is_due(&w->file, 0));
	take(w, false, NOW);
	take(w, false, NOW);
	write_new(w, "two");
	look(w, 2);
	assert_true(source_is_due(&w->file, 0));
	take(w, false, NOW);
	assert_true(source_is_due(&w->file, NOW + SOURCE_RETRY_MS));
}

static void news_is_told_once(void **state)
{
	struct world *w = *state;
	char text[1000], other[1000];

	look(w, 2);
	assert_true(source_is_news(&w->file, "a"));
	assert_false(source_is_news(&w->file, "a"));
	assert_true(source_is_news(&w->file, "b"));
	assert_true(source_is_news(&w->file, "a"));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	(void)strcpy(other, text);
	assert_true(source_is_news(&w->file, text));
	assert_false(source_is_news(&w->file, text)); /* longer than what is kept of it */
	other[254] = 'y';
	assert_true(source_is_news(&w->file, other));
	look(w, 1);
	assert_false(source_is_news(&w->file, other));
	write_new(w, "two"); /* another file: said again */
	look(w, 1);
	assert_true(source_is_news(&w->file, other));
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_same_twice_is_due_until_it_is_taken),
		TEST(one_that_was_away_must_be_the_same_twice_again),
		TEST(what_changes_under_the_taking_is_not_taken),
		TEST(pauses_double_and_end),
		TEST(a_change_and_a_hint_end_a_pause),
		TEST(news_is_told_once),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("source_file", tests, NULL, NULL);
}
