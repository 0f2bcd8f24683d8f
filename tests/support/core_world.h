/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core of the vault on a loop, with peers that a test plays by hand over real sockets. The log is a stand-in that
 * says yes, no, or nothing yet. Every wait is bounded; what does not come fails the test.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

#include "keyvault/core.h"
#include "tests/support/vault_fixture.h"

#define TURNS_MAX 2000

enum peer_name { AUTHD, EGRESS0, EGRESS1, AUDITD, ADMIN, N_PEERS };

/* Takes the place of common/audit_client.c. */
struct audit_client {
	enum { LOG_YES, LOG_LATER, LOG_DOWN } mode;
	unsigned count[1024]; /* by event code */
	char reason[64];      /* of the last event */
	audit_done *done;     /* LOG_LATER: the test calls it */
	void *ctx;
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
	struct audit_client log;
};

/* A key file vault, uninitialised, in a folder of its own. For cmocka. */
int world_setup(void **state);
/* Proves that the loop is empty and that the arena is. */
int world_teardown(void **state);
void world_turn(struct world *w);

/* Connects and says HELLO. */
struct peer *peer_meet(struct world *w, enum peer_name name);
void peer_leave(struct world *w, struct peer *p);
void peer_say(struct peer *p, enum proto_type type, uint64_t id, const void *msg);
/* With a descriptor, which is closed here. */
void peer_say_fd(struct peer *p, enum proto_type type, uint64_t id, const void *msg, int fd);
/* The next message: true; or the end of the connection: false. */
bool peer_hear(struct world *w, struct peer *p);
void peer_expect(struct world *w, struct peer *p, enum proto_type type);
void peer_expect_refused(struct world *w, struct peer *p, const char *reason);
void peer_expect_silence(struct world *w, struct peer *p);
/* authd hears an edge key, which stays in authd->msg, and says so. */
void authd_take_key(struct world *w, struct peer *authd);

/* The vault's key file, opened. */
int world_key(const struct world *w);
/* The operator's part; DONE is awaited. */
void admin_do(struct world *w, struct peer *admin, enum proto_type type, const void *msg);
void admin_init(struct world *w, struct peer *admin);
void admin_seal(struct world *w, struct peer *admin);
void admin_unseal(struct world *w, struct peer *admin);
/* VAULT_ADD, without awaiting the answer. */
void admin_say_add(struct peer *admin, const char *id, uint64_t version, const char *secret);
/* The whole way of a key: the operator has it sealed, authd pushes the blob. */
void admin_add(struct world *w, struct peer *admin, struct peer *authd, const char *id, uint64_t version,
	       const char *secret);
/* The same with a binding of the test's own. */
void admin_add_bound(struct world *w, struct peer *admin, struct peer *authd, const struct proto_binding *b,
		     const char *secret);
struct span pack_binding(const char *id, uint64_t version, uint8_t to[SEAL_BINDING_BYTES_MAX]);
