/* SPDX-License-Identifier: Apache-2.0 */
/* Signed notes, verifier keys and checkpoint texts of anybody's making. What is read as a key or checkpoint prints as
 * it came. */
#include <stdlib.h>

#include "common/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char vkey[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
	struct span in = span_of(data, size), text;
	struct note_key key;
	struct checkpoint cp;
	char again[NOTE_VKEY_MAX];

	if (note_key_parse(&key, in) == 0) {
		note_key_format(&key, again);
		if (!span_eq_str(in, again))
			abort();
	}
	if (note_key_parse(&key, SPAN_LIT(vkey)) != 0)
		abort();
	if (note_verify(in, &key, &text) == 0 && (text.p != in.p || text.len >= in.len))
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
