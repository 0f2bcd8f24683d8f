/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/token_answer.h"

#include "common/json_member.h"
#include "common/json_scan.h"

static bool answer_object(struct span body, struct span *ret_object)
{
	struct json_body scanned;

	if (body.len > TOKEN_ANSWER_BYTES_MAX || json_scan(body, NULL, NULL, &scanned) ||
	    scanned.value.kind != JSON_KIND_OBJECT)
		return false;
	*ret_object = scanned.value.raw;
	return true;
}

/* A string of visible ASCII (RFC 6749 A.12, A.17) into `to`. Empty where there is none and none is needed. */
static bool answer_string(struct span object, const char *name, bool needed, uint8_t *to, struct span *ret)
{
	struct json_value value;
	size_t len = 0;
	unsigned n = json_member_find(object, name, &value);

	*ret = SPAN_NULL;
	if (n == 0 || (n == 1 && value.kind == JSON_KIND_NULL))
		return !needed;
	if (n > 1 || json_text(&value, to, TOKEN_BYTES_MAX, &len) || len == 0 ||
	    !span_is_printable(span_of(to, len), '!'))
		return false;
	*ret = span_of(to, len);
	return true;
}

/* Seconds as a number, or as some services spell it, a string of digits. What cannot be read is as if it were not said:
 * to refuse the answer for it would lose the token, and the refresh token with which the old one was used up. */
static bool answer_life(struct span object, uint64_t *ret_s)
{
	struct json_value value;
	unsigned n = json_member_find(object, "expires_in", &value);
	uint64_t s = 0;
	int r = JSON_VALUE_E_KIND;

	if (n == 1) {
		if (value.kind == JSON_KIND_STRING && !value.escaped && value.raw.len > 0)
			value.kind = JSON_KIND_NUMBER;
		r = json_u64(&value, &s);
	}
	if (r == JSON_VALUE_E_RANGE)
		s = TOKEN_LIFE_S_MAX;
	*ret_s = s > 0 ? MIN(s, (uint64_t)TOKEN_LIFE_S_MAX) : TOKEN_LIFE_S_ABSENT;
	return n <= 1;
}

static bool answer_is_bearer(struct span object)
{
	static const char bearer[] = "bearer";
	struct json_value value;

	if (json_member_find(object, "token_type", &value) != 1 || value.kind != JSON_KIND_STRING ||
	    value.raw.len != sizeof(bearer) - 1)
		return false;
	for (size_t i = 0; i < sizeof(bearer) - 1; i++)
		if ((value.raw.p[i] | 0x20) != bearer[i])
			return false;
	return true;
}

int token_answer_read(struct span body, uint8_t *work, struct token_answer *ret_answer)
{
	struct token_answer a;
	struct span object;

	if (!answer_object(body, &object) || !answer_is_bearer(object) || !answer_life(object, &a.life_s) ||
	    !answer_string(object, "access_token", true, work, &a.token) ||
	    !answer_string(object, "refresh_token", false, work + TOKEN_BYTES_MAX, &a.refresh))
		return TOKEN_ANSWER_E_INVALID;
	*ret_answer = a;
	return 0;
}

void token_answer_error(struct span body, char ret[TOKEN_ERROR_BYTES + 1])
{
	struct json_value value;
	struct span object;

	ret[0] = 0;
	if (!answer_object(body, &object) || json_member_find(object, "error", &value) != 1 ||
	    value.kind != JSON_KIND_STRING || value.raw.len > TOKEN_ERROR_BYTES)
		return;
	for (size_t i = 0; i < value.raw.len; i++)
		if (value.raw.p[i] != '_' && !(value.raw.p[i] >= 'a' && value.raw.p[i] <= 'z'))
			return;
	memcpy(ret, value.raw.p, value.raw.len);
	ret[value.raw.len] = 0;
}
