/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start sequence that every daemon's main.c shows on one screen:
 *
 *   daemon_init      inherited descriptors (listeners, control, configuration), log, loop, signals
 *   config_read      its own section into a struct
 *   ...              open what must be open: store, segments, key file, CA
 *   ipc_serve, ipc_connect
 *   sandbox_enter    from here on nothing new can be opened
 *   daemon_run       until SIGTERM (drain) or a fatal error
 *
 * argv is `<program> --worker N`; descriptors come as in sd_listen_fds(3): LISTEN_FDS and LISTEN_FDNAMES name them from
 * 3 on: "config", "control", "tally", "http", and one listener for each edge, by edge name. Nothing secret is in argv
 * or environment.
 */
#pragma once

#include <uv.h>

#include "common/edges.h"
#include "common/log.h"
#include "common/tally.h"
#include "proto/proto.h"

struct ipc;

#define DAEMON_FDS_MAX 300

struct daemon {
	uv_loop_t loop;
	struct log log;
	enum role role;
	unsigned worker;
	char instance[EDGE_NAME_BYTES];
	uint8_t boot[16];    /* of this process */
	struct tally *tally; /* of its events, and of who was here before it; NULL: records none */
	struct ipc *ipc;
	uint64_t started_ms;
	int config_fd, control_fd;
	struct {
		char name[64];
		int fd;
	} fds[DAEMON_FDS_MAX];
	size_t n_fds;
	char confinement[256];
	bool ready, draining;
	char detail[256];
	uv_signal_t on_term, on_int;
	void (*on_drain)(void *ctx); /* SIGTERM: finish what runs, then daemon_stop(); NULL: stop at once */
	void (*on_farewell)(
		void *farewell_ctx); /* the last thing in daemon_run(): may run the loop on; audit_client.c */
	void *farewell_ctx;
	void (*metrics)(void *ctx, char *to, size_t cap); /* appends Prometheus text; may be NULL */
	void *ctx;
};

/* 0 or negative. The program exits non-zero on failure. */
MUST_USE int daemon_init(struct daemon *d, enum role role, int argc, char **argv);
/* A descriptor handed over under `name`, -1 when there is none. Ownership moves to the caller. */
int daemon_take_fd(struct daemon *d, const char *name);
/* What STATUS and the launcher are told; `detail` is copied. */
void daemon_set_ready(struct daemon *d, bool ready, const char *detail);
/* The same words, brought up to date: not logged, not told to the launcher. */
void daemon_set_detail(struct daemon *d, const char *detail);
/* Runs the loop until daemon_stop(). The exit code. */
int daemon_run(struct daemon *d);
void daemon_stop(struct daemon *d);
/* Closes all edges and the loop; asserts that nothing is left in it. */
void daemon_deinit(struct daemon *d);
