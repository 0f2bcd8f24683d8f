/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* For what is not negative. Version 2 of cmocka has assert_in_range() by another name, and warns of the first. */
#ifdef assert_uint_in_range
#define assert_within(value, low, high) assert_uint_in_range((uintmax_t)(value), (uintmax_t)(low), (uintmax_t)(high))
#else
#define assert_within assert_in_range
#endif
