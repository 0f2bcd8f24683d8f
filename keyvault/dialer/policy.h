/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a connection may go. Sans I/O.
 *
 * Names: only origins of configured providers, never one that means this machine or this network. Addresses: only
 * global unicast by the IANA special-purpose registries, and of an address that carries another one (mapped, NAT64,
 * 6to4) both. The one exception is what the configuration permits by `connect_to`: that address, for that origin, and
 * then no name is resolved.
 */
#pragma once

#include <netinet/in.h>

#include "common/config.h"

/* An address without a port, in network order. */
struct policy_address {
	int family; /* AF_INET or AF_INET6 */
	union {
		uint8_t v4[4], v6[16];
	};
};

struct policy_origin {
	struct config_url url;
	bool pinned; /* `address` is permitted, and no other */
	struct policy_address address;
};

struct policy {
	struct policy_origin *origins;
	size_t n;
};

enum policy_err {
	POLICY_E_DENIED = 1, /* no such origin, or a name that is never resolved */
	POLICY_E_CONFIG,     /* a base_url or connect_to that makes no sense: *ret_provider says whose */
};

#define POLICY_NULL ((struct policy){0})

/* 0, POLICY_E_CONFIG or -ENOMEM. */
MUST_USE int policy_init(struct policy *p, const struct config *config, const char **ret_provider);
void policy_deinit(struct policy *p);
/* The origin asked for, valid as long as the policy. 0 or POLICY_E_DENIED. */
MUST_USE int policy_find(const struct policy *p, struct span host, uint64_t port,
			 const struct policy_origin **ret_origin);

/* Lower case, letters, digits and hyphens, at least two labels, none of the names that mean "here". */
bool policy_name_ok(const char *host);
/* Global unicast, through and through. */
bool policy_address_ok(const struct policy_address *a);
/* Canonical text only: no octal, no hexadecimal, no short forms. */
bool policy_address_parse(const char *text, struct policy_address *ret_address);
