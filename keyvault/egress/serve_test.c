/* SPDX-License-Identifier: Apache-2.0 */
/* Who stalls; and when a worker that was told to end has ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "keyvault/egress/egress.h"
#include "keyvault/egress/relay.h"
#include "keyvault/egress/token.h"

/* ---- who else there is ---- */

static unsigned resumed, turns, hooks, stops;
static const struct ipc_edge_spec *lane_edge, *core_edge;

void relay_turn(void *ctx)
{
	(void)ctx;
	turns++;
}

void relay_resume(struct exchange *x)
{
	list_unlink(&x->in_stalled);
	resumed++;
}

int exchange_open(struct egress *eg, struct lane *lane, uint64_t id, const struct proto_open *open, int fd)
{
	(void)eg;
	(void)lane;
	(void)id;
	(void)open;
	(void)fd;
	return 0;
}

void exchange_key(struct egress *eg)
{
	(void)eg;
}

void exchange_credit(struct exchange *x, uint64_t bytes)
{
	(void)x;
	(void)bytes;
}

void exchange_cancel(struct exchange *x)
{
	(void)x;
}

void exchange_break(struct exchange *x, enum reason why)
{
	(void)x;
	(void)why;
}

void exchange_timeout(struct exchange *x)
{
	(void)x;
}

void credential_cache_init(struct credential_cache *c, struct secret_arena *arena, struct ipc_edge *keyvault,
			   struct pool_env *pool_env, credential_trust *trust, void *ctx)
{
	(void)arena;
	(void)keyvault;
	(void)pool_env;
	(void)trust;
	(void)ctx;
	list_init(&c->tokens);
}

/* A token that was being got for it goes with the credential. */
void credential_drop(struct credential_cache *c, struct span id)
{
	(void)id;
	list_init(&c->tokens);
}

void credential_drop_all(struct credential_cache *c, enum reason why, bool core_lost)
{
	(void)why;
	(void)core_lost;
	list_init(&c->tokens);
}

bool credential_tick(struct credential_cache *c, uint64_t now_ms)
{
	(void)c;
	(void)now_ms;
	return false;
}

void token_resume(struct credential_cache *cache)
{
	(void)cache;
}

int egress_handle_void(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	(void)ctx;
	(void)conn;
	(void)id;
	(void)msg;
	(void)fd;
	return 0;
}

const struct ipc_edge_spec egress_admin_spec = {.peer = ROLE_CLI};

void spare_free(struct egress *eg)
{
	(void)eg;
}

int ipc_serve(struct ipc *ipc, const struct ipc_edge_spec *spec, void *ctx, struct ipc_edge **ret_edge)
{
	(void)ipc;
	(void)ctx;
	if (spec->peer == ROLE_ROUTER)
		lane_edge = spec;
	if (spec->peer == ROLE_KEYVAULT)
		core_edge = spec;
	*ret_edge = NULL;
	return 0;
}

int ipc_connect(struct ipc *ipc, const struct ipc_edge_spec *spec, unsigned peer_worker, void *ctx,
		struct ipc_edge **ret_edge)
{
	(void)peer_worker;
	return ipc_serve(ipc, spec, ctx, ret_edge);
}

struct ipc_conn *ipc_edge_conn(struct ipc_edge *edge)
{
	(void)edge;
	return NULL;
}

uint64_t ipc_now_ms(const struct ipc *ipc)
{
	(void)ipc;
	return 1000;
}

void *ipc_conn_ctx(const struct ipc_conn *conn)
{
	(void)conn;
	return NULL;
}

void ipc_conn_set_ctx(struct ipc_conn *conn, void *ctx)
{
	(void)conn;
	(void)ctx;
}

void ipc_set_before_flush(struct ipc *ipc, void (*before)(void *ctx), void *ctx)
{
	(void)ipc;
	(void)ctx;
	assert_ptr_equal(before, relay_turn);
	hooks++;
}

void ipc_drop(struct ipc_conn *conn, const char *why)
{
	(void)conn;
	(void)why;
}

void daemon_set_ready(struct daemon *d, bool ready, const char *detail)
{
	(void)d;
	(void)ready;
	(void)detail;
}

void daemon_stop(struct daemon *d)
{
	(void)d;
	stops++;
}

static struct egress *egress_new(void)
{
	struct egress *eg = calloc(1, sizeof(*eg));

	assert_int_equal(uv_loop_init(&eg->daemon.loop), 0);
	assert_int_equal(secret_arena_new(4096, &eg->arena), 0);
	assert_int_equal(egress_serve(eg), 0);
	return eg;
}

static void egress_free(struct egress *eg)
{
	egress_close(eg);
	(void)uv_run(&eg->daemon.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&eg->daemon.loop), 0);
	secret_arena_free(eg->arena);
	free(eg);
}

/* ---- the tick, and the end of a queue ---- */

/* Of a queue that was high for less than a turn no drain is told. */
static void who_stalls_goes_on_without_a_drain(void **state)
{
	struct exchange *x = calloc(1, sizeof(*x));
	struct egress *eg = egress_new();

	(void)state;
	list_init(&x->in_stalled);
	list_push(&eg->stalled, &x->in_stalled);
	egress_wake(eg);
	(void)uv_run(&eg->daemon.loop, UV_RUN_DEFAULT); /* one tick: nothing else is there */
	assert_int_equal(resumed, 1);
	assert_int_equal(turns, 0);
	assert_int_equal(hooks, 1); /* at the end of each turn */
	list_push(&eg->stalled, &x->in_stalled);
	lane_edge->on_drain(eg, NULL);
	assert_int_equal(resumed, 2);
	assert_int_equal(turns, 1);
	egress_free(eg);
	free(x);
}

/* ---- the end ---- */

static void core_says(struct egress *eg, enum proto_type type, const void *msg)
{
	for (size_t i = 0; i < core_edge->n_rows; i++)
		if (core_edge->rows[i].type == type)
			assert_int_equal(core_edge->rows[i].handle(eg, NULL, 0, msg, -1), 0);
}

/* Nobody waits for the token, so no exchange tells of the end. */
static void a_token_that_is_called_off_was_the_last(void **state)
{
	const struct proto_credential_drop drop = {.credential = SPAN_LIT("id"), .version = 1};
	const struct proto_sealed sealed = {.cut = 0};
	struct egress *eg = egress_new();

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct list token = LIST_INIT(token);
		stops = 0;
		list_push(&eg->credentials.tokens, &token);
		eg->daemon.on_drain(eg);
		assert_int_equal(stops, 0);
		core_says(eg, i ? PROTO_SEALED : PROTO_CREDENTIAL_DROP, i ? (const void *)&sealed : &drop);
		assert_int_equal(stops, 1);
	}
	egress_free(eg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(who_stalls_goes_on_without_a_drain),
					   cmocka_unit_test(a_token_that_is_called_off_was_the_last)};

	return cmocka_run_group_tests_name("serve", tests, NULL, NULL);
}
