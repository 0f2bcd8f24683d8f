/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "common/ipc_internal.h"

uint64_t ipc_now_ms(const struct ipc *ipc)
{
	return uv_now(&ipc->d->loop);
}

uint64_t ipc_now_us(struct ipc *ipc)
{
	if (!ipc->now_us)
		ipc->now_us = uv_hrtime() / 1000;
	return ipc->now_us;
}

uint64_t ipc_unix_ns(struct ipc *ipc)
{
	struct timespec t;

	if (!ipc->unix_ns) {
		(void)clock_gettime(CLOCK_REALTIME, &t);
		ipc->unix_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	}
	return ipc->unix_ns;
}

uint64_t ipc_unix_ns_after(struct ipc *ipc, uint64_t ns)
{
	if (ipc->unix_ns < ns)
		ipc->unix_ns = 0;
	return ipc_unix_ns(ipc);
}
