/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes to a body that leave every other byte as the client sent it: what the classifier found is replaced by labels,
 * the model's name by the provider's. Sans I/O but for the memory of a large body.
 */
#pragma once

#include "proto/proto.h"
#include "router/body.h"

#define SPLICES_MAX 512 /* VERDICT.findings */
/* How much longer a body can become; AUTHORIZE allows for it. */
#define SPLICE_GROWTH_BYTES_MAX 8192

struct splice {
	size_t begin, end; /* of the bytes replaced */
	struct span with;
};

struct splices {
	size_t n;
	struct splice at[SPLICES_MAX]; /* ascending, disjoint */
	bool flagged;                  /* something was found that passes unchanged */
};

enum splice_err {
	SPLICE_E_BLOCKED = 1, /* policy forbids what was found */
	SPLICE_E_INVALID,     /* not a verdict about this body: the peer is broken */
	SPLICE_E_TOO_LARGE,   /* the result would exceed BODY_BYTES_MAX */
};

/*
 * What PERMIT.guard says about a verdict on `body`. `keep`: the part of it that must stay, the model's name; a finding
 * there blocks. 0, SPLICE_E_BLOCKED or _INVALID.
 */
MUST_USE int splice_plan(const struct proto_verdict *verdict, uint64_t guard, struct span body, struct span keep,
			 struct splices *ret_splices);
/* Writes `from` with its splices into `to`, which is empty. 0, SPLICE_E_TOO_LARGE or negative. */
MUST_USE int splice_body(struct span from, const struct splice *at, size_t n, struct body *to);
/* How far what lies behind all splices before `offset` moves. */
ptrdiff_t splice_shift(const struct splices *splices, size_t offset);
