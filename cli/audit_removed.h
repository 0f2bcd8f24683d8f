/* SPDX-License-Identifier: Apache-2.0 */
/* What commands say of records that retention removed: which, when, why, and which record says so. */
#pragma once

#include "auditd/retained.h"
#include "cli/audit_reader.h"

#define AUDIT_REMOVED_BYTES 320

/* By the log's own account, which proves nothing: `audit verify` does. False: it gives none. */
bool audit_removed_read(struct audit_reader *r, struct retained *ret);
/* "records 0 to 4710 were removed by retention (30d) on ...", for a log that begins with `first` > 0. */
void audit_removed_text(const struct retained *what, bool known, uint64_t first, char to[AUDIT_REMOVED_BYTES]);
/* A line on standard error for people who read a log that has lost its beginning; nothing for others. */
void audit_removed_note(struct audit_reader *r);
