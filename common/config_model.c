/* SPDX-License-Identifier: Apache-2.0 */
/* Names of models and patterns of them, as the launcher checks them in a file and authd in every request. */
#include "common/config.h"

#define CONFIG_MODEL_BYTES_MAX 256

static bool model_alnum(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool config_model_valid(struct span name)
{
	if (name.len == 0 || name.len > CONFIG_MODEL_BYTES_MAX || !model_alnum(name.p[0]))
		return false;
	for (size_t i = 1; i < name.len; i++) {
		uint8_t c = name.p[i];

		if (!model_alnum(c) && c != '.' && c != '_' && c != ':' && c != '/' && c != '-')
			return false;
		if (c == '.' && name.p[i - 1] == '.')
			return false;
	}
	return true;
}

bool config_pattern_valid(struct span pattern)
{
	if (pattern.len > 0 && pattern.p[pattern.len - 1] == '*')
		return pattern.len == 1 || config_model_valid(span_of(pattern.p, pattern.len - 1));
	return config_model_valid(pattern);
}
