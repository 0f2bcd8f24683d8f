/* SPDX-License-Identifier: Apache-2.0 */
/* Signed notes, verifier keys and checkpoint texts of anybody's making. What is read as a key or checkpoint prints as
 * it came. */
#include <stdlib.h>

#include "common/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char vkey[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
	static const uint8_t zero_public[32] = {0x3b, 0x6a, 0x27, 0xbc, 0xce, 0xb6, 0xa4, 0x2d, 0x62, 0xa3, 0xa8,
						0xd0, 0x2a, 0x6f, 0x0d, 0x73, 0x65, 0x32, 0x15, 0x77, 0x1d, 0xe2,
						0x43, 0xa6, 0x3a, 0xc0, 0x48, 0xa1, 0x8b, 0x59, 0xda, 0x29};
	struct span in = span_of(data, size), text;
	struct note_key key;
	struct checkpoint cp;
	char again[NOTE_VKEY_MAX];
	uint64_t at;

	if (note_key_parse(&key, in) == 0 || note_cosigner_parse(&key, in) == 0) {
		note_key_format(&key, again);
		if (!span_eq_str(in, again))
			abort();
	}
	if (note_key_parse(&key, SPAN_LIT(vkey)) != 0)
		abort();
	if (note_verify(in, &key, &text) == 0 && (text.p != in.p || text.len >= in.len))
		abort();
	if (note_cosigner_init(&key, SPAN_LIT("fuzz.test/w"), zero_public) != 0)
		abort();
	if (note_verify_cosigned(in, &key, &text, &at) == 0 && (text.p != in.p || at > INT64_MAX))
		abort();
	if (checkpoint_parse(in, &cp) == 0 && note_name_valid(cp.origin)) {
		char printed[NOTE_BYTES_MAX];
		size_t len;
		if (checkpoint_format(&cp, printed, sizeof printed, &len) != 0 || len > in.len ||
		    memcmp(printed, in.p, len) != 0)
			abort();
	}
	return 0;
}
