/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary bytes as a token endpoint's answer. What is accepted, jansson must accept too, and find the same token and
 * refresh token; and it may hold nothing that could end a header line.
 */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

#include "keyvault/egress/token_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(json_t *tree, const char *name, struct span found)
{
	const char *text = json_string_value(json_object_get(tree, name));

	assert(found.len == 0 ? text == NULL : text && span_eq_str(found, text));
	for (size_t i = 0; i < found.len; i++)
		assert(found.p[i] > 0x20 && found.p[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *body = malloc(size ? size : 1), *work = malloc(2 * (size_t)TOKEN_BYTES_MAX);
	char word[TOKEN_ERROR_BYTES + 1];
	struct token_answer a;

	assert(body && work);
	if (size)
		memcpy(body, data, size);
	if (token_answer_read(span_of(body, size), work, &a) == 0) {
		json_t *tree = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
		/* Numbers beyond a double or long are the only thing that jansson refuses and the scanner does not. */
		if (tree) {
			check_same(tree, "access_token", a.token);
			check_same(tree, "refresh_token", a.refresh);
		}
		json_decref(tree);
		assert(a.life_s > 0 && a.life_s <= TOKEN_LIFE_S_MAX);
	}
	token_answer_error(span_of(body, size), word);
	assert(strlen(word) <= TOKEN_ERROR_BYTES);
	free(body);
	free(work);
	return 0;
}
