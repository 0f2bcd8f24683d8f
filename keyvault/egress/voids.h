/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants that an operator has withdrawn: all of a series older than the one that began then, or those of one tenant,
 * gateway key or provider key among them. A row is of use for as long as a grant lives. When there are more rows than
 * places, the oldest one is widened to all grants of its time: that refuses more than was asked for, never less.
 *
 * Of one epoch, like series. Sans I/O; time is monotonic.
 */
#pragma once

#include "proto/proto.h"

#define VOIDS_MAX 16

/* GRANTS_VOID.what and VAULT_REVOKE_GRANTS.what */
enum voids_what { VOIDS_ALL, VOIDS_TENANT, VOIDS_PRINCIPAL, VOIDS_CREDENTIAL, N_VOIDS_WHAT };

struct voids {
	uint64_t all_below; /* a series */
	size_t n;
	struct voids_row {
		enum voids_what what;
		uint64_t below, until_ms;
		char name[65];
	} rows[VOIDS_MAX]; /* oldest first */
};

void voids_reset(struct voids *v);
void voids_add(struct voids *v, const struct proto_grants_void *what, uint64_t now_ms);
/* Was it withdrawn? Route: the one that is to be used. */
bool voids_match(struct voids *v, const struct proto_grant *g, const struct proto_grant_route *route, uint64_t now_ms);
/* Does `what` mean a grant of these? */
bool voids_mean(enum voids_what what, struct span name, struct span tenant, struct span principal,
		struct span credential);
