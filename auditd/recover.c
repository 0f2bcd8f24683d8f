/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a log (auditd/ledger.h). The order: which segments are there; what was promised last (checkpoint); from which
 * segment on must be read; the tree as it was at that segment's begin, from tiles; then every entry from there to the
 * end, growing the tree and comparing its root at each segment's head and at the checkpoint's size; at last the tail.
 *
 * All of it is done twice. The first time nothing is written at all: tiles tell what entries were, and must not be
 * written from entries of which it turns out that they are not those that were signed. The second time tiles are
 * written, then the segment is.
 *
 * If the tiles at that begin are missing or damaged, an earlier segment will do, to the first that is kept: the tiles
 * are made again from the entries, and that these are the right ones is proven by the root that was signed. Of entries
 * that retention removed there are the hashes, in the lowest tiles: if these are there, all above them follows.
 *
 * That it reads well does not mean that it can be written: if it cannot, the ledger is open all the same, for reading.
 */
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditd/ledger.h"
#include "auditd/prefix.h"
#include "auditd/view.h"
#include "common/err.h"

struct recovery {
	struct ledger *l;
	uint64_t *firsts; /* l's, once they are all there: first indices of all segments, ascending */
	size_t n;
	struct view view;        /* the segment that is being read */
	uint64_t end, commit_at; /* in the last one: where the entries end, where their last commit begins */
	size_t debris_bytes;     /* after the end */
	bool no_tiles;           /* where reading began */
	bool by_hashes;          /* there, the lowest tiles shall do */
};

static PRINTF_LIKE(2, 3) int recover_refuse(struct recovery *rec, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(rec->l->why, sizeof rec->l->why, format, args);
	va_end(args);
	return LEDGER_E_DAMAGED;
}

/* ---- what was promised ---- */

static int recover_checkpoint(struct recovery *rec)
{
	struct ledger *l = rec->l;
	struct note_key key;
	struct span text;
	uint8_t *note;
	size_t len;

	int r = tile_slurp(l->dir, "checkpoint", LEDGER_NOTE_MAX, &note, &len);
	if (r == TILE_E_MISSING)
		return 0;
	if (r)
		return r < 0 ? r : recover_refuse(rec, "checkpoint is not a signed checkpoint");
	r = ledger_read_key(l, &key);
	if (r > 0)
		r = recover_refuse(rec, "there is a checkpoint but no readable vkey to check it with");
	else if (r == 0 && (note_verify(span_of(note, len), &key, &text) || checkpoint_parse(text, &l->published)))
		r = recover_refuse(rec, "checkpoint is not signed by the key in vkey");
	free(note);
	l->published.origin = SPAN_NULL;
	l->has_checkpoint = r == 0;
	return r;
}

/* ---- one segment ---- */

/* What cannot be read is no better than what is damaged: nothing is written, and it is said where. */
static int recover_unreadable(struct recovery *rec, int r)
{
	char why[VIEW_WHY_BYTES];

	if (r <= 0)
		return r;
	view_why(&rec->view, why);
	return recover_refuse(rec, "%s", why);
}

static int recover_view(struct recovery *rec, size_t which)
{
	int r = view_open(&rec->view, rec->l->dir, rec->firsts[which]);

	if (!r && rec->view.size < SEGMENT_HEAD_BYTES)
		return recover_refuse(rec, "%s has a length that no segment has", rec->view.path);
	return recover_unreadable(rec, r);
}

/* The tree where reading begins. 0, TREE_E_DAMAGED or negative. */
static int recover_tree(struct recovery *rec, const struct segment_head *head)
{
	struct tree *t = &rec->l->tree;
	struct merkle_hash root;

	if (!rec->by_hashes)
		return tree_load(t, head->first_index, &head->root);
	tree_clear(t);
	int r = prefix_grow(t, head->first_index);
	merkle_tree_root(&t->merkle, &root);
	if (r > 0 || (r == 0 && !merkle_hash_eq(&root, &head->root)))
		return TREE_E_DAMAGED;
	return r ? r : tree_flush(t); /* what the next recovery may begin with */
}

/* The head must continue the tree; at the first segment that is read, the tree is brought to where it begins. */
static int recover_head(struct recovery *rec, size_t which, bool first)
{
	struct ledger *l = rec->l;
	uint64_t index = rec->firsts[which];
	struct segment_head head;
	struct merkle_hash root;
	struct span bytes;

	int r = view_read(&rec->view, 0, &bytes);
	if (r)
		return recover_unreadable(rec, r);
	if (segment_head_read(bytes, &head) || head.first_index != index)
		return recover_refuse(rec, "segment %" PRIu64 ": the head is damaged", index);
	if (head.file_bytes != rec->view.size)
		return recover_refuse(rec, "segment %" PRIu64 " has not the length that it was made with", index);
	if (first) {
		memcpy(l->log_id, head.log_id, sizeof l->log_id);
		l->sources = head.sources;
		r = recover_tree(rec, &head);
		rec->no_tiles = r == TREE_E_DAMAGED;
		if (rec->no_tiles)
			return recover_refuse(rec, "segment %" PRIu64 ": the tiles before it do not give its root",
					      index);
		return r;
	}
	merkle_tree_root(&l->tree.merkle, &root);
	if (ledger_size(l) != index || !merkle_hash_eq(&root, &head.root) ||
	    !merkle_hash_eq(&l->tree.last_leaf, &head.last_leaf) ||
	    memcmp(l->log_id, head.log_id, sizeof l->log_id) != 0)
		return recover_refuse(rec, "segment %" PRIu64 " does not continue the one before", index);
	return tree_flush(&l->tree); /* what the next recovery may begin with */
}

static int recover_entry(struct recovery *rec, const struct entry *entry)
{
	struct ledger *l = rec->l;
	struct proto_leaf leaf;
	struct merkle_hash root;
	struct source source;

	if (entry->leaf.len > LEAF_BYTES_MAX || leaf_unpack(entry->leaf, &leaf))
		return recover_refuse(rec, "entry %" PRIu64 " is not a record of ours", entry->index);
	int r = tree_append(&l->tree, entry->leaf);
	if (r)
		return r;
	l->newest_ns = MAX(l->newest_ns, leaf.recorded_ns);
	source = (struct source){.role = (uint8_t)leaf.role, .worker = (uint8_t)leaf.worker, .last_seq = leaf.last_seq};
	memcpy(source.boot, leaf.boot.p, sizeof source.boot);
	if (sources_set(&l->sources, &source))
		return recover_refuse(rec, "entry %" PRIu64 ": more producers than there can be", entry->index);
	if (!l->has_checkpoint || l->published.size != ledger_size(l))
		return 0;
	merkle_tree_root(&l->tree.merkle, &root);
	if (!merkle_hash_eq(&root, &l->published.root))
		return recover_refuse(rec, "the entries up to %" PRIu64 " are not those that were signed",
				      ledger_size(l));
	return tree_flush(&l->tree); /* the checkpoint is durable, its partial tiles need not have been */
}

/* rec->end: where the entries end. */
static int recover_entries(struct recovery *rec)
{
	uint64_t at = SEGMENT_HEAD_BYTES;
	struct span rest;
	struct entry entry;

	rec->commit_at = at;
	for (;;) {
		int r = view_read(&rec->view, at, &rest);
		if (r)
			return recover_unreadable(rec, r);
		if (rest.len == 0 || entry_read(rest, ledger_size(rec->l), &entry))
			break; /* zeros or damage: the tail will tell */
		r = recover_entry(rec, &entry);
		if (r)
			return r;
		if (entry.place == 0)
			rec->commit_at = at;
		at += entry.bytes;
	}
	rec->end = at;
	return 0;
}

/* What stands after the last good entry. Only in the last segment may anything be there, and only debris. */
static int recover_tail(struct recovery *rec, bool last)
{
	uint64_t size = ledger_size(rec->l);
	enum tail tail;

	int r = view_tail(&rec->view, rec->end, size, &tail, &rec->debris_bytes);
	if (r)
		return recover_unreadable(rec, r);
	if (tail == TAIL_TORN && !last)
		return recover_refuse(rec, "entry %" PRIu64 " is damaged, and later segments follow", size);
	if (tail == TAIL_CORRUPT)
		return recover_refuse(rec, "entry %" PRIu64 " is damaged, and later entries follow", size);
	return 0;
}

/* ---- all of them ---- */

/* The first that must be read: the one in which the checkpoint's size lies. */
static size_t recover_first(const struct recovery *rec)
{
	size_t which = 0;

	while (which + 1 < rec->n && rec->l->has_checkpoint && rec->firsts[which + 1] <= rec->l->published.size)
		which++;
	return which;
}

/* From segment `first` on to the end, with what becomes of tiles as the tree says. */
static int recover_read(struct recovery *rec, size_t first)
{
	struct ledger *l = rec->l;
	struct merkle_hash root;
	int r = 0;

	l->sources = (struct sources){0};
	rec->no_tiles = false;
	for (size_t i = first; i < rec->n && !r; i++) {
		r = recover_view(rec, i);
		if (!r)
			r = recover_head(rec, i, i == first);
		if (!r && i == first && l->has_checkpoint && l->published.size == ledger_size(l)) {
			merkle_tree_root(&l->tree.merkle, &root);
			if (!merkle_hash_eq(&root, &l->published.root))
				r = recover_refuse(rec, "the tree is not the one that was signed");
		}
		if (!r)
			r = recover_entries(rec);
		if (!r)
			r = recover_tail(rec, i + 1 == rec->n);
		view_close(&rec->view);
	}
	if (!r && l->has_checkpoint && ledger_size(l) < l->published.size)
		r = recover_refuse(rec, "%" PRIu64 " entries, but %" PRIu64 " were signed", ledger_size(l),
				   l->published.size);
	return r;
}

static int recover_segments(struct recovery *rec)
{
	struct ledger *l = rec->l;
	size_t usual = recover_first(rec), first = usual;

	tree_set(&l->tree, TREE_LOOKS);
	int r = recover_read(rec, first);
	while (r == LEDGER_E_DAMAGED && rec->no_tiles && first > 0)
		r = recover_read(rec, --first);
	if (r == LEDGER_E_DAMAGED && rec->no_tiles) {
		rec->by_hashes = true;
		r = recover_read(rec, first);
	}
	if (r)
		return r;
	tree_set(&l->tree, l->unwritable ? TREE_FINDS : TREE_RECOVERS);
	r = recover_read(rec, first);
	tree_set(&l->tree, TREE_GROWS);
	if (!r && (first < usual || rec->by_hashes)) {
		l->made_again = rec->by_hashes ? 0 : rec->firsts[first];
		l->made_again_end = rec->firsts[usual];
	}
	return r;
}

/* What was read becomes what is written to from now on. 0 or negative. */
static int recover_settle(struct recovery *rec)
{
	struct ledger *l = rec->l;

	if (l->tree.unwritten)
		return l->tree.unwritten;
	int r = l->made_again_end > 0 ? tree_sync(&l->tree) : 0; /* as they had been when the segment began */
	if (!r)
		r = segment_resume(&l->segment, rec->firsts[rec->n - 1], rec->end);
	if (!r && fsync(l->dir) < 0)
		r = err_origin(-errno);
	if (!r)
		r = segment_settle(&l->segment, rec->commit_at, rec->debris_bytes);
	if (!r)
		l->cut_bytes = rec->debris_bytes;
	return r;
}

static int recover_fresh(struct recovery *rec)
{
	struct ledger *l = rec->l;
	struct segment_head head = {0};

	randombytes_buf(l->log_id, sizeof l->log_id);
	memcpy(head.log_id, l->log_id, sizeof head.log_id);
	merkle_tree_root(&l->tree.merkle, &head.root);
	if (fsync(l->dir) < 0)
		return err_origin(-errno);
	l->firsts = calloc(1, sizeof *l->firsts); /* index 0 */
	int r = l->firsts ? segment_start(&l->segment, &head) : err_origin(-ENOMEM);
	l->n_firsts = r == 0;
	return r;
}

static int recover(struct recovery *rec)
{
	struct ledger *l = rec->l;
	int r = segment_list(l->dir, &rec->firsts, &rec->n);

	if (!r)
		r = recover_checkpoint(rec);
	if (!r && rec->n == 0 && l->has_checkpoint)
		r = recover_refuse(rec, "there is a checkpoint but not one segment");
	if (!r && rec->n > 0)
		r = recover_segments(rec);
	if (!r && !l->unwritable)
		l->unwritable = rec->n > 0 ? recover_settle(rec) : recover_fresh(rec);
	return r;
}

int ledger_open(const char *path, uint64_t segment_bytes, int unwritable, struct ledger **ret)
{
	struct ledger *l = calloc(1, sizeof *l);
	struct recovery rec = {.l = l, .view = VIEW_NULL};

	if (!l)
		return -ENOMEM;
	l->segment = SEGMENT_NULL;
	l->unwritable = unwritable;
	l->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = l->dir < 0 ? err_origin(-errno) : 0;
	if (!r)
		r = tree_init(&l->tree, l->dir);
	if (!r)
		r = segment_init(&l->segment, l->dir, path, segment_bytes);
	if (!r)
		r = recover(&rec);
	if (rec.n > 0) {
		l->firsts = rec.firsts;
		l->n_firsts = rec.n;
	}
	if (r < 0) {
		(void)ledger_close(l);
		return r;
	}
	if (r == LEDGER_E_DAMAGED)
		l->unwritable = -EUCLEAN;
	l->segments = rec.n > 0 ? rec.n : 1;
	*ret = l;
	return r;
}
