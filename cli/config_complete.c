/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead.yaml leaves out, and what no single key can tell: known providers get the rest of their row from
 * providers.def, everything else its default, and then keys are checked against each other. Afterwards every slot of
 * every element has a value.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "cli/catalogue.h"
#include "cli/config_tree.h"
#include "cli/listen.h"

#define COMPLETE_ROUTES_MAX 4 /* of PERMIT and GRANT */

static const char *complete_get(const struct config_tree *t, enum config_section section, size_t element,
				const char *key)
{
	const char *value = config_tree_get(t, section, element, key);

	return value ? value : "";
}

/* Gives a slot its value unless the file did. */
static int complete_set(struct config_tree *t, enum config_section section, size_t element, const char *key,
			const char *value)
{
	struct config_place place = {section, element, config_row_of(config_section_row(section), span_str(key))};

	return config_tree_get(t, section, element, key) ? 0 : config_tree_set(t, &place, span_str(value), 0, key);
}

/* ---- the catalogue ---- */

static int complete_provider(struct config_tree *t, size_t i)
{
	const char *name = complete_get(t, CONFIG_PROVIDERS, i, "name");
	const struct catalogue_row *row = catalogue_row(name);
	int r;

	if (!row && !config_tree_get(t, CONFIG_PROVIDERS, i, "base_url"))
		return config_tree_wrong(
			t, t->sections[CONFIG_PROVIDERS].elements[i].line,
			"provider '%s' is not one of the known ones (`bulkhead config show --providers`): "
			"give its base_url",
			name);
	if (!row)
		return 0;
	r = complete_set(t, CONFIG_PROVIDERS, i, "base_url", row->base_url);
	if (!r)
		r = complete_set(t, CONFIG_PROVIDERS, i, "dialect", row->dialect);
	if (!r && !config_tree_get(t, CONFIG_PROVIDERS, i, "auth"))
		r = complete_set(t, CONFIG_PROVIDERS, i, "header", row->header);
	return r ? r : complete_set(t, CONFIG_PROVIDERS, i, "auth", row->auth);
}

/* ---- defaults ---- */

static int complete_slot(struct config_tree *t, const struct config_place *place)
{
	const struct config_section_row *section = config_section_row(place->section);
	const struct config_row *row = place->row;
	struct span value = span_str(row->absent);

	if (config_tree_get(t, place->section, place->element, row->key))
		return 0;
	if (row->absent[0] == 0 && row->min > 0)
		return config_tree_wrong(t, t->sections[place->section].elements[place->element].line,
					 "%s must be given for each %s", row->key, section->element);
	if (row->kind == CONFIG_KIND_WORD)
		value.len = strcspn(row->absent, ",");
	return config_tree_set(t, place, value, 0, row->key);
}

static int complete_defaults(struct config_tree *t)
{
	for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
		const struct config_section_row *section = config_section_row(s);
		int r = !section->element[0] && t->sections[s].n == 0 ? config_tree_add(t, s, 0) : 0;

		if (r)
			return r;
		for (size_t e = 0; e < t->sections[s].n; e++)
			for (size_t i = 0; i < section->n_rows; i++)
				if ((r = complete_slot(t, &(struct config_place){s, e, &section->rows[i]})))
					return r;
	}
	return 0;
}

/* ---- checks of one key ---- */

/* Lower case: provider names are credential ids and stand in comma-separated lists. */
static bool complete_is_name(const char *name)
{
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(name) && name[0] != '.' &&
	       name[0] != '-';
}

static bool complete_is_address(const char *text)
{
	uint8_t bytes[16];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* A header that may carry a key: a lower-case token, and none of those that frame or route the request. */
static bool complete_is_header(const char *name)
{
	static const char *const framing[] = {"host",   "content-length", "transfer-encoding", "connection",
					      "te",     "trailer",        "upgrade",           "content-type",
					      "expect", "accept-encoding"};

	for (size_t i = 0; i < ARRAY_LEN(framing); i++)
		if (strcmp(name, framing[i]) == 0)
			return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(name);
}

/* The only star is the last character. */
static bool complete_is_pattern(const char *match)
{
	size_t len = strcspn(match, "*");

	return match[len] == 0 || match[len + 1] == 0;
}

/* ---- checks of elements ---- */

static int complete_check_provider(struct config_tree *t, size_t i)
{
	const char *name = complete_get(t, CONFIG_PROVIDERS, i, "name");
	const char *connect_to = complete_get(t, CONFIG_PROVIDERS, i, "connect_to");
	unsigned line = t->sections[CONFIG_PROVIDERS].elements[i].line;
	struct config_url url;

	if (!complete_is_name(name))
		return config_tree_wrong(t, line, "provider name '%s': use a-z, 0-9, '.', '_' and '-'", name);
	for (size_t j = 0; j < i; j++)
		if (strcmp(name, complete_get(t, CONFIG_PROVIDERS, j, "name")) == 0)
			return config_tree_wrong(t, line, "provider '%s' is given twice", name);
	if (config_url_parse(complete_get(t, CONFIG_PROVIDERS, i, "base_url"), &url))
		return config_tree_wrong(t, line,
					 "base_url of provider '%s' must be https://host[:port]/path, the host in "
					 "lower case, without user, query or '..'",
					 name);
	if (connect_to[0] && !complete_is_address(connect_to))
		return config_tree_wrong(t, line, "connect_to of provider '%s' must be an IP address", name);
	if (!complete_is_header(complete_get(t, CONFIG_PROVIDERS, i, "header")))
		return config_tree_wrong(
			t, line, "header of provider '%s' must be a lower-case header that may carry a key", name);
	return 0;
}

static bool complete_has_provider(const struct config_tree *t, struct span name)
{
	for (size_t i = 0; i < t->sections[CONFIG_PROVIDERS].n; i++)
		if (span_eq_str(name, complete_get(t, CONFIG_PROVIDERS, i, "name")))
			return true;
	return false;
}

static int complete_check_model(struct config_tree *t, size_t i)
{
	const char *match = complete_get(t, CONFIG_MODELS, i, "match");
	const char *at = complete_get(t, CONFIG_MODELS, i, "providers");
	unsigned line = t->sections[CONFIG_MODELS].elements[i].line;
	struct span name;
	size_t n = 0;

	if (!complete_is_pattern(match))
		return config_tree_wrong(t, line, "match '%s': a '*' may only be the last character", match);
	for (; config_list_next(&at, &name); n++)
		if (!complete_has_provider(t, name))
			return config_tree_wrong(t, line,
						 "match '%s' names provider '%.*s', which is not in `providers`", match,
						 SPAN_ARG(name));
	if (n > COMPLETE_ROUTES_MAX)
		return config_tree_wrong(t, line, "match '%s' has more than %d providers", match, COMPLETE_ROUTES_MAX);
	return 0;
}

int config_complete(struct config_tree *t)
{
	struct listen_address address;
	int r = 0;

	for (size_t i = 0; !r && i < t->sections[CONFIG_PROVIDERS].n; i++)
		r = complete_provider(t, i);
	if (!r)
		r = complete_defaults(t);
	for (size_t i = 0; !r && i < t->sections[CONFIG_PROVIDERS].n; i++)
		r = complete_check_provider(t, i);
	for (size_t i = 0; !r && i < t->sections[CONFIG_MODELS].n; i++)
		r = complete_check_model(t, i);
	if (!r && listen_parse(complete_get(t, CONFIG_ROUTER, 0, "listen"), &address))
		r = config_tree_wrong(t, config_tree_line(t, CONFIG_ROUTER, 0, "listen"),
				      "listen must be ADDRESS:PORT with a numeric address, such as 127.0.0.1:8080");
	return r;
}
