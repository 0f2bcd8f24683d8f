/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditd and its signer, with a loop each; the test is their launcher and says when the signer answers. Publishing
 * waits at a gate that the test opens: renameat(), by which a checkpoint gets its name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "auditd/auditd.h"
#include "common/ipc_internal.h"
#include "proto/frame.h"
#include "tests/support/test_log.h"

#define DEADLINE_MS 10000

/* The wrapper has no context to be given. */
static struct {
	_Atomic bool shut; /* read by the thread that writes */
	uv_sem_t opened;
} gate;

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (gate.shut && strcmp(to, "checkpoint") == 0)
		uv_sem_wait(&gate.opened);
	return __real_renameat(from_dir, from, to_dir, to);
}

struct world {
	struct auditd a;
	struct fixture *f;
	struct daemon vault;
	struct ipc_edge *serves;
	int listener, launcher;
	struct sockaddr_un at;
	socklen_t at_len;
	struct ipc_conn *conn; /* the signer's side of the edge */
	unsigned opened, asked;
	uint64_t id, old_size, size; /* of the last SIGN_CHECKPOINT */
	struct merkle_hash root;
	bool drained;
};

/* ---- auditd's main ---- */

void auditd_fail(struct auditd *a, const char *why)
{
	(void)a;
	fail_msg("%s", why);
}

void auditd_die(struct auditd *a, int r)
{
	(void)a;
	fail_msg("auditd died: %d", r);
	abort();
}

static void on_recorded(void *ctx, const struct ledger_batch *batch)
{
	((struct world *)ctx)->a.checkpointer.urgent |= batch->urgent;
}

static void on_idle(void *ctx)
{
	struct world *w = ctx;

	checkpoint_consider(&w->a);
	w->drained |= w->a.daemon.draining && writer_quiet(&w->a.writer) && !w->a.checkpointer.working;
}

static void on_failed(void *ctx, int r)
{
	auditd_die(ctx, r);
}

/* ---- the signer ---- */

static void on_open(void *ctx, struct ipc_conn *conn)
{
	struct world *w = ctx;
	char vkey[NOTE_VKEY_MAX];

	w->conn = conn;
	w->opened++;
	note_key_format(&w->f->key, vkey);
	const struct proto_signed_size said = {.size = w->f->signed_size, .vkey = span_str(vkey)};
	assert_int_equal(ipc_send(conn, PROTO_SIGNED_SIZE, 0, &said), 0);
}

static int handle_sign(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_sign_checkpoint *m = msg;
	struct world *w = ctx;

	(void)conn;
	(void)fd;
	w->asked++;
	w->id = id;
	w->old_size = m->old_size;
	w->size = m->size;
	memcpy(w->root.b, m->root.p, sizeof(w->root.b));
	return 0;
}

static const struct ipc_row signer_rows[] = {{PROTO_SIGN_CHECKPOINT, handle_sign}};
static const struct ipc_edge_spec signer_spec = {
	.peer = ROLE_AUDITD, .rows = signer_rows, .n_rows = ARRAY_LEN(signer_rows), .on_open = on_open};

static void answer(struct world *w)
{
	struct checkpoint cp = {.origin = span_str(w->f->key.name), .size = w->size, .root = w->root};
	uint8_t sig[NOTE_SIG_BYTES];
	char text[512], note[LEDGER_NOTE_MAX];
	size_t len, note_len;

	assert_int_equal(w->old_size, w->f->signed_size);
	assert_int_equal(checkpoint_format(&cp, text, sizeof(text), &len), 0);
	crypto_sign_detached(sig, NULL, (const uint8_t *)text, len, w->f->secret);
	assert_int_equal(note_format(span_of(text, len), &w->f->key, sig, note, sizeof(note), &note_len), 0);
	w->f->signed_size = w->size;
	const struct proto_checkpoint_signed said = {.note = span_of(note, note_len)};
	assert_int_equal(ipc_send(w->conn, PROTO_CHECKPOINT_SIGNED, w->id, &said), 0);
}

/* ---- the launcher ---- */

static void give_link(struct world *w)
{
	const struct proto_linked linked = {.edge = SPAN_LIT("keyvault.auditd")};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	_Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(fd))] = {0};
	uint8_t frame[512];
	size_t len;

	assert_return_code(connect(fd, (struct sockaddr *)&w->at, w->at_len), 0);
	assert_int_equal(proto_pack(&proto_linked_desc, 0, &linked, frame + FRAME_HEAD_BYTES,
				    sizeof(frame) - FRAME_HEAD_BYTES, &len),
			 0);
	frame_put_head(frame, len);
	struct iovec iov = {frame, len + FRAME_HEAD_BYTES};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	*CMSG_FIRSTHDR(&m) =
		(struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
	assert_int_equal(sendmsg(w->launcher, &m, 0), (ssize_t)iov.iov_len);
	(void)close(fd);
}

/* READY is heard, LINK is answered. A test's messages are few: none is cut in two. */
static void launch(struct world *w)
{
	uint8_t bytes[4096];
	ssize_t n = recv(w->launcher, bytes, sizeof(bytes), MSG_DONTWAIT);
	struct span rest = span_of(bytes, n > 0 ? (size_t)n : 0), body;
	const struct proto_desc *desc;
	union proto_any msg;
	uint64_t id;
	size_t used;

	while (rest.len > 0) {
		assert_int_equal(frame_next(rest, &body, &used), 0);
		assert_int_equal(proto_unpack(body, ROLE_AUDITD, ROLE_LAUNCHER, &id, &desc, &msg), 0);
		if (desc->type == PROTO_LINK)
			give_link(w);
		rest = span_of(rest.p + used, rest.len - used);
	}
}

/* ---- the world ---- */

static void turn(struct world *w)
{
	launch(w);
	(void)uv_run(&w->a.daemon.loop, UV_RUN_NOWAIT);
	(void)uv_run(&w->vault.loop, UV_RUN_NOWAIT);
	(void)usleep(200);
}

#define AWAIT(w, what)                                                                       \
	for (uint64_t until_ = uv_hrtime() / 1000000 + DEADLINE_MS; !(what);) {              \
		if (uv_hrtime() / 1000000 > until_)                                          \
			fail_msg("%s:%d: waited in vain for %s", __func__, __LINE__, #what); \
		turn(w);                                                                     \
	}

static void make_daemon(struct daemon *d, enum role role)
{
	*d = (struct daemon){.role = role, .config_fd = -1, .control_fd = -1};
	d->log = (struct log){.daemon = role_name(role), .level = LOG_LEVEL_ERROR + 1};
	assert_return_code(uv_loop_init(&d->loop), 0);
	assert_return_code(uv_signal_init(&d->loop, &d->on_term), 0);
	assert_return_code(uv_signal_init(&d->loop, &d->on_int), 0);
}

static void connect_both(struct world *w)
{
	int pair[2];

	w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	w->at.sun_family = AF_UNIX; /* an abstract name of the kernel's choice */
	w->at_len = sizeof(w->at);
	assert_return_code(bind(w->listener, (struct sockaddr *)&w->at, sizeof(sa_family_t)), 0);
	assert_return_code(listen(w->listener, 8), 0);
	assert_return_code(getsockname(w->listener, (struct sockaddr *)&w->at, &w->at_len), 0);
	(void)snprintf(w->vault.fds[0].name, sizeof(w->vault.fds[0].name), "keyvault.auditd");
	w->vault.fds[0].fd = w->listener;
	w->vault.n_fds = 1;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	w->a.daemon.control_fd = pair[0];
	w->launcher = pair[1];
	assert_int_equal(ipc_new(&w->vault, &w->vault.ipc), 0);
	assert_int_equal(ipc_new(&w->a.daemon, &w->a.daemon.ipc), 0);
	assert_int_equal(ipc_serve(w->vault.ipc, &signer_spec, w, &w->serves), 0);
	assert_int_equal(checkpoint_connect(&w->a), 0);
}

/* The signer has come, or is about to; nothing was said yet. */
static int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct writer_spec spec = {
		.commit_records = 1, .on_recorded = on_recorded, .on_idle = on_idle, .on_failed = on_failed, .ctx = w};

	if (!w || setup(state))
		return -1;
	w->f = *state;
	*state = w;
	assert_return_code(uv_sem_init(&gate.opened, 0), 0);
	gate.shut = false;
	assert_int_equal(reopen(w->f), 0);
	w->a.ledger = w->f->l;
	w->a.config.auditd.checkpoint_ms = 60000; /* no test waits for it */
	make_daemon(&w->a.daemon, ROLE_AUDITD);
	make_daemon(&w->vault, ROLE_KEYVAULT);
	assert_int_equal(writer_init(&w->a.writer, &w->a.daemon.loop, w->a.ledger, &spec), 0);
	connect_both(w);
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	gate.shut = false;
	uv_sem_post(&gate.opened); /* for who still waits there when a test has failed */
	checkpoint_close(&w->a);
	writer_close(&w->a.writer);
	daemon_deinit(&w->a.daemon); /* asserts that the loop is empty */
	daemon_deinit(&w->vault);
	writer_deinit(&w->a.writer);
	(void)close(w->launcher);
	uv_sem_destroy(&gate.opened);
	*state = w->f;
	free(w);
	return teardown(state);
}

static void say(struct world *w)
{
	const struct proto_leaf leaf = own_leaf(w->f);

	assert_int_equal(writer_add(&w->a.writer, &leaf, true), 0);
}

static void drain(struct world *w)
{
	w->a.daemon.draining = true;
	writer_hurry(&w->a.writer);
}

/* ---- tests ---- */

/* The signer starts anew while what it signed is being published: it is heard, and the log goes on being signed. */
static void test_a_signer_that_comes_back_while_its_note_is_published(void **state)
{
	struct world *w = *state;

	say(w);
	AWAIT(w, w->asked == 1);
	gate.shut = true;
	answer(w);
	AWAIT(w, w->a.writer.besides == &w->a.checkpointer.publish);
	ipc_drop(w->conn, "it starts anew");
	AWAIT(w, w->opened == 2 && ipc_edge_conn(w->a.checkpointer.edge));
	AWAIT(w, w->a.checkpointer.told);
	assert_false(w->a.checkpointer.open);
	gate.shut = false;
	uv_sem_post(&gate.opened);
	AWAIT(w, w->a.checkpointer.open);
	assert_int_equal(w->a.ledger->published.size, 1);
	say(w);
	AWAIT(w, w->asked == 2);
	assert_int_equal(w->old_size, 1);
	assert_int_equal(w->size, 2);
}

/* What was recorded last is signed, though it was just before that something was signed out of turn. */
static void test_the_end_waits_for_no_interval(void **state)
{
	struct world *w = *state;

	for (unsigned i = 1; i <= 2; i++) {
		say(w);
		AWAIT(w, w->asked == i);
		answer(w);
		AWAIT(w, w->a.ledger->published.size == i);
	}
	say(w);
	AWAIT(w, writer_quiet(&w->a.writer) && ledger_size(w->a.ledger) == 3);
	assert_int_equal(w->asked, 2);
	drain(w);
	AWAIT(w, w->asked == 3);
	assert_false(w->drained);
	answer(w);
	AWAIT(w, w->drained);
	assert_int_equal(w->a.ledger->published.size, 3);
}

static void test_a_signer_that_dies_does_not_hold_up_the_end(void **state)
{
	struct world *w = *state;

	say(w);
	AWAIT(w, w->asked == 1);
	drain(w);
	turn(w);
	assert_false(w->drained);
	ipc_drop(w->conn, "it dies");
	AWAIT(w, w->drained);
}

static void test_the_last_checkpoint_is_asked_for_once(void **state)
{
	const struct proto_refused no = {.reason = SPAN_LIT("storage"), .text = SPAN_LIT("the disk is full")};
	struct world *w = *state;

	say(w);
	AWAIT(w, w->asked == 1);
	drain(w);
	assert_int_equal(ipc_send(w->conn, PROTO_REFUSED, w->id, &no), 0);
	AWAIT(w, w->drained);
	assert_int_equal(w->asked, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WORLD(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
		WORLD(test_a_signer_that_comes_back_while_its_note_is_published),
		WORLD(test_the_end_waits_for_no_interval),
		WORLD(test_a_signer_that_dies_does_not_hold_up_the_end),
		WORLD(test_the_last_checkpoint_is_asked_for_once),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
