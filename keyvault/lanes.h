/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge keys: for each egress worker that is connected, a random key that authd makes grants with and that egress
 * checks them with. It lives as long as the connection and as the vault is open; the next one has a greater epoch, so
 * that grants of the last one are told apart from forged ones. Epochs are Unix milliseconds, moved up where they would
 * repeat: they grow across restarts of the core without being stored. So do the series in which authd counts grants.
 */
#pragma once

#include "common/secret.h"

#define LANES_MAX       256
#define LANES_KEY_BYTES 32

struct lane {
	void *peer;        /* the connection; NULL: none */
	uint64_t epoch;    /* 0: no key */
	struct secret key; /* there when epoch is */
	bool known;        /* to authd: the egress may be told */
};

struct lanes {
	struct secret_arena *arena;
	uint64_t last_epoch, series, revoked; /* revoked: a series; what authd made before it is void */
	struct lane lane[LANES_MAX];
};

enum lanes_err {
	LANES_E_FULL = 1, /* the arena has no room */
};

void lanes_init(struct lanes *l, struct secret_arena *arena);
/* Wipes every key; the peers stay. */
void lanes_close(struct lanes *l);
/* A worker has connected. The peer that it replaces, or NULL. Its key is gone. */
void *lanes_attach(struct lanes *l, unsigned worker, void *peer);
/* A connection has ended; one that was replaced meanwhile changes nothing. */
void lanes_detach(struct lanes *l, unsigned worker, const void *peer);
/* Grants are counted anew from now on: an authd that knows nothing of its predecessor's is about to be told the keys.
 */
void lanes_next_series(struct lanes *l, uint64_t unix_ms);
/* A fresh key for a worker that is attached. 0 or LANES_E_FULL. */
MUST_USE int lanes_mint(struct lanes *l, unsigned worker, uint64_t unix_ms);
