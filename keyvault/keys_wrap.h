/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the key table and seal.c share: one key under another (nonce 24, XChaCha20-Poly1305 box 48; the
 * context is additional data), and the table as bytes. */
#pragma once

#include "keyvault/keys.h"

/* All keys have KEYRING_KEY_BYTES and lie in the arena, which may be closed. */
void keys_wrap(struct secret_arena *a, const struct secret *by, struct span context, const struct secret *key,
	       uint8_t ret_wrapped[KEYS_WRAPPED_BYTES]);
/* The caller frees. 0, KEYS_E_ROOT (not wrapped so) or KEYS_E_FULL. */
MUST_USE int keys_unwrap_with(struct secret_arena *a, const struct secret *by, struct span context,
			      const uint8_t wrapped[KEYS_WRAPPED_BYTES], struct secret *ret_key);

/* keys_table.c: the table as bytes. The caller frees *ret_bytes. 0 or negative. */
MUST_USE int keys_format(const struct keys *k, uint64_t count, uint8_t **ret_bytes, size_t *ret_len);
/* The root keys that `bytes` names, and whether its MAC is right under the open keyring; fills the table. */
size_t keys_parse_roots(struct span bytes, uint64_t *ret_count, struct keys_root ret_roots[KEYS_ROOTS_MAX]);
MUST_USE int keys_parse(struct keys *k, struct span bytes);
/* Does it end before any table could, or in zeros where a MAC would be? */
bool keys_is_cut(struct span half);
