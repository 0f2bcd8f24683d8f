/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP addresses as configuration writes them: one spelling for each IPv4 address (no octal, no hexadecimal, no short
 * forms), no zones. Sans I/O.
 */
#pragma once

#include "common/base.h"

#define ADDRESS_TEXT_BYTES  46 /* with NUL */
#define ADDRESS_BITS_MIN_V4 8  /* a wider block is a slip, not a permission */
#define ADDRESS_BITS_MIN_V6 7

/* Without a port, in network order. */
struct address {
	int family; /* AF_INET or AF_INET6 */
	union {
		uint8_t v4[4], v6[16];
	};
};

struct address_block {
	struct address first;
	unsigned bits;
};

bool address_parse(struct span text, struct address *ret);
/* ADDRESS, ADDRESS:PORT or [IPv6]:PORT; `port_absent` when it names none. */
bool address_parse_port(struct span text, uint16_t port_absent, struct address *ret, uint16_t *ret_port);
/* ADDRESS or ADDRESS/BITS, no bit set behind BITS. */
bool address_parse_block(struct span text, struct address_block *ret);
/* The canonical text, with NUL. */
void address_print(const struct address *a, char to[ADDRESS_TEXT_BYTES]);
bool address_eq(const struct address *a, const struct address *b);
bool address_within(const struct address *a, const struct address_block *block);

/* A comma-separated list of blocks, none wider than ADDRESS_BITS_MIN_*. False with *ret_bad: the item that is none. */
bool address_list(const char *list, struct address_block *to, size_t max, size_t *ret_n, struct span *ret_bad);
