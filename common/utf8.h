/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/base.h"

/* Takes one code point off the front of a text that is not empty; false, and nothing taken, on anything but
 * shortest-form UTF-8. */
bool utf8_next(struct span *in, uint32_t *ret_cp);
