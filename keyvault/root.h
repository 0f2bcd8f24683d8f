/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root key as it lies on disk. Sans I/O: bytes in, bytes out.
 *
 * Key file: 32 bytes as they are, or as 64 hex digits, or in base64; one newline may follow. It must look random:
 * zeros, few values, a repetition, counting, and 32 printable characters are refused.
 *
 * Sealed root, under a passphrase, of fixed size:
 *
 *      "BHR1" | u32 BE passes | u32 BE memory in KiB | salt 16 | commitment 32 | nonce 24 | ciphertext 32 | tag 16
 *
 * Argon2id makes 64 bytes from the passphrase: an XChaCha20-Poly1305 key and the commitment, by which a wrong
 * passphrase is told from damage. Everything before the nonce is additional data. The cost is read from the file within
 * ROOT_MEMORY_KIB_MAX and ROOT_PASSES_MAX, since it must be spent before anything can be authenticated.
 */
#pragma once

#include "common/secret.h"

#define ROOT_KEY_BYTES      32
#define ROOT_FILE_BYTES_MAX 128 /* of a key file */
#define ROOT_SEALED_BYTES   (4 + 4 + 4 + 16 + 32 + 24 + 32 + 16)

#define ROOT_PASSPHRASE_MIN 8
#define ROOT_PASSPHRASE_MAX 1024

/* About 0.4 s on the machines of 2020, RFC 9106's second choice with twice the memory. The loop stands still meanwhile.
 */
#define ROOT_PASSES         4
#define ROOT_MEMORY_KIB     (128U << 10)
#define ROOT_PASSES_MAX     16
#define ROOT_MEMORY_KIB_MAX (1U << 20)

enum root_err {
	ROOT_E_SHORT = 1,  /* too few bytes, or too short a passphrase */
	ROOT_E_FORM,       /* not a key in any of the three forms; not a sealed root; cost out of bounds */
	ROOT_E_WEAK,       /* not random */
	ROOT_E_PASSPHRASE, /* wrong */
	ROOT_E_DAMAGED,    /* the passphrase is right, the rest is altered */
	ROOT_E_MEMORY,     /* not enough memory for Argon2id */
	ROOT_E_FULL,       /* the arena has no room */
};

/* The arena may be closed unless an argument lies in it; the caller frees *ret_root. */

/* `file` may lie in the arena, which is open then. 0, ROOT_E_SHORT, ROOT_E_FORM, ROOT_E_WEAK, ROOT_E_FULL. */
MUST_USE int root_parse_file(struct secret_arena *a, struct span file, struct secret *ret_root);
/* The root key as a key file of `len` bytes has it. The arena is open; `to` has room for len + 1 bytes. False, and
 * nothing is written: no form is so long. */
MUST_USE bool root_format_file(const uint8_t key[ROOT_KEY_BYTES], char *to, size_t len);
/* 0 or ROOT_E_FULL. */
MUST_USE int root_generate(struct secret_arena *a, struct secret *ret_root);
/* `passphrase` may lie in the open arena. 0, ROOT_E_SHORT, ROOT_E_MEMORY, ROOT_E_FULL. Takes long. */
MUST_USE int root_seal(struct secret_arena *a, const struct secret *root, struct span passphrase,
		       uint8_t ret_sealed[ROOT_SEALED_BYTES]);
/* 0, ROOT_E_FORM, ROOT_E_PASSPHRASE, ROOT_E_DAMAGED, ROOT_E_MEMORY, ROOT_E_FULL. Takes long. */
MUST_USE int root_unseal(struct secret_arena *a, struct span sealed, struct span passphrase, struct secret *ret_root);
/* Magic and cost only, at start. 0 or ROOT_E_FORM. */
MUST_USE int root_check_sealed(struct span sealed);

const char *root_err_text(int e);
