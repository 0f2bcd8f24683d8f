/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core tells of its own accord. It follows from two events: the vault opens or closes, a peer connects.
 *
 * While the vault is open authd has the pepper and the edge key of every connected egress, and each egress its own.
 * When it closes all of them get SEALED and wipe what they have; keys are minted anew when it opens again. A peer that
 * connects is told what it would know by now. So no peer ever has to ask, and none can be left with an old answer.
 *
 * An egress is told its edge key when authd has said that it uses it: who hears from that egress that a grant is of an
 * older epoch gets one of the new epoch from authd, in whatever order the three processes run. A grant that is too
 * early waits at the egress. authd is told the pepper last, so that it permits nothing before it has all edge keys.
 */
#include <stdio.h>
#include <time.h>

#include "keyvault/core.h"

int core_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	int r = ipc_send(conn, type, id, msg);

	if (r == IPC_E_FULL)
		ipc_drop(conn, "does not read");
	return r < 0 ? r : 0;
}

int core_refuse(struct ipc_conn *conn, uint64_t id, const char *reason, const char *text)
{
	return core_send(conn, PROTO_REFUSED, id,
			 &(struct proto_refused){.reason = span_str(reason), .text = span_str(text)});
}

int core_refuse_vault(struct ipc_conn *conn, uint64_t id, int e)
{
	return core_refuse(conn, id, vault_refusal(e)->reason, vault_refusal(e)->text);
}

int core_done(struct ipc_conn *conn, uint64_t id, const char *text)
{
	return core_send(conn, PROTO_DONE, id, &(struct proto_done){.text = span_str(text)});
}

uint64_t core_unix_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Says one thing to one connection. Only core_say_edge_key() needs to know whose worker's. */
typedef int core_say(struct core *c, struct ipc_conn *conn, unsigned worker);

/* Calls `say` for each open connection of an edge; stops at the first failure. */
struct core_each {
	struct core *core;
	core_say *say;
	unsigned worker;
	int r;
};

static void on_each(void *arg, struct ipc_conn *conn)
{
	struct core_each *each = arg;

	if (!each->r)
		each->r = each->say(each->core, conn, each->worker);
}

static int core_tell(struct core *c, struct ipc_edge *edge, core_say *say, unsigned worker)
{
	struct core_each each = {.core = c, .say = say, .worker = worker};

	ipc_edge_each(edge, on_each, &each);
	return each.r;
}

static void on_last_authd(void *arg, struct ipc_conn *conn)
{
	struct ipc_conn **last = arg;

	*last = conn;
}

struct ipc_conn *core_authd(struct core *c)
{
	struct ipc_conn *last = NULL; /* an authd that restarts may be there twice for a moment */

	ipc_edge_each(c->authd, on_last_authd, &last);
	return last;
}

void core_actor(const struct ipc_conn *conn, char to[CORE_ACTOR_BYTES])
{
	(void)snprintf(to, CORE_ACTOR_BYTES, "uid:%lld", (long long)ipc_conn_peer_uid(conn));
}

void core_record(struct core *c, enum event_code code, const char *actor, struct span credential, const char *reason)
{
	struct proto_event event = {.code = code,
				    .actor = span_str(actor),
				    .resource = span_str("vault"),
				    .reason = span_str(reason),
				    .credential = credential};

	audit_record(c->audit, &event);
}

void core_reject(struct core *c, const char *actor, struct span credential, int e)
{
	c->rejects++;
	log_event(&c->daemon.log, LOG_VAULT_REFUSED, LOG_SPAN("credential", credential),
		  LOG_STR("why", vault_refusal(e)->text));
	core_record(c, EVENT_VAULT_REJECT, actor, credential, vault_refusal(e)->reason);
}

static int core_say_sealed(struct core *c, struct ipc_conn *conn, unsigned worker)
{
	(void)worker;
	return core_send(conn, PROTO_SEALED, 0, &(struct proto_sealed){.cut = c->sealed_by_hand});
}

static int core_say_signed_size(struct core *c, struct ipc_conn *conn, unsigned worker)
{
	char vkey[NOTE_VKEY_MAX];

	(void)worker;
	signer_vkey(&c->vault.signer, vkey);
	return core_send(conn, PROTO_SIGNED_SIZE, 0,
			 &(struct proto_signed_size){.size = c->vault.signer.witness.size, .vkey = span_str(vkey)});
}

static int core_say_edge_key(struct core *c, struct ipc_conn *conn, unsigned worker)
{
	const struct lane *lane = &c->vault.lanes.lane[worker];

	if (!lane->epoch)
		return 0;
	secret_open(c->arena);
	int r = core_send(conn, PROTO_EDGE_KEY, 0,
			  &(struct proto_edge_key){.lane = worker,
						   .epoch = lane->epoch,
						   .series = c->vault.lanes.series,
						   .revoked = c->vault.lanes.revoked,
						   .key = span_of(lane->key.p, lane->key.len)});
	secret_close(c->arena);
	return r;
}

/* authd: of every lane that has one. */
static int core_say_edge_keys(struct core *c, struct ipc_conn *conn, unsigned worker)
{
	int r = 0;

	(void)worker;
	for (unsigned i = 0; !r && i < LANES_MAX; i++)
		r = core_say_edge_key(c, conn, i);
	return r;
}

/* authd, while the vault is open. */
static int core_say_edge_keys_and_pepper(struct core *c, struct ipc_conn *conn, unsigned worker)
{
	const struct secret *pepper = keyring_purpose(&c->vault.keyring, PURPOSE_PEPPER);
	const struct secret *fields = keyring_purpose(&c->vault.keyring, PURPOSE_AUDIT_FIELDS);
	int r = core_say_edge_keys(c, conn, worker);

	if (r)
		return r;
	secret_open(c->arena);
	r = core_send(conn, PROTO_PEPPER, 0,
		      &(struct proto_pepper){.key = span_of(pepper->p, pepper->len),
					     .fields = span_of(fields->p, fields->len)});
	secret_close(c->arena);
	return r;
}

/* A fresh key for one egress; the caller tells authd. An arena without room is the operator's to
 * enlarge: the lane stays without a key, so without grants. */
static int core_mint(struct core *c, struct ipc_conn *conn, unsigned worker)
{
	(void)worker;
	if (lanes_mint(&c->vault.lanes, ipc_conn_worker(conn), core_unix_ms()))
		log_event(&c->daemon.log, LOG_VAULT_REFUSED, LOG_STR("why", "no room in the arena for an edge key"));
	return 0;
}

void core_edge_key_known(struct core *c, unsigned worker, uint64_t epoch)
{
	struct lane *lane = &c->vault.lanes.lane[worker];

	if (lane->known || !lane->epoch || lane->epoch != epoch)
		return;
	lane->known = true;
	if (core_say_edge_key(c, lane->peer, worker))
		ipc_drop(lane->peer, "could not be told its key");
}

uint64_t core_next_series(struct core *c, bool new_keys)
{
	struct lanes *l = &c->vault.lanes;

	lanes_next_series(l, core_unix_ms());
	l->revoked = l->series;
	if (new_keys && vault_is_open(&c->vault))
		(void)core_tell(c, c->egress, core_mint, 0);
	if (core_tell(c, c->authd, core_say_edge_keys, 0))
		log_event(&c->daemon.log, LOG_VAULT_REFUSED, LOG_STR("why", "authd could not be told the keys"));
	return l->series;
}

static void core_update_ready(struct core *c)
{
	daemon_set_ready(&c->daemon, vault_is_open(&c->vault), vault_state(&c->vault));
}

/* The vault has just opened: keys to everybody, and what came in meanwhile is checked. */
int core_opened(struct core *c, const char *actor)
{
	char id[STORE_ID_BYTES_MAX + 1];
	int why;

	tokens_open(&c->tokens, ipc_now_ms(c->daemon.ipc));
	c->rotation.missed = true; /* what came again to a sealed vault was not looked at, and may find no room now */
	for (size_t at = 0; vault_next_rejected(&c->vault, &at, id, &why);)
		core_reject(c, actor, span_str(id), why);
	int r = core_tell(c, c->egress, core_mint, 0);
	if (!r)
		r = core_tell(c, c->authd, core_say_edge_keys_and_pepper, 0);
	if (!r)
		r = core_tell(c, c->auditd, core_say_signed_size, 0);
	log_event(&c->daemon.log, LOG_VAULT_OPENED, LOG_STR("actor", actor));
	core_update_ready(c);
	core_rotation_kick(c);
	return r;
}

int core_closed(struct core *c, const char *actor)
{
	tokens_close(&c->tokens);
	c->sealed_by_hand = true;
	int r = core_tell(c, c->egress, core_say_sealed, 0);

	if (!r)
		r = core_tell(c, c->authd, core_say_sealed, 0);
	if (!r)
		r = core_tell(c, c->auditd, core_say_signed_size, 0);
	log_event(&c->daemon.log, LOG_VAULT_CLOSED, LOG_STR("actor", actor));
	core_update_ready(c);
	return r;
}

int core_announce_start(struct core *c)
{
	core_update_ready(c);
	if (!vault_is_open(&c->vault))
		return 0;
	core_record(c, EVENT_VAULT_UNSEAL, "key_file", SPAN_NULL, "");
	return core_opened(c, "key_file");
}

struct core_to_authd {
	enum proto_type type;
	const void *msg;
};

static void on_each_authd(void *arg, struct ipc_conn *conn)
{
	const struct core_to_authd *to = arg;

	if (core_send(conn, to->type, 0, to->msg))
		ipc_drop(conn, "could not be told");
}

void core_each_authd(struct core *c, enum proto_type type, const void *msg)
{
	struct core_to_authd to = {type, msg};

	ipc_edge_each(c->authd, on_each_authd, &to);
}

/* ---- a peer connects ---- */

void core_meet_authd(struct core *c, struct ipc_conn *conn)
{
	lanes_next_series(&c->vault.lanes, core_unix_ms());
	if (vault_is_open(&c->vault) ? core_say_edge_keys_and_pepper(c, conn, 0) : core_say_sealed(c, conn, 0))
		ipc_drop(conn, "could not be told the keys");
	core_rotation_kick(c);
}

void core_meet_egress(struct core *c, struct ipc_conn *conn)
{
	unsigned worker = ipc_conn_worker(conn);
	struct ipc_conn *old = lanes_attach(&c->vault.lanes, worker, conn);
	int r;

	if (old)
		ipc_drop(old, "replaced by a newer connection");
	if (vault_is_open(&c->vault)) {
		r = core_mint(c, conn, worker);
		if (!r)
			r = core_tell(c, c->authd, core_say_edge_key, worker);
	} else {
		r = core_say_sealed(c, conn, worker);
	}
	if (r)
		ipc_drop(conn, "could not be told the keys");
}

void core_meet_auditd(struct core *c, struct ipc_conn *conn)
{
	if (core_say_signed_size(c, conn, 0))
		ipc_drop(conn, "could not be told the size");
}

/* ---- a credential is gone or replaced ---- */

int core_drop_credential(struct core *c, struct span id, uint32_t version, const struct ipc_conn *but)
{
	int r = 0;

	for (unsigned i = 0; !r && i < LANES_MAX; i++) {
		struct ipc_conn *peer = c->vault.lanes.lane[i].peer;
		if (peer && peer != but)
			r = core_send(peer, PROTO_CREDENTIAL_DROP, 0,
				      &(struct proto_credential_drop){.credential = id, .version = version});
	}
	return r;
}
