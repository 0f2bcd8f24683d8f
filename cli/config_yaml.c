/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead.yaml by libyaml's events. The shape is fixed and three levels deep, so the reader is a descent with one
 * function a level, and nothing it does not expect has a meaning: no anchors, no aliases, no tags, one document.
 *
 *   file     a mapping: a key of section `bulkhead`, a section's name, or a list's name
 *   section  a mapping of the section's keys
 *   list     a sequence of mappings of the list's keys
 *   value    a scalar; a text may also be a sequence of scalars, which are joined by commas
 *
 * A function that reads a node begins with the node's first event in hand and ends with its last one consumed.
 */
#include <yaml.h>

#include <errno.h>

#include "cli/config_tree.h"

struct yaml_reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the one in hand */
	struct config_tree *tree;
	uint64_t seen; /* sections and lists, a bit each: an empty list leaves no other trace */
};

#define YAML_CANDIDATES_MAX 40

static unsigned yaml_line(const struct yaml_reader *y)
{
	return (unsigned)y->event.start_mark.line + 1;
}

static struct span yaml_text(const struct yaml_reader *y)
{
	return span_of(y->event.data.scalar.value, y->event.data.scalar.length);
}

/* The slips that libyaml has no plain words for. */
static const char *yaml_hint(const yaml_parser_t *p)
{
	if (p->error == YAML_SCANNER_ERROR && strstr(p->problem, "cannot start any token"))
		return " (a tab? YAML is indented with spaces)";
	if (p->error == YAML_SCANNER_ERROR && p->context && strstr(p->context, "scanning an alias"))
		return " (what begins with * needs quotes)";
	return p->error == YAML_PARSER_ERROR ? " (are keys that belong together indented alike?)" : "";
}

/* Takes the next event in hand. */
static int yaml_next(struct yaml_reader *y)
{
	yaml_event_delete(&y->event);
	if (yaml_parser_parse(&y->parser, &y->event))
		return 0;
	if (y->parser.error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	return config_tree_wrong(y->tree, (unsigned)y->parser.problem_mark.line + 1, "not YAML: %s%s",
				 y->parser.problem ? y->parser.problem : "unreadable", yaml_hint(&y->parser));
}

/* The next event must be `type`. */
static int yaml_expect(struct yaml_reader *y, yaml_event_type_t type, const char *what)
{
	int r = yaml_next(y);

	if (!r && y->event.type != type)
		r = config_tree_wrong(y->tree, yaml_line(y), "%s expected", what);
	return r;
}

/* `key:` with nothing behind it. */
static bool yaml_is_null(const struct yaml_reader *y)
{
	return y->event.type == YAML_SCALAR_EVENT && y->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (y->event.data.scalar.length == 0 || span_eq_str(yaml_text(y), "~") ||
		span_eq_str(yaml_text(y), "null"));
}

static int yaml_unknown(struct yaml_reader *y, const char *where, const char *const *candidates)
{
	struct span key = yaml_text(y);
	const char *nearest = config_nearest(key, candidates);

	return config_tree_wrong(y->tree, yaml_line(y), "unknown key '%.*s'%s%s%s%s%s", (int)MIN(key.len, 64),
				 (const char *)key.p, where[0] ? " in " : "", where, nearest ? "; did you mean '" : "",
				 nearest ? nearest : "", nearest ? "'?" : "");
}

/* Joins a sequence of scalars by commas. */
static int yaml_joined(struct yaml_reader *y, struct buf *to, const char *what)
{
	int r;

	while (!(r = yaml_next(y)) && y->event.type != YAML_SEQUENCE_END_EVENT) {
		if (y->event.type != YAML_SCALAR_EVENT || memchr(yaml_text(y).p, ',', yaml_text(y).len))
			return config_tree_wrong(y->tree, yaml_line(y), "%s must be a list of plain texts", what);
		r = buf_len(to) > 0 ? buf_append(to, ",", 1) : 0;
		if (!r)
			r = buf_append(to, yaml_text(y).p, yaml_text(y).len);
		if (r)
			break;
	}
	return r == BUF_E_FULL ? config_tree_wrong(y->tree, yaml_line(y), "%s is too long", what) : r;
}

static int yaml_value(struct yaml_reader *y, const struct config_place *place)
{
	unsigned line = yaml_line(y);
	const char *what = place->row->key;
	struct buf joined;
	int r;

	if (y->event.type == YAML_SCALAR_EVENT && yaml_is_null(y))
		return config_tree_set(y->tree, place, SPAN_LIT(""), line, what);
	if (y->event.type == YAML_SCALAR_EVENT)
		return config_tree_set(y->tree, place, yaml_text(y), line, what);
	if (y->event.type != YAML_SEQUENCE_START_EVENT || place->row->kind != CONFIG_KIND_STR)
		return config_tree_wrong(y->tree, line, "%s must be one value", what);
	buf_init(&joined, 8192);
	r = yaml_joined(y, &joined, what);
	if (!r)
		r = config_tree_set(y->tree, place, buf_span(&joined), line, what);
	buf_deinit(&joined);
	return r;
}

/* A key of `section` is in hand: reads its value. */
static int yaml_pair(struct yaml_reader *y, enum config_section section, size_t element)
{
	struct config_place place = {section, element, config_row_of(config_section_row(section), yaml_text(y))};
	int r;

	if (config_tree_get(y->tree, section, element, place.row->key))
		return config_tree_wrong(y->tree, yaml_line(y), "%s is given twice", place.row->key);
	r = yaml_next(y);
	return r ? r : yaml_value(y, &place);
}

/* The pairs of one section or of one element of a list. */
static int yaml_mapping(struct yaml_reader *y, enum config_section section)
{
	const struct config_section_row *row = config_section_row(section);
	size_t element = y->tree->sections[section].n;
	const char *candidates[YAML_CANDIDATES_MAX] = {0};
	int r = config_tree_add(y->tree, section, yaml_line(y));

	for (size_t i = 0; i < row->n_rows; i++)
		candidates[i] = row->rows[i].key;
	if (r || (yaml_is_null(y) && !row->element[0]))
		return r;
	if (y->event.type != YAML_MAPPING_START_EVENT)
		return config_tree_wrong(y->tree, yaml_line(y), "%s must be a mapping of keys",
					 row->element[0] ? row->element : row->name);
	while (!(r = yaml_next(y)) && y->event.type != YAML_MAPPING_END_EVENT) {
		if (y->event.type != YAML_SCALAR_EVENT)
			return config_tree_wrong(y->tree, yaml_line(y), "a key expected");
		if (!config_row_of(row, yaml_text(y)))
			return yaml_unknown(y, row->name, candidates);
		r = yaml_pair(y, section, element);
		if (r)
			break;
	}
	return r;
}

static int yaml_list(struct yaml_reader *y, enum config_section section)
{
	int r;

	if (yaml_is_null(y))
		return 0;
	if (y->event.type != YAML_SEQUENCE_START_EVENT)
		return config_tree_wrong(y->tree, yaml_line(y), "%s must be a list", config_section_row(section)->name);
	while (!(r = yaml_next(y)) && y->event.type != YAML_SEQUENCE_END_EVENT)
		if ((r = yaml_mapping(y, section)))
			break;
	return r;
}

/* A key of the top level is in hand. */
static int yaml_top_pair(struct yaml_reader *y)
{
	const struct config_section_row *top = config_section_row(CONFIG_BULKHEAD);
	const char *candidates[YAML_CANDIDATES_MAX] = {0};
	unsigned section = CONFIG_BULKHEAD + 1;
	size_t n = 0;
	int r;

	if (config_row_of(top, yaml_text(y)))
		return yaml_pair(y, CONFIG_BULKHEAD, 0);
	while (section < N_CONFIG_SECTIONS && !span_eq_str(yaml_text(y), config_section_row(section)->name))
		section++;
	if (section == N_CONFIG_SECTIONS) {
		for (size_t i = 0; i < top->n_rows; i++)
			candidates[n++] = top->rows[i].key;
		for (unsigned i = CONFIG_BULKHEAD + 1; i < N_CONFIG_SECTIONS; i++)
			candidates[n++] = config_section_row(i)->name;
		return yaml_unknown(y, "", candidates);
	}
	if (y->seen & BIT(section))
		return config_tree_wrong(y->tree, yaml_line(y), "%s is given twice", config_section_row(section)->name);
	y->seen |= BIT(section);
	r = yaml_next(y);
	if (r)
		return r;
	return config_section_row(section)->element[0] ? yaml_list(y, section) : yaml_mapping(y, section);
}

static int yaml_top(struct yaml_reader *y)
{
	int r = config_tree_add(y->tree, CONFIG_BULKHEAD, 0);

	if (r || yaml_is_null(y))
		return r;
	if (y->event.type != YAML_MAPPING_START_EVENT)
		return config_tree_wrong(y->tree, yaml_line(y), "a mapping of sections expected");
	while (!(r = yaml_next(y)) && y->event.type != YAML_MAPPING_END_EVENT) {
		if (y->event.type != YAML_SCALAR_EVENT)
			return config_tree_wrong(y->tree, yaml_line(y), "a key expected");
		if ((r = yaml_top_pair(y)))
			break;
	}
	return r;
}

static int yaml_file(struct yaml_reader *y)
{
	int r = yaml_expect(y, YAML_STREAM_START_EVENT, "YAML");

	if (!r)
		r = yaml_next(y);
	if (!r && y->event.type == YAML_STREAM_END_EVENT)
		return config_tree_add(y->tree, CONFIG_BULKHEAD, 0); /* an empty file: all defaults */
	if (!r)
		r = yaml_next(y);
	if (!r)
		r = yaml_top(y);
	if (!r)
		r = yaml_expect(y, YAML_DOCUMENT_END_EVENT, "the end of the document");
	if (!r)
		r = yaml_expect(y, YAML_STREAM_END_EVENT, "one document only: the end of the file");
	return r;
}

int config_yaml(struct config_tree *t, struct span text)
{
	struct yaml_reader y = {.tree = t};
	int r;

	if (!yaml_parser_initialize(&y.parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&y.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&y.parser, text.len ? text.p : (const uint8_t *)"", text.len);
	r = yaml_file(&y);
	yaml_event_delete(&y.event);
	yaml_parser_delete(&y.parser);
	return r;
}
