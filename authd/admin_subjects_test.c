/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An erasure whose transaction is on disk and whose files could not be cleaned: asked for again, it is not said to be
 * done before they are. With the real database, on a disk that takes no writes behind a certain place. What waits for
 * the log, and the operator's connection, are stand-ins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "authd/admin_operation.h"
#include "tests/support/store_fixture.h"

#define SUBJECTS   1000
#define DISK_BYTES 65536

struct world {
	struct authd a; /* first */
	struct store_fixture *f;
	struct operation op;
	char said[64];
};

/* ---- stand-ins; the operator's connection is the world ---- */

static int say(struct ipc_conn *conn, const char *what)
{
	struct world *w = (struct world *)(void *)conn;

	(void)snprintf(w->said, sizeof(w->said), "%s", what);
	return 0;
}

int admin_done(struct ipc_conn *conn, uint64_t id, const char *text)
{
	(void)id, (void)text;
	return say(conn, "done");
}

int admin_refuse(struct ipc_conn *conn, uint64_t id, const char *reason, const char *text)
{
	(void)id, (void)text;
	return say(conn, reason);
}

int admin_refuse_busy(struct ipc_conn *conn, uint64_t id)
{
	return admin_refuse(conn, id, "busy", "");
}

int admin_refuse_store(struct ipc_conn *conn, uint64_t id, int e)
{
	assert_int_equal(e, STORE_E_GONE);
	return admin_refuse(conn, id, "store", "");
}

struct operation *operation_new(struct authd *a, struct ipc_conn *conn, uint64_t id,
				int (*effect)(struct operation *op))
{
	struct world *w = (struct world *)a;

	w->op = (struct operation){.authd = a, .conn = conn, .id = id, .effect = effect};
	return &w->op;
}

int operation_start(struct operation *op, const struct proto_event *what)
{
	assert_int_equal(what->code, EVENT_AUDIT_ERASE);
	return op->effect(op);
}

int authd_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	(void)conn, (void)type, (void)id, (void)msg;
	fail();
	return 0;
}

struct authorize_now authd_now(const struct authd *a)
{
	(void)a;
	return (struct authorize_now){.unix_ms = 77000};
}

/* ---- the world ---- */

static void disk(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void add_subject(struct world *w, unsigned n, struct store_subject *subject)
{
	struct store_key key = {.tenant = "acme", .models = "*", .prefix = "bh_sk_aaaaaaaaa", .created_s = 1};

	(void)snprintf(key.id, sizeof(key.id), "key_%u", n);
	(void)snprintf(key.subject, sizeof(key.subject), "sub_%u", n);
	memcpy(key.hmac, &n, sizeof(n));
	assert_int_equal(store_key_add(w->f->store, &key), 0);
	*subject = (struct store_subject){.day = 20000, .has_chain = true};
	strcpy(subject->id, key.subject);
	randombytes_buf(subject->chain, sizeof(subject->chain));
	assert_int_equal(store_subject_put(w->f->store, subject), 0);
}

static bool file_has(struct world *w, const char *name, const uint8_t chain[STORE_CHAIN_BYTES])
{
	static uint8_t all[2U << 20];
	char path[128];

	store_path(w->f, name, path);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t n = fread(all, 1, sizeof(all), f);
	assert_true(n < sizeof(all));
	assert_int_equal(fclose(f), 0);
	return memmem(all, n, chain, 16) != NULL;
}

static bool files_have(struct world *w, const uint8_t chain[STORE_CHAIN_BYTES])
{
	return file_has(w, "authd.db", chain) || file_has(w, "authd.db-wal", chain);
}

static const char *erase(struct world *w, const char *subject)
{
	assert_int_equal(admin_audit_erase(&w->a, (struct ipc_conn *)(void *)w, 5,
					   &(struct proto_audit_erase){.subject = span_str(subject)}, -1),
			 0);
	return w->said;
}

/* ---- the test ---- */

static void test_it_is_done_when_no_file_has_it(void **state)
{
	struct world w = {.f = *state};
	struct store_subject last;

	for (unsigned i = 0; i < SUBJECTS; i++)
		add_subject(&w, i, &last);
	assert_int_equal(store_credential_sync(w.f->store), 0);
	w.a.store = w.f->store;
	assert_int_equal(cache_new(1, 1, &w.a.authorize.cache), 0);
	assert_int_equal(subjects_new(w.f->store, NULL, &w.a.subjects), 0);

	disk(DISK_BYTES); /* enough for the write-ahead log */
	assert_string_equal(erase(&w, last.id), "store");
	assert_string_equal(erase(&w, last.id), "store");
	disk(RLIM_INFINITY);
	assert_int_equal(store_subject_find(w.f->store, span_str(last.id), &(struct store_subject){0}), 0);
	assert_true(files_have(&w, last.chain));
	assert_string_equal(erase(&w, last.id), "done");
	assert_false(files_have(&w, last.chain));

	free(w.a.subjects); /* never opened */
	w.a.authorize.cache = cache_free(w.a.authorize.cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_it_is_done_when_no_file_has_it, store_setup, store_teardown),
	};

	(void)signal(SIGXFSZ, SIG_IGN);
	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
