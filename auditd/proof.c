/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/proof.h"

#include <assert.h>
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
		return r < 0 ? r : PROOF_E_DAMAGED;
	struct span bundle = span_of(*ret_owned, len);
	for (uint64_t skip = 0; skip <= index % TILE_WIDTH; skip++)
		if (!tile_bundle_next(&bundle, ret_leaf))
			return PROOF_E_DAMAGED;
	return 0;
}

static int proof_make_in(int dir, uint64_t index, const struct checkpoint *cp, struct span note, struct buf *to)
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

/* The text of a note, signed by whom it may be. */
static struct span proof_note_text(struct span note)
{
	for (size_t i = note.len; i >= 2; i--)
		if (note.p[i - 1] == '\n' && note.p[i - 2] == '\n')
			return span_of(note.p, i - 1);
	return SPAN_NULL;
}

int proof_make(const char *path, uint64_t index, struct buf *to)
{
	struct checkpoint cp;
	uint8_t *note = NULL;
	size_t len;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	int r = tile_slurp(dir, "checkpoint", PROOF_NOTE_MAX, &note, &len);
	if (r > 0 || (r == 0 && (checkpoint_parse(proof_note_text(span_of(note, len)), &cp) || index >= cp.size)))
		r = PROOF_E_MISSING;
	if (!r)
		r = proof_make_in(dir, index, &cp, span_of(note, len), to);
	free(note);
	(void)close(dir);
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

int proof_check(struct span text, const struct note_key *key, struct proof *ret)
{
	struct merkle_proof proof = {0};
	struct merkle_hash hash;
	struct checkpoint cp;
	struct span signed_text;

	int r = proof_parse(&text, ret, &proof);
	if (r)
		return r;
	r = note_verify(text, key, &signed_text);
	if (r)
		return r == NOTE_E_MALFORMED ? PROOF_E_MALFORMED : PROOF_E_INVALID;
	if (checkpoint_parse(signed_text, &cp))
		return PROOF_E_MALFORMED;
	ret->size = cp.size;
	merkle_hash_leaf(span_of(ret->leaf, ret->leaf_len), &hash);
	if (!span_eq_str(cp.origin, key->name) ||
	    merkle_verify_inclusion(&hash, ret->index, cp.size, proof.hashes, proof.n, &cp.root))
		return PROOF_E_INVALID;
	return 0;
}
