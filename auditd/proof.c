/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/proof.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditd/tile.h"
#include "common/base64.h"
#include "common/err.h"

#define PROOF_FIRST_LINE "c2sp.org/tlog-proof@v1"
#define PROOF_NOTE_MAX   65536
/* base64 of the largest leaf */
#define PROOF_EXTRA_MAX 87384

/* ---- making ---- */

static int proof_put_base64(struct buf *to, struct span bytes)
{
	size_t cap = sodium_base64_encoded_len(bytes.len, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(cap);

	if (!text)
		return -ENOMEM;
	sodium_bin2base64(text, cap, bytes.p, bytes.len, sodium_base64_VARIANT_ORIGINAL);
	int r = buf_printf(to, "%s\n", text);
	free(text);
	return r;
}

static int proof_write(struct buf *to, uint64_t index, struct span leaf, const struct merkle_proof *proof,
		       struct span note)
{
	int r = buf_append_str(to, PROOF_FIRST_LINE "\nextra ");

	if (!r)
		r = proof_put_base64(to, leaf);
	if (!r)
		r = buf_printf(to, "index %" PRIu64 "\n", index);
	for (size_t i = 0; i < proof->n && !r; i++)
		r = proof_put_base64(to, span_of(proof->hashes[i].b, MERKLE_HASH_BYTES));
	if (!r)
		r = buf_append_str(to, "\n");
	if (!r)
		r = buf_append(to, note.p, note.len);
	return err_fold(r);
}

/* The leaf itself; *ret_owned is what it lies in. */
static int proof_leaf(int dir, uint64_t index, uint64_t size, struct span *ret_leaf, uint8_t **ret_owned)
{
	uint64_t n = index / TILE_WIDTH;
	size_t len;

	int r = tile_read_bundle(dir, n, tile_width(TILE_ENTRIES, n, size), ret_owned, &len);
	if (r)
		return r < 0 ? r : r == TILE_E_MISSING ? PROOF_E_PRUNED : PROOF_E_DAMAGED;
	struct span bundle = span_of(*ret_owned, len);
	for (uint64_t skip = 0; skip <= index % TILE_WIDTH; skip++)
		if (!tile_bundle_next(&bundle, ret_leaf))
			return PROOF_E_DAMAGED;
	return 0;
}

static int proof_make_of(int dir, uint64_t index, const struct checkpoint *cp, struct span note, struct buf *to)
{
	struct tile_source *tiles = malloc(sizeof(*tiles));
	struct merkle_proof proof;
	struct merkle_hash hash;
	uint8_t *owned = NULL;
	struct span leaf;

	if (!tiles)
		return -ENOMEM;
	tile_source_init(tiles, dir, cp->size);
	int r = merkle_prove_inclusion(&(struct merkle_source){tile_source_node, tiles}, index, cp->size, &proof);
	free(tiles);
	if (r)
		return r < 0 ? r : PROOF_E_DAMAGED;
	r = proof_leaf(dir, index, cp->size, &leaf, &owned);
	if (!r) {
		merkle_hash_leaf(leaf, &hash);
		if (merkle_verify_inclusion(&hash, index, cp->size, proof.hashes, proof.n, &cp->root))
			r = PROOF_E_DAMAGED; /* better none than one that does not hold */
	}
	if (!r)
		r = proof_write(to, index, leaf, &proof, note);
	free(owned);
	return r;
}

struct span proof_note_text(struct span note)
{
	for (size_t i = note.len; i >= 2; i--)
		if (note.p[i - 1] == '\n' && note.p[i - 2] == '\n')
			return span_of(note.p, i - 1);
	return SPAN_NULL;
}

/* The published checkpoint. 0 and *ret_note, which is the caller's to free, PROOF_E_MISSING or negative. */
static int proof_checkpoint(int dir, struct checkpoint *ret_cp, uint8_t **ret_note, size_t *ret_len)
{
	int r = tile_slurp(dir, "checkpoint", PROOF_NOTE_MAX, ret_note, ret_len);
	if (!r && checkpoint_parse(proof_note_text(span_of(*ret_note, *ret_len)), ret_cp)) {
		free(*ret_note);
		r = PROOF_E_MISSING;
	}
	return r > 0 ? PROOF_E_MISSING : r;
}

/* The folder, and the checkpoint in it. As above. */
static int proof_open(const char *path, int *ret_dir, struct checkpoint *ret_cp, uint8_t **ret_note, size_t *ret_len)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	int r = proof_checkpoint(dir, ret_cp, ret_note, ret_len);
	if (r)
		(void)close(dir);
	*ret_dir = dir;
	return r;
}

int proof_signed_size(int dir, uint64_t *ret_size)
{
	struct checkpoint cp;
	uint8_t *note;
	size_t len;

	int r = proof_checkpoint(dir, &cp, &note, &len);
	if (r)
		return r;
	*ret_size = cp.size;
	free(note);
	return 0;
}

int proof_make_in(int dir, uint64_t index, struct buf *to)
{
	struct checkpoint cp;
	uint8_t *note;
	size_t len;

	int r = proof_checkpoint(dir, &cp, &note, &len);
	if (r)
		return r;
	r = index < cp.size ? proof_make_of(dir, index, &cp, span_of(note, len), to) : PROOF_E_MISSING;
	free(note);
	return r;
}

int proof_make(const char *path, uint64_t index, struct buf *to)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	int r = proof_make_in(dir, index, to);
	(void)close(dir);
	return r;
}

static int proof_consistency_in(const struct merkle_source *source, struct consistency *c)
{
	int r = merkle_root(source, c->old_size, &c->old_root);

	if (!r)
		r = merkle_root(source, c->size, &c->root);
	if (!r && c->old_size > 0 && c->old_size < c->size)
		r = merkle_prove_consistency(source, c->old_size, c->size, &c->proof);
	if (r)
		return r < 0 ? r : PROOF_E_DAMAGED;
	/* From nothing anything grows. */
	return c->old_size == 0 || merkle_verify_consistency(c->old_size, &c->old_root, c->size, &c->root,
							     c->proof.hashes, c->proof.n) == 0
		       ? 0
		       : PROOF_E_DAMAGED;
}

int proof_consistency(const char *path, uint64_t old_size, uint64_t size, struct consistency *ret)
{
	struct consistency c = {.old_size = old_size, .size = size};
	struct tile_source *tiles = malloc(sizeof(*tiles));
	struct checkpoint cp;
	uint8_t *note;
	size_t len;
	int dir = -1;

	assert(old_size <= size);
	int r = tiles ? proof_open(path, &dir, &cp, &note, &len) : -ENOMEM;
	if (!r) {
		tile_source_init(tiles, dir, cp.size);
		r = size > cp.size ? PROOF_E_MISSING
				   : proof_consistency_in(&(struct merkle_source){tile_source_node, tiles}, &c);
		free(note);
		(void)close(dir);
	}
	free(tiles);
	if (!r)
		*ret = c;
	return r;
}

/* ---- checking ---- */

static bool proof_skip(struct span *line, const char *word)
{
	size_t len = strlen(word);

	if (line->len < len || memcmp(line->p, word, len) != 0)
		return false;
	*line = span_of(line->p + len, line->len - len);
	return true;
}

/* Everything before the checkpoint, which is left in *text. */
static int proof_parse(struct span *text, struct proof *ret, struct merkle_proof *proof)
{
	struct span line;
	size_t len;

	if (!note_take(text, '\n', &line) || !span_eq_str(line, PROOF_FIRST_LINE))
		return PROOF_E_MALFORMED;
	if (!note_take(text, '\n', &line) || !proof_skip(&line, "extra ") || line.len > PROOF_EXTRA_MAX ||
	    !base64_decode(BASE64_STANDARD, line, ret->leaf, sizeof(ret->leaf), &ret->leaf_len) || ret->leaf_len == 0)
		return PROOF_E_MALFORMED;
	if (!note_take(text, '\n', &line) || !proof_skip(&line, "index ") || !note_decimal(line, &ret->index))
		return PROOF_E_MALFORMED;
	while (note_take(text, '\n', &line)) {
		if (line.len == 0)
			return 0;
		if (proof->n == MERKLE_PROOF_MAX ||
		    !base64_decode(BASE64_STANDARD, line, proof->hashes[proof->n].b, MERKLE_HASH_BYTES, &len) ||
		    len != MERKLE_HASH_BYTES)
			return PROOF_E_MALFORMED;
		proof->n++;
	}
	return PROOF_E_MALFORMED;
}

int proof_check_policy(struct span text, const struct tlog_policy *policy, const struct note_key *key,
		       struct proof *ret)
{
	struct merkle_proof proof = {0};
	struct tlog_policy_result result;
	struct merkle_hash hash;

	int r = proof_parse(&text, ret, &proof);
	if (r)
		return r;
	int trust = tlog_policy_check(policy, key, text, &result);
	if (trust && trust != TLOG_POLICY_E_QUORUM)
		return trust == TLOG_POLICY_E_MALFORMED ? PROOF_E_MALFORMED : PROOF_E_INVALID;
	ret->size = result.checkpoint.size;
	merkle_hash_leaf(span_of(ret->leaf, ret->leaf_len), &hash);
	if (merkle_verify_inclusion(&hash, ret->index, ret->size, proof.hashes, proof.n, &result.checkpoint.root))
		return PROOF_E_INVALID;
	return trust ? PROOF_E_QUORUM : 0;
}

int proof_check(struct span text, const struct note_key *key, struct proof *ret)
{
	return proof_check_policy(text, NULL, key, ret);
}
