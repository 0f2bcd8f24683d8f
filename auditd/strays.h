/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What else lies in tile/, once every tile of the signed tree has been found good: partial tiles and bundles of earlier
 * checkpoints, which must be the beginnings of those that are full by now. Whatever else is there is not of this log.
 * One that is shorter than its name says, or has sectors of zeros, is what a full disk or a power failure left of a
 * checkpoint that never came to be; no checkpoint that anybody has needs it. Tiles beyond the signed size are nobody's
 * word yet and are let be, as is what lost its full tile to retention.
 */
#pragma once

#include "auditd/tile.h"

enum strays_err {
	STRAYS_E_FOUND = 1, /* *ret_path: the first */
};

/* `dir`: the log's folder; `size`: what was signed. 0, STRAYS_E_FOUND or negative. */
MUST_USE int strays_check(int dir, uint64_t size, char ret_path[TILE_PATH_MAX]);
