/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/shipper/cosign.h"

#include <inttypes.h>
#include <sodium.h>

#define COSIGN_NOTE_MAX 16384

int cosign_request(uint64_t old_size, const struct merkle_proof *proof, struct span note, struct buf *to)
{
	char text[sodium_base64_ENCODED_LEN(MERKLE_HASH_BYTES, sodium_base64_VARIANT_ORIGINAL)];
	int r = buf_printf(to, "old %" PRIu64 "\n", old_size);

	for (size_t i = 0; i < proof->n && !r; i++) {
		sodium_bin2base64(text, sizeof(text), proof->hashes[i].b, MERKLE_HASH_BYTES,
				  sodium_base64_VARIANT_ORIGINAL);
		r = buf_printf(to, "%s\n", text);
	}
	if (!r)
		r = buf_append_str(to, "\n");
	return r ? r : buf_append(to, note.p, note.len);
}

bool cosign_size(struct span body, uint64_t *ret)
{
	struct span line;

	return note_take(&body, '\n', &line) && body.len == 0 && note_decimal(line, ret);
}

int cosign_take(struct span base, struct span body, const struct note_key *witness, char *note, size_t cap, size_t *len)
{
	char tried[COSIGN_NOTE_MAX];
	struct span line, text;
	uint64_t seconds;

	if (base.len > sizeof(tried))
		return COSIGN_E_SPACE;
	memcpy(tried, base.p, base.len);
	while (note_take(&body, '\n', &line)) {
		size_t line_len = line.len + 1; /* with its end, which note_take() has seen */
		if (base.len + line_len > sizeof(tried))
			return COSIGN_E_SPACE;
		memcpy(tried + base.len, line.p, line_len);
		if (note_verify_cosigned(span_of(tried, base.len + line_len), witness, &text, &seconds))
			continue;
		if (*len + line_len > cap)
			return COSIGN_E_SPACE;
		memcpy(note + *len, line.p, line_len);
		*len += line_len;
		return 0;
	}
	return COSIGN_E_NONE;
}
