/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead.yaml leaves out, and what no single key can tell: known providers get the rest of their row from
 * providers.def, everything else its default, and then keys are checked against each other. Afterwards every slot of
 * every element has a value.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/catalogue.h"
#include "cli/config_auth.h"
#include "cli/config_tree.h"
#include "cli/listen.h"
#include "common/address.h"
#include "common/price.h"

#define COMPLETE_ROUTES_MAX  4  /* of PERMIT and GRANT */
#define COMPLETE_SERVERS_MAX 4  /* as many as the dialer asks */
#define COMPLETE_WITHIN_MAX  16 /* as many as it takes */
#define COMPLETE_PROXIES_MAX 64 /* as many as a router takes */

#define COMPLETE_TENANT_BYTES_MAX 64

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
		return config_auth_complete(t, i);
	if (strpbrk(row->base_url, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") &&
	    !config_tree_get(t, CONFIG_PROVIDERS, i, "base_url"))
		return config_tree_wrong(t, t->sections[CONFIG_PROVIDERS].elements[i].line,
					 "provider '%s' needs a base_url, of the form %s", name, row->base_url);
	r = complete_set(t, CONFIG_PROVIDERS, i, "base_url", row->base_url);
	if (!r)
		r = complete_set(t, CONFIG_PROVIDERS, i, "dialect", row->dialect);
	if (!r && !config_tree_get(t, CONFIG_PROVIDERS, i, "auth"))
		r = complete_set(t, CONFIG_PROVIDERS, i, "header", row->header);
	if (!r)
		r = complete_set(t, CONFIG_PROVIDERS, i, "auth", row->auth);
	return r ? r : config_auth_complete(t, i);
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

/* Lower case: provider names are credential ids, as authd takes them, and stand in comma-separated lists. */
static bool complete_is_name(const char *name)
{
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(name) && !strchr("._-", name[0]);
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

/* ---- checks of elements ---- */

static int complete_check_connect(struct config_tree *t, size_t i, const char *name, unsigned line)
{
	const char *connect_to = complete_get(t, CONFIG_PROVIDERS, i, "connect_to");
	const char *within = complete_get(t, CONFIG_PROVIDERS, i, "connect_within");
	struct address_block blocks[COMPLETE_WITHIN_MAX];
	struct address address;
	struct span bad;
	size_t n;

	if (connect_to[0] && within[0])
		return config_tree_wrong(t, line, "provider '%s' has both connect_to and connect_within", name);
	if (connect_to[0] && !address_parse(span_str(connect_to), &address))
		return config_tree_wrong(t, line, "connect_to of provider '%s' must be an IP address", name);
	if (!address_list(within, blocks, COMPLETE_WITHIN_MAX, &n, &bad))
		return config_tree_wrong(t, line,
					 "connect_within of provider '%s': '%.*s' is not one of at most %d addresses "
					 "or CIDR blocks, IPv4 from /%d and IPv6 from /%d, with no bit set behind it",
					 name, SPAN_ARG(bad), COMPLETE_WITHIN_MAX, ADDRESS_BITS_MIN_V4,
					 ADDRESS_BITS_MIN_V6);
	return 0;
}

/* The dialer knows origins, not providers: what one is permitted, all at that origin are. */
static int complete_check_origin(struct config_tree *t, size_t i, const struct config_url *url)
{
	static const char *const keys[] = {"connect_to", "connect_within"};

	for (size_t j = 0; j < i; j++) {
		struct config_url other;
		if (config_url_parse(complete_get(t, CONFIG_PROVIDERS, j, "base_url"), &other) ||
		    strcmp(url->host, other.host) != 0 || url->port != other.port)
			continue;
		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			if (strcmp(complete_get(t, CONFIG_PROVIDERS, i, keys[k]),
				   complete_get(t, CONFIG_PROVIDERS, j, keys[k])) != 0)
				return config_tree_wrong(
					t, t->sections[CONFIG_PROVIDERS].elements[i].line,
					"providers '%s' and '%s' share %s:%u and must have the same %s",
					complete_get(t, CONFIG_PROVIDERS, j, "name"),
					complete_get(t, CONFIG_PROVIDERS, i, "name"), url->host, url->port, keys[k]);
	}
	return 0;
}

static int complete_check_provider(struct config_tree *t, size_t i)
{
	const char *name = complete_get(t, CONFIG_PROVIDERS, i, "name");
	unsigned line = t->sections[CONFIG_PROVIDERS].elements[i].line;
	struct config_url url;

	if (!complete_is_name(name))
		return config_tree_wrong(
			t, line, "provider name '%s': use a-z, 0-9, '.', '_' and '-', first a letter or digit", name);
	for (size_t j = 0; j < i; j++)
		if (strcmp(name, complete_get(t, CONFIG_PROVIDERS, j, "name")) == 0)
			return config_tree_wrong(t, line, "provider '%s' is given twice", name);
	if (config_url_parse(complete_get(t, CONFIG_PROVIDERS, i, "base_url"), &url))
		return config_tree_wrong(t, line,
					 "base_url of provider '%s' must be https://host[:port]/path, the host in "
					 "lower case, without user, query or '..'",
					 name);
	if (!complete_is_header(complete_get(t, CONFIG_PROVIDERS, i, "header")))
		return config_tree_wrong(
			t, line, "header of provider '%s' must be a lower-case header that may carry a key", name);
	int r = complete_check_connect(t, i, name, line);
	if (!r)
		r = complete_check_origin(t, i, &url);
	return r ? r : config_auth_check(t, i);
}

static bool complete_has_provider(const struct config_tree *t, struct span name)
{
	for (size_t i = 0; i < t->sections[CONFIG_PROVIDERS].n; i++)
		if (span_eq_str(name, complete_get(t, CONFIG_PROVIDERS, i, "name")))
			return true;
	return false;
}

static bool complete_is_matched(const char *match, struct span name)
{
	size_t len = strcspn(match, "*");

	return match[len] ? name.len >= len && strncmp((const char *)name.p, match, len) == 0
			  : span_eq_str(name, match);
}

static int complete_check_model(struct config_tree *t, size_t i)
{
	const char *match = complete_get(t, CONFIG_MODELS, i, "match");
	const char *at = complete_get(t, CONFIG_MODELS, i, "providers");
	unsigned line = t->sections[CONFIG_MODELS].elements[i].line;
	struct span name;
	uint64_t price;
	size_t n = 0;

	if (!config_pattern_valid(span_str(match)))
		return config_tree_wrong(t, line,
					 "match '%s' must be a model's name, or the beginning of one and a '*'", match);
	for (; config_list_next(&at, &name); n++)
		if (!complete_has_provider(t, name))
			return config_tree_wrong(t, line,
						 "match '%s' names provider '%.*s', which is not in `providers`", match,
						 SPAN_ARG(name));
	for (at = complete_get(t, CONFIG_MODELS, i, "names"); config_list_next(&at, &name);)
		if (!config_model_valid(name) || !complete_is_matched(match, name))
			return config_tree_wrong(t, line, "match '%s' does not match '%.*s' of its `names`", match,
						 SPAN_ARG(name));
	if (price_parse(span_str(complete_get(t, CONFIG_MODELS, i, "price_in")), &price) ||
	    price_parse(span_str(complete_get(t, CONFIG_MODELS, i, "price_out")), &price))
		return config_tree_wrong(t, line, "match '%s': a price is USD for a million tokens, such as 0.15",
					 match);
	if (n > COMPLETE_ROUTES_MAX)
		return config_tree_wrong(t, line, "match '%s' has more than %d providers", match, COMPLETE_ROUTES_MAX);
	return 0;
}

/* A list that people write with spaces too. */
static int complete_check_proxies(struct config_tree *t)
{
	const char *at = complete_get(t, CONFIG_ROUTER, 0, "trusted_proxies");
	struct address_block block;
	struct span item;

	for (size_t n = 0; config_list_next(&at, &item); n++) {
		while (item.len > 0 && item.p[0] == ' ')
			item = span_of(item.p + 1, item.len - 1);
		while (item.len > 0 && item.p[item.len - 1] == ' ')
			item.len--;
		if (n == COMPLETE_PROXIES_MAX || !address_parse_block(item, &block))
			return config_tree_wrong(t, config_tree_line(t, CONFIG_ROUTER, 0, "trusted_proxies"),
						 "trusted_proxies: '%.*s' is not one of at most %d addresses or CIDR "
						 "blocks with no bit set behind it",
						 SPAN_ARG(item), COMPLETE_PROXIES_MAX);
	}
	return 0;
}

/* As authd takes a tenant's name. */
static bool complete_is_tenant(struct span name)
{
	static const char alnum[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

	for (size_t i = 0; i < name.len; i++)
		if (!name.p[i] || (!strchr(alnum, name.p[i]) && (i == 0 || !strchr("._-", name.p[i]))))
			return false;
	return name.len > 0 && name.len <= COMPLETE_TENANT_BYTES_MAX;
}

/* What is no tenant's name is no tenant's: whoever was meant would not be strict, and nobody told. */
static int complete_check_strict(struct config_tree *t)
{
	const char *at = complete_get(t, CONFIG_AUDITD, 0, "strict_tenants");
	struct span name;

	while (config_list_next(&at, &name))
		if (!complete_is_tenant(name))
			return config_tree_wrong(t, config_tree_line(t, CONFIG_AUDITD, 0, "strict_tenants"),
						 "strict_tenants: '%.*s' cannot be a tenant's name; give a list, or "
						 "names with a comma and no space between them",
						 SPAN_ARG(name));
	return 0;
}

static int complete_check_resolvers(struct config_tree *t)
{
	const char *at = complete_get(t, CONFIG_DIALER, 0, "resolvers");
	struct address address;
	struct span item;
	uint16_t port;

	for (size_t n = 0; config_list_next(&at, &item); n++)
		if (n == COMPLETE_SERVERS_MAX || !address_parse_port(item, 53, &address, &port))
			return config_tree_wrong(t, config_tree_line(t, CONFIG_DIALER, 0, "resolvers"),
						 "resolvers must be at most %d of ADDRESS or ADDRESS:PORT, numeric, "
						 "such as 9.9.9.9 or [2620:fe::fe]:53",
						 COMPLETE_SERVERS_MAX);
	return 0;
}

/* What is in this file is shown by `config show`, and passed to whom it concerns: no place for a password. */
static int complete_check_shipper(struct config_tree *t)
{
	const char *postgres = complete_get(t, CONFIG_SHIPPER, 0, "postgres");
	const char *word = strstr(postgres, "password");

	if (strstr(postgres, "://") ||
	    (word && word[strlen("password") + strspn(word + strlen("password"), " ")] == '='))
		return config_tree_wrong(t, config_tree_line(t, CONFIG_SHIPPER, 0, "postgres"),
					 "postgres must be of the form host=... dbname=... user=..., without a "
					 "password: name a password_file");
	return 0;
}

/* What a daemon is told travels in one frame. */
static int complete_check_size(struct config_tree *t)
{
	uint8_t *frame = malloc(PROTO_FRAME_BYTES_MAX);
	size_t len;
	int r = frame ? config_tree_pack(t, BIT(N_CONFIG_SECTIONS) - 1, frame, PROTO_FRAME_BYTES_MAX, &len) : -ENOMEM;

	free(frame);
	return r;
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
	if (!r)
		r = complete_check_proxies(t);
	if (!r)
		r = complete_check_strict(t);
	if (!r)
		r = complete_check_resolvers(t);
	if (!r)
		r = complete_check_shipper(t);
	if (!r && listen_parse(complete_get(t, CONFIG_ROUTER, 0, "listen"), &address))
		r = config_tree_wrong(t, config_tree_line(t, CONFIG_ROUTER, 0, "listen"),
				      "listen must be ADDRESS:PORT with a numeric address, such as 127.0.0.1:8080");
	return r ? r : complete_check_size(t);
}
