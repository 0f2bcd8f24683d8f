/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/launch.h"

/* The page of this instance, which stays ours; -1 where the role records nothing. 0 or negative. */
MUST_USE int launch_tally(struct launch_child *c, int *ret_fd);
void launch_close_tallies(struct launcher *l);
