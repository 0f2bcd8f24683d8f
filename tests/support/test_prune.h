/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: a log of several segments, and retention that removes its beginning. Included after cmocka. */
#pragma once

#include "auditd/prune.h"
#include "tests/support/test_log.h"

#define KEEP_NS 1000

/* `n` events, in commits of 40 with a checkpoint each: recorded_ns is the event's number (test_log.c). */
void pruned_fill(struct fixture *f, size_t n);
/* Several segments, and bundles of which some are full. */
void pruned_make_log(struct fixture *f);
/* What prune_look() says at that time; the caller ends *l. */
int pruned_look(const struct fixture *f, struct prune_look *l, uint64_t now);
/* Records log.prune, durable and not signed. Its index. */
uint64_t pruned_announce(struct fixture *f, uint64_t end, const struct merkle_hash *root);
/* What is over at `now`, recorded and signed; what is to be done is in *what. */
void pruned_intend(struct fixture *f, uint64_t now, struct retained *what);
/* How many segments begin before `end`. */
size_t pruned_n_over(const struct fixture *f, uint64_t end);
/* prune_step() to the end. What it says then. */
int pruned_work(struct prune *p, unsigned files);
/* All of it. */
void pruned_prune(struct fixture *f, uint64_t now);
/* The log verifies, and begins there. */
void pruned_good(const struct fixture *f, uint64_t first);
/* It does not; `why` is part of the reason. */
bool pruned_refused(const struct fixture *f, const char *why);
