/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/base.h"

/* One line for people. `sqlstate` NULL: it may stand in `said`, as PQERRORS_VERBOSE has it, or there is none. */
void pg_error_text(const char *sqlstate, const char *said, char *to, size_t cap);
