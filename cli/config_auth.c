/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_auth.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "common/base64.h"

#define AUTH_GOOGLE_TOKEN_URL "https://oauth2.googleapis.com/token"
#define AUTH_GOOGLE_SCOPE     "https://www.googleapis.com/auth/cloud-platform"
#define AUTH_BEDROCK          "bedrock-runtime."

static const char *auth_get(const struct config_tree *t, size_t i, const char *key)
{
	const char *value = config_tree_get(t, CONFIG_PROVIDERS, i, key);

	return value ? value : "";
}

static int auth_set(struct config_tree *t, size_t i, const char *key, const char *value)
{
	struct config_place place = {CONFIG_PROVIDERS, i,
				     config_row_of(config_section_row(CONFIG_PROVIDERS), span_str(key))};

	return *auth_get(t, i, key) ? 0 : config_tree_set(t, &place, span_str(value), 0, key);
}

/* bedrock-runtime.REGION.amazonaws.com, also of China's partition: the host says for whom is signed. */
static bool auth_bedrock_scope(const char *base_url, char *to, size_t cap)
{
	struct config_url url;

	if (config_url_parse(base_url, &url) || strncmp(url.host, AUTH_BEDROCK, sizeof(AUTH_BEDROCK) - 1) != 0)
		return false;
	const char *region = url.host + sizeof(AUTH_BEDROCK) - 1, *rest = strchr(region, '.');
	if (!rest || (strcmp(rest, ".amazonaws.com") != 0 && strcmp(rest, ".amazonaws.com.cn") != 0))
		return false;
	(void)snprintf(to, cap, "%.*s/bedrock", (int)(rest - region), region);
	return true;
}

int config_auth_complete(struct config_tree *t, size_t i)
{
	const char *auth = auth_get(t, i, "auth");
	char scope[300];
	int r = 0;

	if (strcmp(auth, "google") == 0) {
		r = auth_set(t, i, "token_url", AUTH_GOOGLE_TOKEN_URL);
		if (!r)
			r = auth_set(t, i, "scope", AUTH_GOOGLE_SCOPE);
	}
	if (strcmp(auth, "sigv4") == 0 && auth_bedrock_scope(auth_get(t, i, "base_url"), scope, sizeof(scope)))
		r = auth_set(t, i, "scope", scope);
	return r;
}

bool config_auth_pins(const char *pins, uint8_t to[CONFIG_PINS_MAX * CONFIG_PIN_BYTES], size_t *ret_len)
{
	struct span pin;
	size_t n = 0, len;

	for (const char *at = pins; config_list_next(&at, &pin); n++)
		if (n == CONFIG_PINS_MAX ||
		    !base64_decode(BASE64_STANDARD, pin, to + n * CONFIG_PIN_BYTES, CONFIG_PIN_BYTES, &len) ||
		    len != CONFIG_PIN_BYTES)
			return false;
	*ret_len = n * CONFIG_PIN_BYTES;
	return true;
}

/* ASCII that can stand in a claim, a form and a log line: RFC 6749 A.1, A.4. */
static bool auth_is_text(const char *s, bool spaces)
{
	for (; *s; s++)
		if (*s < (spaces ? 0x20 : 0x21) || *s > 0x7e || *s == '"' || *s == '\\')
			return false;
	return true;
}

static bool auth_is_sign_scope(const char *scope)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t region = strspn(scope, plain);

	if (region == 0 || scope[region] != '/')
		return false;
	size_t service = strspn(scope + region + 1, plain);
	return service > 0 && scope[region + 1 + service] == 0;
}

static int auth_check_pins(struct config_tree *t, size_t i, unsigned line, const char *key)
{
	uint8_t pins[CONFIG_PINS_MAX * CONFIG_PIN_BYTES];
	size_t len;

	if (config_auth_pins(auth_get(t, i, key), pins, &len))
		return 0;
	return config_tree_wrong(t, line, "%s of provider '%s' must be at most %d SHA-256 digests in base64", key,
				 auth_get(t, i, "name"), CONFIG_PINS_MAX);
}

static int auth_check_token(struct config_tree *t, size_t i, unsigned line, bool oauth)
{
	const char *name = auth_get(t, i, "name"), *to = auth_get(t, i, "token_connect_to");
	struct config_url url;
	uint8_t bytes[16];

	if (config_url_parse(auth_get(t, i, "token_url"), &url))
		return config_tree_wrong(t, line, "provider '%s' needs a token_url: https://host[:port]/path", name);
	if (*to && inet_pton(AF_INET, to, bytes) != 1 && inet_pton(AF_INET6, to, bytes) != 1)
		return config_tree_wrong(t, line, "token_connect_to of provider '%s' must be an IP address", name);
	if (oauth && !*auth_get(t, i, "client_id"))
		return config_tree_wrong(t, line, "provider '%s' needs the client_id that its token service knows",
					 name);
	return 0;
}

int config_auth_check(struct config_tree *t, size_t i)
{
	const char *name = auth_get(t, i, "name"), *auth = auth_get(t, i, "auth"), *scope = auth_get(t, i, "scope");
	unsigned line = t->sections[CONFIG_PROVIDERS].elements[i].line;
	bool oauth = strncmp(auth, "oauth_", 6) == 0, google = strcmp(auth, "google") == 0;
	bool sigv4 = strcmp(auth, "sigv4") == 0;
	int r = auth_check_pins(t, i, line, "pins");

	if (!r)
		r = auth_check_pins(t, i, line, "token_pins");
	if (r)
		return r;
	if (strcmp(auth, "header") != 0 && strcmp(auth_get(t, i, "header"), "authorization") != 0)
		return config_tree_wrong(t, line,
					 "header of provider '%s' is for auth: header; auth: %s sends the key in "
					 "authorization",
					 name, auth);
	if (!auth_is_text(scope, true) || !auth_is_text(auth_get(t, i, "client_id"), false))
		return config_tree_wrong(t, line, "scope and client_id of provider '%s' must be ASCII without quotes",
					 name);
	if (sigv4 && !auth_is_sign_scope(scope))
		return config_tree_wrong(
			t, line, "provider '%s' needs `scope: REGION/SERVICE`, such as us-east-1/bedrock", name);
	if ((google || oauth || sigv4) && *auth_get(t, i, "key_file"))
		return config_tree_wrong(
			t, line,
			"key_file of provider '%s' holds a key in one line, which auth: %s has not: use "
			"`bulkhead vault add`",
			name, auth);
	if (google || oauth)
		return auth_check_token(t, i, line, oauth);
	if (*auth_get(t, i, "token_url") || *auth_get(t, i, "client_id") || *auth_get(t, i, "token_connect_to") ||
	    *auth_get(t, i, "token_pins") || (*scope && !sigv4))
		return config_tree_wrong(t, line, "provider '%s' has keys of a token service, but auth: %s asks none",
					 name, auth);
	return 0;
}
