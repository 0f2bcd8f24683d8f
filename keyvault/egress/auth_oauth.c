/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OAuth 2.0: a refresh token (RFC 6749 6) or client credentials (4.4). The secret is sealed as the form in which it is
 * sent, so it is copied and never decoded:
 *
 *   client_secret=...&refresh_token=...      refresh, of a confidential client
 *   refresh_token=...                        refresh, of a public one
 *   client_secret=...                        client credentials
 *
 * HTTP Basic takes id and secret in just that encoding (2.3.1).
 */
#include "keyvault/egress/auth.h"

#define OAUTH_BASIC_BYTES 12288

struct oauth_secret {
	struct span client_secret, refresh_token; /* escaped; empty where there is none */
};

/* The member at the front of `rest`, if it is of that name. */
static struct span oauth_member(struct span *rest, const char *name)
{
	size_t len = strlen(name);

	if (rest->len < len || !span_eq_str(span_of(rest->p, len), name))
		return SPAN_NULL;
	const uint8_t *value = rest->p + len, *end = memchr(value, '&', rest->len - len);
	size_t value_len = end ? (size_t)(end - value) : rest->len - len;
	*rest = span_of(value + value_len + (end != NULL), rest->len - len - value_len - (end != NULL));
	return span_of(value, value_len);
}

static bool oauth_split(struct span secret, bool refresh, struct oauth_secret *ret)
{
	ret->client_secret = oauth_member(&secret, "client_secret=");
	ret->refresh_token = oauth_member(&secret, "refresh_token=");
	return secret.len == 0 && (refresh ? ret->refresh_token.len > 0 : ret->client_secret.len > 0);
}

static void oauth_put(struct text *form, const char *name, struct span escaped)
{
	text_put_str(form, name);
	text_put(form, escaped);
}

/* Who asks: in the head for those that have a secret, unless the service wants it in the form. */
static void oauth_put_client(const struct auth_use *use, struct span client_secret, struct text *lines,
			     struct text *form)
{
	const struct proto_binding *b = use->binding;
	struct text pair = TEXT_OF(use->work, OAUTH_BASIC_BYTES);

	if (client_secret.len > 0 && b->client_auth == 0) {
		text_put_escaped(&pair, b->client_id, 0);
		text_put_str(&pair, ":");
		text_put(&pair, client_secret);
		text_put_str(lines, "authorization: Basic ");
		text_put_base64(lines, text_span(&pair));
		text_put_str(lines, "\r\n");
		lines->full |= pair.full;
		return;
	}
	text_put_str(form, "&client_id=");
	text_put_escaped(form, b->client_id, 0);
	if (client_secret.len > 0)
		oauth_put(form, "&client_secret=", client_secret);
}

static int oauth_ask(const struct auth_use *use, struct text *lines, struct text *form, bool refresh)
{
	struct oauth_secret s;

	if (!oauth_split(use->secret, refresh, &s))
		return AUTH_E_SECRET;
	if (refresh)
		oauth_put(form, "grant_type=refresh_token&refresh_token=", s.refresh_token);
	else
		text_put_str(form, "grant_type=client_credentials");
	oauth_put_client(use, s.client_secret, lines, form);
	if (use->binding->auth_scope.len > 0) {
		text_put_str(form, "&scope=");
		text_put_escaped(form, use->binding->auth_scope, 0);
	}
	return lines->full || form->full ? AUTH_E_SIZE : 0;
}

static int oauth_ask_refresh(const struct auth_use *use, struct text *lines, struct text *form)
{
	return oauth_ask(use, lines, form, true);
}

static int oauth_ask_client(const struct auth_use *use, struct text *lines, struct text *form)
{
	return oauth_ask(use, lines, form, false);
}

static bool oauth_renew(struct span secret, struct span refresh, struct text *to)
{
	struct oauth_secret s;

	if (!oauth_split(secret, true, &s))
		return false;
	if (s.client_secret.len > 0) {
		oauth_put(to, "client_secret=", s.client_secret);
		text_put_str(to, "&");
	}
	text_put_str(to, "refresh_token=");
	text_put_escaped(to, refresh, 0);
	return !to->full;
}

const struct auth_scheme auth_oauth_refresh = {
	.live = auth_whole, .write = auth_header_write, .ask = oauth_ask_refresh, .renew = oauth_renew};
const struct auth_scheme auth_oauth_client = {.live = auth_whole, .write = auth_header_write, .ask = oauth_ask_client};
