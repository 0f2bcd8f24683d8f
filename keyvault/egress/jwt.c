/* SPDX-License-Identifier: Apache-2.0 */
/* Header and claims are public; only the signature is worth something, and for an hour. All of it is in the arena. */
#include "keyvault/egress/jwt.h"

#define JWT_PART_BYTES 2048

static void jwt_put_member(struct text *t, const char *name, struct span value)
{
	text_put_str(t, t->len > 1 ? ",\"" : "\"");
	text_put_str(t, name);
	text_put_str(t, "\":\"");
	text_put_json(t, value);
	text_put_str(t, "\"");
}

static void jwt_put_header(struct text *to, const struct jwt *j)
{
	uint8_t json[JWT_PART_BYTES];
	struct text t = TEXT_OF(json, sizeof(json));

	text_put_str(&t, "{");
	jwt_put_member(&t, "alg", SPAN_LIT("RS256"));
	jwt_put_member(&t, "typ", SPAN_LIT("JWT"));
	if (j->key_id.len > 0)
		jwt_put_member(&t, "kid", j->key_id);
	text_put_str(&t, "}");
	text_put_base64url(to, text_span(&t));
	to->full |= t.full;
}

static void jwt_put_claims(struct text *to, const struct jwt *j)
{
	uint8_t json[JWT_PART_BYTES];
	struct text t = TEXT_OF(json, sizeof(json));

	text_put_str(&t, "{");
	jwt_put_member(&t, "iss", j->issuer);
	if (j->scope.len > 0)
		jwt_put_member(&t, "scope", j->scope);
	jwt_put_member(&t, "aud", j->audience);
	text_put_str(&t, ",\"iat\":");
	text_put_u64(&t, j->issued_s);
	text_put_str(&t, ",\"exp\":");
	text_put_u64(&t, j->issued_s + JWT_LIFETIME_S);
	text_put_str(&t, "}");
	text_put_base64url(to, text_span(&t));
	to->full |= t.full;
}

int jwt_write(const struct jwt *j, struct span key, struct text *to)
{
	uint8_t signature[DIGEST_SIGNATURE_BYTES_MAX];
	size_t begin = to->len, len;

	jwt_put_header(to, j);
	text_put_str(to, ".");
	jwt_put_claims(to, j);
	if (to->full)
		return JWT_E_SIZE;
	int r = digest_rs256(key, span_of(to->to + begin, to->len - begin), signature, &len);
	if (r)
		return r < 0 ? r : JWT_E_KEY;
	text_put_str(to, ".");
	text_put_base64url(to, span_of(signature, len));
	explicit_bzero(signature, sizeof(signature));
	return to->full ? JWT_E_SIZE : 0;
}
