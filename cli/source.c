/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead vault sync`: provider keys that are kept in files by somebody else (providers: key_file). What crosses to
 * the core is the open file; a key that is in force already makes no new version. The launcher of `up` runs this
 * command whenever such a file changes; where daemons have containers of their own, one more runs it with --watch.
 */
#include <errno.h>
#include <unistd.h>

#include "cli/credential.h"
#include "cli/key_file.h"
#include "cli/source.h"

int source_open(const struct cli *cli, size_t provider, int *ret_fd, char why[KEY_FILE_WHY_BYTES])
{
	struct key_file_owner core = key_file_core(cli);

	return key_file_open(config_tree_get(cli->config, CONFIG_PROVIDERS, provider, "key_file"), &core,
			     SOURCE_BYTES_MAX, ret_fd, why);
}

const char *source_provider(const struct cli *cli, size_t provider)
{
	return config_tree_get(cli->config, CONFIG_PROVIDERS, provider, "name");
}

bool source_is_configured(const struct cli *cli, size_t provider)
{
	return config_tree_get(cli->config, CONFIG_PROVIDERS, provider, "key_file")[0] != 0;
}

/* *ret_len 0: it is in force. */
static int source_seal(struct cli *cli, const struct proto_binding *binding, int fd, uint8_t blob[BLOB_BYTES_MAX],
		       size_t *ret_len)
{
	struct proto_vault_source source = {0};
	uint8_t packed[BINDING_BYTES_MAX];
	const union proto_any *answer;
	struct admin *core = NULL;
	int r = credential_pack(cli, binding, packed, &source.binding);

	if (!r)
		r = admin_open(cli, ROLE_KEYVAULT, 0, &core);
	if (!r)
		r = admin_call_fd(core, PROTO_VAULT_SOURCE, &source, fd, PROTO_VAULT_SOURCED, ADMIN_DEADLINE_MS,
				  &answer);
	if (!r) {
		*ret_len = answer->vault_sourced.blob.len;
		memcpy(blob, answer->vault_sourced.blob.p, *ret_len);
	}
	admin_close(core);
	return r;
}

static int source_pass(struct cli *cli, struct admin *authd, size_t provider, int fd)
{
	const char *name = source_provider(cli, provider);
	struct credential_versions versions = {0};
	struct binding binding;
	uint8_t blob[BLOB_BYTES_MAX];
	size_t len = 0;
	int r = binding_make(cli, name, &binding);

	if (!r)
		r = credential_version(authd, name, &versions);
	binding.proto.version = binding.proto.since = versions.last + 1;
	if (!r)
		r = source_seal(cli, &binding.proto, fd, blob, &len);
	if (!r && len > 0)
		r = credential_put(authd, &binding.proto, span_of(blob, len));
	if (r)
		return cli_fail(cli, "so the key of %s stays as it was; what is in %s was not taken", name,
				config_tree_get(cli->config, CONFIG_PROVIDERS, provider, "key_file"));
	return len > 0 ? credential_added(cli, &binding.proto) : CLI_DONE;
}

int source_sync(struct cli *cli, struct admin *authd, size_t provider)
{
	char why[KEY_FILE_WHY_BYTES];
	int fd;

	if (source_open(cli, provider, &fd, why))
		return cli_fail(cli, "the key of %s stays as it was: %s", source_provider(cli, provider), why);
	int r = source_pass(cli, authd, provider, fd);
	close(fd);
	return r;
}

bool source_is_asked_for(const struct cli *cli, size_t provider)
{
	bool asked = cli->n_args == 0;

	for (size_t i = 0; i < cli->n_args; i++)
		asked |= strcmp(cli->args[i], source_provider(cli, provider)) == 0;
	return source_is_configured(cli, provider) && asked;
}

static size_t source_count(const struct cli *cli)
{
	size_t n = 0;

	for (size_t i = 0; i < cli->config->sections[CONFIG_PROVIDERS].n; i++)
		n += source_is_asked_for(cli, i);
	return n;
}

/* Each is tried, whatever became of those before it. */
static int source_sync_all(struct cli *cli)
{
	struct admin *authd = NULL;
	int worst = admin_open(cli, ROLE_AUTHD, 0, &authd);

	for (size_t i = 0; authd && i < cli->config->sections[CONFIG_PROVIDERS].n; i++)
		if (source_is_asked_for(cli, i) && source_sync(cli, authd, i))
			worst = CLI_FAILED;
	admin_close(authd);
	return worst;
}

int cmd_vault_sync(struct cli *cli)
{
	int r = cli_config(cli);

	if (!r && source_count(cli) == 0)
		return cli_fail(cli, "no %sprovider has a key_file in %s", cli->n_args ? "such " : "",
				cli->config->file);
	if (r)
		return r;
	return cli_option(cli, "--watch") ? source_watch(cli) : source_sync_all(cli);
}
