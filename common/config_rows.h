/* SPDX-License-Identifier: Apache-2.0 */
/* config.def as rows, for those who read, check, print or document configuration by table. */
#pragma once

#include "common/config.h"

enum config_kind { CONFIG_KIND_U64, CONFIG_KIND_STR, CONFIG_KIND_PATH, CONFIG_KIND_BOOL, CONFIG_KIND_WORD };

struct config_row {
	const char *key;
	enum config_kind kind;
	const char *absent; /* default; for WORD all words */
	uint64_t min, max;
	const char *doc;
	size_t offset; /* of the field in the section's struct */
};

struct config_section_row {
	const char *name, *element, *doc; /* element: "" unless a list */
	const struct config_row *rows;
	size_t n_rows, elements_max; /* 1 unless a list */
	size_t struct_bytes;
	size_t offset,
		count_offset; /* in struct config: the section's struct, or the pointer and the count of a list */
};

/* `section` < N_CONFIG_SECTIONS. */
const struct config_section_row *config_section_row(enum config_section section);
/* NULL when there is none of that name. */
const struct config_row *config_row_of(const struct config_section_row *section, struct span key);

/* A U64, BOOL or WORD value as a number, or the length of a string, within the row's bounds: 0 or CONFIG_E_INVALID. */
MUST_USE int config_value(const struct config_row *row, struct span text, uint64_t *ret_number);
/* For people: "a number from 1 to 64", "one of ignore, flag". Cut at `cap`. */
void config_expect(const struct config_row *row, char *to, size_t cap);

/* Where a key such as "router.workers" or "providers.0.name" belongs. False when there is no such key. */
struct config_place {
	enum config_section section;
	size_t element; /* 0 unless a list */
	const struct config_row *row;
};
bool config_locate(struct span key, struct config_place *ret_place);
