/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_scan against jansson: both accept or both refuse, except where they differ on purpose. jansson refuses what its
 * own types cannot hold (integers beyond 64 bits, reals beyond a double, NUL in a key) and takes a NUL byte for the end
 * (its token for the end is 0); json_scan refuses ambiguous fields and deep nesting. Where both accept, each field
 * found must be what jansson's tree holds.
 */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[N_JSON_FIELDS] = {
#define F(NAME, text) [JSON_FIELD_##NAME] = text,
	JSON_FIELDS(F)
#undef F
};

static bool excused(const json_error_t *e)
{
	enum json_error_code code = json_error_code(e);

	return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

static enum json_kind kind_of(const json_t *v)
{
	if (!v)
		return JSON_KIND_ABSENT;
	if (json_is_null(v))
		return JSON_KIND_NULL;
	if (json_is_boolean(v))
		return json_is_true(v) ? JSON_KIND_TRUE : JSON_KIND_FALSE;
	if (json_is_number(v))
		return JSON_KIND_NUMBER;
	if (json_is_string(v))
		return JSON_KIND_STRING;
	return json_is_array(v) ? JSON_KIND_ARRAY : JSON_KIND_OBJECT;
}

static void compare(const struct json_value *ours, const json_t *theirs)
{
	uint64_t n;

	assert(ours->kind == kind_of(theirs));
	if (ours->kind == JSON_KIND_STRING) {
		size_t len, cap = ours->raw.len + 1;
		uint8_t *text = malloc(cap);

		assert(text && json_text(ours, text, cap, &len) == 0);
		assert(len == json_string_length(theirs) && memcmp(text, json_string_value(theirs), len) == 0);
		free(text);
	}
	if (ours->kind == JSON_KIND_NUMBER && json_u64(ours, &n) == 0)
		assert(json_is_integer(theirs) && (json_int_t)n == json_integer_value(theirs));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1); /* exactly sized: a read past the end is seen */
	struct json_body body;
	json_error_t error;
	json_t *tree;
	int r;

	assert(copy);
	if (size)
		memcpy(copy, data, size);
	r = json_scan(span_of(copy, size), NULL, NULL, &body);
	tree = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (r == 0 && tree) {
		compare(&body.value, tree);
		for (size_t i = 0; i < N_JSON_FIELDS; i++)
			compare(&body.fields[i], json_object_get(tree, names[i]));
	} else if (r == 0) {
		assert(excused(&error));
	} else {
		assert(!tree || r == JSON_SCAN_E_AMBIGUOUS || r == JSON_SCAN_E_DEPTH ||
		       (size && memchr(data, 0, size)));
	}
	json_decref(tree);
	free(copy);
	return 0;
}
