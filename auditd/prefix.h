/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What retention leaves of the entries that it removes: their hashes. Segments and bundles below the first kept segment
 * are gone, tile/<level> stays for ever, and so do later proofs (C2SP tlog-tiles, pruning). From the hashes a verifier
 * makes the tree anew up to where the entries begin.
 *
 * What says that retention did it is a record of the log itself, log.prune, signed before anything was removed: `bytes`
 * is the index of the first entry that is kept. A folder whose beginning is gone without such a record is not good.
 */
#pragma once

#include "auditd/tree.h"

/*
 * Grows an empty tree to `size` leaves by the level-0 tiles; every tile that becomes full is emitted, as always. The
 * leaves of the bundle that `size` falls into are read themselves. Older bundles that are still there must have these
 * hashes. 0, TILE_E_* or what emit said.
 */
MUST_USE int prefix_grow(struct tree *t, uint64_t size);
