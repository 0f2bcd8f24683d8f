/* SPDX-License-Identifier: Apache-2.0 */
/* What the core does with keys by and by, from its loop: a rotation, and the end of a provider key that was replaced.
 */
#pragma once

#include "common/ipc.h"
#include "keyvault/rotate.h"

struct core;

#define CORE_SWAPS_MAX       64
#define CORE_RETIREMENTS_MAX 64

/* A rotation in this process's life (rotation.c). What must outlive it is in the key table. */
struct core_rotation {
	uv_timer_t timer;
	bool busy;         /* an answer is outstanding: of the log, or of authd */
	bool replayed;     /* everything came again, and nothing was left */
	bool missed;       /* something came again that there was no room for: it may be what is left */
	const char *waits; /* "" or for what */
	size_t at;         /* in the store */
	uint64_t done, finished;
	size_t n_swaps;
	struct rotate_swap swaps[CORE_SWAPS_MAX];
	uint8_t blobs[CORE_SWAPS_MAX][SEAL_BYTES_MAX];
};

/* Versions that a provider refused, until nobody uses them any more (retire.c). */
struct core_retirements {
	uv_timer_t timer;
	size_t n;
	struct core_retirement {
		char id[STORE_ID_BYTES_MAX + 1];
		uint32_t version;
		uint64_t at_ms;
	} list[CORE_RETIREMENTS_MAX]; /* in order of at_ms */
};

/* ---- rotation.c ---- */

ipc_handler core_handle_rotate, core_handle_rotation; /* VAULT_ROTATE, VAULT_ROTATION */
MUST_USE int core_rotation_init(struct core *c);
/* The vault has opened, authd has connected: goes on if there is something to go on with. */
void core_rotation_kick(struct core *c);

/* ---- retire.c ---- */

MUST_USE int core_retire_init(struct core *c);
/* An egress says that the provider refused this version. 0 or negative. */
MUST_USE int core_rejected(struct core *c, struct ipc_conn *egress, struct span id, uint32_t version);
