/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), as in RFC 3720: finds torn writes, proves nothing. Start with 0; calls chain. */
#pragma once

#include "common/base.h"

uint32_t crc32c(uint32_t crc, const void *p, size_t len);
