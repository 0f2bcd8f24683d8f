/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BULKHEAD_<SECTION>_<KEY> overrides a key of a section, BULKHEAD_<KEY> one of the top level; lists are the file's
 * alone. A variable that begins like an override and is none is refused like an unknown key, except those that
 * Kubernetes makes for services (BULKHEAD_ROUTER_SERVICE_HOST, BULKHEAD_ROUTER_PORT_8080_TCP). There are no secret keys
 * in this file.
 *
 * One that names no section may be somebody else's. So it is a stray, which is not refused: who starts daemons is
 * warned of it. What this project reads itself elsewhere is none, nor what Kubernetes makes.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>

#include "cli/config_tree.h"

#define ENV_PREFIX       "BULKHEAD_"
#define ENV_PREFIX_BYTES (sizeof(ENV_PREFIX) - 1)
#define ENV_NAMES_MAX    96

static void env_name(const struct config_section_row *section, const char *key, char *to, size_t cap)
{
	snprintf(to, cap, ENV_PREFIX "%s%s%s", section->name, key[0] ? "_" : "", key);
	if (section == config_section_row(CONFIG_BULKHEAD))
		snprintf(to, cap, ENV_PREFIX "%s", key);
	for (; *to; to++)
		*to = (char)toupper((unsigned char)*to);
}

static bool env_is_service(struct span name)
{
	return memmem(name.p, name.len, "_SERVICE_", 9) || memmem(name.p, name.len, "_PORT", 5);
}

/* A section's own prefix, and yet no key of it. */
static bool env_is_mistyped(const struct config_section_row *section, struct span name)
{
	char prefix[CONFIG_ENV_BYTES];

	env_name(section, "", prefix, sizeof(prefix));
	return section != config_section_row(CONFIG_BULKHEAD) && name.len > strlen(prefix) &&
	       memcmp(name.p, prefix, strlen(prefix)) == 0 && name.p[strlen(prefix)] == '_' && !env_is_service(name);
}

/* The override that is most like it, or "". What all have in front is not compared: it would make strangers alike. */
static void env_nearest(struct span name, char ret[CONFIG_ENV_BYTES])
{
	char names[ENV_NAMES_MAX][CONFIG_ENV_BYTES];
	const char *all[ENV_NAMES_MAX + 1];
	size_t n = 0;

	for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
		const struct config_section_row *section = config_section_row(s);

		for (size_t i = 0; !section->element[0] && i < section->n_rows; i++) {
			assert(n < ENV_NAMES_MAX);
			env_name(section, section->rows[i].key, names[n], CONFIG_ENV_BYTES);
			all[n] = names[n] + ENV_PREFIX_BYTES;
			n++;
		}
	}
	all[n] = NULL;
	const char *nearest = config_nearest(span_of(name.p + ENV_PREFIX_BYTES, name.len - ENV_PREFIX_BYTES), all);
	(void)snprintf(ret, CONFIG_ENV_BYTES, "%s%s", nearest ? ENV_PREFIX : "", nearest ? nearest : "");
}

static int env_section(struct config_tree *t, enum config_section s, struct span name, struct span value)
{
	const struct config_section_row *section = config_section_row(s);
	char text[CONFIG_ENV_BYTES];

	for (size_t i = 0; i < section->n_rows; i++) {
		struct config_place place = {s, 0, &section->rows[i]};

		env_name(section, section->rows[i].key, text, sizeof(text));
		if (!span_eq_str(name, text))
			continue;
		if (t->sections[s].n == 0) {
			int r = config_tree_add(t, s, 0);
			if (r)
				return r;
		}
		return config_tree_set(t, &place, value, 0, text);
	}
	if (!env_is_mistyped(section, name))
		return 0;
	env_nearest(name, text);
	return config_tree_wrong(t, 0, "environment variable %.*s overrides no key%s%s%s", SPAN_ARG(name),
				 text[0] ? "; did you mean '" : "", text, text[0] ? "'?" : "");
}

/* The name of a variable that begins like ours, SPAN_NULL of others. */
static struct span env_ours(const char *variable)
{
	size_t len = strcspn(variable, "=");

	return strncmp(variable, ENV_PREFIX, ENV_PREFIX_BYTES) == 0 && variable[len] == '=' ? span_of(variable, len)
											    : SPAN_NULL;
}

int config_env(struct config_tree *t, char **environ_)
{
	for (; *environ_; environ_++) {
		struct span name = env_ours(*environ_);

		for (unsigned s = 0; name.len > 0 && s < N_CONFIG_SECTIONS; s++) {
			int r = config_section_row(s)->element[0]
					? 0
					: env_section(t, s, name, span_str(*environ_ + name.len + 1));
			if (r)
				return r;
		}
	}
	return 0;
}

/* ---- strays ---- */

/* Kubernetes' own: of _PORT alone only the value tells it from an operator's, for it is an URL. */
static bool env_is_made(struct span name, const char *value)
{
	const struct span port = SPAN_LIT("_PORT");

	return memmem(name.p, name.len, "_SERVICE_", 9) || memmem(name.p, name.len, "_PORT_", 6) ||
	       (span_eq(span_of(name.p + name.len - port.len, port.len), port) && strstr(value, "://"));
}

static bool env_is_known(struct span name, const char *value)
{
	static const char *const read_elsewhere[] = {"BULKHEAD_CONFIG", "BULKHEAD_BUILD"};
	char nearest[CONFIG_ENV_BYTES];

	for (size_t i = 0; i < ARRAY_LEN(read_elsewhere); i++)
		if (span_eq_str(name, read_elsewhere[i]))
			return true;
	env_nearest(name, nearest);
	return span_eq_str(name, nearest) || env_is_made(name, value);
}

char **config_env_stray(char **environ_, struct span *ret_name, char ret_nearest[CONFIG_ENV_BYTES])
{
	for (; *environ_; environ_++) {
		struct span name = env_ours(*environ_);

		if (name.len == 0 || env_is_known(name, *environ_ + name.len + 1))
			continue;
		*ret_name = name;
		env_nearest(name, ret_nearest);
		return environ_;
	}
	return NULL;
}
