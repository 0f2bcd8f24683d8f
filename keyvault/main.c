/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core of the vault: root key, signing key, sealed credentials. No network, no TLS, no file after start but the two
 * that are open. See vault.h for what it may do, dispatch.c for who may ask.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/edges.h"
#include "common/err.h"
#include "common/sandbox.h"
#include "keyvault/core.h"

#define CORE_AUDIT_EVENTS_MAX 4096
/* Keys, a credential in passing, authd's and four operators' buffers; then those of two connections and a key for each
 * lane. Access tokens, which egress workers make as they like, are apart from that. */
#define CORE_ARENA_BYTES_MIN        ((size_t)224 << 10)
#define CORE_ARENA_BYTES_PER_EGRESS ((size_t)68 << 10)
#define CORE_TOKENS_BYTES_MIN       ((size_t)64 << 10)

/* What must not be there, or must be and is not: named for the operator. */
static int core_fatal(struct core *c, const char *what, const char *why)
{
	log_event(&c->daemon.log, LOG_FATAL, LOG_STR("what", what), LOG_STR("why", why));
	return -EINVAL;
}

/* Half of what is configured, or more where there are many egress workers: each connection has a buffer there. */
static size_t core_arena_bytes(const struct core *c)
{
	size_t needed = CORE_ARENA_BYTES_MIN;
	enum role server, client;
	unsigned worker;

	for (size_t i = 0; i < c->daemon.n_fds; i++)
		if (edge_parse(c->daemon.fds[i].name, &server, &worker, &client, &worker) && client == ROLE_EGRESS)
			needed += CORE_ARENA_BYTES_PER_EGRESS;
	return MAX(needed, c->config.keyvault.arena_bytes / 2);
}

static int core_make_arenas(struct core *c)
{
	size_t bytes = core_arena_bytes(c);
	size_t token_bytes = MAX(CORE_TOKENS_BYTES_MIN, c->config.keyvault.arena_bytes / 2);
	char why[320];

	if (secret_arena_new(bytes, &c->arena) || secret_arena_new(token_bytes, &c->token_arena)) {
		secret_arena_explain(bytes + token_bytes, why, sizeof(why));
		return core_fatal(c, "keyvault.arena_bytes", why);
	}
	ipc_set_arena(c->daemon.ipc, c->arena, c->arena);
	return 0;
}

static int core_start_vault(struct core *c)
{
	int r = vault_start(&c->vault, &c->config, c->arena, daemon_take_fd(&c->daemon, "root_key"));

	return r > 0 ? core_fatal(c, "vault", c->vault.files.why[0] ? c->vault.files.why : vault_refusal(r)->text) : r;
}

static int core_confine(struct core *c)
{
	struct daemon *d = &c->daemon;
	int r = sandbox_enter(ROLE_KEYVAULT, NULL, 0, d->confinement, sizeof(d->confinement));
	size_t len = strlen(d->confinement);

	(void)snprintf(d->confinement + len, sizeof(d->confinement) - len, " arena(%s)",
		       secret_arena_protection(c->arena));
	return r;
}

static int core_start(struct core *c, int argc, char **argv)
{
	int r = daemon_init(&c->daemon, ROLE_KEYVAULT, argc, argv);

	if (!r && sodium_init() < 0)
		r = err_origin(-EIO);
	if (!r)
		r = err_fold(config_read(c->daemon.config_fd, ROLE_KEYVAULT,
					 BIT(CONFIG_BULKHEAD) | BIT(CONFIG_KEYVAULT), &c->config));
	if (!r)
		r = core_make_arenas(c);
	if (!r)
		r = core_start_vault(c);
	if (!r)
		r = audit_client_new(c->daemon.ipc, CORE_AUDIT_EVENTS_MAX, c->config.digest, &c->audit);
	if (!r)
		r = core_serve(c);
	if (!r)
		r = core_confine(c);
	return r ? r : core_announce_start(c);
}

int main(int argc, char **argv)
{
	struct core c = {.config = CONFIG_NULL};

	if (core_start(&c, argc, argv))
		return EXIT_FAILURE;
	c.daemon.metrics = core_metrics;
	c.daemon.ctx = &c;
	int code = daemon_run(&c.daemon);
	vault_seal(&c.vault);
	core_tokens_stop(&c);
	core_close(&c);
	c.audit = audit_client_free(c.audit);
	daemon_deinit(&c.daemon);
	vault_deinit(&c.vault);
	c.arena = secret_arena_free(c.arena);
	c.token_arena = secret_arena_free(c.token_arena);
	config_deinit(&c.config);
	return code;
}
