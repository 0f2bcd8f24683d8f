/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher: binds every listener, starts the daemons, passes connections between them, restarts what dies.
 *
 *   up.c               the sequence of `up` and `run`, from configuration to exit code
 *   launch_place.c     folders, the lock, where programs are, who owns what
 *   launch_listen.c    every socket of edges.def, and the HTTP port
 *   launch_config.c    which sections a role is given, as a sealed memfd
 *   launch_key.c, launch_source.c, launch_tally.c   files with keys; the counts of events that outlive a daemon
 *   launch_exec.c      fork, descriptors, limits, uid, exec: all between fork and exec
 *   launch_control.c   LINK and READY: the switchboard
 *   launch_watch.c     deaths, restarts, draining
 *
 * It holds no secret, parses no client's byte, and is the only process of the gateway that may stay root.
 */
#pragma once

#include <uv.h>

#include "cli/cli.h"
#include "common/edges.h"
#include "common/log.h"

#define LAUNCH_PATH_BYTES 4096

struct launcher;
struct launch_control;
struct launch_sources;

struct launch_child {
	struct launcher *l;
	enum role role;
	unsigned worker;
	char name[EDGE_NAME_BYTES]; /* "router0" */
	pid_t pid;                  /* 0: not running */
	bool heard;                 /* has said READY once, with whatever value: it is up */
	unsigned deaths;            /* in a row, each soon after its start */
	uint64_t started_ms;
	uv_timer_t restart;
	struct launch_control *control;
	int tally_fd; /* common/tally.h: handed to each process that takes this place; -1: none yet */
};

struct launch_listener {
	char name[EDGE_NAME_BYTES]; /* "authd.router0" */
	enum role server;
	unsigned server_worker;
	int fd;
};

enum launch_phase { LAUNCH_STARTING, LAUNCH_SERVING, LAUNCH_DRAINING };

struct launcher {
	struct cli *cli;
	uv_loop_t loop;
	struct log log;
	enum launch_phase phase;
	bool whole;        /* `up`: all instances; else `run`: one */
	bool root;         /* we may take on other uids */
	bool distinct;     /* each role has a uid of its own: root gives it, or a container made for one role has it */
	bool made_run_dir; /* then it goes when we go */
	uid_t uid, uid_base;
	gid_t gid;
	unsigned workers;
	int run_fd, locks[N_ROLES];          /* locks: of state folders */
	char programs[2][LAUNCH_PATH_BYTES]; /* folders to search */
	struct launch_child *children;
	size_t n_children;
	struct launch_listener *listeners;
	size_t n_listeners;
	int http_fd;
	char http_text[80];
	uv_signal_t on_child, on_int, on_term, on_hup;
	uv_timer_t deadline; /* of draining */
	unsigned stage, n_locks;
	bool vault_open, late; /* as the core said last; draining has taken all its time */
	struct launch_sources *sources;
	int exit_code;
};

/* ---- launch_place.c: all return CLI_DONE, or CLI_FAILED with the line printed ---- */
MUST_USE int launch_folders(struct launcher *l);
MUST_USE int launch_programs(const struct cli *cli, char to[2][LAUNCH_PATH_BYTES]);
MUST_USE int launch_find_programs(struct launcher *l);
/* Finds out who we are; the children are known. */
void launch_identify(struct launcher *l);
/* Who a role is: a uid of its own with a gid of the same number, or ours. The operator is always us. */
uid_t launch_uid(const struct launcher *l, enum role role);
gid_t launch_gid(const struct launcher *l, enum role role);
/* Files that the configuration names must be readable by the role that needs them. */
MUST_USE int launch_check_files(struct launcher *l);
const char *launch_program(enum role role);
/* Whether this deployment has such a daemon; and whether the gateway serves without it. */
bool launch_wanted(const struct cli *cli, enum role role);
bool launch_optional(enum role role);

/* ---- launch_listen.c ---- */
MUST_USE int launch_listen(struct launcher *l);
void launch_unlisten(struct launcher *l);

/* ---- launch_config.c: a sealed memfd with the CONFIG frame of this role ---- */
/* 0 or negative; positive: `problem` of the tree. */
MUST_USE int launch_config(struct launcher *l, enum role role, int *ret_fd);

/* ---- launch_exec.c: 0 or negative ---- */
MUST_USE int launch_spawn(struct launch_child *c);

/* ---- launch_control.c ---- */
/* Serves a child's control socket, which is consumed. 0 or negative. */
MUST_USE int launch_control_new(struct launch_child *c, int fd);
void launch_control_close(struct launch_child *c);

/* ---- launch_watch.c ---- */
MUST_USE int launch_watch(struct launcher *l);
void launch_start_all(struct launcher *l);
/* SIGTERM in stages; ends the loop when everybody is gone. The second call kills. */
void launch_drain(struct launcher *l, int exit_code);
/* A child spoke READY. */
void launch_heard(struct launch_child *c);
void launch_close(struct launcher *l);
