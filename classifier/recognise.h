/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an anchor to the exact range: one function a pattern. Sans I/O, no memory.
 *
 * `end` is the offset behind the anchor, as the engine reports it. What a recogniser answers depends only on the bytes
 * from RECOGNISE_BEHIND before `end` to RECOGNISE_AHEAD behind it: text may be scanned in any pieces that overlap by as
 * much. Text is UTF-8; the byte TEXT_BARRIER, which UTF-8 never has, is crossed by no finding.
 */
#pragma once

#include "common/base.h"

#define RECOGNISE_BEHIND 160
#define RECOGNISE_AHEAD  320
#define TEXT_BARRIER     0xff

struct range {
	size_t begin, end;
};

/* True and *ret_range, or false: the anchor was nothing. */
typedef bool recogniser(struct span text, size_t end, struct range *ret_range);

recogniser recognise_email, recognise_phone, recognise_card;
