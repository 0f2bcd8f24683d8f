/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a connection may go. Sans I/O.
 *
 * Names: only hosts of configured providers and their token services, never one that means this machine or this
 * network. Addresses: only global unicast by the registries, and of an address that carries another one (NAT64) both.
 * What a provider's configuration adds is for that origin alone:
 *
 *   connect_to      this address and no other; no name is resolved
 *   connect_within  addresses in these blocks and no others, private or not; a private name is then resolved
 *
 * Rows of registry.def that say NEVER (metadata services, multicast, link-local ...) hold against both.
 */
#pragma once

#include "common/config.h"
#include "keyvault/dialer/registry.h"

#define POLICY_WITHIN_MAX 16
#define POLICY_WHY_BYTES  160

struct policy_origin {
	struct config_url url;
	bool pinned; /* connect_to: within[0] is that address */
	struct address_block within[POLICY_WITHIN_MAX];
	size_t n_within;
};

struct policy {
	struct policy_origin *origins;
	size_t n;
};

/* For operators: what was refused, why, and what would permit it. */
struct policy_refusal {
	char address[ADDRESS_TEXT_BYTES]; /* "": a name was */
	char why[POLICY_WHY_BYTES];
};

enum policy_err {
	POLICY_E_DENIED = 1,
	POLICY_E_CONFIG, /* a base_url, connect_to or connect_within that makes no sense: *ret_provider says whose */
};

#define POLICY_NULL ((struct policy){0})

/* 0, POLICY_E_CONFIG or -ENOMEM. */
MUST_USE int policy_init(struct policy *p, const struct config *config, const char **ret_provider);
void policy_deinit(struct policy *p);

/* The origin asked for, valid as long as the policy. 0 or POLICY_E_DENIED. */
MUST_USE int policy_find(const struct policy *p, struct span host, uint64_t port,
			 const struct policy_origin **ret_origin, struct policy_refusal *ret_refusal);
/* May this address be connected for this origin? 0 or POLICY_E_DENIED. */
MUST_USE int policy_judge(const struct policy_origin *o, const struct address *a, struct policy_refusal *ret_refusal);
/* May this name be resolved? Lower-case letters, digits and hyphens, no number in any spelling, none of the registry's.
 * `private`: the origin has a connect_within. 0 or POLICY_E_DENIED. */
MUST_USE int policy_name(const char *host, bool private, struct policy_refusal *ret_refusal);
