/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/core_world.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/ipc_internal.h"
#include "proto/frame.h"

static const struct {
	const char *edge;
	enum role role;
	unsigned worker;
} peer_rows[N_PEERS] = {
	[AUTHD] = {"keyvault.authd", ROLE_AUTHD, 0},      [EGRESS0] = {"keyvault.egress0", ROLE_EGRESS, 0},
	[EGRESS1] = {"keyvault.egress1", ROLE_EGRESS, 1}, [AUDITD] = {"keyvault.auditd", ROLE_AUDITD, 0},
	[ADMIN] = {"keyvault.admin", ROLE_CLI, 0},
};

/* ---- the log, as a stand-in ---- */

void audit_record(struct audit_client *c, const struct proto_event *event)
{
	c->count[event->code]++;
	(void)snprintf(c->reason, sizeof(c->reason), "%.*s", SPAN_ARG(event->reason));
}

int audit_record_wait(struct audit_client *c, const struct proto_event *event, uint64_t deadline_ms, audit_done *done,
		      void *ctx)
{
	assert_true(deadline_ms > 0 && deadline_ms <= 10000);
	if (c->mode == LOG_DOWN)
		return AUDIT_E_DOWN;
	audit_record(c, event);
	if (c->mode == LOG_YES) {
		done(ctx, true);
	} else {
		c->done = done;
		c->ctx = ctx;
	}
	return 0;
}

/* ---- a peer ---- */

void world_turn(struct world *w)
{
	(void)uv_run(&w->core.daemon.loop, UV_RUN_NOWAIT);
}

void peer_say_fd(struct peer *p, enum proto_type type, uint64_t id, const void *msg, int fd)
{
	uint8_t wire[PROTO_FRAME_BYTES_MAX + FRAME_HEAD_BYTES];
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = wire};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t len;

	assert_int_equal(proto_pack(proto_desc_of(type), id, msg, wire + FRAME_HEAD_BYTES, PROTO_FRAME_BYTES_MAX, &len),
			 0);
	frame_put_head(wire, len);
	iov.iov_len = len + FRAME_HEAD_BYTES;
	if (fd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(int));
	}
	assert_int_equal(sendmsg(p->fd, &m, MSG_NOSIGNAL), iov.iov_len);
	if (fd >= 0)
		(void)close(fd);
}

void peer_say(struct peer *p, enum proto_type type, uint64_t id, const void *msg)
{
	peer_say_fd(p, type, id, msg, -1);
}

/* The next message: true; or the end of the connection: false. */
bool peer_hear(struct world *w, struct peer *p)
{
	struct span body;
	size_t used;

	for (int i = 0; i < TURNS_MAX; i++) {
		if (frame_next(span_of(p->rx, p->len), &body, &used) == 0) {
			memcpy(p->last, body.p, body.len);
			memmove(p->rx, p->rx + used, p->len -= used);
			assert_int_equal(proto_unpack(span_of(p->last, used - FRAME_HEAD_BYTES), ROLE_KEYVAULT,
						      peer_rows[p->name].role, &p->id, &p->desc, &p->msg),
					 0);
			return true;
		}
		world_turn(w);
		ssize_t n = recv(p->fd, p->rx + p->len, sizeof(p->rx) - p->len, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return false;
		p->len += n > 0 ? (size_t)n : 0;
		if (n < 0)
			(void)poll(&(struct pollfd){.fd = p->fd, .events = POLLIN}, 1, 1);
	}
	fail_msg("%s hears nothing", peer_rows[p->name].edge);
	return false;
}

void peer_expect(struct world *w, struct peer *p, enum proto_type type)
{
	assert_true(peer_hear(w, p));
	assert_string_equal(p->desc->name, proto_desc_of(type)->name);
}

void peer_expect_refused(struct world *w, struct peer *p, const char *reason)
{
	peer_expect(w, p, PROTO_REFUSED);
	assert_true(span_eq_str(p->msg.refused.reason, reason));
}

void authd_take_key(struct world *w, struct peer *authd)
{
	peer_expect(w, authd, PROTO_EDGE_KEY);
	const struct proto_edge_key *k = &authd->msg.edge_key;
	peer_say(authd, PROTO_EDGE_KEY_KNOWN, 0, &(struct proto_edge_key_known){.lane = k->lane, .epoch = k->epoch});
}

/* Nothing more has been said: an operator's question is answered after everything that was said before it. */
void peer_expect_silence(struct world *w, struct peer *p)
{
	for (int i = 0; i < 20; i++)
		world_turn(w);
	ssize_t n = recv(p->fd, p->rx + p->len, sizeof(p->rx) - p->len, MSG_DONTWAIT);
	assert_int_equal(n, -1);
	assert_int_equal(p->len, 0);
}

struct peer *peer_meet(struct world *w, enum peer_name name)
{
	struct peer *p = calloc(1, sizeof(*p));
	uint8_t boot[16] = {0};

	p->name = name;
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(p->fd, (struct sockaddr *)&w->at[name], w->at_len[name]), 0);
	peer_expect(w, p, PROTO_HELLO);
	peer_say(p, PROTO_HELLO, 0,
		 &(struct proto_hello){.role = peer_rows[name].role,
				       .worker = peer_rows[name].worker,
				       .boot = span_of(boot, 16),
				       .build = SPAN_LIT("test"),
				       .schema = proto_schema_hash()});
	return p;
}

void peer_leave(struct world *w, struct peer *p)
{
	(void)close(p->fd);
	free(p);
	for (int i = 0; i < 20; i++)
		world_turn(w);
}

/* ---- the world ---- */

static void world_listen(struct world *w, enum peer_name name)
{
	struct daemon *d = &w->core.daemon;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	w->at[name].sun_family = AF_UNIX;
	w->at_len[name] = sizeof(w->at[name]);
	assert_int_equal(bind(fd, (struct sockaddr *)&w->at[name], sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&w->at[name], &w->at_len[name]), 0);
	strcpy(d->fds[d->n_fds].name, peer_rows[name].edge);
	d->fds[d->n_fds++].fd = fd;
}

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct core *c = &w->core;
	char path[128];

	strcpy(w->dir, "/tmp/keyvault-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(path, sizeof(path), "%s/keyvault", w->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	c->daemon = (struct daemon){.role = ROLE_KEYVAULT, .config_fd = -1, .control_fd = -1};
	c->daemon.log = (struct log){.daemon = "keyvault", .level = LOG_LEVEL_ERROR + 1};
	assert_int_equal(uv_loop_init(&c->daemon.loop), 0);
	uv_signal_init(&c->daemon.loop, &c->daemon.on_term);
	uv_signal_init(&c->daemon.loop, &c->daemon.on_int);
	for (enum peer_name i = 0; i < N_PEERS; i++)
		world_listen(w, i);
	assert_int_equal(ipc_new(&c->daemon, &c->daemon.ipc), 0);
	assert_int_equal(secret_arena_new(1 << 18, &c->arena), 0);
	assert_int_equal(secret_arena_new(1 << 16, &c->token_arena), 0);
	ipc_set_arena(c->daemon.ipc, c->arena, c->arena);
	c->audit = &w->log;
	c->config.bulkhead.state_dir = w->dir;
	c->config.keyvault.unseal = CONFIG_UNSEAL_KEY_FILE;
	c->config.keyvault.key_file = "";
	assert_int_equal(vault_start(&c->vault, &c->config, c->arena, -1), 0);
	assert_int_equal(core_serve(c), 0);
	assert_int_equal(core_announce_start(c), 0);
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	struct world *w = *state;
	struct core *c = &w->core;
	char command[128];

	vault_seal(&c->vault);
	core_tokens_stop(c);
	core_close(c);
	daemon_deinit(&c->daemon); /* asserts that the loop is empty */
	vault_deinit(&c->vault);
	assert_int_equal(secret_arena_used(c->arena) + secret_arena_used(c->token_arena), 0);
	secret_arena_free(c->arena);
	secret_arena_free(c->token_arena);
	(void)snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

void admin_do(struct world *w, struct peer *admin, enum proto_type type, const void *msg)
{
	peer_say(admin, type, 7, msg);
	peer_expect(w, admin, PROTO_DONE);
	assert_int_equal(admin->id, 7);
}

void admin_init(struct world *w, struct peer *admin)
{
	admin_do(w, admin, PROTO_VAULT_INIT, &(struct proto_vault_init){.passphrase = SPAN_LIT("")});
}

void admin_seal(struct world *w, struct peer *admin)
{
	admin_do(w, admin, PROTO_VAULT_SEAL, &(struct proto_vault_seal){});
}

int world_key(const struct world *w)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/keyvault/root.key", w->dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

void admin_unseal(struct world *w, struct peer *admin)
{
	peer_say_fd(admin, PROTO_VAULT_UNSEAL, 7, &(struct proto_vault_unseal){.key_file = 1}, world_key(w));
	peer_expect(w, admin, PROTO_DONE);
}

struct span pack_binding(const char *id, uint64_t version, uint8_t to[SEAL_BINDING_BYTES_MAX])
{
	const struct proto_binding b = binding_of(id, version);

	return binding_pack(&b, to);
}

void admin_say_add(struct peer *admin, const char *id, uint64_t version, const char *secret)
{
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	peer_say(admin, PROTO_VAULT_ADD, 8,
		 &(struct proto_vault_add){.binding = pack_binding(id, version, packed), .secret = span_str(secret)});
}

static void admin_push(struct world *w, struct peer *admin, struct peer *authd, const char *id)
{
	peer_expect(w, admin, PROTO_VAULT_ADDED);
	peer_say(authd, PROTO_CREDENTIAL_LOAD, 0,
		 &(struct proto_credential_load){.credential = span_str(id), .blob = admin->msg.vault_added.blob});
	world_turn(w);
}

void admin_add(struct world *w, struct peer *admin, struct peer *authd, const char *id, uint64_t version,
	       const char *secret)
{
	admin_say_add(admin, id, version, secret);
	admin_push(w, admin, authd, id);
}

void admin_add_bound(struct world *w, struct peer *admin, struct peer *authd, const struct proto_binding *b,
		     const char *secret)
{
	uint8_t packed[SEAL_BINDING_BYTES_MAX];
	char id[STORE_ID_BYTES_MAX + 1];

	(void)snprintf(id, sizeof(id), "%.*s", SPAN_ARG(b->credential));
	peer_say(admin, PROTO_VAULT_ADD, 8,
		 &(struct proto_vault_add){.binding = binding_pack(b, packed), .secret = span_str(secret)});
	admin_push(w, admin, authd, id);
}
