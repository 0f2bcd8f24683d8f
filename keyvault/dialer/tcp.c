/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/dialer/tcp.h"

#include <errno.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>

static socklen_t tcp_sockaddr(const struct address *a, uint16_t port, struct sockaddr_storage *to)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	memset(to, 0, sizeof(*to));
	if (a->family == AF_INET) {
		memcpy(&in.sin_addr, a->v4, 4);
		memcpy(to, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(&in6.sin6_addr, a->v6, 16);
	memcpy(to, &in6, sizeof(in6));
	return sizeof(in6);
}

int tcp_connect(const struct address *a, uint16_t port, int *ret_fd)
{
	struct sockaddr_storage to;
	socklen_t len = tcp_sockaddr(a, port, &to);

	int fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS) {
		int r = -errno;
		(void)close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

bool tcp_peer_is(int fd, const struct address *a, uint16_t port)
{
	struct sockaddr_storage want, peer = {0};
	socklen_t want_len = tcp_sockaddr(a, port, &want), len = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && len == want_len &&
	       memcmp(&peer, &want, want_len) == 0;
}

int tcp_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}
