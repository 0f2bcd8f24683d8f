/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USER:PASSWORD in base64 (RFC 7617). What a provider may echo is both together, or the password.
 */
#include "keyvault/egress/auth.h"

static struct span basic_password(struct span secret)
{
	const uint8_t *colon = secret.len ? memchr(secret.p, ':', secret.len) : NULL;

	return colon ? span_of(colon + 1, secret.len - (size_t)(colon + 1 - secret.p)) : SPAN_NULL;
}

static size_t basic_live(struct span secret, struct span ret_parts[AUTH_PARTS_MAX])
{
	ret_parts[0] = secret;
	ret_parts[1] = basic_password(secret);
	return 2;
}

static bool basic_sane(struct span secret)
{
	return basic_password(secret).len > 0 && secret.p[0] != ':';
}

static int basic_write(const struct auth_use *use, const struct head *h, struct text *to)
{
	(void)h;
	text_put(to, use->binding->header);
	text_put_str(to, ": ");
	text_put(to, use->binding->prefix);
	if (to->full || (use->secret.len + 2) / 3 * 4 + 2 > to->cap - to->len)
		return HEAD_E_SIZE;
	text_put_base64(to, use->secret);
	text_put_str(to, "\r\n");
	return 0;
}

const struct auth_scheme auth_basic = {.sane = basic_sane, .live = basic_live, .write = basic_write};
