/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core may change in the store, on its own: exchange parts of sealed credentials when it rotates keys, and
 * have a version removed that its provider refuses. And it may have all of them sent again, to see that none is left
 * under an old key.
 */
#include "authd/admin_operation.h"
#include "common/err.h"

#define RESEALED_ITEMS_MAX 128 /* CREDENTIAL_SWAP */

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

struct resealed_replay {
	struct ipc_conn *conn;
	size_t rows;
	int r;
};

static int resealed_send_one(void *ctx, const struct store_credential *c)
{
	struct resealed_replay *replay = ctx;

	if (c->blob.len == 0)
		return 0;
	replay->rows++;
	replay->r = authd_send(replay->conn, PROTO_CREDENTIAL_LOAD, 0,
			       &(struct proto_credential_load){.credential = span_str(c->id), .blob = c->blob});
	return replay->r;
}

int authd_send_credentials(struct authd *a, struct ipc_conn *conn, size_t *ret_rows)
{
	struct resealed_replay replay = {.conn = conn};
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

static int effect_credential_retire(struct operation *op)
{
	struct authd *a = op->authd;
	int e = store_credential_retire(a->store, span_str(op->credential.id), op->credential.version);

	if (e || credentials_load(&a->credentials, a->store))
		return 0; /* gone already, or the store is: then the core asks again one day */
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
