/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that have both ends of an edge in one process: daemons without a launcher, and a place where they meet. */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "common/daemon.h"

struct ipc_place {
	int listener;
	struct sockaddr_un at; /* an abstract name of the kernel's choice */
	socklen_t at_len;
};

/* A loop, and a log that says nothing. */
void ipc_place_daemon(struct daemon *d, enum role role, unsigned worker);
void ipc_place_open(struct ipc_place *p);
/* Hands a copy of the listener over as the launcher would: `edge` is the socket's name. */
void ipc_place_serve(const struct ipc_place *p, struct daemon *server, const char *edge);
/* A connection, the caller's. */
int ipc_place_reach(const struct ipc_place *p);
void ipc_place_close(struct ipc_place *p);
