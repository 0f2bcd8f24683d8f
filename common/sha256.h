/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4), by one of two libraries, of which a program names one in its module.mk:
 *
 *   sha256_nettle   auditd and the CLI, who hash every entry: Nettle uses the processor's instructions
 *   sha256_sodium   the core, who hashes a proof a second and links libsodium anyway, and nothing more than it must
 */
#pragma once

#include "common/base.h"

#define SHA256_BYTES 32

/* Of the parts one after the other; none at all is the empty message. */
void sha256(const struct span *parts, size_t n, uint8_t ret[SHA256_BYTES]);
