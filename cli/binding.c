/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/binding.h"

#include <stdio.h>

/* What `auth` means: the words of config.def in their order. */
static const struct binding_auth {
	enum proto_auth proto;
	bool token;
	const char *header, *prefix; /* NULL: the configuration's, which is for auth: header alone */
} binding_auths[] = {
	[CONFIG_AUTH_BEARER] = {PROTO_AUTH_HEADER, false, "authorization", "Bearer "},
	[CONFIG_AUTH_HEADER] = {PROTO_AUTH_HEADER, false, NULL, ""},
	[CONFIG_AUTH_BASIC] = {PROTO_AUTH_BASIC, false, "authorization", "Basic "},
	[CONFIG_AUTH_SIGV4] = {PROTO_AUTH_SIGV4, false, "authorization", ""},
	[CONFIG_AUTH_GOOGLE] = {PROTO_AUTH_GOOGLE, true, "authorization", "Bearer "},
	[CONFIG_AUTH_OAUTH_REFRESH] = {PROTO_AUTH_OAUTH_REFRESH, true, "authorization", "Bearer "},
	[CONFIG_AUTH_OAUTH_CLIENT] = {PROTO_AUTH_OAUTH_CLIENT, true, "authorization", "Bearer "},
};

static unsigned binding_word(const char *key, const char *value)
{
	const struct config_row *row = config_row_of(config_section_row(CONFIG_PROVIDERS), span_str(key));
	uint64_t number = 0;

	return config_value(row, span_str(value), &number) ? 0 : (unsigned)number;
}

static void binding_token(struct binding *b, const char *client_auth)
{
	(void)snprintf(b->token_path, sizeof(b->token_path), "%s", b->token_url.prefix[0] ? b->token_url.prefix : "/");
	b->proto.client_auth = binding_word("client_auth", client_auth);
	b->proto.token_host = span_str(b->token_url.host);
	b->proto.token_port = b->token_url.port;
	b->proto.token_path = span_str(b->token_path);
}

static int binding_fill(struct cli *cli, size_t i, struct binding *b)
{
#define GET(key) config_tree_get(cli->config, CONFIG_PROVIDERS, i, key)
	const struct binding_auth *auth = &binding_auths[binding_word("auth", GET("auth"))];
	const char *name = GET("name");
	size_t pins = 0, token_pins = 0;

	*b = (struct binding){.form = {.auth = (unsigned)(auth - binding_auths), .token_url = GET("token_url")}};
	if (config_url_parse(GET("base_url"), &b->url) ||
	    (auth->token && config_url_parse(GET("token_url"), &b->token_url)) ||
	    !config_auth_pins(GET("pins"), b->pins, &pins) ||
	    !config_auth_pins(GET("token_pins"), b->token_pins, &token_pins))
		return cli_fail(cli, "provider '%s' is wrong: run `bulkhead config check`", name);
	b->proto = (struct proto_binding){
		.tenant = SPAN_LIT("*"),
		.credential = span_str(name),
		.provider = span_str(name),
		.scheme = SPAN_LIT("https"),
		.host = span_str(b->url.host),
		.port = b->url.port,
		.path_prefix = b->url.prefix[0] ? span_str(b->url.prefix) : SPAN_LIT("/"),
		.methods = BIT(PROTO_GET) | BIT(PROTO_POST),
		.header = span_str(auth->header ? auth->header : GET("header")),
		.prefix = span_str(auth->prefix),
		.auth = auth->proto,
		.auth_scope = span_str(GET("scope")),
		.pins = span_of(b->pins, pins),
		.token_pins = span_of(b->token_pins, token_pins),
	};
	if (auth->token)
		binding_token(b, GET("client_auth"));
	binding_set_client(b, GET("client_id"));
	return CLI_DONE;
#undef GET
}

void binding_set_client(struct binding *b, const char *client_id)
{
	if (!*client_id)
		return;
	(void)snprintf(b->client_id, sizeof(b->client_id), "%s", client_id);
	b->proto.client_id = span_str(b->client_id);
}

int binding_make(struct cli *cli, const char *provider, struct binding *ret_binding)
{
	const struct config_tree *t = cli->config;

	for (size_t i = 0; i < t->sections[CONFIG_PROVIDERS].n; i++)
		if (strcmp(config_tree_get(t, CONFIG_PROVIDERS, i, "name"), provider) == 0)
			return binding_fill(cli, i, ret_binding);
	return cli_fail(cli, "no provider '%s' in %s: add `- name: %s` to `providers` there and restart", provider,
			t->file, provider);
}
