/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/catalogue.h"

static const struct catalogue_row rows[] = {
#define PROVIDER(name, base_url, dialect, auth, header) {name, base_url, dialect, auth, header},
#include "cli/providers.def"
#undef PROVIDER
};

const struct catalogue_row *catalogue_rows(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(rows);
	return rows;
}

const struct catalogue_row *catalogue_row(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}
