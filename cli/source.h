/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with provider keys: which there are, opening them, and what becomes of one that is watched. After cli_config().
 *
 * A watched file is looked at every SOURCE_TICK_MS as it would be opened, links and all: whether it was a folder swap
 * (`..data` of Kubernetes), a rename or a rewriting does not matter, and a file system that tells nobody of changes is
 * fine. It is to be taken when it has looked the same twice, and other than the one last taken. What fails is tried
 * again, at intervals that double, or at once when it changes.
 */
#pragma once

#include <sys/stat.h>

#include "cli/key_file.h"

#define SOURCE_BYTES_MAX    4098 /* a key and a line end */
#define SOURCE_TICK_MS      1000
#define SOURCE_RETRY_MS     2000 /* doubles */
#define SOURCE_RETRY_MS_MAX 600000

struct admin;

/* Has the i-th of `providers` a key_file? */
bool source_is_configured(const struct cli *cli, size_t provider);
const char *source_provider(const struct cli *cli, size_t provider);
/* As key_file_open(). */
MUST_USE int source_open(const struct cli *cli, size_t provider, int *ret_fd, char why[KEY_FILE_WHY_BYTES]);
/* Seals it and has it stored, unless it is in force; says so. CLI_DONE or CLI_FAILED. */
MUST_USE int source_sync(struct cli *cli, struct admin *authd, size_t provider);

/* ---- source_file.c: time comes in as an argument ---- */

struct source_id {
	dev_t dev;
	ino_t ino;
	off_t bytes;
	struct timespec changed;
};

struct source_file {
	size_t provider;
	bool there, settled; /* settled: the same as a moment ago */
	char told[256];      /* what was said of it last */
	struct source_id seen, taken;
	struct source_id taking; /* as it was when that began: it may change under it */
	unsigned tries;          /* that failed */
	uint64_t retry_at_ms;
};

/* Looks at it. False, and the reason, when it cannot be used. */
bool source_look(const struct cli *cli, struct source_file *f, char why[KEY_FILE_WHY_BYTES]);
/* Is this something else than was said last? Then it counts as said. */
bool source_is_news(struct source_file *f, const char *why);
/* It is there, stays as it is, was not taken, and no pause lasts. */
bool source_is_due(const struct source_file *f, uint64_t now_ms);
void source_begin(struct source_file *f);
void source_end(struct source_file *f, bool taken, uint64_t now_ms);
/* The reason why it failed may be gone: at once. */
void source_hurry(struct source_file *f);

/* ---- source_watch.c: `vault sync --watch` ---- */

MUST_USE int source_watch(struct cli *cli);
/* Is it among the arguments of the command, or are there none? */
bool source_is_asked_for(const struct cli *cli, size_t provider);
