/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/voids.h"

#include <assert.h>

#include "keyvault/egress/permit.h"

void voids_reset(struct voids *v)
{
	*v = (struct voids){0};
}

bool voids_mean(enum voids_what what, struct span name, struct span tenant, struct span principal,
		struct span credential)
{
	switch (what) {
	case VOIDS_TENANT:
		return span_eq(name, tenant);
	case VOIDS_PRINCIPAL:
		return span_eq(name, principal);
	case VOIDS_CREDENTIAL:
		return span_eq(name, credential);
	default:
		return true;
	}
}

void voids_add(struct voids *v, const struct proto_grants_void *what, uint64_t now_ms)
{
	if (what->what == VOIDS_ALL) {
		v->all_below = MAX(v->all_below, what->below);
		return;
	}
	if (v->n == VOIDS_MAX) {
		v->all_below = MAX(v->all_below, v->rows[0].below);
		memmove(&v->rows[0], &v->rows[1], (VOIDS_MAX - 1) * sizeof(v->rows[0]));
		v->n--;
	}
	struct voids_row *row = &v->rows[v->n++];
	*row = (struct voids_row){
		.what = (enum voids_what)what->what, .below = what->below, .until_ms = now_ms + PERMIT_LIFETIME_MS_MAX};
	assert(what->name.len < sizeof(row->name)); /* the schema's bound */
	memcpy(row->name, what->name.p, what->name.len);
}

bool voids_match(struct voids *v, const struct proto_grant *g, const struct proto_grant_route *route, uint64_t now_ms)
{
	if (g->series < v->all_below)
		return true;
	if (v->n > 0 && now_ms > v->rows[v->n - 1].until_ms)
		v->n = 0; /* whatever was meant has ended by now */
	for (size_t i = 0; i < v->n; i++)
		if (g->series < v->rows[i].below &&
		    voids_mean(v->rows[i].what, span_str(v->rows[i].name), g->tenant, g->principal, route->credential))
			return true;
	return false;
}
