/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider's base_url taken apart, by the strictest reading: the host decides where a key may go, so there is exactly
 * one way to write one. What this file accepts needs no decoding anywhere else: no percent signs, no dots as path
 * segments.
 */
#include "common/config.h"

#include <arpa/inet.h>

static bool url_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/* A name or IPv4 address: labels of 1 to 63 characters that neither begin nor end with a hyphen. */
static bool url_host_name(const char *host)
{
	size_t label = 0;

	for (const char *p = host; *p; p++) {
		if (*p == '.') {
			if (label == 0 || p[-1] == '-')
				return false;
			label = 0;
		} else if (!url_host_char(*p) || (label == 0 && *p == '-') || ++label > 63) {
			return false;
		}
	}
	return label > 0 && host[strlen(host) - 1] != '-';
}

/* Moves past the host; *at is behind it on success. */
static bool url_host(const char **at, char *to, size_t cap)
{
	struct in6_addr v6;
	bool brackets = **at == '[';
	const char *begin = *at + brackets;
	size_t len = brackets ? strcspn(begin, "]") : strcspn(begin, ":/");

	if (len == 0 || len >= cap || (brackets && begin[len] != ']'))
		return false;
	memcpy(to, begin, len);
	to[len] = 0;
	*at = begin + len + brackets;
	return brackets ? inet_pton(AF_INET6, to, &v6) == 1 : url_host_name(to);
}

static bool url_port(const char **at, uint16_t *ret)
{
	unsigned port = 0;

	if (**at != ':') {
		*ret = 443;
		return true;
	}
	for (++*at; **at >= '0' && **at <= '9'; ++*at)
		if ((port = port * 10 + (unsigned)(**at - '0')) > 65535)
			return false;
	*ret = (uint16_t)port;
	return port > 0;
}

/* Unreserved characters and slashes; a segment is neither empty nor made of dots. A final slash is dropped. */
static bool url_prefix(const char *at, char *to, size_t cap)
{
	size_t len = strlen(at), segment = 0, dots = 0;

	if (len > 0 && at[len - 1] == '/')
		len--;
	if (len >= cap || (len > 0 && at[0] != '/'))
		return false;
	for (size_t i = 0; i < len; i++) {
		bool plain = (at[i] >= 'A' && at[i] <= 'Z') || url_host_char(at[i]) || at[i] == '~';

		if (at[i] == '/' ? i > 0 && segment == dots : !plain)
			return false;
		segment = at[i] == '/' ? 0 : segment + 1;
		dots = at[i] == '/' ? 0 : dots + (at[i] == '.');
	}
	if (len > 0 && segment == dots)
		return false;
	memcpy(to, at, len);
	to[len] = 0;
	return true;
}

int config_url_parse(const char *base_url, struct config_url *ret_url)
{
	static const char scheme[] = "https://";
	struct config_url url = {0};
	const char *at = base_url + sizeof(scheme) - 1;

	if (strncmp(base_url, scheme, sizeof(scheme) - 1) != 0 || !url_host(&at, url.host, sizeof(url.host)) ||
	    !url_port(&at, &url.port) || !url_prefix(at, url.prefix, sizeof(url.prefix)))
		return CONFIG_E_INVALID;
	*ret_url = url;
	return 0;
}
