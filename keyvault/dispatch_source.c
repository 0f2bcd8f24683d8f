/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider's key in a file that somebody else keeps: Kubernetes, the External Secrets Operator, a Vault agent. The
 * launcher sees that it changed and passes the descriptor; only here is it read. A key that is in force already, for
 * the same destination, is not sealed again, so that a restart makes no new version; so until authd has said what there
 * is, nobody can say what is in force. One that is no key is refused and recorded, and what was in force stays.
 */
#include <unistd.h>

#include "keyvault/core.h"

#define SOURCE_BYTES_MAX (SEAL_SECRET_BYTES_MAX + 2) /* and a line end */

/* Without the line end that editors add. The arena is open. */
static struct span source_trim(const uint8_t *p, size_t len)
{
	len -= len > 0 && p[len - 1] == '\n';
	len -= len > 0 && p[len - 1] == '\r';
	return span_of(p, len);
}

/* The same destination, whatever the version. */
static bool source_binds_alike(struct span stored, struct span offered)
{
	uint8_t packed[SEAL_BINDING_BYTES_MAX];
	struct proto_binding is, wanted;
	size_t len;

	if (proto_unpack_record(&proto_binding_desc, stored, &is) ||
	    proto_unpack_record(&proto_binding_desc, offered, &wanted))
		return false;
	wanted.version = is.version;
	wanted.since = is.since;
	return proto_pack_record(&proto_binding_desc, &wanted, packed, sizeof(packed), &len) == 0 &&
	       span_eq(stored, span_of(packed, len));
}

/* Is this what egress would be given now? The arena is open. */
static bool source_is_in_force(struct core *c, struct span binding, struct span key)
{
	struct secret now = SECRET_NULL;
	struct proto_binding b;
	struct span stored;
	bool same = false;

	if (proto_unpack_record(&proto_binding_desc, binding, &b) ||
	    vault_fetch(&c->vault, b.credential, core_unix_ms() / 1000, &stored, &now))
		return false;
	same = source_binds_alike(stored, binding) && now.len == key.len && secret_eq(now.p, key.p, key.len);
	secret_free(c->arena, &now);
	return same;
}

static int source_refuse(struct core *c, struct ipc_conn *conn, uint64_t id, struct span binding, int e)
{
	char actor[CORE_ACTOR_BYTES];
	struct proto_binding b = {0};

	core_actor(conn, actor);
	if (e == VAULT_E_SECRET && proto_unpack_record(&proto_binding_desc, binding, &b) == 0)
		core_reject(c, actor, b.credential, e);
	return core_refuse_vault(conn, id, e);
}

/* The arena is open, and `key` lies in it. */
static int source_take(struct core *c, struct ipc_conn *conn, uint64_t id, struct span binding, struct span key)
{
	struct core_answer *a;

	if (!vault_is_open(&c->vault))
		return core_refuse_vault(conn, id, c->vault.files.initialised ? VAULT_E_SEALED : VAULT_E_UNINITIALISED);
	if (source_is_in_force(c, binding, key))
		return core_send(conn, PROTO_VAULT_SOURCED, id, &(struct proto_vault_sourced){.blob = SPAN_NULL});
	if (!c->complete)
		return core_refuse(conn, id, "loading",
				   "authd has not said yet what there is; it is to be tried again");
	int r = core_answer_new(conn, id, PROTO_VAULT_SOURCED, &a);
	if (r)
		return r;
	r = key.len ? vault_add(&c->vault, binding, key, a->bytes, &a->len) : VAULT_E_SECRET;
	if (r <= 0)
		return core_answer_sealed(c, a, r);
	(void)core_answer_free(a);
	return source_refuse(c, conn, id, binding, r);
}

int core_source(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_source *m = msg;
	struct secret file = SECRET_NULL;
	struct core *c = ctx;

	if (secret_alloc(c->arena, SOURCE_BYTES_MAX + 1, &file)) {
		(void)close(fd);
		return core_refuse_vault(conn, id, VAULT_E_FULL);
	}
	secret_open(c->arena);
	ssize_t n = pread(fd, file.p, file.len, 0);
	(void)close(fd);
	int r = n < 0 || n > SOURCE_BYTES_MAX ? source_refuse(c, conn, id, m->binding, VAULT_E_SECRET)
					      : source_take(c, conn, id, m->binding, source_trim(file.p, (size_t)n));
	secret_close(c->arena);
	secret_free(c->arena, &file);
	return r;
}
