/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/pool_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>

struct pool_fake fake;

/* ---- the fakes ---- */

uint64_t ipc_now_ms(const struct ipc *ipc)
{
	(void)ipc;
	return fake.now_ms;
}

struct ipc_conn *ipc_edge_conn(struct ipc_edge *edge)
{
	(void)edge;
	return fake.dialer_closes ? NULL : (struct ipc_conn *)(void *)&fake;
}

int ipc_call(struct ipc_conn *conn, enum proto_type type, const void *msg, int fd, uint64_t deadline_ms,
	     ipc_reply *reply, void *ctx, uint64_t *ret_id)
{
	const struct proto_dial *dial = msg;

	(void)conn;
	assert_int_equal(type, PROTO_DIAL);
	assert_int_equal(fd, -1);
	assert_int_equal(deadline_ms, CONNECT_MS);
	assert_true(span_eq_str(dial->host, "a.test"));
	assert_int_equal(dial->port, 443);
	if (fake.call_says)
		return fake.call_says;
	assert_true(fake.dials < ARRAY_LEN(fake.calls));
	fake.calls[fake.dials] = (struct pool_fake_call){reply, ctx};
	*ret_id = ++fake.dials;
	return 0;
}

void ipc_forget(struct ipc_conn *conn, uint64_t id)
{
	if (!conn) /* as the real one has it */
		return;
	assert_true(id > 0 && fake.calls[id - 1].reply);
	fake.calls[id - 1].reply = NULL;
	fake.forgotten++;
}

void audit_record(struct audit_client *c, const struct proto_event *e)
{
	(void)c;
	assert_int_equal(e->code, EVENT_EGRESS_ADDRESS_DENY);
	assert_true(span_eq_str(e->address, "10.0.0.1"));
	assert_true(span_eq_str(e->resource, "a.test"));
	fake.recorded++;
}

int tls_new(struct tls_ctx *ctx, const char *host, struct span pins, int fd, struct tls_session *session,
	    struct tls **ret_tls)
{
	(void)ctx;
	(void)fd;
	assert_string_equal(host, "a.test");
	assert_int_equal(pins.len, TLS_PIN_BYTES);
	assert_non_null(session);
	if (fake.tls_says)
		return fake.tls_says;
	*ret_tls = fake.tls = calloc(1, sizeof(*fake.tls));
	*fake.tls = (struct tls){.handshake = TLS_E_READ, .idle = true, .quiet = true};
	fake.n_tls++;
	return 0;
}

struct tls *tls_free(struct tls *t)
{
	fake.n_tls -= t != NULL;
	free(t);
	return NULL;
}

void tls_session_deinit(struct tls_session *s)
{
	(void)s;
}

int tls_handshake(struct tls *t)
{
	return t->handshake;
}

bool tls_quiet(const struct tls *t)
{
	return t->quiet;
}

bool tls_still_idle(struct tls *t)
{
	fake.asked_idle++;
	return t->idle;
}

const char *tls_why(const struct tls *t)
{
	(void)t;
	return "because";
}

int uv_poll_init(uv_loop_t *loop, uv_poll_t *poll, int fd)
{
	(void)loop;
	(void)poll;
	(void)fd;
	return 0;
}

int uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb cb)
{
	fake.watched = events;
	poll->poll_cb = cb;
	return fake.watch_says;
}

int uv_poll_stop(uv_poll_t *poll)
{
	(void)poll;
	fake.watched = 0;
	return 0;
}

void uv_close(uv_handle_t *handle, uv_close_cb cb)
{
	assert_true(fake.closed < ARRAY_LEN(fake.closing));
	fake.closing[fake.closed++] = (struct pool_fake_close){handle, cb};
}

/* ---- the world ---- */

int pool_setup(void **state)
{
	static const uint8_t pins[TLS_PIN_BYTES];
	struct env *e = calloc(1, sizeof(*e));

	memset(&fake, 0, sizeof(fake));
	fake.now_ms = 1000000;
	e->log = (struct log){.daemon = "test", .level = LOG_LEVEL_ERROR + 1};
	e->env = (struct pool_env){.log = &e->log,
				   .connections_max = POOL_MAX,
				   .idle_ms = IDLE_MS,
				   .connect_timeout_ms = CONNECT_MS,
				   .total_max = 100};
	list_init(&e->env.idle);
	pool_init(&e->pool, &e->env, NULL, SPAN_LIT("a.test"), 443, span_of(pins, sizeof(pins)));
	*state = e;
	return 0;
}

int pool_teardown(void **state)
{
	struct env *e = *state;

	pool_close(&e->pool, REASON_EGRESS_GONE);
	pool_deinit(&e->pool);                     /* asserts that nothing is left */
	for (unsigned i = 0; i < fake.closed; i++) /* the loop's next turn */
		fake.closing[i].cb(fake.closing[i].handle);
	assert_int_equal(fake.n_tls, 0);
	for (unsigned i = 0; i < fake.dials; i++)
		assert_null(fake.calls[i].reply); /* what is gone is not told of a dial */
	free(e);
	return 0;
}

static void on_ready(struct pool_waiter *w, struct upstream *u, enum reason why)
{
	struct waiter *waiter = container_of(w, struct waiter, w);

	waiter->told++;
	waiter->upstream = u;
	waiter->why = why;
}

struct waiter a_waiter(void)
{
	return (struct waiter){.w.ready = on_ready};
}

void wait_in(struct env *e, struct waiter *w)
{
	struct upstream *u;

	*w = a_waiter();
	assert_int_equal(pool_take(&e->pool, &w->w, false, &u), POOL_E_WAIT);
	assert_int_equal(w->told, 0);
}

void expect_failed(const struct waiter *w, enum reason why)
{
	assert_int_equal(w->told, 1);
	assert_null(w->upstream);
	assert_int_equal(w->why, why);
}

void dialer_says(unsigned number, enum ipc_outcome outcome, enum proto_type type, const void *msg, int fd)
{
	ipc_reply *reply = TAKE(fake.calls[number - 1].reply);

	assert_non_null(reply);
	reply(fake.calls[number - 1].ctx, outcome, outcome == IPC_REPLY ? proto_desc_of(type) : NULL, msg, fd);
}

void dialed(unsigned number)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	dialer_says(number, IPC_REPLY, PROTO_DIALED, &(struct proto_dialed){}, fd);
}

void refused(unsigned number, enum reason why)
{
	dialer_says(
		number, IPC_REPLY, PROTO_DIAL_FAILED,
		&(struct proto_dial_failed){.reason = why, .address = SPAN_LIT("10.0.0.1"), .why = SPAN_LIT("private")},
		-1);
}

void happens(struct upstream *u, int status)
{
	u->poll.poll_cb(&u->poll, status, u->events);
}

void shakes(struct env *e, int says)
{
	fake.tls->handshake = says;
	happens(container_of(e->pool.opening.prev, struct upstream, in_pool), 0);
}

struct upstream *connect_one(struct env *e)
{
	struct waiter w;

	wait_in(e, &w);
	dialed(fake.dials);
	assert_int_equal(fake.watched, UV_READABLE);
	shakes(e, 0);
	assert_int_equal(w.told, 1);
	assert_non_null(w.upstream);
	assert_int_equal(w.upstream->state, UPSTREAM_BUSY);
	return w.upstream;
}

struct upstream *take_idle(struct env *e)
{
	struct waiter w = a_waiter();
	struct upstream *u = NULL;

	assert_int_equal(pool_take(&e->pool, &w.w, false, &u), 0);
	assert_int_equal(u->state, UPSTREAM_BUSY);
	return u;
}
