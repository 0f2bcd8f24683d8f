/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of checks matters twice. Nothing of a grant is looked at before its MAC is right, but for one thing: a
 * grant that does not verify and names another epoch is called stale, not forged, since that is what every live grant
 * becomes when an egress or the core restarts. And the use is marked last, so that a refused attempt does not use a
 * grant up.
 */
#include "keyvault/egress/permit.h"

#include "common/binding_auth.h"
#include "common/grant.h"
#include "keyvault/egress/head.h"

/* The epoch that it names, 0: none. */
static uint64_t permit_claim(struct span bytes)
{
	struct proto_grant g;

	if (bytes.len <= GRANT_MAC_BYTES ||
	    proto_unpack_record(&proto_grant_desc, span_of(bytes.p + GRANT_MAC_BYTES, bytes.len - GRANT_MAC_BYTES), &g))
		return 0;
	return g.epoch;
}

bool permit_is_early(const struct permit_env *env, struct span grant)
{
	return permit_claim(grant) > env->epoch;
}

static bool permit_route(const struct proto_grant *g, uint64_t index, struct proto_grant_route *ret_route)
{
	struct proto_list routes = g->routes;

	for (uint64_t i = 0; proto_grant_route_next(&routes, ret_route); i++)
		if (i == index)
			return true;
	*ret_route = (struct proto_grant_route){0};
	return false;
}

bool permit_has_spare(const struct proto_grant *g, uint64_t route)
{
	struct proto_grant_route this, next;

	return route + 1 < g->routes.count && permit_route(g, route, &this) && permit_route(g, route + 1, &next) &&
	       span_eq(this.credential, next.credential);
}

static enum reason permit_use(const struct permit_env *env, const struct proto_grant *g, const struct proto_open *open)
{
	switch (replay_use(env->replay, g->renewed, g->series, g->number + open->route)) {
	case 0:
		return REASON_NONE;
	case REPLAY_E_OUTRUN:
		return REASON_GRANT_OUTRUN;
	default:
		return REASON_GRANT_USED;
	}
}

enum reason permit_open(const struct permit_env *env, const struct proto_open *open, bool *ret_authentic,
			struct proto_grant *ret_grant, struct proto_grant_route *ret_route)
{
	*ret_authentic = false;
	if (!env->key)
		return REASON_GRANT_STALE;
	if (grant_open(env->key, open->grant, ret_grant)) {
		uint64_t claim = permit_claim(open->grant);
		return claim && claim != env->epoch ? REASON_GRANT_STALE : REASON_GRANT_FORGED;
	}
	*ret_authentic = true;
	bool routed = permit_route(ret_grant, open->route, ret_route);
	if (ret_grant->epoch != env->epoch)
		return REASON_GRANT_STALE;
	if (ret_grant->expires_ms <= env->now_ms || ret_grant->expires_ms - env->now_ms > PERMIT_LIFETIME_MS_MAX)
		return REASON_GRANT_EXPIRED;
	if (ret_grant->lane != env->lane || open->body_bytes > ret_grant->body_bytes_max || !routed ||
	    open->method != ret_route->method || !span_eq(open->path, ret_route->path))
		return REASON_GRANT_EXCEEDED;
	if (voids_match(env->voids, ret_grant, ret_route, env->now_ms))
		return REASON_GRANT_REVOKED;
	return permit_use(env, ret_grant, open);
}

static bool permit_host_ok(struct span host)
{
	for (size_t i = 0; i < host.len; i++) {
		uint8_t c = host.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != ':')
			return false;
	}
	return host.len > 0;
}

bool permit_binding_sane(const struct proto_binding *b)
{
	return span_eq_str(b->scheme, "https") && permit_host_ok(b->host) && head_path_ok(b->path_prefix) &&
	       span_is_printable(b->header, '!') && span_is_printable(b->prefix, ' ') && binding_auth_ok(b) &&
	       (!binding_takes_token(b) || head_path_ok(b->token_path));
}

/* The prefix ends at a segment's end: /v1 covers /v1 and /v1/x, never /v10. */
static bool permit_below(struct span path, struct span prefix)
{
	if (path.len < prefix.len || memcmp(path.p, prefix.p, prefix.len) != 0)
		return false;
	return path.len == prefix.len || prefix.p[prefix.len - 1] == '/' || path.p[prefix.len] == '/' ||
	       path.p[prefix.len] == '?';
}

enum reason permit_binding(const struct proto_binding *b, const struct proto_grant_route *route, struct span tenant,
			   uint64_t unix_s)
{
	bool ok = span_eq(b->credential, route->credential) && span_eq(b->host, route->host) &&
		  b->port == route->port && (span_eq_str(b->tenant, "*") || span_eq(b->tenant, tenant)) &&
		  route->method < 8 && (b->methods & BIT(route->method)) && permit_below(route->path, b->path_prefix);
	bool now = unix_s >= b->not_before && (b->not_after == 0 || unix_s < b->not_after);

	return !ok ? REASON_BINDING_MISMATCH : now ? REASON_NONE : REASON_NO_CREDENTIAL;
}
