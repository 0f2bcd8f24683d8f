/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/verify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auditd/format.h"
#include "auditd/prefix.h"
#include "auditd/segment.h"
#include "auditd/strays.h"
#include "auditd/tree.h"
#include "auditd/view.h"
#include "common/err.h"

enum { VERIFY_E_BAD = 1 };

#define VERIFY_NOTE_MAX      65536
#define VERIFY_PROGRESS_STEP 4096 /* entries */
/* An entry that is being written while we look is whole a moment later. */
#define VERIFY_LOOK_AGAIN    20
#define VERIFY_LOOK_AGAIN_NS 50000000

struct verify {
	const struct verify_options *options;
	struct verify_report *report;
	int dir;
	struct tree tree;
	struct sources sources;
	uint8_t log_id[16];
	uint32_t place;
	uint64_t pruned;  /* so many of the first entries, by its own signed account */
	struct view view; /* the segment that is being read */
	uint64_t done_bytes, all_bytes;
	uint64_t *firsts;
	size_t n;
};

static PRINTF_LIKE(2, 3) int verify_bad(struct verify *v, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(v->report->why, sizeof(v->report->why), format, args);
	va_end(args);
	return VERIFY_E_BAD;
}

/* Of what is made from entries, when it was held against them: r is TILE_E_* or negative. */
static int verify_derived(struct verify *v, int r)
{
	if (r > 0 && tile_folder_is_missing(v->dir))
		return verify_bad(
			v, "the folder tile/ is missing, and with it the hashes that proofs are made of: copy it, "
			   "too; where it is lost, auditd makes it again from seg/ when it starts");
	return r > 0 ? verify_bad(v, "a tile or bundle in tile/ %s the entries up to %" PRIu64,
				  r == TILE_E_MISSING ? "is missing: one of" : "differs from", v->tree.merkle.size - 1)
		     : r;
}

/* ---- checkpoint ---- */

/* The key that must have signed; *ret_key is NULL where the policy names the logs. */
static int verify_key(struct verify *v, struct note_key *key, const struct note_key **ret_key)
{
	const struct verify_options *o = v->options;
	uint8_t *bytes;
	size_t len;

	*ret_key = o->key;
	if (o->key || (o->policy && o->policy->n_logs > 0))
		return 0;
	int r = tile_slurp(v->dir, "vkey", NOTE_VKEY_MAX, &bytes, &len);
	if (r)
		return r < 0 ? r
			     : verify_bad(
				       v,
				       "nothing is signed: there is no vkey, and none was given (is the vault open?)");
	len -= len > 0 && bytes[len - 1] == '\n';
	r = note_key_parse(key, span_of(bytes, len)) ? verify_bad(v, "vkey is not a verifier key") : 0;
	free(bytes);
	*ret_key = key;
	return r;
}

static int verify_signatures(struct verify *v, const struct note_key *key, struct span note)
{
	struct tlog_policy_result result;

	switch (tlog_policy_check(v->options->policy, key, note, &result)) {
	case 0:
		break;
	case TLOG_POLICY_E_QUORUM:
		return verify_bad(v,
				  "the checkpoint is cosigned by %u of %u witnesses, which is not the policy's quorum; "
				  "%.*s is missing",
				  result.cosigned, result.witnesses, (int)MIN(result.missing.len, 64U),
				  (const char *)result.missing.p);
	case TLOG_POLICY_E_LOG:
		return verify_bad(v, "the checkpoint is not signed by %s, or is of another log",
				  key ? key->name : "a log of the policy");
	case TLOG_POLICY_E_SIGNATURE:
		return verify_bad(v, "a signature under the checkpoint is wrong: it is not what was signed");
	default:
		return verify_bad(v, "checkpoint is not a signed checkpoint");
	}
	v->report->key = result.log;
	v->report->signed_size = result.checkpoint.size;
	v->report->root = result.checkpoint.root;
	v->report->cosigned = result.cosigned;
	v->report->witnesses = result.witnesses;
	v->report->cosigned_s = result.oldest_unix_s;
	return 0;
}

static int verify_checkpoint(struct verify *v)
{
	const struct note_key *key;
	struct note_key found;
	uint8_t *note;
	size_t len;

	int r = verify_key(v, &found, &key);
	if (r)
		return r;
	r = tile_slurp(v->dir, "checkpoint", VERIFY_NOTE_MAX, &note, &len);
	if (r)
		return r < 0 ? r : verify_bad(v, "nothing is signed: there is no checkpoint (is the vault open?)");
	r = verify_signatures(v, key, span_of(note, len));
	free(note);
	return r;
}

/* ---- segments ---- */

static int verify_list(struct verify *v)
{
	char path[SEGMENT_FILE_BYTES];
	struct stat st;

	free(v->firsts);
	int r = segment_list(v->dir, &v->firsts, &v->n);
	if (r)
		return r == -ENOMEM ? r : verify_bad(v, "there is no readable folder seg");
	if (v->n == 0)
		return verify_bad(v, "there is not one segment");
	v->all_bytes = 0;
	for (size_t i = 0; i < v->n; i++) {
		segment_file(path, v->firsts[i]);
		if (fstatat(v->dir, path, &st, 0) == 0)
			v->all_bytes += (uint64_t)st.st_size;
	}
	v->report->first = v->firsts[0];
	return 0;
}

/*
 * Retention has signed what it removes before it does. So the checkpoint is read after a list in which something is
 * gone already; and before the one that is used, which has all that it covers.
 */
static int verify_begin(struct verify *v)
{
	unsigned looks = 0;
	uint64_t first;
	int r;

	do {
		r = verify_list(v);
		first = v->report->first;
		if (!r)
			r = verify_checkpoint(v);
		if (!r)
			r = verify_list(v);
	} while (!r && v->options->in_use && first != v->report->first && looks++ < VERIFY_LOOK_AGAIN);
	return r;
}

static int verify_unreadable(struct verify *v, int r)
{
	char why[VIEW_WHY_BYTES];

	if (r <= 0)
		return r;
	view_why(&v->view, why);
	return verify_bad(v, "%s", why);
}

static int verify_open(struct verify *v, size_t which)
{
	int r = view_open(&v->view, v->dir, v->firsts[which]);

	if (r)
		return verify_unreadable(v, r);
	if (v->view.size >= SEGMENT_HEAD_BYTES && v->view.size % 8 == 0)
		return 0;
	return verify_bad(v, "%s has a length that no segment has", v->view.path);
}

static bool verify_same_sources(const struct sources *a, const struct sources *b)
{
	for (size_t i = 0; i < a->n && a->n == b->n; i++) {
		const struct source *x = &a->all[i], *y = &b->all[i];
		if (x->role != y->role || x->worker != y->worker || x->last_seq != y->last_seq ||
		    memcmp(x->boot, y->boot, sizeof(x->boot)) != 0)
			return false;
	}
	return a->n == b->n;
}

static int verify_signed_size(struct verify *v);

/* What is before the first segment, of which only hashes are left. */
static int verify_prefix(struct verify *v, const struct segment_head *head)
{
	if (v->report->first == 0)
		return 0;
	if (v->report->first > v->report->signed_size)
		return verify_bad(v, "entries 0 to %" PRIu64 " are missing, and were never signed", v->report->first);
	int r = prefix_grow(&v->tree, v->report->first);
	if (r)
		return r < 0 ? r
			     : verify_bad(v, "the hashes in tile/ of the entries that retention removed are %s",
					  tile_folder_is_missing(v->dir)
						  ? "missing, with the whole folder: copy it, too"
						  : "damaged");
	v->sources = head->sources;
	v->report->entries = v->report->first;
	return verify_signed_size(v);
}

static int verify_head(struct verify *v, size_t which)
{
	uint64_t index = v->firsts[which];
	struct segment_head head;
	struct merkle_hash root;
	struct span bytes;

	int r = view_read(&v->view, 0, &bytes);
	if (r)
		return verify_unreadable(v, r);
	if (segment_head_read(bytes, &head) || head.first_index != index)
		return verify_bad(v, "segment %" PRIu64 ": the head is damaged", index);
	if (head.file_bytes != v->view.size)
		return verify_bad(v, "segment %" PRIu64 " has not the length that it was made with", index);
	if (which == 0) {
		memcpy(v->log_id, head.log_id, sizeof(v->log_id));
		r = verify_prefix(v, &head);
		if (r)
			return r;
	}
	merkle_tree_root(&v->tree.merkle, &root);
	if (v->tree.merkle.size != index)
		return verify_bad(v, "entries %" PRIu64 " to %" PRIu64 " are missing", v->tree.merkle.size, index);
	if (memcmp(v->log_id, head.log_id, sizeof(v->log_id)) != 0 || !merkle_hash_eq(&root, &head.root) ||
	    !merkle_hash_eq(&v->tree.last_leaf, &head.last_leaf) || !verify_same_sources(&v->sources, &head.sources))
		return verify_bad(v, "segment %" PRIu64 " does not continue the one before", index);
	return 0;
}

/* ---- entries ---- */

/* The sequence of each producer: without holes, but for what a gap says is missing. */
static int verify_sequence(struct verify *v, const struct proto_leaf *leaf, uint64_t index)
{
	const struct source *last = sources_find(&v->sources, (uint8_t)leaf->role, (uint8_t)leaf->worker);
	struct source now = {.role = (uint8_t)leaf->role, .worker = (uint8_t)leaf->worker, .last_seq = leaf->last_seq};
	bool gap = leaf->code == EVENT_LOG_GAP;
	uint64_t seq_before = 0;

	memcpy(now.boot, leaf->boot.p, sizeof(now.boot));
	/* an if, not a conditional expression: gcc 14.2 makes of that a load through `last` even when it is NULL */
	if (last && memcmp(last->boot, now.boot, sizeof(now.boot)) == 0)
		seq_before = last->last_seq;
	if (leaf->seq != seq_before + 1 || leaf->last_seq < leaf->seq || (!gap && leaf->last_seq != leaf->seq))
		return verify_bad(v, "entry %" PRIu64 ": events of %s%" PRIu64 " are missing without a gap record",
				  index, leaf->role < N_ROLES ? role_name((enum role)leaf->role) : "?", leaf->worker);
	if (sources_set(&v->sources, &now))
		return verify_bad(v, "entry %" PRIu64 ": more producers than there can be", index);
	v->report->gaps += gap;
	v->report->lost += gap ? leaf->last_seq - leaf->seq + 1 : 0;
	return 0;
}

/* At the size that was signed: the root, and the partial tiles that belong to it. */
static int verify_signed_size(struct verify *v)
{
	struct merkle_hash root;

	if (v->tree.merkle.size != v->report->signed_size)
		return 0;
	merkle_tree_root(&v->tree.merkle, &root);
	if (!merkle_hash_eq(&root, &v->report->root))
		return verify_bad(v, "entries 0 to %" PRIu64 " are not those that were signed", v->report->signed_size);
	int r = tree_flush(&v->tree);
	v->tree.emit = tile_expect_begun; /* what nobody signed yet */
	return verify_derived(v, r);
}

/* What retention says that it removed must have been there: the root is the one that this log had then. */
static int verify_prune(struct verify *v, const struct proto_leaf *leaf, uint64_t index)
{
	struct verify_report *report = v->report;
	struct merkle_hash root;

	int r = leaf->bytes > 0 && leaf->bytes <= index && leaf->digest.len == sizeof(root.b) ? 0 : VERIFY_E_BAD;
	if (!r)
		r = merkle_root(&(struct merkle_source){tree_node, &v->tree}, leaf->bytes, &root);
	if (r < 0)
		return r;
	if (r || !span_eq(leaf->digest, span_of(root.b, sizeof(root.b))))
		return verify_bad(v, "entry %" PRIu64 ": log.prune does not speak of this log's entries", index);
	if (index >= report->signed_size)
		return 0;
	v->pruned = MAX(v->pruned, leaf->bytes);
	if (leaf->bytes < report->first)
		return 0;
	report->pruned.index = index;
	report->pruned.time_ns = leaf->recorded_ns;
	(void)snprintf(report->pruned.keep, sizeof(report->pruned.keep), "%.*s", (int)MIN(leaf->reason.len, 15U),
		       leaf->reason.len ? (const char *)leaf->reason.p : "");
	return 0;
}

static int verify_entry(struct verify *v, const struct entry *entry, uint64_t at)
{
	struct proto_leaf leaf;

	if (entry->leaf.len > LEAF_BYTES_MAX || leaf_unpack(entry->leaf, &leaf) || !event_row(leaf.code))
		return verify_bad(v, "entry %" PRIu64 " is not a record of ours", entry->index);
	if (entry->place != 0 && entry->place != v->place + 1)
		return verify_bad(v, "entry %" PRIu64 " is not where its commit had it", entry->index);
	v->place = entry->place;
	int r = verify_sequence(v, &leaf, entry->index);
	if (r)
		return r;
	if (leaf.code == EVENT_LOG_PRUNE && leaf.role == ROLE_AUDITD)
		r = verify_prune(v, &leaf, entry->index);
	if (r)
		return r;
	v->report->first_ns = v->report->entries == v->report->first ? leaf.recorded_ns : v->report->first_ns;
	v->report->last_ns = leaf.recorded_ns;
	r = tree_append(&v->tree, entry->leaf);
	if (r)
		return verify_derived(v, r);
	v->report->entries++;
	if (v->options->progress && v->report->entries % VERIFY_PROGRESS_STEP == 0)
		v->options->progress(v->options->ctx, v->done_bytes + at, v->all_bytes);
	return verify_signed_size(v);
}

/* All that was signed has been found good. */
static bool verify_is_behind(const struct verify *v)
{
	return v->tree.merkle.size >= v->report->signed_size;
}

/* Where no entry stands: nothing may. 0, VERIFY_E_BAD or negative; or *ret_again. */
static int verify_end(struct verify *v, uint64_t at, bool last, unsigned *looks, bool *ret_again)
{
	uint64_t size = v->tree.merkle.size;
	enum tail tail;
	size_t bytes;

	*ret_again = false;
	int r = view_tail(&v->view, at, size, &tail, &bytes);
	if (r || tail == TAIL_CLEAN)
		return verify_unreadable(v, r);
	*ret_again = last && v->options->in_use && verify_is_behind(v) && (*looks)++ < VERIFY_LOOK_AGAIN;
	if (*ret_again) {
		(void)nanosleep(&(struct timespec){.tv_nsec = VERIFY_LOOK_AGAIN_NS}, NULL);
		view_refresh(&v->view);
		return 0;
	}
	if (!v->options->copied || !verify_is_behind(v))
		return verify_bad(v, "entry %" PRIu64 " is damaged", size);
	v->report->uncovered.bytes = bytes;
	return 0;
}

static int verify_entries(struct verify *v, bool last)
{
	uint64_t at = SEGMENT_HEAD_BYTES;
	unsigned looks = 0;
	bool more = true;
	int r = 0;

	while (more && !r) {
		struct entry entry;
		struct span rest;
		r = view_read(&v->view, at, &rest);
		if (r)
			return verify_unreadable(v, r);
		if (rest.len > 0 && entry_read(rest, v->tree.merkle.size, &entry) == 0) {
			r = verify_entry(v, &entry, at);
			at += entry.bytes;
			looks = 0;
		} else {
			r = verify_end(v, at, last, &looks, &more);
		}
	}
	return r;
}

/* Does segment i follow what was read? Not if that ended early, or was copied before it was full. */
static bool verify_follows(struct verify *v, size_t i)
{
	if (i == 0 || !v->options->copied || !verify_is_behind(v) ||
	    (v->report->uncovered.bytes == 0 && v->firsts[i] == v->tree.merkle.size))
		return true;
	v->report->uncovered.segments = v->n - i;
	return false;
}

static int verify_segments(struct verify *v)
{
	int r = verify_signed_size(v);

	for (size_t i = 0; i < v->n && !r && verify_follows(v, i); i++) {
		r = verify_open(v, i);
		if (!r)
			r = verify_head(v, i);
		if (!r)
			r = verify_entries(v, i + 1 == v->n);
		v->done_bytes += v->view.size;
		view_close(&v->view);
		v->report->segments++;
	}
	if (!r && v->report->first > v->pruned)
		r = verify_bad(v,
			       "entries 0 to %" PRIu64
			       " are missing, and no signed record says that retention removed them",
			       v->report->first);
	if (!r && v->report->entries < v->report->signed_size)
		r = verify_bad(v, "%" PRIu64 " entries were signed, but there are only %" PRIu64,
			       v->report->signed_size, v->report->entries);
	return r;
}

static int verify_strays(struct verify *v)
{
	char path[TILE_PATH_MAX];
	int r = strays_check(v->dir, v->report->signed_size, path);

	return r > 0 ? verify_bad(v, "%s is not what it was when that was the newest, or not of this log", path) : r;
}

/* 0, VERIFY_E_BAD or negative. */
static int verify_once(int dir, const struct verify_options *options, struct verify_report *report)
{
	struct verify v = {.options = options, .report = report, .dir = dir, .view = VIEW_NULL};
	int r = tree_init(&v.tree, v.dir);

	*report = (struct verify_report){0};
	v.tree.emit = tile_expect;
	if (!r)
		r = verify_begin(&v);
	if (!r)
		r = verify_segments(&v);
	if (!r)
		r = verify_strays(&v);
	tree_deinit(&v.tree);
	free(v.firsts);
	return r;
}

/* Did retention remove something since the report's segments were listed? */
static bool verify_overtaken(int dir, const struct verify_report *report)
{
	char path[SEGMENT_FILE_BYTES];

	segment_file(path, report->first);
	return faccessat(dir, path, F_OK, 0) < 0 && errno == ENOENT;
}

int verify_log(const char *path, const struct verify_options *options, struct verify_report *ret_report)
{
	struct verify_report report;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (dir < 0)
		return -errno;
	for (unsigned looks = 0;; looks++) {
		r = verify_once(dir, options, &report);
		if (r <= 0 || !options->in_use || looks == VERIFY_LOOK_AGAIN || !verify_overtaken(dir, &report))
			break;
	}
	(void)close(dir);
	if (r < 0)
		return r;
	report.good = r == 0;
	*ret_report = report;
	return 0;
}
