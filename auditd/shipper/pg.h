/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to Postgres on the loop: libpq's non-blocking half. The host's name is resolved by our own resolver,
 * each step has a deadline, one statement runs at a time, and every failure is the same event: the connection is closed
 * and the reason told in words of what to do. Nothing here waits.
 *
 * TCP only. A Unix socket would need connect() for AF_UNIX in the sandbox, and with it a captured shipper could knock
 * at every socket that its uid may open.
 */
#pragma once

#include <uv.h>

#include "keyvault/dialer/resolve.h"

#define PG_CONNECT_MS   15000
#define PG_STATEMENT_MS 60000
#define PG_FILES_MAX    6
#define PG_WHY_BYTES    256

struct pg;
struct pg_result;

struct pg_spec {
	const char *conninfo;      /* libpq's form; never with a password */
	const char *password_file; /* "": none; read at each connect, a final newline is not part of it */
	void (*on_open)(void *ctx);
	/* The statement is done. `result` is valid until this returns. */
	void (*on_result)(void *ctx, const struct pg_result *result);
	/* It failed, or there is none any more; pg_connect() may be called again. `why`: what to do, too. */
	void (*on_closed)(void *ctx, const char *why);
	void *ctx;
};

/* Where it goes and what it reads, for the sandbox. */
struct pg_reach {
	uint16_t port;
	const char *files[PG_FILES_MAX]; /* views into what pg_new() keeps */
	size_t n_files;
};

enum pg_err {
	PG_E_INVALID = 1, /* see *ret_why */
};

/* Has OpenSSL read its configuration, while that may be opened. 0 or negative. */
MUST_USE int pg_warm_up(void);
/* `spec` is copied, its strings and `resolver` are kept by reference. 0, PG_E_INVALID or -ENOMEM. */
MUST_USE int pg_new(uv_loop_t *loop, const struct pg_spec *spec, struct resolver *resolver, struct pg **ret_pg,
		    char ret_why[PG_WHY_BYTES]);
void pg_reach(const struct pg *p, struct pg_reach *ret);
/* Must be closed. Completed in on_open or on_closed, later. */
void pg_connect(struct pg *p);
/* Must be open and idle. `n` parameters as text, used before this returns. */
void pg_send(struct pg *p, const char *sql, size_t n, const char *const *parameters);
/* Closes without on_closed; NULL is fine. Its memory goes with the loop's next turns. */
struct pg *pg_free(struct pg *p);

/* A cell of the result's first row, NULL for a null or none. */
const char *pg_cell(const struct pg_result *result, int column);
/* Rows that were inserted. */
uint64_t pg_affected(const struct pg_result *result);
