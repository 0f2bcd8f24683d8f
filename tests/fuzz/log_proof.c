/* SPDX-License-Identifier: Apache-2.0 */
/* Proof files of anybody's making, with a key that signed none of them: whatever comes, no crash, and none is good. */
#include <stdlib.h>

#include "auditd/proof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char vkey[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
	static struct proof proof;
	struct note_key key;

	if (note_key_parse(&key, SPAN_LIT(vkey)) != 0 || proof_check(span_of(data, size), &key, &proof) == 0)
		abort();
	return 0;
}
