/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of the log as a row of the mirror, without I/O: which columns there are, and the text of each value exactly
 * as Postgres prints it. So what is sent and what is read back are the same bytes, and comparing them is all that
 * checking a mirror takes.
 *
 * Four columns are computed: idx, leaf_hash, event (the code in words) and source (the producer's name). The others
 * are the fields of LEAF, whatever messages.def says they are. A producer chooses what is in them, so nothing that it
 * can say may be refused by the database: numbers beyond bigint have numeric columns, and a string that is not UTF-8
 * stands as \x and its bytes in hex.
 */
#pragma once

#include "auditd/leaf.h"
#include "common/buf.h"
#include "common/merkle.h"

#define ROW_COLUMNS_MAX 40
#define ROW_COMPUTED    4

struct row {
	uint64_t index;
	struct merkle_hash hash; /* of the leaf */
	struct proto_leaf leaf;  /* views into the bytes that it was read from */
};

struct row_column {
	const char *name, *type, *doc; /* type: of Postgres */
};

enum row_err {
	ROW_E_FOREIGN = 1, /* not a leaf of this version */
};

/* `ret` holds ROW_COLUMNS_MAX. Returns how many there are. */
size_t row_columns(struct row_column *ret);

/* `leaf` is leaf `index` of the log. 0 or ROW_E_FOREIGN. */
MUST_USE int row_read(struct span leaf, uint64_t index, struct row *ret);
/* Appends the text of a column's value. 0, BUF_E_FULL or -ENOMEM. */
MUST_USE int row_value(const struct row *row, size_t column, struct buf *to);
/* As an element of an array literal: quoted, after a comma unless it is the first. As above. */
MUST_USE int row_element(const struct row *row, size_t column, bool first, struct buf *to);

/* Whether Postgres takes it for text: UTF-8 in its shortest form, no surrogates, no NUL. */
bool row_is_text(struct span in);
/* A hash in hex, as encode(..., 'hex') has it. */
bool row_unhex(const char *hex, struct merkle_hash *ret);
