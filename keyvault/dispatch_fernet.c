/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator may ask of the core about Fernet tokens. Keys come in messages that lie in the arena; tokens, being
 * ciphertext, may lie anywhere. An exported token leaves only when the log has the record of it: until then it waits in
 * the core, and is wiped if the record does not become durable.
 */
#include <assert.h>

#include "keyvault/core.h"

int core_import_fernet(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_import_fernet *m = msg;
	struct core *c = ctx;
	struct core_answer *a;

	(void)fd;
	int r = core_answer_new(conn, id, PROTO_VAULT_ADDED, &a);
	if (r)
		return r;
	struct fernet_limit limit = {.now_s = core_unix_ms() / 1000, .ttl_s = m->ttl_s};
	r = vault_import_fernet(&c->vault, m->binding, m->token, m->keys, limit, a->bytes, &a->len);
	return core_answer_sealed(c, a, r);
}

int core_export_fernet(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_export_fernet *m = msg;
	struct core *c = ctx;
	struct core_answer *a;
	struct proto_binding binding;
	struct span packed;
	char actor[CORE_ACTOR_BYTES];

	(void)fd;
	int r = core_answer_new(conn, id, PROTO_VAULT_FERNET, &a);
	if (r)
		return r;
	r = vault_export_fernet(&c->vault, m->credential, m->confirm, m->key, core_unix_ms() / 1000, &packed,
				(char *)a->bytes);
	if (r) {
		(void)core_answer_free(a);
		core_actor(conn, actor);
		if (r == VAULT_E_FORGED)
			core_reject(c, actor, m->credential, r);
		if (r > 0)
			core_record(c, EVENT_VAULT_EXPORT_REFUSE, actor, m->credential, vault_refusal(r)->reason);
		return r < 0 ? r : core_refuse_vault(conn, id, r);
	}
	a->len = strlen((const char *)a->bytes);
	r = proto_unpack_record(&proto_binding_desc, packed, &binding);
	assert(r == 0);
	return core_answer_when_recorded(c, a, EVENT_VAULT_EXPORT_CREDENTIAL, &binding);
}

int core_rotate_fernet(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_rotate_fernet *m = msg;
	struct core *c = ctx;
	char stored[FERNET_STORED_CHARS_MAX + 1];

	(void)fd;
	int r = vault_rotate_fernet(&c->vault, m->token, m->keys, stored);
	if (r)
		return r < 0 ? r : core_refuse_vault(conn, id, r);
	return core_send(conn, PROTO_VAULT_FERNET, id, &(struct proto_vault_fernet){.token = span_str(stored)});
}
