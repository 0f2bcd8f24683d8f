/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The expansion of config.def into rows, and the one place that decides whether a value is acceptable: the launcher
 * asks it when it reads the file, the daemon asks it again when it reads what the launcher sent.
 */
#include "common/config_rows.h"

#include <stdio.h>

#define ROW(section, name, KIND, absent_, min_, max_, doc_) \
	{.key = #name,                                      \
	 .kind = CONFIG_KIND_##KIND,                        \
	 .absent = absent_,                                 \
	 .min = min_,                                       \
	 .max = max_,                                       \
	 .doc = doc_,                                       \
	 .offset = offsetof(struct config_##section, name)},

/* A row needs its struct's name, and the tables pass only the key: one macro for each section. */
#define ROW_bulkhead(...) ROW(bulkhead, __VA_ARGS__)
#define ROW_router(...)   ROW(router, __VA_ARGS__)
#define ROW_authd(...)    ROW(authd, __VA_ARGS__)
#define ROW_keyvault(...) ROW(keyvault, __VA_ARGS__)
#define ROW_egress(...)   ROW(egress, __VA_ARGS__)
#define ROW_dialer(...)   ROW(dialer, __VA_ARGS__)
#define ROW_auditd(...)   ROW(auditd, __VA_ARGS__)
#define ROW_shipper(...)  ROW(shipper, __VA_ARGS__)
#define ROW_provider(...) ROW(provider, __VA_ARGS__)
#define ROW_model(...)    ROW(model, __VA_ARGS__)

#define S(NAME, name, doc)               static const struct config_row rows_##name[] = {CONFIG_##name(ROW_##name)};
#define L(NAME, name, element, max, doc) static const struct config_row rows_##name[] = {CONFIG_##name(ROW_##element)};
CONFIG_SECTIONS(S)
CONFIG_LISTS(L)
#undef S
#undef L

static const struct config_section_row sections[N_CONFIG_SECTIONS] = {
#define S(NAME, section, doc_)                                              \
	[CONFIG_##NAME] = {.name = #section,                                \
			   .element = "",                                   \
			   .doc = doc_,                                     \
			   .rows = rows_##section,                          \
			   .n_rows = ARRAY_LEN(rows_##section),             \
			   .elements_max = 1,                               \
			   .struct_bytes = sizeof(struct config_##section), \
			   .offset = offsetof(struct config, section)},
	CONFIG_SECTIONS(S)
#undef S
#define L(NAME, section, element_, max_, doc_)                               \
	[CONFIG_##NAME] = {.name = #section,                                 \
			   .element = #element_,                             \
			   .doc = doc_,                                      \
			   .rows = rows_##section,                           \
			   .n_rows = ARRAY_LEN(rows_##section),              \
			   .elements_max = max_,                             \
			   .struct_bytes = sizeof(struct config_##element_), \
			   .offset = offsetof(struct config, section),       \
			   .count_offset = offsetof(struct config, n_##section)},
		CONFIG_LISTS(L)
#undef L
};

const struct config_section_row *config_section_row(enum config_section section)
{
	return &sections[section];
}

const struct config_row *config_row_of(const struct config_section_row *section, struct span key)
{
	for (size_t i = 0; i < section->n_rows; i++)
		if (span_eq_str(key, section->rows[i].key))
			return &section->rows[i];
	return NULL;
}

static bool rows_number(struct span text, uint64_t *ret)
{
	uint64_t n = 0;

	if (text.len == 0 || text.len > 20)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.p[i] < '0' || text.p[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(text.p[i] - '0'), &n))
			return false;
	*ret = n;
	return true;
}

static bool rows_word(const char *words, struct span text, uint64_t *ret)
{
	struct span word;

	for (uint64_t n = 0; config_list_next(&words, &word); n++)
		if (span_eq(word, text)) {
			*ret = n;
			return true;
		}
	return false;
}

static bool rows_text(struct span text, uint64_t *ret)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.p[i] < 0x20 || text.p[i] == 0x7f)
			return false;
	*ret = text.len;
	return true;
}

int config_value(const struct config_row *row, struct span text, uint64_t *ret_number)
{
	uint64_t n = 0;
	bool bounded = true, good = false;

	switch (row->kind) {
	case CONFIG_KIND_U64:
		good = rows_number(text, &n);
		break;
	case CONFIG_KIND_BOOL:
		good = rows_number(text, &n) && n <= 1;
		bounded = false;
		break;
	case CONFIG_KIND_WORD:
		good = rows_word(row->absent, text, &n);
		bounded = false;
		break;
	case CONFIG_KIND_STR:
	case CONFIG_KIND_PATH:
		good = rows_text(text, &n);
		break;
	}
	if (!good || (bounded && (n < row->min || n > row->max)))
		return CONFIG_E_INVALID;
	*ret_number = n;
	return 0;
}

void config_expect(const struct config_row *row, char *to, size_t cap)
{
	switch (row->kind) {
	case CONFIG_KIND_U64:
		snprintf(to, cap, "a number from %llu to %llu", (unsigned long long)row->min,
			 (unsigned long long)row->max);
		break;
	case CONFIG_KIND_BOOL:
		snprintf(to, cap, "yes or no");
		break;
	case CONFIG_KIND_WORD:
		snprintf(to, cap, "%s%s", strchr(row->absent, ',') ? "one of " : "", row->absent);
		break;
	case CONFIG_KIND_STR:
	case CONFIG_KIND_PATH:
		snprintf(to, cap, "a text of %llu to %llu bytes", (unsigned long long)row->min,
			 (unsigned long long)row->max);
		break;
	}
}
