/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in files and signed texts: big-endian, at any address. */
#pragma once

#include <endian.h>

#include "common/base.h"

static inline void put_be32(uint8_t *to, uint32_t v)
{
	v = htobe32(v);
	memcpy(to, &v, sizeof(v));
}

static inline void put_be64(uint8_t *to, uint64_t v)
{
	v = htobe64(v);
	memcpy(to, &v, sizeof(v));
}

static inline uint32_t get_be32(const uint8_t *from)
{
	uint32_t v;

	memcpy(&v, from, sizeof(v));
	return be32toh(v);
}

static inline uint64_t get_be64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof(v));
	return be64toh(v);
}
