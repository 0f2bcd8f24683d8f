/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <sodium.h>

#include "tests/support/vectors.h"

struct json_t *vectors_load(const char *name)
{
	char path[VECTORS_PATH_BYTES];

	vectors_path(name, path);
	json_t *all = json_load_file(path, 0, NULL);
	assert_true(json_array_size(all) > 0 || json_object_size(all) > 0);
	return all;
}

struct span vectors_hex(const struct json_t *object, const char *member, uint8_t *to, size_t cap)
{
	const char *text = json_string_value(json_object_get(object, member));
	size_t len;

	assert_non_null(text);
	assert_int_equal(sodium_hex2bin(to, cap, text, strlen(text), NULL, &len, NULL), 0);
	return span_of(to, len);
}
