/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyvault-egress: takes grants from a router, credentials from the core, connected sockets from the dialer, and makes
 * the calls. It can open neither a socket nor a file once egress_start() is through.
 *
 * System calls beyond every daemon's: setsockopt(TCP_NODELAY), getsockopt(SO_ERROR), fcntl(F_GET_SEALS), mmap of a
 * sealed memfd.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/sandbox.h"
#include "keyvault/egress/egress.h"
#include "keyvault/egress/send.h"

#define EGRESS_AUDIT_EVENTS_MAX 65536

static int egress_fatal(struct egress *eg, const char *what, const char *why)
{
	log_event(&eg->daemon.log, LOG_FATAL, LOG_STR("what", what), LOG_STR("why", why));
	return -EINVAL;
}

static int egress_read_config(struct egress *eg)
{
	int r = err_fold(config_read(
		eg->daemon.config_fd, ROLE_EGRESS,
		BIT(CONFIG_EGRESS) | BIT(CONFIG_ROUTER) | BIT(CONFIG_AUDITD) | BIT(CONFIG_PROVIDERS), &eg->config));

	if (r)
		return r;
	eg->origins = calloc(eg->config.n_providers + 1, sizeof(*eg->origins));
	eg->token_origins = calloc(eg->config.n_providers + 1, sizeof(*eg->token_origins));
	eg->trust = calloc(eg->config.n_providers + 1, sizeof(struct tls_ctx *));
	if (!eg->origins || !eg->token_origins || !eg->trust)
		return err_origin(-ENOMEM);
	for (size_t i = 0; i < eg->config.n_providers; i++) {
		const struct config_provider *p = &eg->config.providers[i];
		if (config_url_parse(p->base_url, &eg->origins[i]))
			return egress_fatal(eg, "providers.base_url", p->base_url);
		if (*p->token_url && config_url_parse(p->token_url, &eg->token_origins[i]))
			return egress_fatal(eg, "providers.token_url", p->token_url);
	}
	return 0;
}

static int egress_load_trust(struct egress *eg)
{
	bool system = false;
	char why[320];

	for (size_t i = 0; i < eg->config.n_providers; i++) {
		const char *file = eg->config.providers[i].ca_file;
		system |= !*file;
		if (*file && tls_ctx_new(file, &eg->trust[i])) {
			(void)snprintf(why, sizeof(why), "no certificate (PEM) can be read from %s", file);
			return egress_fatal(eg, "providers.ca_file", why);
		}
	}
	if (system && tls_ctx_new(NULL, &eg->trust_system))
		return egress_fatal(eg, "certificates", "no bundle of trusted certificates; install ca-certificates");
	return 0;
}

/* What is configured must do for all providers at once, and the kernel must let us lock it: said now, not at the
 * request that finds no room. */
static int egress_make_arena(struct egress *eg)
{
	size_t bytes = eg->config.egress.arena_bytes;
	size_t needed = EGRESS_ARENA_BYTES_FIXED + eg->config.n_providers * EGRESS_ARENA_BYTES_PER_PROVIDER;
	char why[320];

	for (size_t i = 0; i < eg->config.n_providers; i++)
		needed += *eg->config.providers[i].token_url ? EGRESS_ARENA_BYTES_PER_TOKEN : 0;
	if (bytes < needed) {
		(void)snprintf(why, sizeof(why), "%zu is too small for %zu providers; set it to %zu or more", bytes,
			       eg->config.n_providers, needed);
		return egress_fatal(eg, "egress.arena_bytes", why);
	}
	if (secret_arena_new(EGRESS_BUFFERS_BYTES, &eg->buffers) ||
	    secret_arena_new(bytes - EGRESS_BUFFERS_BYTES, &eg->arena)) {
		secret_arena_explain(bytes, why, sizeof(why));
		return egress_fatal(eg, "egress.arena_bytes", why);
	}
	secret_hold(eg->buffers);
	ipc_set_arena(eg->daemon.ipc, eg->arena, eg->buffers);
	return secret_alloc(eg->buffers, SEND_RECORD_BYTES, &eg->record) ||
			       secret_alloc(eg->buffers, AUTH_WORK_BYTES, &eg->auth)
		       ? err_origin(-ENOMEM)
		       : 0;
}

static int egress_confine(struct egress *eg)
{
	struct daemon *d = &eg->daemon;
	int r = sandbox_enter(ROLE_EGRESS, NULL, 0, d->confinement, sizeof(d->confinement));
	size_t len = strlen(d->confinement);

	(void)snprintf(d->confinement + len, sizeof(d->confinement) - len, " arena(%s)",
		       secret_arena_protection(eg->arena));
	return r;
}

static int egress_start(struct egress *eg, int argc, char **argv)
{
	int r = tls_setup();

	if (!r && sodium_init() < 0)
		r = err_origin(-EIO);
	if (!r)
		r = daemon_init(&eg->daemon, ROLE_EGRESS, argc, argv);
	if (!r)
		r = egress_read_config(eg);
	if (!r)
		r = egress_load_trust(eg);
	if (!r)
		r = egress_make_arena(eg);
	if (!r)
		r = replay_init(&eg->replay);
	if (!r)
		r = audit_client_new(eg->daemon.ipc, EGRESS_AUDIT_EVENTS_MAX, eg->config.digest, &eg->audit);
	if (!r)
		r = egress_serve(eg);
	return r ? r : egress_confine(eg);
}

int main(int argc, char **argv)
{
	struct egress *eg = calloc(1, sizeof(*eg));

	if (!eg || egress_start(eg, argc, argv))
		return EXIT_FAILURE;
	int code = daemon_run(&eg->daemon);
	egress_close(eg);
	eg->audit = audit_client_free(eg->audit);
	daemon_deinit(&eg->daemon);
	replay_deinit(&eg->replay);
	for (size_t i = 0; i < eg->config.n_providers; i++)
		eg->trust[i] = tls_ctx_free(eg->trust[i]);
	eg->trust_system = tls_ctx_free(eg->trust_system);
	eg->arena = secret_arena_free(eg->arena);
	eg->buffers = secret_arena_free(eg->buffers);
	config_deinit(&eg->config);
	free(eg->origins);
	free(eg->token_origins);
	free(eg->trust);
	free(eg);
	return code;
}
