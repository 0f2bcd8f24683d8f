/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authd: who may do what, and how often. Knows gateway keys by their HMAC and provider keys as sealed bytes; holds no
 * plaintext of either. See authorize.h for how it decides, dispatch.c for who may ask, store.h for what it keeps.
 */
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "authd/authd.h"
#include "common/err.h"
#include "common/sandbox.h"

#define AUTHD_AUDIT_EVENTS_MAX 256
/* Besides the keys: the buffers of two connections to the core, the old one and the new. */
#define AUTHD_ARENA_BYTES (AUTHORIZE_ARENA_BYTES + SUBJECTS_ARENA_BYTES + 65536)

/* What must not be there, or must be and is not: named for the operator. */
static int authd_fatal(struct authd *a, const char *what, const char *why)
{
	log_event(&a->daemon.log, LOG_FATAL, LOG_STR("what", what), LOG_STR("why", why));
	return -EINVAL;
}

static int authd_configure(struct authd *a)
{
	int r = config_read(a->daemon.config_fd, ROLE_AUTHD,
			    BIT(CONFIG_BULKHEAD) | BIT(CONFIG_AUTHD) | BIT(CONFIG_AUDITD) | BIT(CONFIG_PROVIDERS) |
				    BIT(CONFIG_MODELS),
			    &a->config);

	if (r)
		return r < 0 ? r : authd_fatal(a, "configuration", "see the line before");
	r = models_new(&a->config, &a->daemon.log, &a->models);
	return r > 0 ? authd_fatal(a, "models", "see the line before") : r;
}

static int authd_make_arena(struct authd *a)
{
	char why[320];

	if (secret_arena_new(AUTHD_ARENA_BYTES, &a->arena)) {
		secret_arena_explain(AUTHD_ARENA_BYTES, why, sizeof(why));
		return authd_fatal(a, "secret arena", why);
	}
	ipc_set_arena(a->daemon.ipc, a->arena, a->arena);
	return 0;
}

static int authd_open_store(struct authd *a, char folder[PATH_MAX])
{
	int n = snprintf(folder, PATH_MAX, "%s/authd", a->config.bulkhead.state_dir);

	if (n < 0 || n >= PATH_MAX)
		return authd_fatal(a, "state_dir", "the path is too long");
	if (store_open(folder, &a->daemon.log, &a->store))
		return authd_fatal(a, "store", "authd.db in the state folder cannot be used; see the line before");
	return credentials_load(&a->credentials, a->store) ? authd_fatal(a, "store", "it cannot be read") : 0;
}

static int authd_prepare(struct authd *a)
{
	struct authorize *z = &a->authorize;

	*z = (struct authorize){.store = a->store,
				.models = a->models,
				.credentials = &a->credentials,
				.arena = a->arena,
				.grants.arena = a->arena,
				.rpm_default = a->config.authd.rpm_default,
				.concurrent_default = a->config.authd.concurrent_default,
				.guard = (uint64_t)a->config.authd.guard_email << (2 * CLASS_EMAIL) |
					 (uint64_t)a->config.authd.guard_phone << (2 * CLASS_PHONE) |
					 (uint64_t)a->config.authd.guard_card << (2 * CLASS_CARD)};
	list_init(&a->operations);
	list_init(&a->receipts);
	int r = cache_new(CACHE_KNOWN_MAX, CACHE_UNKNOWN_MAX, &z->cache);
	if (!r)
		r = ratelimit_new(RATELIMIT_BYTES_MAX, &z->limits);
	if (!r)
		r = concurrency_new(CONCURRENCY_CALLS_MAX, &z->calls);
	if (!r)
		r = subjects_new(a->store, a->arena, &a->subjects);
	return r ? r : audit_client_new(a->daemon.ipc, AUTHD_AUDIT_EVENTS_MAX, a->config.digest, &a->audit);
}

static int authd_confine(struct authd *a, const char *folder)
{
	struct daemon *d = &a->daemon;
	const struct sandbox_path path = {.path = folder, .write = true};
	int r = sandbox_enter(ROLE_AUTHD, &path, 1, d->confinement, sizeof(d->confinement));
	size_t len = strlen(d->confinement);

	(void)snprintf(d->confinement + len, sizeof(d->confinement) - len, " arena(%s)",
		       secret_arena_protection(a->arena));
	return r;
}

static int authd_start(struct authd *a, int argc, char **argv)
{
	char folder[PATH_MAX];
	int r = daemon_init(&a->daemon, ROLE_AUTHD, argc, argv);

	if (!r && sodium_init() < 0)
		r = err_origin(-EIO);
	if (!r)
		r = authd_configure(a);
	if (!r)
		r = authd_make_arena(a);
	if (!r)
		r = authd_open_store(a, folder);
	if (!r)
		r = authd_prepare(a);
	if (!r)
		r = authd_serve(a);
	if (!r)
		expiry_start(a);
	return r ? r : authd_confine(a, folder);
}

static void authd_stop(struct authd *a)
{
	authorize_seal(&a->authorize);
	subjects_close(a->subjects);
	expiry_stop(a);
	a->audit = audit_client_free(a->audit); /* and with it every operation that waited */
	daemon_deinit(&a->daemon);
	a->authorize.cache = cache_free(a->authorize.cache);
	a->authorize.limits = ratelimit_free(a->authorize.limits);
	a->authorize.calls = concurrency_free(a->authorize.calls);
	a->subjects = subjects_free(a->subjects);
	a->store = store_close(a->store);
	credentials_deinit(&a->credentials);
	a->models = models_free(a->models);
	a->arena = secret_arena_free(a->arena);
	config_deinit(&a->config);
}

int main(int argc, char **argv)
{
	struct authd a = {.config = CONFIG_NULL};

	if (authd_start(&a, argc, argv))
		return EXIT_FAILURE;
	a.daemon.metrics = authd_metrics;
	a.daemon.ctx = &a;
	authd_update_ready(&a);
	int code = daemon_run(&a.daemon);
	authd_stop(&a);
	return code;
}
