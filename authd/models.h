/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which providers may serve a model, and in what order.
 *
 * A pattern is a model name, or the beginning of one and a `*`. The first rule of the configuration that matches a
 * model decides; its providers are taken in order, those without a stored credential are left out, and at most four
 * become routes. What is left is never "any": no rule, or a key whose scope does not match, is MODELS_E_FORBIDDEN; a
 * rule without a single credential is MODELS_E_NO_CREDENTIAL.
 */
#pragma once

#include "authd/credentials.h"
#include "common/config.h"
#include "common/log.h"
#include "proto/reasons.h"

#define MODELS_ROUTES_MAX     4 /* as in PERMIT and GRANT */
#define MODELS_PATH_BYTES_MAX 512

struct models;

enum models_err {
	MODELS_E_INVALID =
		1,          /* the configuration: an unknown provider, a URL or pattern that is none; said in the log */
	MODELS_E_FORBIDDEN, /* not for this key, or no rule for it */
	MODELS_E_NO_CREDENTIAL, /* permitted, and nobody to send it to */
};

struct models_provider {
	const char *name;
	struct config_url url;
	uint64_t dialect;
};

struct models_route {
	const struct models_provider *provider; /* lives as long as struct models */
	const char *credential;                 /* lives until the credentials change */
	char path[MODELS_PATH_BYTES_MAX + 1];
	size_t path_len;
};

struct models_plan {
	size_t n;                     /* at least 1 */
	uint64_t price_in, price_out; /* common/price.h */
	struct models_route routes[MODELS_ROUTES_MAX];
};

/* `config` must outlive it. 0, INVALID or -ENOMEM. */
MUST_USE int models_new(const struct config *config, const struct log *log, struct models **ret_models);
struct models *models_free(struct models *m);

/* A comma-separated list of patterns, as a key carries it: none empty, no spaces. */
bool models_scope_valid(const char *scope);

/* Where a call of a key with `scope` for `model` may go. 0, FORBIDDEN or NO_CREDENTIAL. */
MUST_USE int models_plan(const struct models *m, const struct credentials *credentials, struct span tenant,
			 const char *scope, struct span model, enum endpoint endpoint, struct models_plan *ret_plan);
/* The first half of that question: FORBIDDEN or 0. */
MUST_USE int models_permit(const struct models *m, const char *scope, struct span model);

/* Names that a key with `scope` may use, in the order of the rules, each once: those that rules match exactly or give
 * as examples, and those in the key's own scope. No patterns: what is listed can be asked for. They view `scope` or the
 * configuration. Providers are those that would serve it first; a rule without credential is left out. The number
 * filled in. */
size_t models_list(const struct models *m, const struct credentials *credentials, struct span tenant, const char *scope,
		   struct proto_model *to, size_t cap);
