/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed notes (C2SP signed-note) and the checkpoints they carry (C2SP tlog-checkpoint).
 *
 * A note is text that ends in a newline, an empty line, and signature lines "— <key name> <base64(key id ||
 * signature)>\n". A checkpoint's text is three lines: origin, decimal size, base64 root; lines after that are opaque
 * and allowed on reading. A verifier key is "<name>+<key id in hex>+<base64(type || public key)>", key id =
 * SHA-256(name || 0x0A || type || public)[:4]. Two types are known here; signatures of other names and keys are
 * skipped, as the format demands:
 *
 *   0x01  Ed25519 over the text: whose log it is
 *   0x04  C2SP tlog-cosignature, u64 big endian POSIX time || Ed25519 over "cosignature/v1\ntime <decimal>\n" || text:
 * a witness, who says that at that time it knew no larger tree of this log, and that this one grew from all before
 *
 * Our logs: the signer chooses the name `bulkhead.<deployment id>/audit` once, when its key is made; the same name is
 * the origin of the log. auditd learns it from the vkey in SIGNED_SIZE; the signer refuses to sign for any other
 * origin.
 */
#pragma once

#include "common/merkle.h"

#define NOTE_BYTES_MAX      65536
#define NOTE_SIGNATURES_MAX 64 /* the format demands at least 16 */
#define NOTE_NAME_MAX       128
#define NOTE_SIG_BYTES      64
#define NOTE_VKEY_MAX       (NOTE_NAME_MAX + 1 + 8 + 1 + 44 + 1)

enum note_err {
	NOTE_E_MALFORMED = 1, /* not such a text */
	NOTE_E_UNSIGNED,      /* no signature by this key */
	NOTE_E_SIGNATURE,     /* there is one, and it is wrong */
	NOTE_E_SPACE,         /* does not fit */
};

enum note_type { NOTE_ED25519 = 0x01, NOTE_COSIGNATURE = 0x04 };

struct note_key {
	char name[NOTE_NAME_MAX + 1];
	uint8_t type; /* enum note_type */
	uint8_t id[4];
	uint8_t public[32];
};

/* Views into the text it was read from. */
struct checkpoint {
	struct span origin;
	uint64_t size;
	struct merkle_hash root;
};

/* The pieces that all of these texts are made of, as strict as they can be: one spelling for one value. */
/* The bytes before the first `end`, which is taken too. False when there is none. */
bool note_take(struct span *in, char end, struct span *ret);
/* No leading zeros, no sign, within 64 bits. */
bool note_decimal(struct span in, uint64_t *ret);

/* Not empty, no '+', no white space or control characters, UTF-8, at most NOTE_NAME_MAX bytes. */
bool note_name_valid(struct span name);
/* The name is checked: 0 or NOTE_E_MALFORMED. Fills in the id. */
MUST_USE int note_key_init(struct note_key *key, struct span name, const uint8_t public[32]);
/* A vkey, without newline. 0 or NOTE_E_MALFORMED. */
MUST_USE int note_key_parse(struct note_key *key, struct span vkey);
/* The same for a witness's key: where a log's key is wanted one of these is malformed, and the other way round. */
MUST_USE int note_cosigner_init(struct note_key *key, struct span name, const uint8_t public[32]);
MUST_USE int note_cosigner_parse(struct note_key *key, struct span vkey);
/* NUL-terminated. */
void note_key_format(const struct note_key *key, char to[NOTE_VKEY_MAX]);

/* Ed25519, strictly: S is below the order of the group, no point is of small order, every encoding is the canonical
 * one. So from a signature nobody can make another of the same text (RFC 8032, 5.1.7 and 8.4). */
bool note_signature_valid(struct span sig, struct span text, const uint8_t public[32]);
/* Checks the whole note and every signature of `key`. *ret_text is the signed text. 0 or
 * NOTE_E_{MALFORMED,UNSIGNED,SIGNATURE}. */
MUST_USE int note_verify(struct span note, const struct note_key *key, struct span *ret_text);
/* text, empty line, one signature line; what is signed is `text` itself. 0 or NOTE_E_SPACE. */
MUST_USE int note_format(struct span text, const struct note_key *key, const uint8_t sig[NOTE_SIG_BYTES], char *to,
			 size_t cap, size_t *ret_len);

/* What a witness signs. 0 or NOTE_E_SPACE. */
MUST_USE int note_cosigned_text(struct span text, uint64_t unix_seconds, char *to, size_t cap, size_t *ret_len);
/* Puts the cosignature's line behind a note of *len bytes. 0 or NOTE_E_SPACE. */
MUST_USE int note_add_cosignature(char *note, size_t cap, size_t *len, const struct note_key *cosigner,
				  uint64_t unix_seconds, const uint8_t sig[NOTE_SIG_BYTES]);
/* note_verify() for a witness; *ret_unix_seconds is the latest time that it signed. 0 or
 * NOTE_E_{MALFORMED,UNSIGNED,SIGNATURE}. */
MUST_USE int note_verify_cosigned(struct span note, const struct note_key *cosigner, struct span *ret_text,
				  uint64_t *ret_unix_seconds);

/* The text of a note. 0 or NOTE_E_MALFORMED. */
MUST_USE int checkpoint_parse(struct span text, struct checkpoint *ret);
/* Three lines, no NUL. 0, NOTE_E_MALFORMED (origin) or NOTE_E_SPACE. */
MUST_USE int checkpoint_format(const struct checkpoint *cp, char *to, size_t cap, size_t *ret_len);
