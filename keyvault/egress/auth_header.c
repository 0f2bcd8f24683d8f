/* SPDX-License-Identifier: Apache-2.0 */
/* The secret as it is, behind a prefix, in a header: API keys and bearer tokens. */
#include "keyvault/egress/auth.h"

int auth_header_write(const struct auth_use *use, const struct head *h, struct text *to)
{
	(void)h;
	text_put(to, use->binding->header);
	text_put_str(to, ": ");
	text_put(to, use->binding->prefix);
	/* The secret last, and only if the line's end fits behind it. */
	if (to->full || use->secret.len + 2 > to->cap - to->len)
		return HEAD_E_SIZE;
	text_put(to, use->secret);
	text_put_str(to, "\r\n");
	return 0;
}

size_t auth_whole(struct span secret, struct span ret_parts[AUTH_PARTS_MAX])
{
	ret_parts[0] = secret;
	return 1;
}

static bool header_sane(struct span secret)
{
	return secret.len > 0;
}

const struct auth_scheme auth_header = {.sane = header_sane, .live = auth_whole, .write = auth_header_write};
