/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/models.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/price.h"

#define MODELS_PROVIDERS_MAX 32 /* config.def */

/* `providers` are indices, in order of preference; `names`, comma-separated, are examples for the listing. */
struct models_rule {
	struct span pattern;
	const char *names;
	uint8_t providers[MODELS_PROVIDERS_MAX];
	size_t n_providers;
	uint64_t price_in, price_out;
};

struct models {
	struct models_provider providers[MODELS_PROVIDERS_MAX];
	size_t n_providers, n_rules;
	struct models_rule rules[];
};

static const char *const models_suffix[N_ENDPOINTS] = {
#define ENDPOINT(NAME, number, method, path, suffix, body) [ENDPOINT_##NAME] = suffix,
#include "proto/endpoints.def"
#undef ENDPOINT
};

/* ---- names and patterns ---- */

static bool models_open_ended(struct span pattern)
{
	return pattern.len > 0 && pattern.p[pattern.len - 1] == '*';
}

/* Does `pattern` match everything that `other`, a name or a pattern, matches? */
static bool models_covers(struct span pattern, struct span other)
{
	if (!models_open_ended(pattern))
		return span_eq(pattern, other);
	if (models_open_ended(other))
		other.len--;
	pattern.len--;
	return other.len >= pattern.len && span_eq(span_of(other.p, pattern.len), pattern);
}

bool models_scope_valid(const char *scope)
{
	size_t len = strlen(scope);
	struct span item;

	if (len == 0 || scope[len - 1] == ',')
		return false;
	while (config_list_next(&scope, &item)) {
		if (!config_pattern_valid(item))
			return false;
	}
	return true;
}

static bool models_in_scope(const char *scope, struct span model)
{
	struct span item;

	while (config_list_next(&scope, &item)) {
		if (models_covers(item, model))
			return true;
	}
	return false;
}

/* ---- configuration ---- */

static int models_invalid(const struct log *log, const char *what, struct span value)
{
	log_event(log, LOG_MODELS_INVALID, LOG_STR("what", what), LOG_SPAN("value", value));
	return MODELS_E_INVALID;
}

static int models_add_provider(struct models *m, const struct log *log, const struct config_provider *configured)
{
	struct models_provider *p = &m->providers[m->n_providers];

	if (m->n_providers == MODELS_PROVIDERS_MAX)
		return models_invalid(log, "too many providers", span_str(configured->name));
	*p = (struct models_provider){.name = configured->name, .dialect = configured->dialect};
	if (config_url_parse(configured->base_url, &p->url))
		return models_invalid(log, "base_url", span_str(configured->name));
	m->n_providers++;
	return 0;
}

static int models_rule_add(const struct models *m, const struct log *log, struct models_rule *rule,
			   struct span provider)
{
	for (size_t i = 0; i < m->n_providers; i++) {
		if (!span_eq_str(provider, m->providers[i].name))
			continue;
		if (rule->n_providers == MODELS_PROVIDERS_MAX)
			return models_invalid(log, "too many providers for one model", provider);
		rule->providers[rule->n_providers++] = (uint8_t)i;
		return 0;
	}
	return models_invalid(log, "unknown provider", provider);
}

static int models_add_rule(struct models *m, const struct log *log, const struct config_model *configured)
{
	struct models_rule *rule = &m->rules[m->n_rules++];
	const char *at = configured->providers;
	struct span provider, name;
	int r = 0;

	*rule = (struct models_rule){.pattern = span_str(configured->match),
				     .names = configured->names ? configured->names : ""};
	if (!config_pattern_valid(rule->pattern))
		return models_invalid(log, "match", rule->pattern);
	if (price_parse(span_str(configured->price_in ? configured->price_in : ""), &rule->price_in) ||
	    price_parse(span_str(configured->price_out ? configured->price_out : ""), &rule->price_out))
		return models_invalid(log, "price", rule->pattern);
	while (r == 0 && config_list_next(&at, &provider))
		r = models_rule_add(m, log, rule, provider);
	for (at = rule->names; r == 0 && config_list_next(&at, &name);)
		r = config_model_valid(name) && models_covers(rule->pattern, name) ? 0
										   : models_invalid(log, "names", name);
	return r;
}

int models_new(const struct config *config, const struct log *log, struct models **ret_models)
{
	struct models *m = calloc(1, sizeof(*m) + config->n_models * sizeof(m->rules[0]));
	int r = 0;

	if (!m)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < config->n_providers; i++)
		r = models_add_provider(m, log, &config->providers[i]);
	for (size_t i = 0; r == 0 && i < config->n_models; i++)
		r = models_add_rule(m, log, &config->models[i]);
	if (r) {
		models_free(m);
		return r;
	}
	*ret_models = m;
	return 0;
}

struct models *models_free(struct models *m)
{
	free(m);
	return NULL;
}

/* ---- plans ---- */

/* The first rule that matches, NULL when none does. */
static const struct models_rule *models_rule_of(const struct models *m, struct span model)
{
	for (size_t i = 0; i < m->n_rules; i++) {
		if (models_covers(m->rules[i].pattern, model))
			return &m->rules[i];
	}
	return NULL;
}

int models_permit(const struct models *m, const char *scope, struct span model)
{
	return models_in_scope(scope, model) && models_rule_of(m, model) ? 0 : MODELS_E_FORBIDDEN;
}

static void models_fill_route(struct models_route *route, const struct models_provider *provider,
			      const char *credential, enum endpoint endpoint)
{
	struct span prefix = span_str(provider->url.prefix), suffix = span_str(models_suffix[endpoint]);

	assert(prefix.len + suffix.len < sizeof(route->path)); /* a prefix has at most 256 bytes, suffixes are ours */
	memcpy(route->path, prefix.p, prefix.len);
	memcpy(route->path + prefix.len, suffix.p, suffix.len + 1);
	route->path_len = prefix.len + suffix.len;
	route->provider = provider;
	route->credential = credential;
}

int models_plan(const struct models *m, const struct credentials *credentials, struct span tenant, const char *scope,
		struct span model, enum endpoint endpoint, struct models_plan *ret_plan)
{
	const struct models_rule *rule = models_rule_of(m, model);
	size_t n = 0;

	if (!rule || !models_in_scope(scope, model))
		return MODELS_E_FORBIDDEN;
	for (size_t i = 0; i < rule->n_providers && n < MODELS_ROUTES_MAX; i++) {
		const struct models_provider *provider = &m->providers[rule->providers[i]];
		unsigned versions;
		const char *credential = credentials_find(credentials, provider->name, tenant, &versions);

		/* While one key replaces another the route is there twice: for the one, and should it be refused, for
		 * the other. Which is which the vault knows. */
		for (unsigned v = 0; v < versions && n < MODELS_ROUTES_MAX; v++)
			models_fill_route(&ret_plan->routes[n++], provider, credential, endpoint);
	}
	if (n == 0)
		return MODELS_E_NO_CREDENTIAL;
	ret_plan->n = n;
	ret_plan->price_in = rule->price_in;
	ret_plan->price_out = rule->price_out;
	return 0;
}

/* ---- listing ---- */

static const struct models_provider *models_first_provider(const struct models *m, const struct models_rule *rule,
							   const struct credentials *credentials, struct span tenant)
{
	for (size_t i = 0; i < rule->n_providers; i++) {
		const struct models_provider *provider = &m->providers[rule->providers[i]];

		unsigned versions;

		if (credentials_find(credentials, provider->name, tenant, &versions))
			return provider;
	}
	return NULL;
}

struct models_listing {
	const struct models *m;
	const char *scope;
	struct proto_model *to;
	size_t n, cap;
};

/* Where another rule decides, or the key has no say, this rule has nothing to show. Most of a key's own names are none
 * of this rule's: that is asked first, since the other two questions go through all of a list, for each of them. */
static void models_show(struct models_listing *l, const struct models_rule *rule,
			const struct models_provider *provider, struct span name)
{
	if (l->n == l->cap || models_open_ended(name) || !models_covers(rule->pattern, name) ||
	    !models_in_scope(l->scope, name) || models_rule_of(l->m, name) != rule)
		return;
	for (size_t i = 0; i < l->n; i++)
		if (span_eq(l->to[i].name, name))
			return;
	l->to[l->n++] = (struct proto_model){.name = name, .provider = span_str(provider->name)};
}

size_t models_list(const struct models *m, const struct credentials *credentials, struct span tenant, const char *scope,
		   struct proto_model *to, size_t cap)
{
	struct models_listing l = {.m = m, .scope = scope, .to = to, .cap = cap};
	struct span name;

	for (size_t i = 0; i < m->n_rules; i++) {
		const struct models_rule *rule = &m->rules[i];
		const struct models_provider *provider = models_first_provider(m, rule, credentials, tenant);

		if (!provider)
			continue;
		models_show(&l, rule, provider, rule->pattern);
		for (const char *at = rule->names; config_list_next(&at, &name);)
			models_show(&l, rule, provider, name);
		for (const char *at = scope; config_list_next(&at, &name);)
			models_show(&l, rule, provider, name);
	}
	return l.n;
}
