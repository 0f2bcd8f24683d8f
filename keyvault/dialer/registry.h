/* SPDX-License-Identifier: Apache-2.0 */
/* registry.def as questions. Sans I/O. */
#pragma once

#include "common/address.h"

struct registry_row {
	const char *block;
	unsigned bits;
	bool never; /* no configuration permits it */
	const char *what, *by;
};

struct registry_name {
	const char *name;
	bool never;
	const char *by;
};

/* Why this address is not global unicast; NULL when it is. An IPv4 address that it carries is not looked at. */
const struct registry_row *registry_special(const struct address *a);
/* The IPv4 address that a translator makes of this one, and which translator; NULL when none does. */
const char *registry_carried(const struct address *a, struct address *ret_v4);
/* The row for this lower-case name, or NULL. */
const struct registry_name *registry_name(struct span host);
