/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"

/* ---- batches ---- */

int ledger_batch_init(struct ledger_batch *b, size_t entries_max, size_t bytes_max)
{
	*b = (struct ledger_batch){.cap = bytes_max, .n_max = entries_max};
	b->bytes = malloc(bytes_max);
	b->items = calloc(entries_max, sizeof *b->items);
	if (b->bytes && b->items)
		return 0;
	ledger_batch_deinit(b);
	return -ENOMEM;
}

void ledger_batch_deinit(struct ledger_batch *b)
{
	free(b->bytes);
	free(b->items);
	*b = (struct ledger_batch){0};
}

void ledger_batch_clear(struct ledger_batch *b)
{
	b->len = b->n = b->told = b->durable = 0;
	b->urgent = false;
}

/* Where the next leaf goes, LEAF_BYTES_MAX of room; NULL: there is none. */
static uint8_t *ledger_batch_room(const struct ledger_batch *b)
{
	bool full = b->n == b->n_max || b->cap - b->len < entry_bytes(LEAF_BYTES_MAX);

	return full ? NULL : b->bytes + b->len + ENTRY_HEAD_BYTES;
}

/* The leaf that was packed there is the batch's, unless `r`. 0 or negative. */
static int ledger_batch_take(struct ledger_batch *b, int r, const struct proto_leaf_head *head, size_t leaf_bytes)
{
	if (r)
		return err_fold(r);
	struct ledger_item *item = &b->items[b->n++];
	item->at = (uint32_t)b->len;
	item->leaf_bytes = (uint32_t)leaf_bytes;
	item->source.role = (uint8_t)head->role;
	item->source.worker = (uint8_t)head->worker;
	item->source.last_seq = head->last_seq;
	memcpy(item->source.boot, head->boot.p, sizeof item->source.boot);
	b->len += entry_bytes(leaf_bytes);
	return 0;
}

int ledger_batch_add(struct ledger_batch *b, const struct proto_leaf *leaf)
{
	const struct proto_leaf_head head = {
		.role = leaf->role, .worker = leaf->worker, .boot = leaf->boot, .last_seq = leaf->last_seq};
	uint8_t *to = ledger_batch_room(b);
	size_t bytes = 0;

	if (!to)
		return LEDGER_E_FULL;
	int r = leaf_pack(leaf, to, LEAF_BYTES_MAX, &bytes);
	return ledger_batch_take(b, r, &head, bytes);
}

int ledger_batch_add_event(struct ledger_batch *b, const struct proto_leaf_head *head, struct span fields)
{
	uint8_t *to = ledger_batch_room(b);
	size_t bytes = 0;

	if (!to)
		return LEDGER_E_FULL;
	int r = leaf_pack_event(head, fields, to, LEAF_BYTES_MAX, &bytes);
	return ledger_batch_take(b, r, head, bytes);
}

/* ---- segments ---- */

/* One more, which is written from now on. 0 or -ENOMEM. */
static int ledger_note_segment(struct ledger *l, uint64_t first)
{
	uint64_t *grown = reallocarray(l->firsts, l->n_firsts + 1, sizeof *grown);

	if (!grown)
		return err_origin(-ENOMEM);
	l->firsts = grown;
	grown[l->n_firsts++] = first;
	return 0;
}

void ledger_forget(struct ledger *l, uint64_t first)
{
	size_t gone = 0;

	while (gone + 1 < l->n_firsts && l->firsts[gone] < first)
		gone++;
	memmove(l->firsts, l->firsts + gone, (l->n_firsts - gone) * sizeof *l->firsts);
	l->n_firsts -= gone;
}

/* ---- appending ---- */

static int ledger_rotate(struct ledger *l)
{
	struct segment_head head = {
		.first_index = ledger_size(l),
		.last_leaf = l->tree.last_leaf,
		.sources = l->sources,
	};

	memcpy(head.log_id, l->log_id, sizeof head.log_id);
	merkle_tree_root(&l->tree.merkle, &head.root);
	int r = tree_flush(&l->tree);
	if (!r)
		r = tree_sync(&l->tree);
	if (!r)
		r = segment_start(&l->segment, &head);
	l->segments++;
	return r ? r : ledger_note_segment(l, head.first_index);
}

int ledger_turn(struct ledger *l)
{
	if (l->unwritable || l->segment.end == SEGMENT_HEAD_BYTES)
		return l->unwritable;
	return ledger_rotate(l);
}

/* How many entries from `from` on the segment has room for. */
static size_t ledger_fitting(const struct ledger *l, const struct ledger_batch *b, size_t from, uint64_t *ret_bytes)
{
	size_t to = from;

	*ret_bytes = 0;
	for (; to < b->n; to++) {
		uint64_t bytes = entry_bytes(b->items[to].leaf_bytes);
		if (*ret_bytes + bytes > segment_room(&l->segment))
			break;
		*ret_bytes += bytes;
	}
	return to - from;
}

int ledger_commit(struct ledger *l, struct ledger_batch *b)
{
	size_t from = b->durable;
	uint64_t bytes, index = ledger_size(l);
	int r = l->unwritable;

	assert(b->told == from && from < b->n);
	if (r)
		return r;
	size_t n = ledger_fitting(l, b, from, &bytes);
	if (n == 0) {
		r = ledger_rotate(l);
		n = ledger_fitting(l, b, from, &bytes);
	}
	for (size_t i = 0; i < n; i++)
		(void)entry_seal(b->bytes + b->items[from + i].at, b->items[from + i].leaf_bytes, index + i,
				 (uint32_t)i);
	if (!r)
		r = segment_commit(&l->segment, span_of(b->bytes + b->items[from].at, bytes));
	if (r)
		return r;
	if (from == 0)
		b->first_index = index;
	b->durable = from + n;
	return 0;
}

int ledger_grow(struct ledger *l, struct ledger_batch *b)
{
	int r = 0;

	for (; b->told < b->durable && !r; b->told++) {
		const struct ledger_item *item = &b->items[b->told];
		r = tree_append(&l->tree, span_of(b->bytes + item->at + ENTRY_HEAD_BYTES, item->leaf_bytes));
		if (!r)
			r = err_fold(sources_set(&l->sources, &item->source));
	}
	return r;
}

int ledger_append(struct ledger *l, struct ledger_batch *b)
{
	int r = l->unwritable;

	while (b->durable < b->n && !r) {
		r = ledger_commit(l, b);
		if (!r)
			r = ledger_grow(l, b);
	}
	return r;
}

int ledger_sync_tree(const struct ledger *l)
{
	return l->unwritable ? l->unwritable : tree_sync(&l->tree);
}

int ledger_try(const struct ledger *l)
{
	static const uint8_t something[4096] = {1};
	int r = segment_reserve(&l->segment);

	if (!r)
		r = tree_write_durable(l->dir, "try", span_of(something, sizeof something));
	if (!r && unlinkat(l->dir, "try", 0) < 0)
		r = err_origin(-errno);
	return r;
}

/* ---- checkpoints ---- */

int ledger_prepare(struct ledger *l, uint64_t old_size, struct merkle_hash *ret_root, struct merkle_proof *ret_proof)
{
	struct merkle_source source = {tree_node, &l->tree};
	int r = l->unwritable ? l->unwritable : tree_flush(&l->tree);

	if (r)
		return r;
	merkle_tree_root(&l->tree.merkle, ret_root);
	*ret_proof = (struct merkle_proof){0};
	if (old_size > 0 && old_size < ledger_size(l))
		r = merkle_prove_consistency(&source, old_size, ledger_size(l), ret_proof);
	if (r > 0) {
		(void)snprintf(l->why, sizeof l->why, "the tiles in tile/ are missing or damaged");
		return LEDGER_E_DAMAGED;
	}
	return r;
}

int ledger_publish(const struct ledger *l, struct span note, const struct note_key *key, uint64_t size,
		   const struct merkle_hash *root)
{
	struct span text;
	struct checkpoint cp;

	if (note_verify(note, key, &text) || checkpoint_parse(text, &cp) || !span_eq_str(cp.origin, key->name) ||
	    cp.size != size || !merkle_hash_eq(&cp.root, root))
		return LEDGER_E_INVALID;
	return l->unwritable ? l->unwritable : tree_write_durable(l->dir, "checkpoint", note);
}

void ledger_published(struct ledger *l, uint64_t size, const struct merkle_hash *root)
{
	l->published = (struct checkpoint){.size = size, .root = *root};
	l->has_checkpoint = true;
}

int ledger_read_key(struct ledger *l, struct note_key *ret)
{
	uint8_t *bytes;
	size_t len;

	int r = tile_slurp(l->dir, "vkey", NOTE_VKEY_MAX + 1, &bytes, &len);
	if (r)
		return r < 0 ? r : LEDGER_E_INVALID;
	if (len > 0 && bytes[len - 1] == '\n')
		len--;
	r = note_key_parse(ret, span_of(bytes, len)) ? LEDGER_E_INVALID : 0;
	free(bytes);
	return r;
}

int ledger_write_key(struct ledger *l, const struct note_key *key)
{
	char line[NOTE_VKEY_MAX + 1];

	note_key_format(key, line);
	(void)snprintf(line + strlen(line), 2, "\n");
	return l->unwritable ? l->unwritable : tree_write_durable(l->dir, "vkey", span_str(line));
}

struct ledger *ledger_close(struct ledger *l)
{
	if (!l)
		return NULL;
	segment_deinit(&l->segment);
	tree_deinit(&l->tree);
	if (l->dir >= 0)
		(void)close(l->dir);
	free(l->firsts);
	free(l);
	return NULL;
}
