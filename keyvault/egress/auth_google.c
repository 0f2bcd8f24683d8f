/* SPDX-License-Identifier: Apache-2.0 */
/* KEY_ID:BASE64 of a service account's RSA key, which signs an assertion that buys a token (RFC 7523 2.1). */
#include "keyvault/egress/auth.h"

#include "keyvault/egress/jwt.h"

#define GOOGLE_AUDIENCE_BYTES 600

static bool google_split(struct span secret, struct span *ret_key_id, struct span *ret_key)
{
	const uint8_t *colon = secret.len ? memchr(secret.p, ':', secret.len) : NULL;
	size_t len = colon ? (size_t)(colon - secret.p) : 0;

	if (!colon)
		return false;
	*ret_key_id = span_of(secret.p, len);
	*ret_key = span_of(colon + 1, secret.len - len - 1);
	return true;
}

/* Its own address, as the binding has it: whatever a key file or an answer says. */
static void google_put_audience(struct text *to, const struct proto_binding *b)
{
	text_put_str(to, "https://");
	head_put_host(to, b->token_host, (uint16_t)b->token_port);
	text_put(to, b->token_path);
}

static int google_ask(const struct auth_use *use, struct text *lines, struct text *form)
{
	uint8_t audience_bytes[GOOGLE_AUDIENCE_BYTES];
	struct text audience = TEXT_OF(audience_bytes, sizeof(audience_bytes));
	struct span key_id, base64;
	size_t len;

	(void)lines;
	google_put_audience(&audience, use->binding);
	if (!google_split(use->secret, &key_id, &base64) || base64.len > AUTH_WORK_BYTES ||
	    !text_get_base64(base64, use->work, &len))
		return AUTH_E_SECRET;
	struct jwt j = {.key_id = key_id,
			.issuer = use->binding->client_id,
			.scope = use->binding->auth_scope,
			.audience = text_span(&audience),
			.issued_s = use->unix_s};
	text_put_str(form, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
	int r = audience.full ? JWT_E_SIZE : jwt_write(&j, span_of(use->work, len), form);
	return r <= 0 ? r : r == JWT_E_KEY ? AUTH_E_SECRET : AUTH_E_SIZE;
}

const struct auth_scheme auth_google = {.live = auth_whole, .write = auth_header_write, .ask = google_ask};
