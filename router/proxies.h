/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which peers may speak for others: the proxies of router.trusted_proxies. Only their x-request-id is kept and only
 * their X-Forwarded-For is read, from the right, up to the first address that is not one of them. Sans I/O.
 */
#pragma once

#include "common/base.h"

#define PROXIES_MAX           64
#define PROXIES_ADDRESS_BYTES 46

struct proxies_net {
	uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;       /* of 128 */
};

struct proxies {
	size_t n;
	struct proxies_net nets[PROXIES_MAX];
};

enum proxies_err {
	PROXIES_E_INVALID = 1,
};

/* Reads a comma-separated list of addresses and CIDR ranges. 0 or PROXIES_E_INVALID. */
MUST_USE int proxies_parse(struct proxies *p, const char *list);
/* Is this address (text) one of them? */
bool proxies_trust(const struct proxies *p, struct span address);
/*
 * One X-Forwarded-For, read from the right: *address (text with NUL), of whoever sent it, becomes the last address in
 * it that is not a proxy of ours; something that is no address ends the walk. True: all of it were proxies, so the
 * field before this one says who came before them. Text is in the form that inet_ntop gives.
 */
bool proxies_client(const struct proxies *p, struct span forwarded_for, char address[PROXIES_ADDRESS_BYTES]);
