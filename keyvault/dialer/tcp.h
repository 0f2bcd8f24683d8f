/* SPDX-License-Identifier: Apache-2.0 */
/* The only place of the gateway that opens a connection by itself. */
#pragma once

#include "common/address.h"

/* A socket on its way to that address, non-blocking from birth and never bound; becomes writable when it is there. 0 or
 * negative errno: it failed at once. */
MUST_USE int tcp_connect(const struct address *a, uint16_t port, int *ret_fd);
/* Is the other end of this socket that address and port? */
bool tcp_peer_is(int fd, const struct address *a, uint16_t port);
/* What has become of it: 0 or a positive errno. */
int tcp_error(int fd);
