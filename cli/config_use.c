/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration, for the commands that need it. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/config_tree.h"

static const char config_last_place[] = "/etc/bulkhead/bulkhead.yaml";

/* The first of the usual places that is there, or the last one. */
static const char *cli_config_path(const struct cli *cli)
{
	const char *path = cli->config_path ? cli->config_path : getenv("BULKHEAD_CONFIG");

	if (path && path[0])
		return path;
	return access("bulkhead.yaml", F_OK) == 0 ? "bulkhead.yaml" : config_last_place;
}

int cli_config(struct cli *cli)
{
	const char *path;
	int r;

	if (cli->config)
		return CLI_DONE;
	path = cli_config_path(cli);
	if (access(path, F_OK) != 0)
		return cli_fail(cli,
				"no configuration: there is no %s%s; name one with -c FILE (an example: "
				"`bulkhead config show --example`)",
				path == config_last_place ? "./bulkhead.yaml and no " : "", path);
	r = config_tree_load(path, environ, &cli->config);
	if (r > 0)
		cli_fail(cli, "%s", cli->config->problem);
	if (r < 0)
		cli_fail(cli, "%s: %s", path, strerror(-r));
	if (r)
		cli->config = config_tree_free(cli->config);
	return r ? CLI_FAILED : CLI_DONE;
}

const char *cli_value(const struct cli *cli, const char *key)
{
	struct config_place place;
	const char *value = config_locate(span_str(key), &place)
				    ? config_tree_get(cli->config, place.section, place.element, place.row->key)
				    : NULL;

	return value ? value : "";
}

uint64_t cli_value_u64(const struct cli *cli, const char *key)
{
	return strtoull(cli_value(cli, key), NULL, 10);
}
