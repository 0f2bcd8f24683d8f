/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core may change in the store, on its own: exchange parts of sealed credentials when it rotates keys, put a
 * secret in the place of the one that was used up, and have a version removed that its provider refuses. And it may
 * have all of them sent again, to see that none is left under an old key.
 */
#include "authd/admin_operation.h"

#define RESEALED_ITEMS_MAX 128 /* CREDENTIAL_SWAP */

/* ---- parts of them ---- */

int resealed_swap(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_swap *m = msg;
	struct proto_list items = m->items;
	struct proto_credential_swap_item item;
	struct store_swap swaps[RESEALED_ITEMS_MAX];
	uint8_t done[RESEALED_ITEMS_MAX];
	struct authd *a = ctx;
	size_t n = 0;

	(void)fd;
	while (n < RESEALED_ITEMS_MAX && proto_credential_swap_item_next(&items, &item))
		swaps[n++] = (struct store_swap){.id = item.credential,
						 .version = item.version,
						 .old = item.old,
						 .at = (size_t)item.at,
						 .part = item.part};
	int e = store_credential_swap(a->store, swaps, n, done);
	return authd_send(conn, PROTO_CREDENTIAL_SWAPPED, id,
			  &(struct proto_credential_swapped){.done = e ? SPAN_NULL : span_of(done, n)});
}

/* ---- a secret that was replaced by use ---- */

static int resealed_send(struct ipc_conn *conn, const struct store_credential *c)
{
	return authd_send(conn, PROTO_CREDENTIAL_LOAD, 0,
			  &(struct proto_credential_load){.credential = span_str(c->id), .blob = c->blob});
}

struct resealed_one {
	struct ipc_conn *conn;
	struct span id;
};

static int resealed_send_that(void *ctx, const struct store_credential *c)
{
	const struct resealed_one *one = ctx;

	return span_eq_str(one->id, c->id) && c->blob.len > 0 ? resealed_send(one->conn, c) : 0;
}

/*
 * A refresh token was used up and replaced. There is no record to wait for: the effect has happened, at its service,
 * and waiting could only lose the new one. The core records it. The answer is what is stored now: this, or what an
 * operator stored meanwhile. Without a store there is none; the core asks again.
 */
int resealed_put(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_reseal *m = msg;
	struct authd *a = ctx;
	const struct credentials_row *row = credentials_row(&a->credentials, m->credential);

	(void)id;
	(void)fd;
	if (!row || !row->live)
		return authd_send(conn, PROTO_CREDENTIAL_DROP, 0,
				  &(struct proto_credential_drop){.credential = m->credential,
								  .version = row ? row->version : 1});
	struct store_credential stored = {.version = m->version, .created_s = row->created_s, .blob = m->blob};
	memcpy(stored.id, row->id, sizeof(stored.id));
	memcpy(stored.provider, row->provider, sizeof(stored.provider));
	memcpy(stored.tenant, row->tenant, sizeof(stored.tenant));
	int e = store_credential_put(a->store, &stored);
	if (!e)
		e = credentials_load(&a->credentials, a->store);
	else if (e == STORE_E_STALE_VERSION)
		e = 0;
	if (e)
		return e < 0 ? e : 0;
	e = store_credential_each(a->store, resealed_send_that,
				  &(struct resealed_one){.conn = conn, .id = m->credential});
	return e < 0 ? e : 0;
}

/* ---- all of them ---- */

struct resealed_replay {
	const struct authd *a;
	struct ipc_conn *conn;
	size_t rows;
	int r;
};

/* The core may have been away, or authd have died, when it was to be told that this one was removed. */
static int resealed_send_gone(const struct resealed_replay *replay, const struct store_credential *c)
{
	const struct credentials_row *newest = credentials_row(&replay->a->credentials, span_str(c->id));

	if (!newest || newest->live)
		return 0;
	return authd_send(replay->conn, PROTO_CREDENTIAL_DROP, 0,
			  &(struct proto_credential_drop){.credential = span_str(c->id), .version = c->version});
}

static int resealed_send_one(void *ctx, const struct store_credential *c)
{
	struct resealed_replay *replay = ctx;

	if (c->blob.len == 0)
		return replay->r = resealed_send_gone(replay, c);
	replay->rows++;
	replay->r = resealed_send(replay->conn, c);
	return replay->r;
}

int authd_send_credentials(struct authd *a, struct ipc_conn *conn, size_t *ret_rows)
{
	struct resealed_replay replay = {.a = a, .conn = conn};
	int e = store_credential_each(a->store, resealed_send_one, &replay);

	*ret_rows = replay.rows;
	return e ? AUTHD_E_GONE : replay.r;
}

int resealed_replay(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct authd *a = ctx;
	size_t rows;

	(void)msg;
	(void)fd;
	/* The old keys may be wiped after this: what was swapped must not come back by a power failure. */
	int r = store_credential_sync(a->store) ? AUTHD_E_GONE : authd_send_credentials(a, conn, &rows);
	if (r > 0) {
		ipc_drop(conn, "the store does not answer"); /* and is asked again at the next connection */
		return 0;
	}
	return r ? r
		 : authd_send(conn, PROTO_CREDENTIAL_REPLAYED, id, &(struct proto_credential_replayed){.rows = rows});
}

/* ---- a version that its provider refuses ---- */

static int effect_credential_retire(struct operation *op)
{
	struct authd *a = op->authd;
	if (store_credential_retire(a->store, span_str(op->credential.id), op->credential.version))
		return 0; /* gone already, or the store is: then the core asks again one day */
	if (credentials_load(&a->credentials, a->store)) /* other rows */
		credentials_void(&a->credentials, span_str(op->credential.id), op->credential.version + 1);
	return authd_send(ipc_edge_conn(a->keyvault), PROTO_CREDENTIAL_DROP, 0,
			  &(struct proto_credential_drop){.credential = span_str(op->credential.id),
							  .version = op->credential.version});
}

int resealed_retire(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_retire *m = msg;
	struct authd *a = ctx;
	const struct credentials_row *row = credentials_row(&a->credentials, m->credential);

	(void)conn;
	(void)id;
	(void)fd;
	if (!row || !row->live || m->version >= row->version)
		return 0;
	struct operation *op = operation_new(a, NULL, 0, effect_credential_retire);
	if (!op)
		return 0;
	admin_copy(op->credential.id, sizeof(op->credential.id), m->credential);
	op->credential.version = m->version;
	return operation_start(op, &(struct proto_event){.code = EVENT_CREDENTIAL_REMOVE,
							 .tenant = span_str(row->tenant),
							 .resource = m->credential,
							 .reason = SPAN_LIT("superseded"),
							 .provider = span_str(row->provider),
							 .credential = m->credential});
}
