/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4, in the Authorization header. Sans I/O; everything derived from the key lies in `work`, which
 * the caller has in the arena and wipes.
 *
 * Canonical path: dot segments and empty segments removed, then escaped once more, whatever it holds, for a service
 * signs the path as it reads it from the wire and escapes it again (all but S3 do). Canonical query: each name and
 * value decoded and escaped anew, sorted by bytes.
 */
#pragma once

#include "keyvault/egress/digest.h"
#include "keyvault/egress/text.h"

#define SIGV4_FIELDS_MAX 16
#define SIGV4_PARAMS_MAX 64
#define SIGV4_DATE_BYTES 16 /* 20150830T123600Z */
/* Canonical request with the longest path and fields; strings to sign; keys. */
#define SIGV4_WORK_BYTES 16384

struct sigv4_field {
	struct span name, value; /* name in small letters */
};

struct sigv4 {
	const char *method;
	struct span target; /* path and query as in the request line */
	/* What is signed: host and x-amz-date among them, each name once and in any order. */
	struct sigv4_field fields[SIGV4_FIELDS_MAX];
	size_t n_fields;
	struct span body;
	struct span key_id, secret, region, service;
	char date[SIGV4_DATE_BYTES + 1];
};

enum sigv4_err {
	SIGV4_E_SIZE = 1, /* does not fit into `work` or `to`, or more parameters than are signed */
};

/* UTC, as x-amz-date has it. */
void sigv4_date(uint64_t unix_s, char ret[SIGV4_DATE_BYTES + 1]);
/* The canonical request alone, for tests. 0, SIGV4_E_SIZE or negative. */
MUST_USE int sigv4_canonical(const struct sigv4 *s, struct text *to);
/* Appends the value of Authorization. 0, SIGV4_E_SIZE or negative. */
MUST_USE int sigv4_sign(const struct sigv4 *s, uint8_t *work, size_t work_len, struct text *to);
