/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BULKHEAD_<SECTION>_<KEY> overrides a key of a section, BULKHEAD_<KEY> one of the top level; lists are the file's
 * alone. A variable that begins like an override and is none is refused like an unknown key, except those that
 * Kubernetes makes for services (BULKHEAD_ROUTER_SERVICE_HOST, BULKHEAD_ROUTER_PORT_8080_TCP). There are no secret keys
 * in this file.
 */
#include <ctype.h>
#include <stdio.h>

#include "cli/config_tree.h"

#define ENV_PREFIX "BULKHEAD_"

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
	char prefix[96];

	env_name(section, "", prefix, sizeof(prefix));
	return section != config_section_row(CONFIG_BULKHEAD) && name.len > strlen(prefix) &&
	       memcmp(name.p, prefix, strlen(prefix)) == 0 && name.p[strlen(prefix)] == '_' && !env_is_service(name);
}

static int env_section(struct config_tree *t, enum config_section s, struct span name, struct span value)
{
	const struct config_section_row *section = config_section_row(s);
	char text[96];

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
	if (env_is_mistyped(section, name))
		return config_tree_wrong(t, 0, "environment variable %.*s overrides no key", SPAN_ARG(name));
	return 0;
}

int config_env(struct config_tree *t, char **environ_)
{
	for (; *environ_; environ_++) {
		size_t len = strcspn(*environ_, "=");

		if (strncmp(*environ_, ENV_PREFIX, sizeof(ENV_PREFIX) - 1) != 0 || (*environ_)[len] != '=')
			continue;
		for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
			int r = config_section_row(s)->element[0]
					? 0
					: env_section(t, s, span_of(*environ_, len), span_str(*environ_ + len + 1));
			if (r)
				return r;
		}
	}
	return 0;
}
