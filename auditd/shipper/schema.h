/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator gives to Postgres, as its owner, before the shipper's first start and after each upgrade: tables,
 * functions, roles and policies. It may be applied any number of times; columns that a newer version has are added.
 */
#pragma once

#include "common/buf.h"

#define SCHEMA_BYTES_MAX 65536

/* Appends the SQL. 0, BUF_E_FULL or -ENOMEM. */
MUST_USE int schema_sql(struct buf *to);
