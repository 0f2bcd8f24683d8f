/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/vault_renew.h"

int vault_renew(struct vault *v, struct span id, struct span secret, uint8_t ret_blob[SEAL_BYTES_MAX], size_t *ret_len)
{
	const struct store_version *current = store_current(store_find(&v->store, id));
	uint8_t packed[SEAL_BINDING_BYTES_MAX];
	struct seal_view view;
	size_t len;

	if (!current || seal_parse(span_of(current->blob, current->blob_len), &view))
		return VAULT_E_UNKNOWN;
	view.binding.since = ++view.binding.version;
	if (view.binding.auth != PROTO_AUTH_OAUTH_REFRESH ||
	    proto_pack_record(&proto_binding_desc, &view.binding, packed, sizeof(packed), &len))
		return VAULT_E_BINDING;
	return vault_add(v, span_of(packed, len), secret, ret_blob, ret_len);
}
