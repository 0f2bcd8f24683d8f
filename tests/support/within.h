/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For unsigned values, after <cmocka.h>. Version 2 has assert_in_range() by another name, and warns of the first. */
#ifdef assert_uint_in_range
#define assert_within assert_uint_in_range
#else
#define assert_within assert_in_range
#endif
