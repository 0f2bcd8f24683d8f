/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operator's removal of a credential, with the real database, while the core replaces what is removed. What waits
 * for the log, and the core's connection, are stand-ins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "authd/admin_operation.h"
#include "tests/support/store_fixture.h"

/* A sealed credential has 64 bytes at least. */
#define BLOB "................................................................"

struct world {
	struct authd a; /* first */
	struct store_fixture *f;
	struct operation *op;
	uint64_t dropped; /* the version that the core was told to forget */
	unsigned done;
};

/* ---- stand-ins ---- */

int authd_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	assert_int_equal(type, PROTO_CREDENTIAL_DROP);
	assert_int_equal(id, 0);
	((struct world *)conn)->dropped = ((const struct proto_credential_drop *)msg)->version;
	return 0;
}

struct authorize_now authd_now(const struct authd *a)
{
	(void)a;
	return (struct authorize_now){0};
}

struct ipc_conn *ipc_edge_conn(struct ipc_edge *edge)
{
	return (struct ipc_conn *)edge;
}

int ipc_call(struct ipc_conn *conn, enum proto_type type, const void *msg, int fd, uint64_t deadline_ms,
	     ipc_reply *reply, void *ctx, uint64_t *ret_id)
{
	(void)conn, (void)type, (void)msg, (void)fd, (void)deadline_ms, (void)reply, (void)ctx, (void)ret_id;
	fail();
	return 0;
}

struct operation *operation_new(struct authd *a, struct ipc_conn *conn, uint64_t id,
				int (*effect)(struct operation *op))
{
	struct world *w = (struct world *)a;

	w->op = calloc(1, sizeof(*w->op));
	w->op->authd = a;
	w->op->conn = conn;
	w->op->id = id;
	w->op->effect = effect;
	return w->op;
}

int operation_start(struct operation *op, const struct proto_event *what)
{
	(void)op;
	assert_int_equal(what->code, EVENT_CREDENTIAL_REMOVE);
	return 0;
}

void operation_end(struct operation *op, int r)
{
	(void)op, (void)r;
	fail();
}

void admin_copy(char *to, size_t cap, struct span from)
{
	(void)snprintf(to, cap, "%.*s", SPAN_ARG(from));
}

bool admin_id_valid(struct span id)
{
	return id.len > 0;
}

int admin_done(struct ipc_conn *conn, uint64_t id, const char *text)
{
	(void)id, (void)text;
	((struct world *)conn)->done++;
	return 0;
}

int admin_refuse(struct ipc_conn *conn, uint64_t id, const char *reason, const char *text)
{
	(void)conn, (void)id, (void)text;
	fail_msg("%s", reason);
	return 0;
}

int admin_refuse_busy(struct ipc_conn *conn, uint64_t id)
{
	return admin_refuse(conn, id, "busy", "");
}

int admin_refuse_store(struct ipc_conn *conn, uint64_t id, int e)
{
	(void)e;
	return admin_refuse(conn, id, "store", "");
}

/* ---- the world ---- */

static void put(struct world *w, uint64_t version)
{
	struct store_credential c = {
		.id = "a", .provider = "a", .tenant = "*", .version = version, .blob = SPAN_LIT(BLOB)};

	assert_int_equal(store_credential_put(w->f->store, &c), 0);
	assert_int_equal(credentials_load(&w->a.credentials, w->f->store), 0);
}

/* A refresh token is renewed without waiting for anybody (resealed.c), and what the operator meant goes all the same.
 */
static void test_what_came_while_the_log_was_asked_goes_too(void **state)
{
	const struct proto_credential_rm rm = {.credential = SPAN_LIT("a")};
	struct world w = {.a = {.keyvault = (struct ipc_edge *)&w}, .f = *state};
	unsigned live;

	w.a.store = w.f->store;
	for (uint64_t meanwhile = 0; meanwhile < 2; meanwhile++) {
		put(&w, 3 * meanwhile + 1);
		assert_int_equal(admin_credential_rm(&w.a, (struct ipc_conn *)&w, 5, &rm, -1), 0);
		if (meanwhile)
			put(&w, 5);
		assert_int_equal(w.op->effect(w.op), 0);
		assert_int_equal(w.dropped, meanwhile ? 5 : 1);
		assert_null(credentials_find(&w.a.credentials, "a", SPAN_LIT("t"), &live));
		free(w.op);
	}
	assert_int_equal(w.done, 2);
	credentials_deinit(&w.a.credentials);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_came_while_the_log_was_asked_goes_too, store_setup,
						store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
