/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

static bool listen_port(const char *text, uint16_t *ret)
{
	unsigned port = 0;

	if (*text == 0)
		return false;
	for (; *text; text++)
		if (*text < '0' || *text > '9' || (port = port * 10 + (unsigned)(*text - '0')) > 65535)
			return false;
	*ret = (uint16_t)port;
	return true;
}

int listen_parse(const char *text, struct listen_address *ret_address)
{
	struct listen_address a = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a.sockaddr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a.sockaddr;
	bool brackets = text[0] == '[';
	const char *colon = strrchr(text, ':');
	char host[64];
	uint16_t port;
	size_t len;

	if (!colon || !listen_port(colon + 1, &port))
		return 1;
	len = (size_t)(colon - text);
	if (len >= sizeof(host) || (brackets && (len < 2 || text[len - 1] != ']')))
		return 1;
	snprintf(host, sizeof(host), "%.*s", (int)(len - 2 * brackets), text + brackets);
	if (!brackets && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		a.len = sizeof(*v4);
	} else if (brackets && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		a.len = sizeof(*v6);
	} else {
		return 1;
	}
	*ret_address = a;
	return 0;
}

static void listen_text(const struct sockaddr_storage *s, char *to, size_t cap)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)s;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)s;
	char host[INET6_ADDRSTRLEN];

	if (s->ss_family == AF_INET)
		snprintf(to, cap, "%s:%u", inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host)), ntohs(v4->sin_port));
	else
		snprintf(to, cap, "[%s]:%u", inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host)),
			 ntohs(v6->sin6_port));
}

int listen_open(const struct listen_address *address, int *ret_fd, char *ret_text, size_t cap)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	int fd = socket(address->sockaddr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) ||
	    bind(fd, (const struct sockaddr *)&address->sockaddr, address->len) || listen(fd, LISTEN_BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&bound, &len)) {
		r = -errno;
		close(fd);
		return r;
	}
	listen_text(&bound, ret_text, cap);
	*ret_fd = fd;
	return 0;
}
