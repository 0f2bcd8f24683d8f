/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members of one object, for answers in which json_scan's fields are not the ones of interest. Sans I/O, no memory,
 * no tree. Only on text that json_scan() has accepted.
 */
#pragma once

#include "common/json_value.h"

/* `rest` begins as the raw text of an object. Takes its next member: true, and views into the text; false at the end.
 */
bool json_member_next(struct span *rest, struct json_value *ret_key, struct json_value *ret_value);
/* The member of that name, spelled without escapes. 0: none, and *ret_value is ABSENT; 1: found; 2: more than one. */
MUST_USE unsigned json_member_find(struct span object, const char *name, struct json_value *ret_value);
