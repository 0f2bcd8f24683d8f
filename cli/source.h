/* SPDX-License-Identifier: Apache-2.0 */
/* Files with provider keys: which there are, and opening them. After cli_config(). */
#pragma once

#include "cli/key_file.h"

#define SOURCE_BYTES_MAX 4098 /* a key and a line end */

/* Has the i-th of `providers` a key_file? */
bool source_is_configured(const struct cli *cli, size_t provider);
/* As key_file_open(). */
MUST_USE int source_open(const struct cli *cli, size_t provider, int *ret_fd, char why[KEY_FILE_WHY_BYTES]);
