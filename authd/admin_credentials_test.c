/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operator's removal of a credential, with the real database, while the core replaces what is removed; and what he
 * does where another row cannot be read any more. What waits for the log, and the core's connection, are stand-ins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
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
	unsigned done, loaded;
};

/* ---- stand-ins ---- */

int authd_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	struct world *w = (struct world *)conn;

	assert_true(type == PROTO_CREDENTIAL_DROP || type == PROTO_CREDENTIAL_LOAD);
	assert_int_equal(id, 0);
	if (type == PROTO_CREDENTIAL_DROP)
		w->dropped = ((const struct proto_credential_drop *)msg)->version;
	else
		w->loaded++;
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
	(void)conn, (void)msg, (void)fd, (void)deadline_ms, (void)ret_id;
	assert_int_equal(type, PROTO_CREDENTIAL_CHECK);
	reply(ctx, IPC_REPLY, proto_desc_of(PROTO_CREDENTIAL_GOOD), NULL, -1);
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
	assert_true(what->code == EVENT_CREDENTIAL_REMOVE || what->code == EVENT_CREDENTIAL_PUT);
	return 0;
}

void operation_end(struct operation *op, int r)
{
	(void)op;
	assert_int_equal(r, 0);
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

static void put_as(struct world *w, const char *id, uint64_t version)
{
	struct store_credential c = {.tenant = "*", .version = version, .blob = SPAN_LIT(BLOB)};

	strcpy(c.id, id);
	strcpy(c.provider, id);
	assert_int_equal(store_credential_put(w->f->store, &c), 0);
	assert_int_equal(credentials_load(&w->a.credentials, w->f->store), 0);
}

static void put(struct world *w, uint64_t version)
{
	put_as(w, "a", version);
}

/* The database takes changes and gives single rows, but this one. */
static void spoil(struct world *w, const char *sql)
{
	char path[128];
	sqlite3 *db;

	store_path(w->f, "authd.db", path);
	w->f->store = store_close(w->f->store);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA ignore_check_constraints = ON", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(store_open(w->f->folder, &store_log, &w->f->store), 0);
	w->a.store = w->f->store;
	assert_int_equal(credentials_load(&w->a.credentials, w->f->store), CREDENTIALS_E_GONE);
}

static void test_what_is_done_is_done_when_other_rows_cannot_be_read(void **state)
{
	const struct proto_credential_put more = {.credential = SPAN_LIT("a"),
						  .provider = SPAN_LIT("a"),
						  .tenant = SPAN_LIT("*"),
						  .version = 2,
						  .since = 2,
						  .blob = SPAN_LIT(BLOB)};
	const struct proto_credential_rm rm = {.credential = SPAN_LIT("a")};
	struct world w = {.a = {.keyvault = (struct ipc_edge *)&w}, .f = *state};
	unsigned live;

	put(&w, 1);
	put_as(&w, "z", 1);
	spoil(&w, "UPDATE credentials SET provider = hex(zeroblob(50)) WHERE id = 'z'");
	assert_int_equal(admin_credential_put(&w.a, (struct ipc_conn *)&w, 5, &more, -1), 0);
	assert_int_equal(w.op->effect(w.op), OPERATION_LATER);
	free(w.op);
	assert_true(w.done == 1 && w.loaded == 1);
	assert_non_null(credentials_find(&w.a.credentials, "a", SPAN_LIT("t"), &live));
	assert_int_equal(live, 1);
	assert_int_equal(credentials_row(&w.a.credentials, SPAN_LIT("a"))->version, 2);

	assert_int_equal(admin_credential_rm(&w.a, (struct ipc_conn *)&w, 5, &rm, -1), 0);
	assert_int_equal(w.op->effect(w.op), 0);
	free(w.op);
	assert_true(w.done == 2 && w.dropped == 2);
	assert_null(credentials_find(&w.a.credentials, "a", SPAN_LIT("t"), &live));
	credentials_deinit(&w.a.credentials);
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
		cmocka_unit_test_setup_teardown(test_what_is_done_is_done_when_other_rows_cannot_be_read, store_setup,
						store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
