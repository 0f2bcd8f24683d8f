/* SPDX-License-Identifier: Apache-2.0 */
/* The check digit of payment cards (ISO/IEC 7812-1, annex B). Sans I/O. */
#pragma once

#include "common/base.h"

/* `digits` holds '0' to '9' only. */
bool luhn_ok(struct span digits);
