/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ID:SECRET or ID:SECRET:SESSION_TOKEN. The secret key itself is never sent; of what is sent only the session token is
 * worth anything for longer than a few minutes. Both are searched for in answers.
 *
 * Signed are host, x-amz-date, the session token and the content type, if there is one: AWS asks for no more, and what
 * a request has besides is the client's.
 */
#include "keyvault/egress/auth.h"

#include "common/binding_auth.h"
#include "common/secret.h"
#include "keyvault/egress/sigv4.h"

#define SIGV4_HOST_BYTES 280

struct sigv4_secret {
	struct span key_id, key, token; /* token may be empty */
};

static struct span sigv4_part(struct span *rest)
{
	const uint8_t *colon = rest->len ? memchr(rest->p, ':', rest->len) : NULL;
	size_t len = colon ? (size_t)(colon - rest->p) : rest->len;
	struct span part = span_of(rest->p, len);

	*rest = span_of(rest->p + len + (colon != NULL), rest->len - len - (colon != NULL));
	return part;
}

static struct sigv4_secret sigv4_secret_of(struct span secret)
{
	struct sigv4_secret s;

	s.key_id = sigv4_part(&secret);
	s.key = sigv4_part(&secret);
	s.token = secret;
	return s;
}

static bool sigv4_sane(struct span secret)
{
	struct sigv4_secret s = sigv4_secret_of(secret);

	return s.key_id.len > 0 && s.key_id.len <= 128 && s.key.len > 0;
}

static size_t sigv4_live(struct span secret, struct span ret_parts[AUTH_PARTS_MAX])
{
	struct sigv4_secret s = sigv4_secret_of(secret);

	ret_parts[0] = s.key;
	ret_parts[1] = s.token;
	return s.token.len > 0 ? 2 : 1;
}

/* The one content type that passes on. Two would be the router's mistake. */
static bool sigv4_content_type(const struct head *h, struct sigv4 *s)
{
	struct proto_list fields = h->fields;
	struct proto_header field;
	bool seen = false;

	while (proto_header_next(&fields, &field)) {
		if (!span_eq_str(field.name, "content-type"))
			continue;
		if (seen)
			return false;
		seen = true;
		s->fields[s->n_fields++] = (struct sigv4_field){field.name, field.value};
	}
	return true;
}

static int sigv4_write(const struct auth_use *use, const struct head *h, struct text *to)
{
	struct sigv4_secret secret = sigv4_secret_of(use->secret);
	uint8_t host_bytes[SIGV4_HOST_BYTES];
	struct text host = TEXT_OF(host_bytes, sizeof(host_bytes));
	struct sigv4 s = {.method = head_method(h->method),
			  .target = h->path,
			  .body = use->body,
			  .key_id = secret.key_id,
			  .secret = secret.key};

	head_put_host(&host, h->host, h->port);
	sigv4_date(use->unix_s, s.date);
	s.fields[s.n_fields++] = (struct sigv4_field){SPAN_LIT("host"), text_span(&host)};
	s.fields[s.n_fields++] = (struct sigv4_field){SPAN_LIT("x-amz-date"), span_str(s.date)};
	if (secret.token.len > 0)
		s.fields[s.n_fields++] = (struct sigv4_field){SPAN_LIT("x-amz-security-token"), secret.token};
	if (host.full || !sigv4_content_type(h, &s) || !binding_sign_scope(use->binding, &s.region, &s.service))
		return HEAD_E_FIELD;
	text_put_str(to, "x-amz-date: ");
	text_put_str(to, s.date);
	text_put_str(to, "\r\nauthorization: ");
	int r = sigv4_sign(&s, use->work, AUTH_WORK_BYTES, to);
	secret_wipe(use->work, AUTH_WORK_BYTES);
	if (r)
		return r < 0 ? r : HEAD_E_SIZE;
	text_put_str(to, "\r\n");
	if (secret.token.len == 0)
		return 0;
	text_put_str(to, "x-amz-security-token: ");
	if (to->full || secret.token.len + 2 > to->cap - to->len)
		return HEAD_E_SIZE;
	text_put(to, secret.token);
	text_put_str(to, "\r\n");
	return 0;
}

const struct auth_scheme auth_sigv4 = {.sane = sigv4_sane, .live = sigv4_live, .write = sigv4_write};
