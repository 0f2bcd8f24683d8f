/* SPDX-License-Identifier: Apache-2.0 */
/* A record of the log as commands print it: for people one line, or a field a line; for programs a JSON object. */
#pragma once

#include <jansson.h>

#include "auditd/leaf.h"
#include "cli/cli.h"

struct audit_record {
	uint64_t index;
	struct span bytes; /* as hashed into the tree */
	struct proto_leaf leaf;
};

/* In the order of every output: what is made of several fields, then those of an event, as messages.def has them. */
enum audit_column {
	AUDIT_INDEX,
	AUDIT_TIME,
	AUDIT_RECORDED,
	AUDIT_SOURCE,
	AUDIT_EVENT,
	AUDIT_LAST_SEQ,
	AUDIT_BOOT,
#define COLUMN(kind, field, min, max, class, meaning) AUDIT_##field,
	MSG_event(COLUMN, COLUMN)
#undef COLUMN
		AUDIT_N_COLUMNS,
};

#define AUDIT_SCRATCH_BYTES 320
#define AUDIT_TIME_BYTES    32
/* What stands in the place of a field that is not for everybody. */
#define AUDIT_REDACTED "redacted"

/* A field's value. `text` is set for numbers too; it views the record or the scratch memory. */
struct audit_value {
	bool number;
	uint64_t n;
	struct span text; /* empty, or "0" for a number: there is none */
};

/* NULL for a field that another column shows. */
const char *audit_column_name(enum audit_column column);
/* Is it shown when there is nothing in it? */
bool audit_column_always(enum audit_column column);
/* Does it tell persons or contents apart (events.def)? Then an export leaves it out unless told otherwise. */
bool audit_column_private(enum audit_column column);
void audit_value(const struct audit_record *record, enum audit_column column, char scratch[AUDIT_SCRATCH_BYTES],
		 struct audit_value *ret);

/* "2026-01-02T03:04:05.678Z" */
void audit_format_time(uint64_t ns, char to[AUDIT_TIME_BYTES]);
/* "request.complete", "?" for a number that this version does not know. */
const char *audit_event_name(uint64_t code);

/* CLI_DONE, or CLI_FAILED with the line printed: it cannot be read. */
MUST_USE int audit_record_read(struct cli *cli, uint64_t index, struct span leaf, struct audit_record *ret);
/* Empty fields are left out, but for the status. NULL when memory is short. */
json_t *audit_record_json(const struct audit_record *record, bool redact);
/* A line: JSON or text, as the command was asked. CLI_DONE or CLI_FAILED. */
MUST_USE int audit_record_print(struct cli *cli, const struct audit_record *record);
