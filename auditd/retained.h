/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What retention has to remember, in the file `retention` of the log's folder: how far the clock is believed, and the
 * last removal with what is left to do of it. Written whole or not at all, and durable before the first file of a
 * removal goes. It proves nothing: the record log.prune does, and auditd looks at that before it goes on.
 *
 *   bulkhead-retention/1
 *   clock <Unix ns>
 *   newest <Unix ns>          the youngest record that was removed
 *   prune <first> <end> <index of log.prune> <its time, Unix ns> <keep_records>
 *   state doing|done
 */
#pragma once

#include "common/base.h"

#define RETAINED_FILE       "retention"
#define RETAINED_KEEP_BYTES 16

struct retained {
	uint64_t clock_ns, newest_ns;
	uint64_t first, end; /* records [first, end) were removed, or are to be; end 0: none ever were */
	uint64_t index;      /* of the record that says so */
	uint64_t time_ns;
	char keep[RETAINED_KEEP_BYTES];
	bool done;
};

#define RETAINED_NULL ((struct retained){.done = true})

enum retained_err {
	RETAINED_E_NONE = 1, /* there is no such file, or it is not one */
};

/* 0, RETAINED_E_NONE (*ret is RETAINED_NULL) or negative. */
MUST_USE int retained_read(int dir, struct retained *ret);
/* Durable. 0 or negative. */
MUST_USE int retained_write(int dir, const struct retained *r);
