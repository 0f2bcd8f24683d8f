/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* Version 2 of cmocka has assert_in_range() by another name, and warns of the first. */
#ifdef assert_int_in_range
#define assert_within assert_int_in_range
#else
#define assert_within assert_in_range
#endif
