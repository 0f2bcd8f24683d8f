/* SPDX-License-Identifier: Apache-2.0 */
/* Two operators ask for the same at once: each gets an answer. When nothing is to be moved, it is made sure that what
 * was is in no file. A clock that leaps takes nobody's keys along. What waits for the log, and the keys that go, are
 * stand-ins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "authd/admin_operation.h"

#define NOW_MS UINT64_C(1700000000000)
#define DAY_MS UINT64_C(86400000)

struct world {
	struct authd a; /* first */
	struct operation ops[2];
	unsigned n_ops, steps, syncs;
	bool moved;         /* all that was to be */
	uint32_t kept_from; /* the day to which they have moved */
	uint64_t ahead_ms;  /* the wall clock is */
	int sync_says;
	char said[64];
};

/* ---- stand-ins; a connection is a letter of `said` ---- */

static void say(struct ipc_conn *conn, const char *what)
{
	struct world *w = ((struct operation *)(void *)conn)->authd->daemon.ctx;
	size_t at = strlen(w->said);

	(void)snprintf(w->said + at, sizeof(w->said) - at, "%d:%s ", (int)((struct operation *)(void *)conn - w->ops),
		       what);
}

int admin_done(struct ipc_conn *conn, uint64_t id, const char *text)
{
	(void)id, (void)text;
	say(conn, "done");
	return 0;
}

int admin_refuse(struct ipc_conn *conn, uint64_t id, const char *reason, const char *text)
{
	(void)id, (void)text;
	say(conn, reason);
	return 0;
}

int admin_refuse_store(struct ipc_conn *conn, uint64_t id, int e)
{
	assert_int_equal(e, STORE_E_GONE);
	return admin_refuse(conn, id, "store", "");
}

int admin_refuse_busy(struct ipc_conn *conn, uint64_t id)
{
	return admin_refuse(conn, id, "busy", "");
}

struct operation *operation_new(struct authd *a, struct ipc_conn *conn, uint64_t id,
				int (*effect)(struct operation *op))
{
	struct world *w = (struct world *)a;
	struct operation *op = &w->ops[w->n_ops++];

	*op = (struct operation){.authd = a, .conn = conn, .id = id, .effect = effect};
	return op;
}

int operation_start(struct operation *op, const struct proto_event *what)
{
	(void)op;
	assert_int_equal(what->code, EVENT_AUDIT_EXPIRE);
	return 0;
}

struct authorize_now authd_now(const struct authd *a)
{
	return (struct authorize_now){.unix_ms = NOW_MS + ((const struct world *)(const void *)a)->ahead_ms};
}

void daemon_stop(struct daemon *d)
{
	(void)d;
	fail();
}

int store_subjects_before(struct store *s, uint32_t day, struct span after, struct store_subject *subjects, size_t cap,
			  size_t *ret_n)
{
	const struct world *w = (struct world *)(void *)s;

	(void)after, (void)subjects, (void)cap;
	*ret_n = !w->moved && day > w->kept_from;
	return 0;
}

int store_credential_sync(struct store *s)
{
	struct world *w = (struct world *)(void *)s;

	w->syncs++;
	return w->sync_says;
}

int subjects_expire(struct subjects *s, uint32_t day, char cursor[STORE_SUBJECT_BYTES], size_t *ret_n, bool *ret_done)
{
	struct world *w = (struct world *)(void *)s;

	(void)day, (void)cursor;
	*ret_n = 1;
	*ret_done = ++w->steps == 3;
	return 0;
}

const char *subjects_err_text(int e)
{
	(void)e;
	return "";
}

/* ---- tests ---- */

static void test_two_at_once(void **state)
{
	struct world w = {.a = {.subjects = (struct subjects *)(void *)&w, .store = (struct store *)(void *)&w}};
	uint8_t pepper;

	(void)state;
	w.a.daemon.ctx = &w;
	w.a.authorize.pepper = (struct secret){&pepper, 1};
	assert_int_equal(uv_loop_init(&w.a.daemon.loop), 0);
	expiry_start(&w.a);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(admin_audit_expire(&w.a, (struct ipc_conn *)(void *)&w.ops[i], 5, NULL, -1), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(w.ops[i].effect(&w.ops[i]), 0);
	while (w.a.expiry.running)
		(void)uv_run(&w.a.daemon.loop, UV_RUN_ONCE);
	assert_string_equal(w.said, "1:busy 0:done ");
	assert_int_equal(w.steps, 3);
	expiry_stop(&w.a);
	(void)uv_run(&w.a.daemon.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w.a.daemon.loop), 0);
}

/* Whoever moved it may have been killed, or the disk have failed, before the files were cleaned. */
static void test_what_was_moved_is_in_no_file(void **state)
{
	struct world w = {.a = {.store = (struct store *)(void *)&w}, .moved = true};
	uint8_t pepper;

	(void)state;
	w.a.daemon.ctx = &w;
	w.a.authorize.pepper = (struct secret){&pepper, 1};
	w.ops[0] = (struct operation){.authd = &w.a};
	for (unsigned asked = 0; asked < 2; asked++) {
		w.sync_says = asked ? 0 : STORE_E_GONE;
		assert_int_equal(admin_audit_expire(&w.a, (struct ipc_conn *)(void *)&w.ops[0], 5, NULL, -1), 0);
	}
	assert_string_equal(w.said, "0:store 0:done ");
	assert_true(w.syncs == 2 && w.n_ops == 0);
}

/* What has moved on does not come back: a clock that is set right within the day has done no harm. */
static void test_a_clock_that_is_set_ahead(void **state)
{
	struct world w = {.a = {.store = (struct store *)(void *)&w}, .kept_from = NOW_MS / DAY_MS - 90};
	struct ipc_conn *conn = (struct ipc_conn *)(void *)&w.ops[1];
	uint8_t pepper;

	(void)state;
	w.a.daemon.ctx = &w;
	w.a.authorize.pepper = (struct secret){&pepper, 1};
	w.ops[1] = (struct operation){.authd = &w.a};
	assert_int_equal(uv_loop_init(&w.a.daemon.loop), 0);
	expiry_start(&w.a);
	w.ahead_ms = 3650 * DAY_MS;
	assert_int_equal(admin_audit_expire(&w.a, conn, 5, NULL, -1), 0);
	assert_int_equal(w.n_ops, 0);
	w.ahead_ms = 0;
	w.kept_from--;
	assert_int_equal(admin_audit_expire(&w.a, conn, 5, NULL, -1), 0);
	assert_int_equal(w.n_ops, 1);
	assert_int_equal(w.a.expiry.day, NOW_MS / DAY_MS - 90);
	expiry_stop(&w.a);
	(void)uv_run(&w.a.daemon.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w.a.daemon.loop), 0);
}

static void test_which_clock_is_believed(void **state)
{
	struct expiry_clock c = {.began_ms = NOW_MS};
	static const struct {
		uint64_t steady_ms, ahead_ms, believed_ms;
	} looks[] = {
		{1, 0, 0},
		{DAY_MS, 1000, 1000}, /* drifts */
		{2 * DAY_MS, 5 * DAY_MS, 1000},
		{3 * DAY_MS - 1, 5 * DAY_MS + 2000, 1000},
		{3 * DAY_MS, 5 * DAY_MS + 2000, 5 * DAY_MS}, /* a day later */
		{3 * DAY_MS + 1, 5 * DAY_MS + 2000, 5 * DAY_MS + 2000},
		{4 * DAY_MS, 9 * DAY_MS, 5 * DAY_MS + 2000},
		{5 * DAY_MS - 1, 99 * DAY_MS, 5 * DAY_MS + 2000}, /* further yet: that has not stayed for a day */
		{5 * DAY_MS, 99 * DAY_MS, 9 * DAY_MS},
		{5 * DAY_MS + 1, 99 * DAY_MS, 9 * DAY_MS},
		{6 * DAY_MS, 99 * DAY_MS, 9 * DAY_MS},
		{6 * DAY_MS + 1, 99 * DAY_MS, 99 * DAY_MS},
		{7 * DAY_MS, 0, 0}, /* back */
		{8 * DAY_MS, 99 * DAY_MS, 0},
		{8 * DAY_MS + 1, 0, 0},
		{9 * DAY_MS, 99 * DAY_MS, 0}, /* and is not known for it */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
		uint64_t now_ms = NOW_MS + looks[i].steady_ms;
		if (expiry_believed_ms(&c, now_ms + looks[i].ahead_ms, looks[i].steady_ms) !=
		    now_ms + looks[i].believed_ms)
			fail_msg("look %zu", i);
	}
	c = (struct expiry_clock){0};
	assert_int_equal(expiry_believed_ms(&c, 5, 1000), 5); /* 1970 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_at_once),
		cmocka_unit_test(test_what_was_moved_is_in_no_file),
		cmocka_unit_test(test_a_clock_that_is_set_ahead),
		cmocka_unit_test(test_which_clock_is_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
