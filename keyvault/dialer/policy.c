/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/dialer/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/err.h"

static int policy_deny(struct policy_refusal *r, const struct address *a, const char *why)
{
	r->address[0] = 0;
	if (a)
		address_print(a, r->address);
	(void)snprintf(r->why, sizeof(r->why), "%s", why);
	return POLICY_E_DENIED;
}

/* ---- addresses ---- */

static bool policy_listed(const struct policy_origin *o, const struct address *a)
{
	for (size_t i = 0; i < o->n_within; i++)
		if (address_within(a, &o->within[i]))
			return true;
	return false;
}

/* The row that forbids this address, or NULL: that of a listed address must be one that no list overrides. */
static const struct registry_row *policy_row(const struct policy_origin *o, const struct address *a)
{
	const struct registry_row *row = registry_special(a);

	return row && (row->never || !policy_listed(o, a)) ? row : NULL;
}

static int policy_deny_row(struct policy_refusal *r, const struct address *a, const char *carries,
			   const struct registry_row *row)
{
	char why[POLICY_WHY_BYTES];

	(void)snprintf(why, sizeof(why), "%s%s%s (%s); %s", carries ? carries : "", carries ? " of: " : "", row->what,
		       row->by,
		       row->never ? "never connected" : "only the provider's connect_to or connect_within permits it");
	return policy_deny(r, a, why);
}

int policy_judge(const struct policy_origin *o, const struct address *a, struct policy_refusal *ret_refusal)
{
	const struct registry_row *row = policy_row(o, a);
	struct address v4;

	if (row)
		return policy_deny_row(ret_refusal, a, NULL, row);
	const char *how = registry_carried(a, &v4);
	if (how && (row = policy_row(o, &v4)))
		return policy_deny_row(ret_refusal, a, how, row);
	if (o->n_within > 0 && !policy_listed(o, a))
		return policy_deny(ret_refusal, a, "not in the provider's connect_to or connect_within");
	return 0;
}

/* ---- names ---- */

/* RFC 1123 labels; *ret_last is where the last one begins. */
static bool policy_labels(struct span name, size_t *ret_last)
{
	size_t begin = 0;

	for (size_t i = 0; i <= name.len; i++) {
		if (i < name.len && name.p[i] != '.') {
			uint8_t c = name.p[i];
			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
				return false;
			continue;
		}
		size_t len = i - begin;
		if (len == 0 || len > 63 || name.p[begin] == '-' || name.p[i - 1] == '-')
			return false;
		*ret_last = begin;
		begin = i + 1;
	}
	return true;
}

int policy_name(const char *host, bool private, struct policy_refusal *ret_refusal)
{
	struct span name = span_str(host);
	size_t last = 0;
	char why[POLICY_WHY_BYTES];

	if (name.len == 0 || name.len > 253 || !policy_labels(name, &last))
		return policy_deny(ret_refusal, NULL, "not a host name of lower-case letters, digits and hyphens");
	/* inet_aton() and the WHATWG take 127.1, 0x7f.1, 017700000001 and 2130706433 for addresses. No top-level domain
	 * begins with a digit. */
	if (name.p[last] >= '0' && name.p[last] <= '9')
		return policy_deny(ret_refusal, NULL, "a number in disguise, not a name");
	const struct registry_name *row = registry_name(name);
	if (row && (row->never || !private)) {
		(void)snprintf(why, sizeof(why), "names at and below %s are not resolved (%s)%s", row->name, row->by,
			       row->never ? "" : " without the provider's connect_within");
		return policy_deny(ret_refusal, NULL, why);
	}
	if (last == 0 && !private)
		return policy_deny(ret_refusal, NULL,
				   "a name of one label is not resolved without the provider's connect_within");
	return 0;
}

/* ---- origins ---- */

static bool policy_read(struct policy_origin *o, const char *url, const char *connect_to, const char *connect_within)
{
	struct span bad;

	if (config_url_parse(url, &o->url))
		return false;
	o->pinned = *connect_to != 0;
	if (!o->pinned)
		return address_list(connect_within, o->within, POLICY_WITHIN_MAX, &o->n_within, &bad);
	o->n_within = 1;
	return *connect_within == 0 && !memchr(connect_to, '/', strlen(connect_to)) &&
	       address_parse_block(span_str(connect_to), &o->within[0]);
}

/* A provider and, where it has one, its token service. */
static bool policy_read_provider(struct policy *policy, const struct config_provider *p)
{
	if (!policy_read(&policy->origins[policy->n++], p->base_url, p->connect_to, p->connect_within))
		return false;
	return !*p->token_url || policy_read(&policy->origins[policy->n++], p->token_url, p->token_connect_to, "");
}

int policy_init(struct policy *p, const struct config *config, const char **ret_provider)
{
	*p = (struct policy){.origins = calloc(2 * config->n_providers + 1, sizeof(*p->origins))};
	if (!p->origins)
		return err_origin(-ENOMEM);
	for (size_t i = 0; i < config->n_providers; i++) {
		if (policy_read_provider(p, &config->providers[i]))
			continue;
		*ret_provider = config->providers[i].name;
		return POLICY_E_CONFIG;
	}
	return 0;
}

void policy_deinit(struct policy *p)
{
	free(p->origins);
	*p = POLICY_NULL;
}

int policy_find(const struct policy *p, struct span host, uint64_t port, const struct policy_origin **ret_origin,
		struct policy_refusal *ret_refusal)
{
	struct address literal;

	for (size_t i = 0; i < p->n; i++) {
		const struct policy_origin *o = &p->origins[i];
		if (!span_eq_str(host, o->url.host) || port != o->url.port)
			continue;
		if (!o->pinned && !address_parse(host, &literal) &&
		    policy_name(o->url.host, o->n_within > 0, ret_refusal))
			return POLICY_E_DENIED;
		*ret_origin = o;
		return 0;
	}
	return policy_deny(ret_refusal, NULL, "not an origin of the configured providers");
}
