/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/fields.h"

#include <arpa/inet.h>
#include <sodium.h>

#include "common/bytes.h"

#define FIELDS_VERSION  1
#define FIELDS_IP_BYTES 16
#define FIELDS_AD_BYTES 192
#define FIELDS_HEAD     5 /* version, day */
#define FIELDS_NONCE    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

/* What for, day, and both names with their lengths: no two owners have the same. */
static size_t fields_ad(const char what[4], const struct fields_owner *owner, uint32_t day, uint8_t to[FIELDS_AD_BYTES])
{
	size_t tenant = MIN(owner->tenant.len, (size_t)64), subject = MIN(owner->subject.len, (size_t)64);

	memcpy(to, what, 4);
	put_be32(to + 4, day);
	to[8] = (uint8_t)tenant;
	if (tenant)
		memcpy(to + 9, owner->tenant.p, tenant);
	to[9 + tenant] = (uint8_t)subject;
	if (subject)
		memcpy(to + 10 + tenant, owner->subject.p, subject);
	return 10 + tenant + subject;
}

void fields_wrap(const uint8_t *purpose, const struct fields_owner *owner, uint32_t day, const uint8_t *chain,
		 uint8_t ret[FIELDS_WRAPPED_BYTES])
{
	uint8_t ad[FIELDS_AD_BYTES];
	size_t len = fields_ad("wrap", owner, day, ad);

	randombytes_buf(ret, FIELDS_NONCE);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret + FIELDS_NONCE, NULL, chain, FIELDS_KEY_BYTES, ad, len,
							 NULL, ret, purpose);
}

int fields_unwrap(const uint8_t *purpose, const struct fields_owner *owner, uint32_t day, struct span wrapped,
		  uint8_t *ret_chain)
{
	uint8_t ad[FIELDS_AD_BYTES];

	if (wrapped.len != FIELDS_WRAPPED_BYTES)
		return FIELDS_E_FORM;
	return crypto_aead_xchacha20poly1305_ietf_decrypt(ret_chain, NULL, NULL, wrapped.p + FIELDS_NONCE,
							  wrapped.len - FIELDS_NONCE, ad,
							  fields_ad("wrap", owner, day, ad), wrapped.p, purpose)
		       ? FIELDS_E_TAG
		       : 0;
}

static void fields_derive(const uint8_t *chain, const char *what, uint8_t *ret)
{
	(void)crypto_generichash(ret, FIELDS_KEY_BYTES, (const uint8_t *)what, strlen(what), chain, FIELDS_KEY_BYTES);
}

void fields_advance(uint8_t *chain, uint32_t days)
{
	uint8_t next[FIELDS_KEY_BYTES];

	for (; days > 0; days--) {
		fields_derive(chain, "bulkhead chain", next);
		memcpy(chain, next, sizeof(next));
	}
	secret_wipe(next, sizeof(next));
}

void fields_seal_key(const uint8_t *chain, uint8_t *ret_key)
{
	fields_derive(chain, "bulkhead field", ret_key);
}

/* ---- fields ---- */

static bool fields_address(struct span text, uint8_t ret[FIELDS_IP_BYTES])
{
	char address[FIELDS_ADDRESS_BYTES];

	if (text.len == 0 || text.len >= sizeof(address))
		return false;
	memcpy(address, text.p, text.len);
	address[text.len] = 0;
	if (inet_pton(AF_INET6, address, ret) == 1)
		return true;
	memset(ret, 0, 10);
	memset(ret + 10, 0xff, 2);
	return inet_pton(AF_INET, address, ret + 12) == 1;
}

int fields_seal(const uint8_t *seal_key, const struct fields_owner *owner, uint32_t day, struct span address,
		uint8_t ret[FIELDS_SEALED_BYTES])
{
	uint8_t ad[FIELDS_AD_BYTES], ip[FIELDS_IP_BYTES];
	uint8_t *nonce = ret + FIELDS_HEAD;

	if (!fields_address(address, ip))
		return FIELDS_E_FORM;
	ret[0] = FIELDS_VERSION;
	put_be32(ret + 1, day);
	randombytes_buf(nonce, FIELDS_NONCE);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + FIELDS_NONCE, NULL, ip, sizeof(ip), ad,
							 fields_ad("addr", owner, day, ad), NULL, nonce, seal_key);
	return 0;
}

int fields_day(struct span sealed, uint32_t *ret_day)
{
	uint32_t day = 0;

	if (sealed.len != FIELDS_SEALED_BYTES || sealed.p[0] != FIELDS_VERSION)
		return FIELDS_E_FORM;
	for (size_t i = 1; i < FIELDS_HEAD; i++)
		day = day << 8 | sealed.p[i];
	if (day > FIELDS_DAY_MAX)
		return FIELDS_E_FORM;
	*ret_day = day;
	return 0;
}

int fields_open(const uint8_t *seal_key, const struct fields_owner *owner, struct span sealed,
		char ret_address[FIELDS_ADDRESS_BYTES])
{
	uint8_t ad[FIELDS_AD_BYTES], ip[FIELDS_IP_BYTES];
	uint32_t day;
	int r = fields_day(sealed, &day);

	if (r)
		return r;
	const uint8_t *nonce = sealed.p + FIELDS_HEAD, *box = nonce + FIELDS_NONCE;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(ip, NULL, NULL, box, FIELDS_IP_BYTES + 16, ad,
						       fields_ad("addr", owner, day, ad), nonce, seal_key))
		return FIELDS_E_TAG;
	bool v4 = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)ip);
	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip + 12 : ip, ret_address, FIELDS_ADDRESS_BYTES))
		return FIELDS_E_FORM;
	return 0;
}
