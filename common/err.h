/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two kinds of failure, told apart by their sign.
 *
 *   0   done.
 *  < 0  a negative errno: something is broken (memory, the machine, our own code). Nobody handles it on the way; it
 *       is passed up unchanged until main, which exits non-zero and is restarted by the launcher.
 *  > 0  a documented answer of *this* function, one of its own `enum x_err`. The direct caller handles it and never
 *       passes it on: in another module the same number means something else.
 *
 *      r = token_parse(&tok, in);
 *      if (r == TOKEN_E_EXPIRED)
 *              return AUTH_E_REFUSED;       an answer: translated
 *      if (r)
 *              return err_fold(r);          neither expected nor ours: a defect
 *
 * err_origin() marks where a negative code is born and err_fold() where an unhandled positive one turns into
 * -ENOTRECOVERABLE; both say so once on standard error with file and line, so that the log shows the place and not just
 * the number.
 */
#pragma once

#include <errno.h>

#include "common/base.h"

#define err_origin(r) err_origin_at((r), __FILE__, __LINE__)
#define err_fold(r)   err_fold_at((r), __FILE__, __LINE__)

COLD void err_print_origin(int r, const char *file, int line);

/* `r` must be negative; returned unchanged. Inline so that the compiler sees that it is the same value. */
static inline int err_origin_at(int r, const char *file, int line)
{
	err_print_origin(r, file, line);
	return r;
}

/* `r` must be positive. Returns -ENOTRECOVERABLE. */
COLD int err_print_unhandled(int r, const char *file, int line);

/* 0 and negative values pass unchanged, positive ones become -ENOTRECOVERABLE. */
static inline int err_fold_at(int r, const char *file, int line)
{
	return r <= 0 ? r : err_print_unhandled(r, file, line);
}
