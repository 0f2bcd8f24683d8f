/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror: what the log's folder says is brought to Postgres, in this order and one statement at a time:
 *
 *   open         which number the log has there, from which record on rows are missing, which checkpoint came last
 *   checkpoints  each one that was seen, as soon as it is proven to continue the one before
 *   records      batch by batch, proven, until the mirror has what is signed
 *
 * Where it stands is known to the database alone, asked again at each connect: so neither side's death loses or doubles
 * a row. A database that is down delays; nothing waits for it but the rows themselves, which lie in the log.
 */
#pragma once

#include "auditd/shipper/batch.h"
#include "auditd/shipper/folder.h"
#include "auditd/shipper/pg.h"
#include "common/daemon.h"

#define MIRROR_RETRY_MS     500 /* doubling to */
#define MIRROR_RETRY_MS_MAX 15000
/* Checkpoints that wait for the database: an hour's at one a second. */
#define MIRROR_WAITING_MAX 3600

/* Those behind OPENING are good. */
enum mirror_doing {
	MIRROR_DOWN,
	MIRROR_CONNECTING,
	MIRROR_OPENING,
	MIRROR_NAMELESS, /* connected; no checkpoint says yet which log this is */
	MIRROR_IDLE,
	MIRROR_CHECKPOINT,
	MIRROR_RECORDS,
};

struct mirror_checkpoint {
	uint64_t size;
	struct merkle_hash root;
	bool consistent;
	char *note;
};

struct mirror {
	struct daemon *daemon;
	struct folder *folder;
	struct pg *pg;
	size_t batch_rows;
	struct batch batch;
	struct folder_rows rows;
	enum mirror_doing doing;
	uv_timer_t retry;
	uint64_t retry_ms;
	char log[16];     /* its number there, as text */
	uint64_t next;    /* the first row that is missing */
	bool off;         /* none is configured: the log is judged, and that is all */
	bool opened_once; /* `next` has been told */
	bool beyond;      /* and was more than could have been mirrored: somebody else added rows */
	uint64_t could;   /* with beyond: how many that was */
	bool judged;      /* the folder's checkpoint was compared */
	bool unreadable;  /* it cannot be looked at */
	/* The last checkpoint that continues all before it; and, until it was compared, the one in the database. */
	uint64_t last_size, remembered_size;
	struct merkle_hash last_root, remembered_root;
	struct mirror_checkpoint waiting[MIRROR_WAITING_MAX], queued; /* oldest first; the one that came in last */
	size_t n_waiting;
	char complaint[PG_WHY_BYTES];
	bool halted;                       /* the log is not what was signed before: nothing is mirrored any more */
	uint64_t behind_ms;                /* since when rows are missing; 0: none are */
	uint64_t missed_first, missed_end; /* records that retention removed before they were mirrored; end 0: none */
	uint64_t rows_total, checkpoints_total, errors_total, pruned_total;
	char why[PG_WHY_BYTES], told[PG_WHY_BYTES]; /* of the last failure, "" while all is well; what was logged */
};

/* `spec`'s callbacks are ours. 0, PG_E_INVALID (see m->why) or negative. */
MUST_USE int mirror_init(struct mirror *m, struct daemon *daemon, struct folder *folder, const struct pg_spec *spec,
			 struct resolver *resolver, uint64_t batch_rows);
void mirror_start(struct mirror *m);
/* What folder_refresh() said: 0 for a new checkpoint, FOLDER_E_NONE or FOLDER_E_BAD. */
void mirror_looked(struct mirror *m, int said);
/* Something else of the shipper is not as it should be, for status to tell: for good. */
void mirror_complain(struct mirror *m, const char *why);
void mirror_metrics(const struct mirror *m, char *to, size_t cap);
void mirror_deinit(struct mirror *m);
