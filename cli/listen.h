/* SPDX-License-Identifier: Apache-2.0 */
/* "127.0.0.1:8080", "[::]:8080": the address that the router's clients connect to. */
#pragma once

#include <sys/socket.h>

#include "common/base.h"

struct listen_address {
	struct sockaddr_storage sockaddr;
	socklen_t len;
};

/* 0, or 1 when it is not a numeric address and port. */
MUST_USE int listen_parse(const char *text, struct listen_address *ret_address);
/* A listening, non-blocking socket and the address that it got (port 0: one was chosen), as text. 0 or negative. */
MUST_USE int listen_open(const struct listen_address *address, int *ret_fd, char *ret_text, size_t cap);
