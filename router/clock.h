/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of the requests' machine. It is read when the first event of a loop turn is told, and once more at the
 * turn's end: under load a turn tells hundreds of events, all of which were there when it began.
 */
#pragma once

#include <uv.h>

#include "router/requests.h"

static inline void clock_tell(struct requests *all)
{
	if (all->clock_told)
		return;
	all->now_us = uv_hrtime() / 1000;
	all->clock_told = true;
}
