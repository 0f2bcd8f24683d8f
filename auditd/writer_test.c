/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer on a real loop and a real log, on a disk that takes its time: fallocate(), with which the next segment
 * begins, and syncfs(), without which none begins, wait at gates that the test opens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auditd/writer.h"
#include "tests/support/test_log.h"

#define DEADLINE_MS 10000

/* The wrappers have no context to be given. */
static uv_sem_t gate, sync_gate;

int __real_fallocate(int fd, int mode, off_t at, off_t len);
int __wrap_fallocate(int fd, int mode, off_t at, off_t len);
int __wrap_fallocate(int fd, int mode, off_t at, off_t len)
{
	uv_sem_wait(&gate);
	return __real_fallocate(fd, mode, at, len);
}

int __real_syncfs(int fd);
int __wrap_syncfs(int fd);
int __wrap_syncfs(int fd)
{
	uv_sem_wait(&sync_gate);
	return __real_syncfs(fd);
}

struct world {
	struct fixture *f;
	uv_loop_t loop;
	uv_timer_t deadline;
	struct writer writer;
	unsigned idle, recorded;
	int no_room;
	bool draining, drained, late;
};

static void on_recorded(void *ctx, const struct ledger_batch *batch)
{
	struct world *w = ctx;

	w->recorded += (unsigned)(batch->durable - batch->told);
	uv_stop(&w->loop);
}

/* As auditd's own: the only place from which it ends. */
static void on_idle(void *ctx)
{
	struct world *w = ctx;

	w->idle++;
	w->drained = w->draining && writer_quiet(&w->writer);
	if (w->drained)
		uv_stop(&w->loop);
}

static void on_failed(void *ctx, int r)
{
	(void)ctx;
	fail_msg("the writer failed: %d", r);
}

static void on_no_room(void *ctx, int r)
{
	((struct world *)ctx)->no_room = r;
}

static void on_deadline(uv_timer_t *timer)
{
	struct world *w = timer->data;

	w->late = true;
	uv_stop(&w->loop);
}

/* Until a callback ends it, or the deadline. */
static void run(struct world *w)
{
	w->late = false;
	assert_return_code(uv_timer_start(&w->deadline, on_deadline, DEADLINE_MS, 0), 0);
	(void)uv_run(&w->loop, UV_RUN_DEFAULT);
}

/* Until the pool's thread is done with what waited at a gate. */
static void run_reserve(struct world *w, uv_sem_t *of)
{
	uv_sem_post(of);
	w->late = false;
	assert_return_code(uv_timer_start(&w->deadline, on_deadline, DEADLINE_MS, 0), 0);
	while (w->writer.reserving && !w->late)
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	assert_false(w->late);
}

static void begin_spec(struct world *w, struct fixture *f, bool lean, uint64_t spare_bytes)
{
	const struct writer_spec spec = {
		.lean = lean,
		.commit_records = 1,
		.on_recorded = on_recorded,
		.on_idle = on_idle,
		.on_failed = on_failed,
		.on_no_room = on_no_room,
		.ctx = w,
	};

	*w = (struct world){.f = f};
	assert_return_code(uv_sem_init(&gate, 1), 0); /* the first segment */
	assert_return_code(uv_sem_init(&sync_gate, 0), 0);
	assert_int_equal(reopen(f), 0);
	assert_return_code(uv_loop_init(&w->loop), 0);
	assert_return_code(uv_timer_init(&w->loop, &w->deadline), 0);
	w->deadline.data = w;
	f->l->segment.spare_bytes = spare_bytes;
	assert_int_equal(writer_init(&w->writer, &w->loop, f->l, &spec), 0);
}

static void begin(struct world *w, struct fixture *f)
{
	begin_spec(w, f, false, 0);
}

static void end(struct world *w)
{
	writer_close(&w->writer);
	uv_close((uv_handle_t *)&w->deadline, NULL);
	(void)uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_return_code(uv_loop_close(&w->loop), 0);
	writer_deinit(&w->writer);
	uv_sem_destroy(&gate);
	uv_sem_destroy(&sync_gate);
}

static void say(struct world *w)
{
	const struct proto_leaf leaf = own_leaf(w->f);

	assert_int_equal(writer_add(&w->writer, &leaf, true), 0);
}

/* auditd is told to end before its next segment is made, which is a moment after its start on a slow disk. */
static void test_a_reservation_that_ends_last(void **state)
{
	struct world w;

	begin(&w, *state);
	say(&w);
	run(&w);
	assert_int_equal(w.recorded, 1);
	w.draining = true;
	writer_hurry(&w.writer);
	assert_false(w.drained); /* the thread still makes the segment: the process cannot go */
	uv_sem_post(&gate);
	run(&w);
	assert_false(w.late);
	assert_true(w.drained);
	end(&w);
}

/* A segment that ends by its age: a sync of the whole file system may take seconds, and no commit waits for it. */
static void test_a_turn_syncs_beside_the_commits(void **state)
{
	struct world w;

	begin(&w, *state);
	say(&w);
	run(&w);
	assert_int_equal(w.recorded, 1);
	run_reserve(&w, &gate);
	assert_false(writer_may_turn(&w.writer));
	say(&w);
	run(&w);
	assert_int_equal(w.recorded, 2);
	assert_true(w.writer.reserving);
	assert_false(writer_may_turn(&w.writer));
	run_reserve(&w, &sync_gate);
	assert_true(writer_may_turn(&w.writer));
	end(&w);
}

static bool is_there(const struct fixture *f, const char *name)
{
	return faccessat(f->l->segment.dir, name, F_OK, 0) == 0;
}

/* Where the disk was full, what room there is belongs to the records first. */
static void test_lean_takes_no_room(void **state)
{
	struct fixture *f = *state;
	struct world w;

	begin_spec(&w, f, true, SEGMENT_SPARE_BYTES(TEST_SEGMENT_BYTES));
	say(&w);
	run(&w);
	assert_int_equal(w.recorded, 1);
	while (w.writer.reserving || w.writer.busy)
		(void)uv_run(&w.loop, UV_RUN_ONCE);
	assert_false(is_there(f, "next") || is_there(f, "spare") || w.writer.reserved);
	uv_sem_post(&gate);
	writer_reserve_again(&w.writer);
	run_reserve(&w, &gate);
	assert_true(is_there(f, "next") && segment_has_spare(&f->l->segment) && w.writer.reserved);
	/* It is missed when it is gone, and goes when nobody wants it. */
	assert_int_equal(segment_give_spare(&f->l->segment), 0);
	writer_reserve_again(&w.writer);
	run_reserve(&w, &gate);
	assert_true(segment_has_spare(&f->l->segment) && w.no_room == 0);
	f->l->segment.spare_bytes = 0;
	writer_reserve_again(&w.writer);
	run_reserve(&w, &gate);
	assert_false(is_there(f, "spare"));
	end(&w);
}

/* More than any disk has: it is told, nothing is left of the attempt, and the next segment is none the worse for it. */
static void test_no_room_for_the_spare(void **state)
{
	struct fixture *f = *state;
	struct world w;

	begin_spec(&w, f, false, UINT64_C(1) << 60);
	uv_sem_post(&gate);
	run_reserve(&w, &gate);
	assert_true(w.no_room < 0 && w.writer.reserved && is_there(f, "next") && !is_there(f, "spare"));
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_reservation_that_ends_last, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_turn_syncs_beside_the_commits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lean_takes_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room_for_the_spare, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
