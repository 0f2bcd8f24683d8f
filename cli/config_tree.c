/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_tree.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int config_tree_new(const char *file, const char *folder, struct config_tree **ret_tree)
{
	struct config_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->file = strdup(file);
	t->folder = strdup(folder);
	if (!t->file || !t->folder) {
		config_tree_free(t);
		return -ENOMEM;
	}
	*ret_tree = t;
	return 0;
}

struct config_tree *config_tree_free(struct config_tree *t)
{
	if (!t)
		return NULL;
	for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
		for (size_t e = 0; e < t->sections[s].n; e++)
			for (size_t i = 0; i < CONFIG_TREE_ROWS_MAX; i++)
				free(t->sections[s].elements[e].slots[i].value);
		free(t->sections[s].elements);
	}
	free(t->file);
	free(t->folder);
	free(t);
	return NULL;
}

int config_tree_wrong(struct config_tree *t, unsigned line, const char *format, ...)
{
	va_list args;
	int at;

	if (t->problem[0])
		return CONFIG_TREE_E_INVALID;
	at = line ? snprintf(t->problem, sizeof(t->problem), "%.200s:%u: ", t->file, line)
		  : snprintf(t->problem, sizeof(t->problem), "%.200s: ", t->file);
	va_start(args, format);
	vsnprintf(t->problem + at, sizeof(t->problem) - (size_t)at, format, args);
	va_end(args);
	return CONFIG_TREE_E_INVALID;
}

int config_tree_add(struct config_tree *t, enum config_section section, unsigned line)
{
	const struct config_section_row *row = config_section_row(section);
	size_t n = t->sections[section].n;
	struct config_element *elements;

	assert(row->n_rows <= CONFIG_TREE_ROWS_MAX);
	if (n >= row->elements_max)
		return config_tree_wrong(t, line, "at most %zu %s", row->elements_max, row->name);
	elements = realloc(t->sections[section].elements, (n + 1) * sizeof(*elements));
	if (!elements)
		return -ENOMEM;
	elements[n] = (struct config_element){.line = line};
	t->sections[section].elements = elements;
	t->sections[section].n = n + 1;
	return 0;
}

static struct config_slot *tree_slot(const struct config_tree *t, const struct config_place *place)
{
	size_t i = (size_t)(place->row - config_section_row(place->section)->rows);

	if (place->element >= t->sections[place->section].n)
		return NULL;
	return &t->sections[place->section].elements[place->element].slots[i];
}

/* A relative path is taken from the folder of the file. An empty one means: not set. */
static char *tree_text(const struct config_tree *t, const struct config_row *row, struct span value)
{
	char *text = NULL;

	if (row->kind != CONFIG_KIND_PATH || value.len == 0 || value.p[0] == '/')
		return strndup(value.len ? (const char *)value.p : "", value.len);
	if (value.len > 2 && memcmp(value.p, "./", 2) == 0)
		value = span_of(value.p + 2, value.len - 2);
	if (asprintf(&text, "%s/%.*s", strcmp(t->folder, "/") ? t->folder : "", SPAN_ARG(value)) < 0)
		return NULL;
	return text;
}

/* What people say for yes and no, in the file and in the environment, as config_value() wants it. */
static struct span tree_bool(struct span value)
{
	if (span_eq_str(value, "yes") || span_eq_str(value, "true"))
		return SPAN_LIT("1");
	return span_eq_str(value, "no") || span_eq_str(value, "false") ? SPAN_LIT("0") : value;
}

int config_tree_set(struct config_tree *t, const struct config_place *place, struct span value, unsigned line,
		    const char *what)
{
	struct config_slot *slot = tree_slot(t, place);
	char expect[160];
	uint64_t number;
	char *text;

	if (place->row->kind == CONFIG_KIND_BOOL)
		value = tree_bool(value);
	if (config_value(place->row, value, &number)) {
		config_expect(place->row, expect, sizeof(expect));
		return config_tree_wrong(t, line, "%s must be %s, not '%.*s'", what, expect, (int)MIN(value.len, 64),
					 (const char *)value.p);
	}
	text = tree_text(t, place->row, value);
	if (!text)
		return -ENOMEM;
	if (place->row->kind == CONFIG_KIND_PATH && config_value(place->row, span_str(text), &number)) {
		free(text);
		return config_tree_wrong(t, line, "%s is too long as an absolute path", what);
	}
	free(slot->value);
	*slot = (struct config_slot){.value = text, .line = line};
	return 0;
}

const char *config_tree_get(const struct config_tree *t, enum config_section section, size_t element, const char *key)
{
	struct config_place place = {section, element, config_row_of(config_section_row(section), span_str(key))};
	struct config_slot *slot = place.row ? tree_slot(t, &place) : NULL;

	return slot ? slot->value : NULL;
}

unsigned config_tree_line(const struct config_tree *t, enum config_section section, size_t element, const char *key)
{
	struct config_place place = {section, element, config_row_of(config_section_row(section), span_str(key))};
	struct config_slot *slot = place.row ? tree_slot(t, &place) : NULL;

	return slot ? slot->line : 0;
}

/* ---- packing ---- */

struct tree_items {
	struct proto_config_item *items;
	size_t n;
	struct buf keys;
};

static int tree_item(struct tree_items *it, const struct config_section_row *section, size_t element,
		     const struct config_row *row, const char *value)
{
	size_t begin = buf_len(&it->keys);
	int r = section->element[0] ? buf_printf(&it->keys, "%s.%zu.%s", section->name, element, row->key)
				    : buf_printf(&it->keys, "%s.%s", section->name, row->key);

	/* The keys' memory may move while it grows: only the length is final here. */
	it->items[it->n++] =
		(struct proto_config_item){.key = span_of(NULL, buf_len(&it->keys) - begin), .value = span_str(value)};
	return r;
}

static int tree_items(struct config_tree *t, uint64_t sections, struct tree_items *it)
{
	for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
		const struct config_section_row *section = config_section_row(s);

		for (size_t e = 0; (sections & BIT(s)) && e < t->sections[s].n; e++)
			for (size_t i = 0; i < section->n_rows; i++) {
				int r = tree_item(it, section, e, &section->rows[i],
						  t->sections[s].elements[e].slots[i].value);
				if (r)
					return r;
			}
	}
	return 0;
}

static size_t tree_count(const struct config_tree *t)
{
	size_t n = 0;

	for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++)
		n += t->sections[s].n * config_section_row(s)->n_rows;
	return n;
}

int config_tree_pack(struct config_tree *t, uint64_t sections, uint8_t *to, size_t cap, size_t *ret_len)
{
	struct tree_items it = {.items = calloc(tree_count(t) + 1, sizeof(*it.items))};
	struct proto_config msg;
	uint8_t digest[32];
	const uint8_t *key;
	int r;

	buf_init(&it.keys, CONFIG_FILE_BYTES_MAX);
	r = it.items ? tree_items(t, sections, &it) : -ENOMEM;
	key = buf_span(&it.keys).p;
	for (size_t i = 0; i < it.n; i++) {
		it.items[i].key.p = key;
		key += it.items[i].key.len;
	}
	msg = (struct proto_config){.digest = span_of(digest, sizeof(digest)),
				    .items = {.items = it.items, .count = it.n}};
	if (!r)
		r = config_tree_digest(t, digest);
	if (!r)
		r = proto_pack(&proto_config_desc, 0, &msg, to, cap, ret_len);
	buf_deinit(&it.keys);
	free(it.items);
	return r > 0 ? config_tree_wrong(t, 0, "too large: all of it, `names` of models above all, must fit %d KiB",
					 PROTO_FRAME_BYTES_MAX / 1024)
		     : r;
}

/* ---- the file ---- */

static int tree_read(struct config_tree *t, const char *path, struct buf *to)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return config_tree_wrong(t, 0, "cannot be read: %s", strerror(errno));
	while (r == 0) {
		uint8_t chunk[4096];
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0)
			r = config_tree_wrong(t, 0, "cannot be read: %s", strerror(errno));
		if (n <= 0)
			break;
		r = buf_append(to, chunk, (size_t)n);
		if (r == BUF_E_FULL)
			r = config_tree_wrong(t, 0, "longer than %d KiB", CONFIG_FILE_BYTES_MAX / 1024);
	}
	close(fd);
	return r;
}

/* The folder of `path`, absolute. */
static char *tree_folder(const char *path)
{
	char *real = realpath(path, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;

	if (slash)
		slash[slash == real] = 0;
	return real ? real : strdup("/");
}

int config_tree_load(const char *path, char **environ_, struct config_tree **ret_tree)
{
	struct config_tree *t = NULL;
	struct buf text = BUF_NULL;
	char *folder = tree_folder(path);
	int r = folder ? config_tree_new(path, folder, &t) : -ENOMEM;

	buf_init(&text, CONFIG_FILE_BYTES_MAX);
	if (!r)
		r = tree_read(t, path, &text);
	if (!r)
		r = config_yaml(t, buf_span(&text));
	if (!r)
		r = config_env(t, environ_);
	if (!r)
		r = config_complete(t);
	buf_deinit(&text);
	free(folder);
	*ret_tree = t;
	return r;
}
