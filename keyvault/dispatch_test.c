/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core on its loop, with peers that the test plays by hand over real sockets: what each is told and when, what it
 * may ask, and what becomes of one that asks for more. The log is a stand-in that says yes, no, or nothing yet.
 */
#include "keyvault/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sodium.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/edges.h"
#include "common/ipc_internal.h"
#include "proto/frame.h"

#define TURNS_MAX 2000

enum peer_name { AUTHD, EGRESS0, EGRESS1, AUDITD, ADMIN, N_PEERS };
static const struct {
	const char *edge;
	enum role role;
	unsigned worker;
} peer_rows[N_PEERS] = {
	[AUTHD] = {"keyvault.authd", ROLE_AUTHD, 0},      [EGRESS0] = {"keyvault.egress0", ROLE_EGRESS, 0},
	[EGRESS1] = {"keyvault.egress1", ROLE_EGRESS, 1}, [AUDITD] = {"keyvault.auditd", ROLE_AUDITD, 0},
	[ADMIN] = {"keyvault.admin", ROLE_CLI, 0},
};

struct peer {
	enum peer_name name;
	int fd;
	uint8_t rx[65536];
	size_t len;
	/* the message met last; its spans point into `last` */
	uint8_t last[65536];
	uint64_t id;
	const struct proto_desc *desc;
	union proto_any msg;
};

struct world {
	struct core core;
	char dir[64];
	struct sockaddr_un at[N_PEERS];
	socklen_t at_len[N_PEERS];
};

/* ---- the log, as a stand-in ---- */

static struct {
	enum { LOG_YES, LOG_LATER, LOG_DOWN } mode;
	unsigned count[1024];
	char reason[64];
	audit_done *done;
	void *ctx;
} audit_log;

void audit_record(struct audit_client *c, const struct proto_event *event)
{
	(void)c;
	audit_log.count[event->code]++;
	(void)snprintf(audit_log.reason, sizeof(audit_log.reason), "%.*s", SPAN_ARG(event->reason));
}

int audit_record_wait(struct audit_client *c, const struct proto_event *event, uint64_t deadline_ms, audit_done *done,
		      void *ctx)
{
	assert_true(deadline_ms > 0 && deadline_ms <= 10000);
	if (audit_log.mode == LOG_DOWN)
		return AUDIT_E_DOWN;
	audit_record(c, event);
	if (audit_log.mode == LOG_YES) {
		done(ctx, true);
	} else {
		audit_log.done = done;
		audit_log.ctx = ctx;
	}
	return 0;
}

/* ---- a peer ---- */

static void turn(struct world *w)
{
	(void)uv_run(&w->core.daemon.loop, UV_RUN_NOWAIT);
}

static void say(struct peer *p, enum proto_type type, uint64_t id, const void *msg)
{
	uint8_t wire[PROTO_FRAME_BYTES_MAX + FRAME_HEAD_BYTES];
	size_t len;

	assert_int_equal(proto_pack(proto_desc_of(type), id, msg, wire + FRAME_HEAD_BYTES, PROTO_FRAME_BYTES_MAX, &len),
			 0);
	frame_put_head(wire, len);
	assert_int_equal(send(p->fd, wire, len + FRAME_HEAD_BYTES, MSG_NOSIGNAL), len + FRAME_HEAD_BYTES);
}

/* The next message: true; or the end of the connection: false. */
static bool hear(struct world *w, struct peer *p)
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
		turn(w);
		ssize_t n = recv(p->fd, p->rx + p->len, sizeof(p->rx) - p->len, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return false;
		p->len += n > 0 ? (size_t)n : 0;
		if (n < 0)
			usleep(200);
	}
	fail_msg("%s hears nothing", peer_rows[p->name].edge);
	return false;
}

static void expect(struct world *w, struct peer *p, enum proto_type type)
{
	assert_true(hear(w, p));
	assert_string_equal(p->desc->name, proto_desc_of(type)->name);
}

static void expect_refused(struct world *w, struct peer *p, const char *reason)
{
	expect(w, p, PROTO_REFUSED);
	assert_true(span_eq_str(p->msg.refused.reason, reason));
}

/* Nothing more has been said: an operator's question is answered after everything that was said before it. */
static void expect_silence(struct world *w, struct peer *p)
{
	for (int i = 0; i < 20; i++)
		turn(w);
	ssize_t n = recv(p->fd, p->rx + p->len, sizeof(p->rx) - p->len, MSG_DONTWAIT);
	assert_int_equal(n, -1);
	assert_int_equal(p->len, 0);
}

static struct peer *meet(struct world *w, enum peer_name name)
{
	struct peer *p = calloc(1, sizeof(*p));
	uint8_t boot[16] = {0};

	p->name = name;
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(p->fd, (struct sockaddr *)&w->at[name], w->at_len[name]), 0);
	expect(w, p, PROTO_HELLO);
	say(p, PROTO_HELLO, 0,
	    &(struct proto_hello){.role = peer_rows[name].role,
				  .worker = peer_rows[name].worker,
				  .boot = span_of(boot, 16),
				  .build = SPAN_LIT("test"),
				  .schema = proto_schema_hash()});
	return p;
}

static void leave(struct world *w, struct peer *p)
{
	(void)close(p->fd);
	free(p);
	for (int i = 0; i < 20; i++)
		turn(w);
}

/* ---- the world ---- */

static void listen_at(struct world *w, enum peer_name name)
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

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct core *c = &w->core;
	char path[128];

	memset(&audit_log, 0, sizeof(audit_log));
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
		listen_at(w, i);
	assert_int_equal(ipc_new(&c->daemon, &c->daemon.ipc), 0);
	assert_int_equal(secret_arena_new(1 << 20, &c->arena), 0);
	ipc_set_arena(c->daemon.ipc, c->arena);
	c->config.bulkhead.state_dir = w->dir;
	c->config.keyvault.unseal = CONFIG_UNSEAL_KEY_FILE;
	c->config.keyvault.key_file = "";
	assert_int_equal(vault_start(&c->vault, &c->config, c->arena), 0);
	assert_int_equal(core_serve(c), 0);
	assert_int_equal(core_announce_start(c), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	struct core *c = &w->core;
	char command[128];

	vault_seal(&c->vault);
	daemon_deinit(&c->daemon); /* asserts that the loop is empty */
	vault_deinit(&c->vault);
	assert_int_equal(secret_arena_used(c->arena), 0);
	secret_arena_free(c->arena);
	(void)snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static void operate(struct world *w, struct peer *admin, enum proto_type type, const void *msg)
{
	say(admin, type, 7, msg);
	expect(w, admin, PROTO_DONE);
	assert_int_equal(admin->id, 7);
}

static void init(struct world *w, struct peer *admin)
{
	operate(w, admin, PROTO_VAULT_INIT, &(struct proto_vault_init){.passphrase = SPAN_LIT("")});
}

static void seal(struct world *w, struct peer *admin)
{
	operate(w, admin, PROTO_VAULT_SEAL, &(struct proto_vault_seal){});
}

static void unseal(struct world *w, struct peer *admin)
{
	operate(w, admin, PROTO_VAULT_UNSEAL, &(struct proto_vault_unseal){.passphrase = SPAN_LIT("")});
}

static struct span pack_binding(const char *id, uint64_t version, uint8_t to[SEAL_BINDING_BYTES_MAX])
{
	const struct proto_binding b = {.tenant = SPAN_LIT("*"),
					.credential = span_str(id),
					.version = version,
					.provider = span_str(id),
					.scheme = SPAN_LIT("https"),
					.host = SPAN_LIT("api.test"),
					.port = 443,
					.path_prefix = SPAN_LIT("/v1"),
					.methods = 2,
					.header = SPAN_LIT("authorization"),
					.prefix = SPAN_LIT("Bearer ")};
	size_t len;

	assert_int_equal(proto_pack_record(&proto_binding_desc, &b, to, SEAL_BINDING_BYTES_MAX, &len), 0);
	return span_of(to, len);
}

static void say_add(struct peer *admin, const char *id, uint64_t version, const char *secret)
{
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	say(admin, PROTO_VAULT_ADD, 8,
	    &(struct proto_vault_add){.binding = pack_binding(id, version, packed), .secret = span_str(secret)});
}

/* The whole way of a key: the operator has it sealed, authd pushes the blob. */
static void add(struct world *w, struct peer *admin, struct peer *authd, const char *id, uint64_t version,
		const char *secret)
{
	say_add(admin, id, version, secret);
	expect(w, admin, PROTO_VAULT_ADDED);
	say(authd, PROTO_CREDENTIAL_LOAD, 0,
	    &(struct proto_credential_load){.credential = span_str(id), .blob = admin->msg.vault_added.blob});
	turn(w);
}

/* ---- tests ---- */

static void peers_follow_the_vault(void **state)
{
	struct world *w = *state;
	struct peer *authd = meet(w, AUTHD), *egress = meet(w, EGRESS0), *admin = meet(w, ADMIN);
	uint8_t key[32], pepper[32];

	expect(w, authd, PROTO_SEALED);
	expect(w, egress, PROTO_SEALED);
	assert_false(w->core.daemon.ready);
	init(w, admin);
	assert_true(w->core.daemon.ready);
	expect(w, egress, PROTO_EDGE_KEY);
	memcpy(key, egress->msg.edge_key.key.p, 32);
	uint64_t epoch = egress->msg.edge_key.epoch;
	expect(w, authd, PROTO_PEPPER);
	memcpy(pepper, authd->msg.pepper.key.p, 32);
	expect(w, authd, PROTO_EDGE_KEY);
	assert_memory_equal(authd->msg.edge_key.key.p, key, 32);
	assert_int_equal(authd->msg.edge_key.epoch, epoch);

	seal(w, admin);
	expect(w, egress, PROTO_SEALED);
	expect(w, authd, PROTO_SEALED);
	assert_false(w->core.daemon.ready);
	assert_int_equal(w->core.vault.lanes.lane[0].epoch, 0); /* wiped, not only unused */
	unseal(w, admin);
	expect(w, egress, PROTO_EDGE_KEY);
	assert_memory_not_equal(egress->msg.edge_key.key.p, key, 32); /* grants do not outlive a seal */
	assert_true(egress->msg.edge_key.epoch > epoch);
	expect(w, authd, PROTO_PEPPER);
	assert_memory_equal(authd->msg.pepper.key.p, pepper, 32); /* gateway keys do */
	expect(w, authd, PROTO_EDGE_KEY);
	assert_int_equal(audit_log.count[EVENT_VAULT_INIT], 1);
	assert_int_equal(audit_log.count[EVENT_VAULT_SEAL], 1);
	assert_int_equal(audit_log.count[EVENT_VAULT_UNSEAL], 1);
	leave(w, authd);
	leave(w, egress);
	leave(w, admin);
}

static void a_restarted_egress_gets_a_new_epoch_and_a_restarted_authd_all_of_them(void **state)
{
	struct world *w = *state;
	struct peer *admin = meet(w, ADMIN), *authd = meet(w, AUTHD);

	expect(w, authd, PROTO_SEALED);
	init(w, admin);
	expect(w, authd, PROTO_PEPPER);
	struct peer *egress0 = meet(w, EGRESS0), *egress1 = meet(w, EGRESS1);
	expect(w, egress0, PROTO_EDGE_KEY);
	uint64_t first = egress0->msg.edge_key.epoch;
	expect(w, egress1, PROTO_EDGE_KEY);
	assert_int_equal(egress1->msg.edge_key.lane, 1);
	expect(w, authd, PROTO_EDGE_KEY);
	expect(w, authd, PROTO_EDGE_KEY);
	leave(w, egress0);
	expect_silence(w, authd);
	egress0 = meet(w, EGRESS0);
	expect(w, egress0, PROTO_EDGE_KEY);
	assert_true(egress0->msg.edge_key.epoch > first);
	expect(w, authd, PROTO_EDGE_KEY);
	assert_int_equal(authd->msg.edge_key.epoch, egress0->msg.edge_key.epoch);

	/* A second connection of the same lane replaces the first. */
	struct peer *again = meet(w, EGRESS0);
	expect(w, again, PROTO_EDGE_KEY);
	assert_false(hear(w, egress0));
	leave(w, egress0);
	leave(w, authd);
	authd = meet(w, AUTHD);
	expect(w, authd, PROTO_PEPPER);
	expect(w, authd, PROTO_EDGE_KEY);
	assert_int_equal(authd->msg.edge_key.lane, 0);
	assert_int_equal(authd->msg.edge_key.epoch, again->msg.edge_key.epoch);
	expect(w, authd, PROTO_EDGE_KEY);
	assert_int_equal(authd->msg.edge_key.lane, 1);
	leave(w, again);
	leave(w, egress1);
	leave(w, authd);
	leave(w, admin);
}

static void a_key_goes_from_the_operator_to_the_egress(void **state)
{
	struct world *w = *state;
	struct peer *admin = meet(w, ADMIN), *authd = meet(w, AUTHD), *egress = meet(w, EGRESS1);
	const struct proto_unseal ask = {.credential = SPAN_LIT("openai")};
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	say_add(admin, "openai", 1, "sk-one");
	expect_refused(w, admin, "uninitialised");
	init(w, admin);
	add(w, admin, authd, "openai", 1, "sk-one");
	assert_int_equal(audit_log.count[EVENT_VAULT_SEAL_CREDENTIAL], 1);
	expect(w, egress, PROTO_SEALED);
	expect(w, egress, PROTO_EDGE_KEY);
	say(egress, PROTO_UNSEAL, 42, &ask);
	expect(w, egress, PROTO_UNSEALED);
	assert_int_equal(egress->id, 42);
	assert_true(span_eq_str(egress->msg.unsealed.secret, "sk-one"));
	assert_true(span_eq(egress->msg.unsealed.binding, pack_binding("openai", 1, packed)));

	add(w, admin, authd, "openai", 2, "sk-two");
	expect(w, egress, PROTO_CREDENTIAL_DROP);
	say(egress, PROTO_UNSEAL, 43, &ask);
	expect(w, egress, PROTO_UNSEALED);
	assert_true(span_eq_str(egress->msg.unsealed.secret, "sk-two"));

	say(authd, PROTO_CREDENTIAL_DROP, 0, &(struct proto_credential_drop){.credential = ask.credential});
	expect(w, egress, PROTO_CREDENTIAL_DROP);
	say(egress, PROTO_UNSEAL, 44, &ask);
	expect_refused(w, egress, "not_found");
	seal(w, admin);
	expect(w, egress, PROTO_SEALED);
	say(egress, PROTO_UNSEAL, 45, &ask);
	expect_refused(w, egress, "sealed");
	leave(w, egress);
	leave(w, authd);
	leave(w, admin);
}

static void a_forged_blob_is_recorded(void **state)
{
	struct world *w = *state;
	struct peer *admin = meet(w, ADMIN), *authd = meet(w, AUTHD);
	uint8_t blob[SEAL_BYTES_MAX];

	init(w, admin);
	say_add(admin, "openai", 1, "sk-one");
	expect(w, admin, PROTO_VAULT_ADDED);
	struct span sealed = admin->msg.vault_added.blob;
	memcpy(blob, sealed.p, sealed.len);
	blob[sealed.len - 1] ^= 1;
	say(authd, PROTO_CREDENTIAL_LOAD, 0,
	    &(struct proto_credential_load){.credential = SPAN_LIT("openai"), .blob = span_of(blob, sealed.len)});
	expect(w, authd, PROTO_SEALED);
	expect(w, authd, PROTO_PEPPER);
	for (int i = 0; i < TURNS_MAX && audit_log.count[EVENT_VAULT_REJECT] == 0; i++)
		turn(w);
	assert_int_equal(audit_log.count[EVENT_VAULT_REJECT], 1);
	assert_string_equal(audit_log.reason, "not_authentic");
	assert_int_equal(store_count(&w->core.vault.store), 0);
	leave(w, authd);
	leave(w, admin);
}

static void no_key_is_sealed_without_its_record(void **state)
{
	struct world *w = *state;
	struct peer *admin = meet(w, ADMIN);

	init(w, admin);
	audit_log.mode = LOG_DOWN;
	say_add(admin, "openai", 1, "sk-one");
	expect_refused(w, admin, "audit_unavailable");
	audit_log.mode = LOG_LATER;
	say_add(admin, "openai", 1, "sk-one");
	expect_silence(w, admin);
	audit_log.done(audit_log.ctx, false);
	expect_refused(w, admin, "audit_unavailable");
	say_add(admin, "openai", 1, "sk-one");
	expect_silence(w, admin);
	audit_log.done(audit_log.ctx, true);
	expect(w, admin, PROTO_VAULT_ADDED);

	/* The operator goes away before the log answers. */
	say_add(admin, "openai", 1, "sk-one");
	expect_silence(w, admin);
	leave(w, admin);
	audit_log.done(audit_log.ctx, true);

	/* One at a time: a second one before the answer is out of order. */
	admin = meet(w, ADMIN);
	say_add(admin, "openai", 1, "sk-one");
	say_add(admin, "openai", 1, "sk-one");
	assert_false(hear(w, admin));
	audit_log.done(audit_log.ctx, true);
	leave(w, admin);
}

static void auditd_gets_signatures_while_open(void **state)
{
	struct world *w = *state;
	struct peer *admin = meet(w, ADMIN), *auditd = meet(w, AUDITD);
	struct merkle_tree tree = MERKLE_TREE_NULL;
	struct merkle_hash root;
	struct note_key key;
	struct span text;
	char origin[NOTE_NAME_MAX + 1], vkey[NOTE_VKEY_MAX];

	expect(w, auditd, PROTO_SIGNED_SIZE);
	assert_int_equal(auditd->msg.signed_size.vkey.len, 0);
	init(w, admin);
	expect(w, auditd, PROTO_SIGNED_SIZE);
	(void)snprintf(vkey, sizeof(vkey), "%.*s", SPAN_ARG(auditd->msg.signed_size.vkey));
	assert_int_equal(note_key_parse(&key, span_str(vkey)), 0);
	strcpy(origin, key.name);
	merkle_hash_leaf(SPAN_LIT("leaf"), &root);
	merkle_tree_append(&tree, &root);
	merkle_tree_root(&tree, &root);
	struct proto_sign_checkpoint ask = {.origin = span_str(origin), .size = 1, .root = span_of(root.b, 32)};
	say(auditd, PROTO_SIGN_CHECKPOINT, 5, &ask);
	expect(w, auditd, PROTO_CHECKPOINT_SIGNED);
	assert_int_equal(note_verify(auditd->msg.checkpoint_signed.note, &key, &text), 0);
	ask.old_size = 1;
	ask.root.p = (const uint8_t *)"0123456789abcdef0123456789abcdef";
	say(auditd, PROTO_SIGN_CHECKPOINT, 6, &ask);
	expect_refused(w, auditd, "fork");
	assert_int_equal(audit_log.count[EVENT_VAULT_REJECT], 1);
	seal(w, admin);
	expect(w, auditd, PROTO_SIGNED_SIZE);
	assert_int_equal(auditd->msg.signed_size.size, 1);
	assert_int_equal(auditd->msg.signed_size.vkey.len, 0);
	say(auditd, PROTO_SIGN_CHECKPOINT, 7, &ask);
	expect_refused(w, auditd, "sealed");
	leave(w, auditd);
	leave(w, admin);
}

/* Each peer says what only another may say; the core drops it and goes on. */
static void out_of_order_is_the_end_of_the_peer(void **state)
{
	static const struct {
		enum peer_name peer;
		enum proto_type type;
	} wrong[] = {
		{AUTHD, PROTO_UNSEAL},       {AUTHD, PROTO_VAULT_SEAL}, {EGRESS0, PROTO_CREDENTIAL_DROP},
		{EGRESS0, PROTO_VAULT_SEAL}, {AUDITD, PROTO_UNSEAL},    {ADMIN, PROTO_UNSEAL},
	};
	static const struct proto_unseal any = {.credential = SPAN_LIT("openai")};
	struct world *w = *state;
	struct peer *admin = meet(w, ADMIN);

	init(w, admin);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct peer *p = meet(w, wrong[i].peer);
		say(p, wrong[i].type, 1, &any);
		while (hear(w, p))
			assert_string_not_equal(p->desc->name, "unsealed");
		leave(w, p);
	}
	assert_true(vault_is_open(&w->core.vault));
	say(admin, PROTO_VAULT_STATUS, 9, &(struct proto_vault_status){});
	expect(w, admin, PROTO_VAULT_STATUS_REP);
	assert_true(span_eq_str(admin->msg.vault_status_rep.state, "unsealed"));
	leave(w, admin);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(peers_follow_the_vault),
		TEST(a_restarted_egress_gets_a_new_epoch_and_a_restarted_authd_all_of_them),
		TEST(a_key_goes_from_the_operator_to_the_egress),
		TEST(a_forged_blob_is_recorded),
		TEST(no_key_is_sealed_without_its_record),
		TEST(auditd_gets_signatures_while_open),
		TEST(out_of_order_is_the_end_of_the_peer),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
