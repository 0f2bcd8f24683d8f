/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a log in a scratch folder, a producer that fills it, and a signer of the test's own. Included after
 * cmocka.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auditd/ledger.h"
#include "auditd/proof.h"
#include "auditd/verify.h"

#define TEST_SEGMENT_BYTES 65536

struct fixture {
	char dir[64];
	struct ledger *l;
	struct ledger_batch batch;
	uint8_t public[32], secret[64];
	struct note_key key;
	uint64_t seq, own_seq; /* the producer's, auditd's */
	const char *request;   /* begins the request ids of events; NULL: "request" */
	uint64_t signed_size;
};

int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw);
/* All of a log, as it is now, in an existing folder. */
void copy_log(const char *from, const char *to);
/* For cmocka: a scratch folder with nothing in it, and f->l NULL. */
int setup(void **state);
int teardown(void **state);
/* Closes and opens the log. What ledger_open() says. */
int reopen(struct fixture *f);
/* An event of auditd's own, with the producer's next number. */
struct proto_leaf own_leaf(struct fixture *f);
/* Puts the producer's next event into the batch. */
void add(struct fixture *f);
/* A batch of n events; must succeed, as must sign(). */
void commit(struct fixture *f, size_t n);
void sign(struct fixture *f);
/* 0 or what failed. */
int try_sign(struct fixture *f);
/* What verify_log() says, with the key pinned. */
bool verifies(const struct fixture *f, const char *dir, struct verify_report *report);
