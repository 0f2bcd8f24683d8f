/* SPDX-License-Identifier: Apache-2.0 */
/* What each role is told of the configuration: its own section, and what its job needs of others. */
#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/config_tree.h"

#define CONFIG_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static const uint64_t config_sections[N_ROLES] = {
	[ROLE_ROUTER] = BIT(CONFIG_ROUTER) | BIT(CONFIG_AUDITD),
	[ROLE_AUTHD] = BIT(CONFIG_BULKHEAD) | BIT(CONFIG_AUTHD) | BIT(CONFIG_AUDITD) | BIT(CONFIG_ROUTER) |
		       BIT(CONFIG_PROVIDERS) | BIT(CONFIG_MODELS),
	[ROLE_KEYVAULT] = BIT(CONFIG_BULKHEAD) | BIT(CONFIG_KEYVAULT),
	[ROLE_EGRESS] = BIT(CONFIG_EGRESS) | BIT(CONFIG_ROUTER) | BIT(CONFIG_AUDITD) | BIT(CONFIG_PROVIDERS),
	[ROLE_DIALER] = BIT(CONFIG_DIALER) | BIT(CONFIG_PROVIDERS),
	[ROLE_AUDITD] = BIT(CONFIG_BULKHEAD) | BIT(CONFIG_AUDITD),
	[ROLE_SHIPPER] = BIT(CONFIG_BULKHEAD) | BIT(CONFIG_SHIPPER) | BIT(CONFIG_DIALER),
};

static int config_memfd(const uint8_t *body, size_t len, int *ret_fd)
{
	int fd = memfd_create("bulkhead-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (write(fd, body, len) != (ssize_t)len || fcntl(fd, F_ADD_SEALS, CONFIG_SEALS)) {
		int r = errno ? -errno : -EIO;

		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int launch_config(struct launcher *l, enum role role, int *ret_fd)
{
	uint8_t *body = malloc(PROTO_FRAME_BYTES_MAX);
	size_t len = 0;
	int r;

	r = body ? config_tree_pack(l->cli->config, config_sections[role], body, PROTO_FRAME_BYTES_MAX, &len) : -ENOMEM;
	if (!r)
		r = config_memfd(body, len, ret_fd);
	free(body);
	return r;
}
