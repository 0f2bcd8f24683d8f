/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/auth.h"

#include <assert.h>

static const struct auth_scheme *const schemes[] = {
	[PROTO_AUTH_HEADER] = &auth_header,
	[PROTO_AUTH_BASIC] = &auth_basic,
	[PROTO_AUTH_SIGV4] = &auth_sigv4,
	[PROTO_AUTH_GOOGLE] = &auth_google,
	[PROTO_AUTH_OAUTH_REFRESH] = &auth_oauth_refresh,
	[PROTO_AUTH_OAUTH_CLIENT] = &auth_oauth_client,
};

const struct auth_scheme *auth_scheme_of(uint64_t auth)
{
	assert(auth < ARRAY_LEN(schemes));
	return schemes[auth];
}
