/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public test vectors, which are data of others and not part of this tree: in the folder that VECTORS_DIR names, or in
 * ../shared/vectors. A test whose vectors are not there is skipped and says what was skipped and where they are from;
 * tests/run repeats it at the end.
 */
#pragma once

#include "common/base.h"

#define VECTORS_PATH_BYTES 4096

/* Of a file or folder such as "merkle/testdata". Skips the test when it is not there. */
void vectors_path(const char *name, char path[VECTORS_PATH_BYTES]);

/* vectors_json.c; the caller counts the reference down. */
struct json_t;
struct json_t *vectors_load(const char *name);
/* The bytes of a member in hex. */
struct span vectors_hex(const struct json_t *object, const char *member, uint8_t *to, size_t cap);
