/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core may do with authd's rows, with the real database: rows change only where they are what the core has
 * seen, every live one is sent when it asks for all, and what cannot be done is not said to be. The core's connection
 * and the operations that wait for the log are stand-ins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "authd/admin_operation.h"
#include "tests/support/store_fixture.h"

/* A sealed credential has 64 bytes at least; the dots are not said. */
#define DOTS "................................................................"
#define B(x) x DOTS

struct world {
	struct authd a; /* first */
	struct store_fixture *f;
	char said[1024]; /* "TYPE:what" */
	int send_says;
	unsigned dropped;
	bool busy;
	struct operation *op;
	char reason[32];
	enum event_code code;
};

/* ---- stand-ins; the core's connection is the world ---- */

int authd_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	struct world *w = (struct world *)conn;
	const struct proto_credential_load *load = msg;
	const struct proto_credential_drop *drop = msg;
	const struct proto_credential_swapped *swapped = msg;
	const struct proto_credential_replayed *replayed = msg;
	size_t at = strlen(w->said), room = sizeof(w->said) - at;

	assert_int_equal(id, type == PROTO_CREDENTIAL_SWAPPED || type == PROTO_CREDENTIAL_REPLAYED ? 5 : 0);
	if (type == PROTO_CREDENTIAL_LOAD)
		(void)snprintf(w->said + at, room, "load:%.*s=%.*s ", SPAN_ARG(load->credential),
			       (int)strcspn((const char *)load->blob.p, "."), (const char *)load->blob.p);
	else if (type == PROTO_CREDENTIAL_DROP)
		(void)snprintf(w->said + at, room, "drop:%.*s/%u ", SPAN_ARG(drop->credential),
			       (unsigned)drop->version);
	else if (type == PROTO_CREDENTIAL_REPLAYED)
		(void)snprintf(w->said + at, room, "replayed:%u ", (unsigned)replayed->rows);
	else
		for (size_t i = 0; i <= swapped->done.len; i++)
			(void)snprintf(w->said + strlen(w->said), sizeof(w->said) - strlen(w->said), "%s",
				       i == swapped->done.len ? "swapped "
				       : swapped->done.p[i]   ? "1"
							      : "0");
	return w->send_says;
}

struct ipc_conn *ipc_edge_conn(struct ipc_edge *edge)
{
	return (struct ipc_conn *)edge;
}

void ipc_drop(struct ipc_conn *conn, const char *why)
{
	assert_non_null(why);
	((struct world *)conn)->dropped++;
}

struct operation *operation_new(struct authd *a, struct ipc_conn *conn, uint64_t id,
				int (*effect)(struct operation *op))
{
	struct world *w = (struct world *)a;

	assert_null(conn);
	assert_null(w->op);
	if (w->busy)
		return NULL;
	w->op = calloc(1, sizeof(*w->op));
	w->op->authd = a;
	w->op->id = id;
	w->op->effect = effect;
	return w->op;
}

int operation_start(struct operation *op, const struct proto_event *what)
{
	struct world *w = (struct world *)op->authd;

	w->code = (enum event_code)what->code;
	(void)snprintf(w->reason, sizeof(w->reason), "%.*s", SPAN_ARG(what->reason));
	assert_true(span_eq_str(what->credential, op->credential.id));
	assert_true(span_eq_str(what->tenant, "*"));
	return 0;
}

void admin_copy(char *to, size_t cap, struct span from)
{
	(void)snprintf(to, cap, "%.*s", SPAN_ARG(from));
}

/* ---- the world ---- */

static void put(struct world *w, const char *id, uint64_t version, uint64_t since, const char *blob)
{
	struct store_credential c = {.version = version, .since = since, .created_s = 7, .blob = span_str(blob)};

	(void)snprintf(c.id, sizeof(c.id), "%s", id);
	(void)snprintf(c.provider, sizeof(c.provider), "%s", id);
	(void)snprintf(c.tenant, sizeof(c.tenant), "*");
	assert_int_equal(store_credential_put(w->f->store, &c), 0);
	assert_int_equal(credentials_load(&w->a.credentials, w->f->store), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	void *f;

	if (store_setup(&f))
		return -1;
	w->f = f;
	w->a.store = w->f->store;
	w->a.keyvault = (struct ipc_edge *)w;
	put(w, "a", 1, 0, B("blob-of-a"));
	put(w, "b", 4, 0, B("blob-of-b"));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	void *f = w->f;

	credentials_deinit(&w->a.credentials);
	free(w->op);
	free(w);
	return store_teardown(&f);
}

/* The database fails from now on. */
static void fail_store(struct world *w)
{
	w->a.store = w->f->store = store_close(w->f->store);
	char path[128];
	store_path(w->f, "authd.db", path);
	assert_int_equal(store_open(w->f->folder, &store_log, &w->f->store), 0);
	w->a.store = w->f->store;
	FILE *db = fopen(path, "r+");
	assert_non_null(db);
	for (int i = 0; i < 65536; i++)
		(void)fputc('x', db);
	assert_int_equal(fclose(db), 0);
}

static void expect(struct world *w, const char *said)
{
	assert_string_equal(w->said, said);
	w->said[0] = 0;
}

static void ask(struct world *w, ipc_handler *handle, const void *msg)
{
	assert_int_equal(handle(&w->a, (struct ipc_conn *)w, 5, msg, -1), 0);
}

static void replay(struct world *w)
{
	ask(w, resealed_replay, &(struct proto_credential_replay){});
}

static struct proto_credential_swap_item item(const char *id, uint64_t version, const char *was, size_t at,
					      const char *part, uint8_t digest[32])
{
	(void)crypto_generichash(digest, 32, (const uint8_t *)was, strlen(was), NULL, 0);
	return (struct proto_credential_swap_item){.credential = span_str(id),
						   .version = version,
						   .old = span_of(digest, 32),
						   .at = at,
						   .part = span_str(part)};
}

/* ---- tests ---- */

static void only_what_is_as_it_was_is_swapped(void **state)
{
	struct world *w = *state;
	uint8_t digests[5][32];
	const struct proto_credential_swap_item items[] = {
		item("a", 1, B("blob-of-a"), 0, "BLOB", digests[0]),
		item("b", 4, B("blob-of-x"), 0, "BLOB", digests[1]),  /* another than the core has seen */
		item("b", 3, B("blob-of-b"), 0, "BLOB", digests[2]),  /* another version */
		item("c", 1, B("blob-of-c"), 0, "BLOB", digests[3]),  /* gone */
		item("b", 4, B("blob-of-b"), 70, "long", digests[4]), /* beyond its end */
	};

	ask(w, resealed_swap, &(struct proto_credential_swap){.items = {.items = items, .count = ARRAY_LEN(items)}});
	expect(w, "10000swapped ");
	replay(w);
	expect(w, "load:a=BLOB-of-a load:b=blob-of-b replayed:2 ");
}

static void a_store_that_fails_is_not_said_to_have_done_it(void **state)
{
	struct world *w = *state;
	uint8_t digest[32];
	const struct proto_credential_swap_item one = item("a", 1, B("blob-of-a"), 0, "BLOB", digest);

	fail_store(w);
	ask(w, resealed_swap, &(struct proto_credential_swap){.items = {.items = &one, .count = 1}});
	expect(w, "swapped ");
	replay(w); /* no REPLAYED: the core would believe that there is nothing left */
	expect(w, "");
	assert_int_equal(w->dropped, 1);
	ask(w, resealed_put,
	    &(struct proto_credential_reseal){.credential = SPAN_LIT("a"), .version = 2, .blob = SPAN_LIT(B("new"))});
	expect(w, "");
}

static void a_replay_is_all_that_is_live(void **state)
{
	struct world *w = *state;

	put(w, "b", 5, 4, B("next-of-b")); /* two live versions */
	assert_int_equal(store_credential_remove(w->f->store, SPAN_LIT("a")), 0);
	replay(w);
	expect(w, "load:b=blob-of-b load:b=next-of-b replayed:2 ");
	w->send_says = -EIO;
	assert_int_equal(resealed_replay(&w->a, (struct ipc_conn *)w, 5, NULL, -1), -EIO);
	expect(w, "load:b=blob-of-b ");
}

static void a_used_up_secret_is_replaced_and_said_to_be(void **state)
{
	struct world *w = *state;
	struct proto_credential_reseal m = {.credential = SPAN_LIT("a"), .version = 2, .blob = SPAN_LIT(B("second"))};

	ask(w, resealed_put, &m);
	expect(w, "load:a=second ");
	assert_int_equal(credentials_row(&w->a.credentials, SPAN_LIT("a"))->version, 2);
	ask(w, resealed_put, &m); /* asked again */
	expect(w, "load:a=second ");
	m.blob = SPAN_LIT(B("other")); /* what is stored is the answer */
	ask(w, resealed_put, &m);
	expect(w, "load:a=second ");
	put(w, "a", 9, 0, B("operators"));
	m.version = 3;
	ask(w, resealed_put, &m);
	expect(w, "load:a=operators ");
	replay(w);
	expect(w, "load:a=operators load:b=blob-of-b replayed:2 ");
}

static void a_removed_credential_does_not_come_back(void **state)
{
	struct world *w = *state;
	struct proto_credential_reseal m = {.credential = SPAN_LIT("b"), .version = 5, .blob = SPAN_LIT(B("fifth"))};

	assert_int_equal(store_credential_remove(w->f->store, SPAN_LIT("b")), 0);
	assert_int_equal(credentials_load(&w->a.credentials, w->f->store), 0);
	ask(w, resealed_put, &m);
	expect(w, "drop:b/4 ");
	m.credential = SPAN_LIT("never");
	ask(w, resealed_put, &m);
	expect(w, "drop:never/1 ");
	replay(w); /* said again to a core that may not have heard it */
	expect(w, "load:a=blob-of-a drop:b/4 replayed:1 ");
	put(w, "b", 6, 4, B("sixth-of-b")); /* beside what was removed */
	replay(w);
	expect(w, "load:a=blob-of-a load:b=sixth-of-b replayed:2 ");
}

static void retire(struct world *w, const char *id, uint64_t version)
{
	ask(w, resealed_retire, &(struct proto_credential_retire){.credential = span_str(id), .version = version});
}

static void a_refused_version_goes_when_that_is_recorded(void **state)
{
	struct world *w = *state;

	put(w, "b", 5, 4, B("next-of-b"));
	retire(w, "b", 4);
	assert_non_null(w->op);
	assert_int_equal(w->code, EVENT_CREDENTIAL_REMOVE);
	assert_string_equal(w->reason, "superseded");
	expect(w, ""); /* not before */
	replay(w);
	expect(w, "load:a=blob-of-a load:b=blob-of-b load:b=next-of-b replayed:3 ");
	assert_int_equal(w->op->effect(w->op), 0);
	expect(w, "drop:b/4 ");
	replay(w);
	expect(w, "load:a=blob-of-a load:b=next-of-b replayed:2 ");
	assert_int_equal(w->op->effect(w->op), 0); /* gone already */
	expect(w, "");
}

static void the_last_version_is_never_retired(void **state)
{
	struct world *w = *state;

	retire(w, "b", 4);
	retire(w, "b", 5);
	retire(w, "never", 1);
	assert_null(w->op);
	put(w, "b", 5, 4, B("next-of-b"));
	w->busy = true;
	retire(w, "b", 4); /* too many wait: the core asks again one day */
	w->busy = false;
	assert_null(w->op);
	assert_int_equal(store_credential_remove(w->f->store, SPAN_LIT("b")), 0);
	assert_int_equal(credentials_load(&w->a.credentials, w->f->store), 0);
	retire(w, "b", 4);
	assert_null(w->op);
	expect(w, "");
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(only_what_is_as_it_was_is_swapped),
		TEST(a_store_that_fails_is_not_said_to_have_done_it),
		TEST(a_replay_is_all_that_is_live),
		TEST(a_used_up_secret_is_replaced_and_said_to_be),
		TEST(a_removed_credential_does_not_come_back),
		TEST(a_refused_version_goes_when_that_is_recorded),
		TEST(the_last_version_is_never_retired),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("resealed", tests, NULL, NULL);
}
