/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where commands get their records from: a folder (--log), or auditd by its admin socket. Both give pages of up to 256
 * records, so both can be read in either direction; what is printed is printed as it is read.
 */
#pragma once

#include "auditd/entries.h"
#include "cli/audit_record.h"

struct admin;
struct retained;

#define AUDIT_STOP             (-1) /* from a record's function: that is enough, and all is well */
#define AUDIT_FOLDER_BYTES_MAX 4096

struct audit_reader {
	struct cli *cli;
	uint64_t first, end; /* there are records [first, end) */
	struct entries_page page;
	struct entries folder;
	struct admin *admin; /* NULL: a folder is read */
	/* The page of a record. CLI_DONE or CLI_FAILED. */
	int (*load)(struct audit_reader *r, uint64_t index);
	/* What retention removed; NULL where a folder is read. Likewise. */
	int (*removed)(struct audit_reader *r, struct retained *ret);
	uint64_t done; /* records seen, for a progress bar */
};

typedef int audit_record_fn(void *ctx, const struct audit_record *record);

/* CLI_DONE, or CLI_FAILED with the line printed. Close it in any case. */
MUST_USE int audit_reader_open(struct cli *cli, struct audit_reader *r);
void audit_reader_close(struct audit_reader *r);
/* `fn` for every record of [from, to) that there is. CLI_DONE, also after AUDIT_STOP; else what fn returned. */
MUST_USE int audit_reader_each(struct audit_reader *r, uint64_t from, uint64_t to, bool reverse, audit_record_fn *fn,
			       void *ctx);

/* The folder of --log, or the usual one. CLI_DONE or CLI_FAILED. */
MUST_USE int audit_folder(struct cli *cli, char to[AUDIT_FOLDER_BYTES_MAX]);
int audit_unreadable(const struct cli *cli, const char *folder, int r);

/*
 * What `bulkhead` and the auditor's program, which knows neither configuration nor daemons, do differently: in
 * audit_online.c and auditor.c.
 */
MUST_USE int audit_usual_folder(struct cli *cli, char to[AUDIT_FOLDER_BYTES_MAX]);
/* Without --log. *ret_used: it is open now; else the usual folder is read. CLI_DONE or CLI_FAILED. */
MUST_USE int audit_online_open(struct cli *cli, struct audit_reader *r, bool *ret_used);
void audit_online_close(struct audit_reader *r);
