/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a CONFIG message to structs, by the rows of config_rows.
 *
 * Keys are `section.key`, or `section.3.key` for the fourth element of a list. Two passes: the first learns how many
 * elements each list has and how many bytes the strings take, the second fills in. A bit for each key seen tells
 * doubles from gaps: at the end every section that is there must have all its bits.
 */
#include "common/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_rows.h"
#include "common/err.h"

#define CONFIG_ELEMENTS_MAX 256 /* of the longest list of config.def */
#define CONFIG_ROWS_MAX     64  /* keys of a section: bits of `seen` */

struct config_binder {
	struct config *config;
	size_t text_used;
	uint64_t seen[N_CONFIG_SECTIONS][CONFIG_ELEMENTS_MAX];
	size_t n_elements[N_CONFIG_SECTIONS];
};

static int config_say(struct span key, const char *what)
{
	fprintf(stderr, "configuration: %.*s: %s\n", SPAN_ARG(key), what);
	return CONFIG_E_INVALID;
}

/* Takes the part up to the next dot. */
static bool config_part(struct span *key, struct span *ret_part)
{
	const uint8_t *dot = key->len ? memchr(key->p, '.', key->len) : NULL;

	if (!dot)
		return false;
	*ret_part = span_of(key->p, (size_t)(dot - key->p));
	*key = span_of(dot + 1, key->len - ret_part->len - 1);
	return true;
}

static bool config_element(struct span part, size_t max, size_t *ret)
{
	size_t n = 0;

	if (part.len == 0 || part.len > 3 || (part.len > 1 && part.p[0] == '0'))
		return false;
	for (size_t i = 0; i < part.len; i++) {
		if (part.p[i] < '0' || part.p[i] > '9')
			return false;
		n = n * 10 + (size_t)(part.p[i] - '0');
	}
	*ret = n;
	return n < max;
}

bool config_locate(struct span key, struct config_place *ret_place)
{
	const struct config_section_row *section;
	struct config_place place = {0};
	struct span name, number;

	if (!config_part(&key, &name))
		return false;
	while (place.section < N_CONFIG_SECTIONS && !span_eq_str(name, config_section_row(place.section)->name))
		place.section++;
	if (place.section == N_CONFIG_SECTIONS)
		return false;
	section = config_section_row(place.section);
	if (section->element[0] &&
	    (!config_part(&key, &number) || !config_element(number, section->elements_max, &place.element)))
		return false;
	place.row = config_row_of(section, key);
	*ret_place = place;
	return place.row != NULL;
}

/* First pass. */
static int config_measure(struct config_binder *b, struct proto_list items)
{
	struct proto_config_item item;
	struct config_place place;
	size_t text_bytes = 1;

	while (proto_config_item_next(&items, &item)) {
		if (!config_locate(item.key, &place))
			return config_say(item.key, "no such key");
		text_bytes += item.value.len + 1;
		if (b->n_elements[place.section] <= place.element)
			b->n_elements[place.section] = place.element + 1;
	}
	b->config->text = malloc(text_bytes);
	return b->config->text ? 0 : -ENOMEM;
}

static void *config_at(struct config *c, size_t offset)
{
	return (char *)c + offset;
}

static int config_make_lists(struct config_binder *b)
{
	for (unsigned i = 0; i < N_CONFIG_SECTIONS; i++) {
		const struct config_section_row *section = config_section_row(i);
		void *elements;

		if (b->n_elements[i] > 0)
			b->config->sections |= BIT(i);
		if (!section->element[0] || b->n_elements[i] == 0)
			continue;
		elements = calloc(b->n_elements[i], section->struct_bytes);
		if (!elements)
			return -ENOMEM;
		memcpy(config_at(b->config, section->offset), &elements, sizeof(elements));
		memcpy(config_at(b->config, section->count_offset), &b->n_elements[i], sizeof(size_t));
	}
	return 0;
}

/* The struct that a place's field lies in. */
static char *config_struct(struct config *c, const struct config_place *place)
{
	const struct config_section_row *section = config_section_row(place->section);
	void *base = config_at(c, section->offset);

	if (section->element[0])
		memcpy(&base, config_at(c, section->offset), sizeof(base)); /* a list: the pointer to its elements */
	return (char *)base + place->element * section->struct_bytes;
}

static void config_set(struct config_binder *b, const struct config_place *place, struct span value, uint64_t number)
{
	char *field = config_struct(b->config, place) + place->row->offset;
	char *text = b->config->text + b->text_used;

	switch (place->row->kind) {
	case CONFIG_KIND_U64:
		memcpy(field, &number, sizeof(number));
		break;
	case CONFIG_KIND_BOOL:
		memcpy(field, &(bool){number != 0}, sizeof(bool));
		break;
	case CONFIG_KIND_WORD:
		memcpy(field, &(unsigned){(unsigned)number}, sizeof(unsigned));
		break;
	case CONFIG_KIND_STR:
	case CONFIG_KIND_PATH:
		memcpy(text, value.p, value.len);
		text[value.len] = 0;
		b->text_used += value.len + 1;
		memcpy(field, &text, sizeof(text));
		break;
	}
}

/* Second pass. */
static int config_fill(struct config_binder *b, struct proto_list items)
{
	struct proto_config_item item;
	struct config_place place;
	uint64_t number;

	while (proto_config_item_next(&items, &item)) {
		if (!config_locate(item.key, &place))
			return config_say(item.key, "no such key");
		uint64_t bit = BIT(place.row - config_section_row(place.section)->rows);
		uint64_t *seen = &b->seen[place.section][place.element];

		if (*seen & bit)
			return config_say(item.key, "given twice");
		*seen |= bit;
		if (config_value(place.row, item.value, &number))
			return config_say(item.key, "value out of bounds");
		config_set(b, &place, item.value, number);
	}
	return 0;
}

static int config_complete(struct config_binder *b, uint64_t sections)
{
	for (unsigned i = 0; i < N_CONFIG_SECTIONS; i++) {
		const struct config_section_row *section = config_section_row(i);

		assert(section->n_rows < CONFIG_ROWS_MAX && section->elements_max <= CONFIG_ELEMENTS_MAX);
		if ((sections & BIT(i)) && !section->element[0] && !(b->config->sections & BIT(i)))
			return config_say(span_str(section->name), "the section is missing");
		for (size_t e = 0; e < b->n_elements[i]; e++)
			if (b->seen[i][e] != BIT(section->n_rows) - 1)
				return config_say(span_str(section->name), "a key is missing");
	}
	return 0;
}

int config_bind(struct span body, enum role role, uint64_t sections, struct config *ret_config)
{
	const struct proto_desc *desc;
	struct config config = CONFIG_NULL;
	struct config_binder b = {.config = &config};
	union proto_any msg;
	uint64_t id;
	int r;

	if (proto_unpack(body, ROLE_LAUNCHER, role, &id, &desc, &msg) || desc != &proto_config_desc)
		return config_say(SPAN_LIT("frame"), "not a CONFIG message");
	r = config_measure(&b, msg.config.items);
	if (!r)
		r = config_make_lists(&b);
	if (!r)
		r = config_fill(&b, msg.config.items);
	if (!r)
		r = config_complete(&b, sections);
	if (msg.config.digest.len == sizeof(config.digest))
		memcpy(config.digest, msg.config.digest.p, sizeof(config.digest));
	if (r) {
		config_deinit(&config);
		return r;
	}
	*ret_config = config;
	return 0;
}

static int config_slurp(int fd, uint8_t *to, size_t cap, size_t *ret_len)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = pread(fd, to + len, cap - len, (off_t)len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_origin(-errno);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

int config_read(int fd, enum role role, uint64_t sections, struct config *ret_config)
{
	uint8_t *body;
	size_t len = 0;
	int r;

	if (fd < 0)
		return config_say(SPAN_LIT("config"),
				  "no descriptor of that name: start daemons by `bulkhead up` or `bulkhead run`");
	body = malloc(PROTO_FRAME_BYTES_MAX);
	r = body ? config_slurp(fd, body, PROTO_FRAME_BYTES_MAX, &len) : -ENOMEM;
	close(fd);
	if (!r)
		r = config_bind(span_of(body, len), role, sections, ret_config);
	free(body);
	return r;
}

void config_deinit(struct config *c)
{
	free(c->providers);
	free(c->models);
	free(c->text);
	*c = CONFIG_NULL;
}

bool config_list_next(const char **at, struct span *ret_item)
{
	size_t len = strcspn(*at, ",");

	if (**at == 0)
		return false;
	*ret_item = span_of(*at, len);
	*at += len + ((*at)[len] == ',');
	return true;
}
