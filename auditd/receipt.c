/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/receipt.h"

#include "common/head_digest.h"

const struct receipt_finding_row receipt_finding_rows[N_RECEIPT_FINDINGS] = {
#define FINDING(NAME, word_, meaning_) [RECEIPT_##NAME] = {(word_), (meaning_)},
	RECEIPT_FINDINGS(FINDING)
#undef FINDING
};

/* ---- the receipt ---- */

/* Why a text that looks like a proof proves nothing. */
static int receipt_why(struct span text, const struct note_key *key)
{
	struct checkpoint cp;
	struct span line, signed_text;

	while (note_take(&text, '\n', &line) && line.len > 0)
		;
	switch (note_verify(text, key, &signed_text)) {
	case 0:
		return checkpoint_parse(signed_text, &cp) == 0 && span_eq_str(cp.origin, key->name) ? RECEIPT_E_PROOF
												    : RECEIPT_E_ORIGIN;
	case NOTE_E_SIGNATURE:
		return RECEIPT_E_SIGNATURE;
	default:
		return RECEIPT_E_ORIGIN;
	}
}

int receipt_read(struct span text, const struct note_key *key, struct receipt *ret)
{
	int r = proof_check(text, key, &ret->proof);

	if (r == PROOF_E_MALFORMED)
		return RECEIPT_E_MALFORMED;
	if (r)
		return receipt_why(text, key);
	/* A router may say what it likes under its own name. */
	if (leaf_unpack(span_of(ret->proof.leaf, ret->proof.leaf_len), &ret->leaf) ||
	    ret->leaf.code != EVENT_EGRESS_USE || ret->leaf.role != ROLE_EGRESS)
		return RECEIPT_E_RECORD;
	return 0;
}

/* ---- the body ---- */

static bool receipt_is(struct span recorded, struct span bytes)
{
	uint8_t digest[SHA256_BYTES];

	sha256(&bytes, 1, digest);
	return span_eq(recorded, span_of(digest, sizeof(digest)));
}

static uint64_t receipt_body(const struct proto_leaf *leaf, struct span body)
{
	if (leaf->digest.len == 0)
		return BIT(RECEIPT_NO_ANSWER);
	if (body.len < leaf->bytes)
		return BIT(RECEIPT_TRUNCATED);
	if (!receipt_is(leaf->digest, span_of(body.p, (size_t)leaf->bytes)))
		return BIT(RECEIPT_ALTERED);
	return body.len > leaf->bytes ? BIT(RECEIPT_APPENDED) : 0;
}

/* ---- the head ---- */

#define RECEIPT_NAME_MAX 128

/* A head as it was kept: the fields that pass, and the gateway's own id of the request. */
struct receipt_head {
	unsigned status; /* 0: there is none */
	bool ended;      /* its empty line was read, or it has not begun */
	bool broken;     /* it may be read in two ways, so it says nothing */
	size_t n;
	struct proto_header fields[HEAD_DIGEST_FIELDS_MAX];
	char names[HEAD_DIGEST_FIELDS_MAX + 1][RECEIPT_NAME_MAX];
	struct span request_id;
};

static struct span receipt_trim(struct span s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = span_of(s.p + 1, s.len - 1);
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t' || s.p[s.len - 1] == '\r'))
		s.len--;
	return s;
}

static bool receipt_passes(struct span name)
{
	static const char *const passed[] = {
#define PASSED(theirs, ours) ours,
#include "proto/passed.def"
#undef PASSED
	};

	for (size_t i = 0; i < ARRAY_LEN(passed); i++)
		if (span_eq_str(name, passed[i]))
			return true;
	return false;
}

/* "HTTP/1.1 200 OK", "HTTP/2 200": the beginning of a head. */
static void receipt_status(struct receipt_head *h, struct span line)
{
	struct span word;

	*h = (struct receipt_head){.broken = true};
	if (!note_take(&line, ' ', &word) || line.len < 3 || (line.len > 3 && line.p[3] != ' '))
		return;
	for (size_t i = 0; i < 3; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return;
		h->status = h->status * 10 + (unsigned)(line.p[i] - '0');
	}
	h->broken = false;
}

static void receipt_field(struct receipt_head *h, struct span line)
{
	struct span name, value = line;

	if (!note_take(&value, ':', &name) || name.len > RECEIPT_NAME_MAX)
		return;
	name = receipt_trim(name);
	char *lower = h->names[h->n];
	for (size_t i = 0; i < name.len; i++)
		lower[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
	name.p = (const uint8_t *)lower;
	if (span_eq_str(name, "x-request-id"))
		h->request_id = receipt_trim(value);
	if (!receipt_passes(name))
		return;
	if (h->n == ARRAY_LEN(h->fields))
		h->broken = true;
	else
		h->fields[h->n++] = (struct proto_header){.name = name, .value = receipt_trim(value)};
}

/*
 * A head begins the text or follows an interim one. A line that looks like another head anywhere else could
 * put a head the client did not act on in the place of the one it did; what follows the last head (trailers)
 * is no part of it.
 */
static void receipt_line(struct receipt_head *h, struct span line)
{
	bool begins = line.len >= 5 && memcmp(line.p, "HTTP/", 5) == 0;
	bool folded = line.len > 0 && (line.p[0] == ' ' || line.p[0] == '\t');

	line = receipt_trim(line);
	if (begins && h->ended && !h->broken && h->status < 200)
		receipt_status(h, line);
	else if (begins || (folded && !h->ended))
		h->broken = true;
	else if (line.len == 0)
		h->ended = true;
	else if (!h->ended)
		receipt_field(h, line);
}

static void receipt_parse_head(struct receipt_head *h, struct span text)
{
	*h = (struct receipt_head){.ended = true};
	while (text.len > 0) {
		struct span line;
		if (!note_take(&text, '\n', &line)) {
			line = text;
			text = SPAN_NULL;
		}
		receipt_line(h, line);
	}
}

static bool receipt_head_is(const struct receipt_head *h, struct span recorded)
{
	uint8_t digest[SHA256_BYTES];

	if (h->broken)
		return false;
	head_digest(h->status, h->fields, h->n, digest);
	return span_eq(recorded, span_of(digest, sizeof(digest)));
}

/* Where the provider gave no type, the gateway says application/octet-stream. */
static bool receipt_head_is_without_type(struct receipt_head *h, struct span recorded)
{
	for (size_t i = 0; i < h->n; i++) {
		if (!span_eq_str(h->fields[i].name, "content-type") ||
		    !span_eq_str(h->fields[i].value, "application/octet-stream"))
			continue;
		memmove(&h->fields[i], &h->fields[i + 1], (h->n - i - 1) * sizeof(h->fields[0]));
		h->n--;
		return receipt_head_is(h, recorded);
	}
	return false;
}

static uint64_t receipt_head(const struct proto_leaf *leaf, struct receipt_head *h, struct span text)
{
	receipt_parse_head(h, text);
	if (!text.p || receipt_head_is(h, leaf->head_digest) || receipt_head_is_without_type(h, leaf->head_digest))
		return 0;
	return BIT(RECEIPT_HEAD);
}

/* ---- both ---- */

uint64_t receipt_compare(const struct receipt *receipt, const struct receipt_claim *claim)
{
	const struct proto_leaf *leaf = &receipt->leaf;
	struct receipt_head head;
	uint64_t found = receipt_body(leaf, claim->body);

	if (!(found & BIT(RECEIPT_NO_ANSWER)))
		found |= receipt_head(leaf, &head, claim->head);
	else
		receipt_parse_head(&head, claim->head);
	if (leaf->scrubbed > 0)
		found |= BIT(RECEIPT_REPLACED);
	if (leaf->reason.len > 0)
		found |= BIT(RECEIPT_INCOMPLETE);
	struct span id = claim->request_id.len > 0 ? claim->request_id : head.request_id;
	if (id.len > 0 && !span_eq(id, leaf->request_id))
		found |= BIT(RECEIPT_REQUEST);
	if (claim->host.len > 0 && !span_eq(claim->host, leaf->resource))
		found |= BIT(RECEIPT_HOST);
	return found;
}
