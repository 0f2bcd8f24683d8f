/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/exchange_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>

#include "keyvault/egress/permit.h"
#include "keyvault/egress/relay.h"
#include "keyvault/egress/send.h"

struct exchange_fake fake;

/* ---- time, the router ---- */

uint64_t ipc_now_ms(const struct ipc *ipc)
{
	(void)ipc;
	return fake.now_ms;
}

uint64_t ipc_now_us(struct ipc *ipc)
{
	(void)ipc;
	return fake.now_ms * 1000;
}

uint64_t ipc_unix_ns(struct ipc *ipc)
{
	(void)ipc;
	return 0;
}

int ipc_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	(void)conn;
	assert_int_equal(id, STREAM);
	if (fake.ipc_says)
		return fake.ipc_says;
	fake.ends += type == PROTO_END;
	fake.brokens += type == PROTO_BROKEN;
	if (type == PROTO_BROKEN)
		fake.broken = *(const struct proto_broken *)msg;
	return 0;
}

void ipc_drop(struct ipc_conn *conn, const char *why)
{
	(void)conn;
	(void)why;
	fake.dropped++;
}

/* ---- grant and credential ---- */

enum reason permit_open(const struct permit_env *env, const struct proto_open *open, bool *ret_authentic,
			struct proto_grant *ret_grant, struct proto_grant_route *ret_route)
{
	(void)env;
	assert_true(span_eq_str(open->grant, "grant"));
	assert_true(span_eq_str(open->path, "/v1"));
	*ret_authentic = fake.permit == REASON_NONE;
	*ret_grant = (struct proto_grant){0};
	*ret_route = (struct proto_grant_route){0};
	return fake.permit;
}

bool permit_is_early(const struct permit_env *env, struct span grant)
{
	(void)env;
	(void)grant;
	return fake.early;
}

bool permit_has_spare(const struct proto_grant *g, uint64_t route)
{
	(void)g;
	(void)route;
	return fake.spare;
}

enum reason permit_binding(const struct proto_binding *b, const struct proto_grant_route *route, struct span tenant,
			   uint64_t unix_s)
{
	(void)b;
	(void)route;
	(void)tenant;
	(void)unix_s;
	return fake.binding;
}

static struct exchange_world *world_of(struct credential_cache *c)
{
	return container_of(container_of(c, struct egress, credentials), struct exchange_world, eg);
}

int credential_get(struct credential_cache *c, struct span id, struct credential_waiter *w,
		   struct credential **ret_credential)
{
	(void)id;
	(void)w;
	fake.gets++;
	if (fake.get == 0 || fake.get == CREDENTIAL_E_WAIT)
		*ret_credential = &world_of(c)->credential;
	return fake.get;
}

void credential_forget(struct credential_waiter *w)
{
	(void)w;
	fake.forgotten++;
}

void credential_unref(struct credential *c)
{
	(void)c;
	fake.unrefs++;
}

void credential_reject(struct credential *c)
{
	(void)c;
	fake.rejects++;
}

struct credential_key *credential_key_ref(struct credential *c)
{
	fake.keys++;
	return (struct credential_key *)(void *)c;
}

struct credential_key *credential_key_unref(struct credential_key *key)
{
	fake.keys -= key != NULL;
	return NULL;
}

/* ---- the connection ---- */

int pool_take(struct pool *p, struct pool_waiter *w, bool fresh, struct upstream **ret_upstream)
{
	struct exchange_world *world =
		container_of(container_of(p, struct credential, pool), struct exchange_world, credential);

	(void)w;
	fake.takes++;
	fake.fresh = fresh;
	if (fake.take == 0)
		*ret_upstream = &world->upstream;
	return fake.take;
}

void pool_forget(struct pool *p, struct pool_waiter *w)
{
	(void)p;
	(void)w;
	fake.pool_forgotten++;
}

bool pool_is_full(const struct pool *p)
{
	(void)p;
	return fake.full;
}

void pool_give_back(struct upstream *u, bool keep)
{
	u->on_event = NULL;
	fake.returned++;
	fake.kept = keep;
	fake.keeps += keep;
}

int upstream_watch(struct upstream *u, int events)
{
	u->events = events;
	return fake.watch;
}

bool tls_pending(const struct tls *t)
{
	(void)t;
	return fake.pending;
}

enum reason send_begin(struct exchange *x, int *ret_answer)
{
	assert_int_equal(x->sent, 0);
	assert_null(x->first.p);
	x->sent_any |= fake.send_says == 0 || fake.send_says == TLS_E_WRITE; /* OpenSSL has it */
	*ret_answer = fake.send_says;
	return fake.send_why;
}

int send_write(struct exchange *x)
{
	x->sent_any |= fake.write_says == 0 || fake.write_says == TLS_E_WRITE;
	return fake.write_says;
}

void send_drop(struct exchange *x)
{
	fake.drops++;
	secret_free(x->eg->arena, &x->first);
}

void relay_begin(struct exchange *x)
{
	sha256_begin(&x->digest);
}

void relay_later(struct exchange *x)
{
	assert_true(x->state == EXCHANGE_HEAD || x->state == EXCHANGE_BODY);
	if (list_empty(&x->in_readable))
		list_push(&x->eg->readable, &x->in_readable);
}

void relay_resume(struct exchange *x)
{
	list_unlink(&x->in_stalled);
	fake.resumed++;
}

/* The end of a turn. */
static void read_all(struct exchange_world *w)
{
	struct list *it;

	while ((it = list_first(&w->eg.readable))) {
		list_unlink(it);
		exchange_read(container_of(it, struct exchange, in_readable));
	}
}

enum reason relay_take(struct exchange *x)
{
	fake.pumped++;
	x->head_sent |= fake.head;
	x->reply_over |= fake.over;
	x->refused |= fake.refused;
	x->reply.keep_alive = true;
	return fake.pump;
}

void reply_deinit(struct reply *r)
{
	(void)r;
	fake.replies_over++;
}

/* ---- records, and the rest of the egress ---- */

void egress_note_grant(struct exchange *x, const struct proto_grant *g, const struct proto_grant_route *route)
{
	(void)x;
	(void)g;
	(void)route;
	fake.notes++;
}

void egress_record_use(struct egress *eg, const struct exchange *x, const uint8_t digest[32])
{
	(void)eg;
	assert_true(x->sent_any);
	memcpy(fake.digest, digest, 32);
	fake.uses++;
}

void egress_forget_promise(struct exchange *x)
{
	(void)x;
	fake.promises_forgotten++;
}

void egress_record_count(struct egress *eg, const struct exchange *x)
{
	(void)eg;
	(void)x;
	fake.counts++;
}

void egress_record_refusal(struct egress *eg, const struct exchange *x)
{
	(void)eg;
	(void)x;
	fake.refusals++;
}

bool egress_is_strict(const struct egress *eg, const char *tenant)
{
	(void)tenant;
	return eg->config.auditd.mode == EGRESS_MODE_STRICT;
}

bool egress_record_intent(struct egress *eg, struct exchange *x, void (*done)(struct exchange *x, bool durable))
{
	(void)eg;
	(void)x;
	fake.intents++;
	fake.recorded = done;
	return !fake.no_log;
}

void egress_forget_intent(struct exchange *x)
{
	(void)x;
	fake.recorded = NULL;
}

struct exchange *lane_find(const struct lane *lane, uint64_t id)
{
	struct list *first = lane->streams[0].next;

	return first != &lane->streams[0] && id == STREAM ? container_of(first, struct exchange, in_lane) : NULL;
}

void lane_add(struct lane *lane, struct exchange *x)
{
	list_push(&lane->streams[0], &x->in_lane);
	lane->n++;
}

void egress_wake(struct egress *eg)
{
	(void)eg;
	fake.woken++;
}

void egress_note_end(struct egress *eg)
{
	(void)eg;
	fake.ended++;
}

/* ---- the world ---- */

int exchange_setup(void **state)
{
	struct exchange_world *w = calloc(1, sizeof(*w));

	memset(&fake, 0, sizeof(fake));
	fake.now_ms = 1000000;
	w->eg.pool_env.connect_timeout_ms = 3000;
	assert_int_equal(secret_arena_new(16384, &w->eg.arena), 0);
	for (size_t i = 0; i < N_EXCHANGE_STATES; i++)
		list_init(&w->eg.states[i]);
	list_init(&w->eg.stalled);
	list_init(&w->eg.readable);
	list_init(&w->eg.spare);
	list_init(&w->lane.streams[0]);
	w->lane.eg = &w->eg;
	w->credential.state = CREDENTIAL_READY;
	w->credential.pooled = true;
	*state = w;
	return 0;
}

static void expect_nothing_left(struct exchange_world *w)
{
	assert_int_equal(w->eg.n_exchanges, 0);
	assert_int_equal(w->lane.n, 0);
	assert_true(list_empty(&w->lane.streams[0]));
	for (size_t i = 0; i < N_EXCHANGE_STATES; i++)
		assert_true(list_empty(&w->eg.states[i]));
	assert_int_equal(fake.keys, 0);
	assert_null(fake.recorded);
	assert_int_equal(fake.counts, fake.ended); /* each once */
	assert_int_equal(fake.uses + fake.promises_forgotten, fake.ended);
	assert_int_equal(fake.replies_over, fake.ended);
	assert_true(fake.forgotten >= fake.ended);
	assert_true(list_empty(&w->eg.stalled) && list_empty(&w->eg.readable));
	assert_int_equal(secret_arena_used(w->eg.arena), 0);
	assert_null(w->upstream.on_event);
}

int exchange_teardown(void **state)
{
	struct exchange_world *w = *state;

	expect_nothing_left(w);
	spare_free(&w->eg);
	w->eg.arena = secret_arena_free(w->eg.arena);
	free(w);
	return 0;
}

struct exchange *begin(struct exchange_world *w)
{
	const struct proto_open open = {.grant = SPAN_LIT("grant"),
					.method = PROTO_POST,
					.path = SPAN_LIT("/v1"),
					.body_bytes = 2,
					.body = SPAN_LIT("{}")};

	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, -1), 0);
	read_all(w);
	return lane_find(&w->lane, STREAM);
}

struct exchange *begin_in(struct exchange_world *w, enum exchange_state state)
{
	fake.permit = state == EXCHANGE_GRANT ? REASON_GRANT_STALE : REASON_NONE;
	fake.early = state == EXCHANGE_GRANT;
	fake.get = state == EXCHANGE_CREDENTIAL ? CREDENTIAL_E_WAIT : 0;
	w->eg.config.auditd.mode = state == EXCHANGE_RECORD ? EGRESS_MODE_STRICT : 0;
	fake.take = state == EXCHANGE_CONNECT ? POOL_E_WAIT : 0;
	fake.send_says = state == EXCHANGE_SEND ? TLS_E_WRITE : 0;
	fake.pending = state == EXCHANGE_BODY;
	fake.head = state == EXCHANGE_BODY;
	struct exchange *x = begin(w);
	assert_non_null(x);
	assert_int_equal(x->state, state);
	fake.pending = false;
	return x;
}

void connection_says(struct exchange_world *w, bool writable)
{
	assert_non_null(w->upstream.on_event);
	w->upstream.on_event(w->upstream.ctx, writable);
	read_all(w);
}

void expect_broken(struct exchange_world *w, enum reason why, bool sent)
{
	assert_int_equal(fake.ends, 0);
	assert_int_equal(fake.brokens, 1);
	assert_string_equal(reason_row((enum reason)fake.broken.reason)->code, reason_row(why)->code);
	assert_int_equal(fake.broken.sent, sent);
	fake.brokens = 0;
	expect_nothing_left(w);
}
