/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log as a whole: segments, which are the truth; tree and tiles, derived from them; producers' last sequence
 * numbers; the last checkpoint. Blocking, no loop: auditd calls it from one worker job at a time.
 *
 *   <dir>/seg/...        entries (auditd/format.h)
 *   <dir>/tile/...       C2SP tlog-tiles, with <dir>/checkpoint as published last
 *   <dir>/vkey           the signer's verifier key, as auditd first saw it
 *
 * ledger_open() recovers. It refuses, and leaves everything as it is, when an entry that was once durable cannot be
 * read, when the log is shorter than its own checkpoint, or when the tree has another root than the checkpoint says.
 * Only the remains of a commit that was never acknowledged are removed, and tiles that are missing made again
 * (recover.c). A good log that cannot be written is open for reading: `unwritable`, and all that would write, say why.
 */
#pragma once

#include "auditd/segment.h"
#include "auditd/tree.h"
#include "common/note.h"

#define LEDGER_NOTE_MAX 1024

enum ledger_err {
	LEDGER_E_DAMAGED = 1, /* refused; ledger->why says what was found */
	LEDGER_E_FULL,        /* the batch has no room */
	LEDGER_E_INVALID,     /* not a checkpoint of this log */
};

/* One entry that waits in a batch. */
struct ledger_item {
	uint32_t at, leaf_bytes; /* the entry in `bytes` */
	struct source source;    /* its producer, with its last_seq */
};

/* Entries to be made durable together. Memory is taken once. */
struct ledger_batch {
	uint8_t *bytes;
	struct ledger_item *items;
	size_t len, cap, n, n_max;
	bool urgent;          /* somebody waits for it */
	uint64_t first_index; /* of its first entry, once one is durable */
	size_t told, durable; /* entries [0, told) were known to be durable before, [told, durable) are new */
};

struct ledger {
	int dir;
	uint8_t log_id[16];
	struct segment segment;
	struct tree tree;
	struct sources sources;      /* what is durable */
	struct checkpoint published; /* size 0: none; its origin is not kept */
	bool has_checkpoint;
	uint64_t cut_bytes;                  /* removed by ledger_open() */
	uint64_t made_again, made_again_end; /* entries whose tiles it made again; none: both 0 */
	int unwritable;     /* 0, or a negative errno: only for reading; always with LEDGER_E_DAMAGED */
	uint64_t segments;  /* that there were, since it was opened */
	uint64_t *firsts;   /* first indices of those that are there, ascending; the last one is being written */
	size_t n_firsts;    /* 0: a new log that could not be begun */
	uint64_t newest_ns; /* the latest time of a record that ledger_open() read */
	char why[256];
};

/* 0 or -ENOMEM. */
MUST_USE int ledger_batch_init(struct ledger_batch *b, size_t entries_max, size_t bytes_max);
void ledger_batch_deinit(struct ledger_batch *b);
void ledger_batch_clear(struct ledger_batch *b);
/* Packs a leaf into the batch, or an EVENT's as it came: leaf_pack_event(). 0, LEDGER_E_FULL or negative (a defect). */
MUST_USE int ledger_batch_add(struct ledger_batch *b, const struct proto_leaf *leaf);
MUST_USE int ledger_batch_add_event(struct ledger_batch *b, const struct proto_leaf_head *head, struct span fields);

/*
 * Opens the log in `path`, an existing folder; makes a new log where there is none. `unwritable`: 0, or why nothing
 * shall be written. `*ret` is filled on LEDGER_E_DAMAGED too, for its `why`; ledger_close() it in every case but a
 * negative one. 0 (look at (*ret)->unwritable), LEDGER_E_DAMAGED or negative (it cannot even be read).
 */
MUST_USE int ledger_open(const char *path, uint64_t segment_bytes, int unwritable, struct ledger **ret);
struct ledger *ledger_close(struct ledger *l);

static inline uint64_t ledger_size(const struct ledger *l)
{
	return l->tree.merkle.size;
}

/* The first record that retention left. */
static inline uint64_t ledger_first(const struct ledger *l)
{
	return l->n_firsts > 0 ? l->firsts[0] : 0;
}

/*
 * First an entry is on the disk; who waits for it need not wait for more. Then it is in the tree, whose files can be
 * slow. ledger_commit() makes entries durable, one at least, as many as the segment has room for: [told, durable).
 * ledger_grow() adds them to the tree, before the next ledger_commit(). ledger_append(): the whole batch, both. 0 or
 * negative; after a failure the process must exit: what is on disk is known only to the next ledger_open().
 */
MUST_USE int ledger_commit(struct ledger *l, struct ledger_batch *b);
MUST_USE int ledger_grow(struct ledger *l, struct ledger_batch *b);
MUST_USE int ledger_append(struct ledger *l, struct ledger_batch *b);
/* Syncs the tree's files, so that the next segment has less to wait for. Beside ledger_commit() and ledger_grow(). */
MUST_USE int ledger_sync_tree(const struct ledger *l);
/* Goes on in a new segment, unless this one is empty; its room is given back. 0 or negative, as above. */
MUST_USE int ledger_turn(struct ledger *l);
/* Segments that begin before `first`, where one does, are no longer the log's: retention removes their files. */
void ledger_forget(struct ledger *l, uint64_t first);
/* Whether a log that was unwritable might be written after all, as far as that can be said without touching it; then a
 * new ledger_open() will tell. Reads nothing of `l` that changes. 0 or negative. */
MUST_USE int ledger_try(const struct ledger *l);

/* What the signer needs: root of the present tree and the proof that it grew from `old_size` (empty for 0), which must
 * not exceed it. Writes the partial tiles that belong to this size. 0, LEDGER_E_DAMAGED (tiles) or negative. */
MUST_USE int ledger_prepare(struct ledger *l, uint64_t old_size, struct merkle_hash *ret_root,
			    struct merkle_proof *ret_proof);
/* Publishes a signed checkpoint, durably; beside the others too. ledger_published() then tells `l`. 0, LEDGER_E_INVALID
 * (not `key`'s, not this size and root) or negative. */
MUST_USE int ledger_publish(const struct ledger *l, struct span note, const struct note_key *key, uint64_t size,
			    const struct merkle_hash *root);
void ledger_published(struct ledger *l, uint64_t size, const struct merkle_hash *root);
/* The key in <dir>/vkey. 0, LEDGER_E_INVALID (none, or not a key) or negative. */
MUST_USE int ledger_read_key(struct ledger *l, struct note_key *ret);
MUST_USE int ledger_write_key(struct ledger *l, const struct note_key *key);
