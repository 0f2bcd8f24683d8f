/* SPDX-License-Identifier: Apache-2.0 */
/* authd's database, for tests and measurements of the core, which has other things by the same names. */
#pragma once

#include "common/base.h"

struct rows;

struct rows_swap {
	const char *id;
	uint32_t version;
	const uint8_t *old; /* 32 bytes */
	size_t at;
	struct span part;
};

/* A fresh one in `folder`, or the one that is there. NULL when it cannot be opened. */
struct rows *rows_open(const char *folder);
struct rows *rows_close(struct rows *r);
/* All return 0 or what authd's store says. */
int rows_put(struct rows *r, const char *id, uint32_t version, struct span blob);
int rows_swap(struct rows *r, const struct rows_swap *swaps, size_t n, uint8_t *done);
int rows_sync(struct rows *r);
typedef void rows_see(void *ctx, const char *id, struct span blob);
int rows_each(struct rows *r, rows_see *see, void *ctx);
