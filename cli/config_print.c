/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration in effect, as text and as the digest of that text: the same for the same effect, whatever the file
 * looked like and wherever a value came from. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/config_tree.h"
#include "common/sha256.h"

static void print_scalar(FILE *to, const struct config_row *row, const char *value)
{
	if (row->kind == CONFIG_KIND_U64 || row->kind == CONFIG_KIND_WORD) {
		fputs(value, to);
		return;
	}
	if (row->kind == CONFIG_KIND_BOOL) {
		fputs(value[0] == '1' ? "yes" : "no", to);
		return;
	}
	fputc('"', to);
	for (; *value; value++)
		fprintf(to, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
	fputc('"', to);
}

static void print_element(FILE *to, const struct config_tree *t, enum config_section s, size_t e)
{
	const struct config_section_row *section = config_section_row(s);

	for (size_t i = 0; i < section->n_rows; i++) {
		const struct config_row *row = &section->rows[i];

		fprintf(to, "%s%s: ",
			s == CONFIG_BULKHEAD            ? ""
			: section->element[0] && i == 0 ? "  - "
			: section->element[0]           ? "    "
							: "  ",
			row->key);
		print_scalar(to, row, t->sections[s].elements[e].slots[i].value);
		fputc('\n', to);
	}
}

void config_tree_print(FILE *to, const struct config_tree *t)
{
	for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
		if (s != CONFIG_BULKHEAD)
			fprintf(to, "%s:%s\n", config_section_row(s)->name, t->sections[s].n ? "" : " []");
		for (size_t e = 0; e < t->sections[s].n; e++)
			print_element(to, t, s, e);
	}
}

int config_tree_digest(const struct config_tree *t, uint8_t ret[32])
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	if (!to)
		return -ENOMEM;
	config_tree_print(to, t);
	int r = fclose(to) ? -ENOMEM : 0;
	if (!r)
		sha256(&(struct span){(const uint8_t *)text, len}, 1, ret);
	free(text);
	return r;
}
