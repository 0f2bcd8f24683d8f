/* SPDX-License-Identifier: Apache-2.0 */
/* providers.def as rows. */
#pragma once

#include "common/base.h"

struct catalogue_row {
	const char *name, *base_url, *dialect, *auth, *header;
};

const struct catalogue_row *catalogue_rows(size_t *ret_n);
/* NULL when there is none of that name. */
const struct catalogue_row *catalogue_row(const char *name);
