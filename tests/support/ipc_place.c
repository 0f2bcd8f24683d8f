/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/ipc_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

void ipc_place_daemon(struct daemon *d, enum role role, unsigned worker)
{
	*d = (struct daemon){.role = role, .worker = worker, .config_fd = -1, .control_fd = -1};
	d->log = (struct log){.daemon = role_name(role), .level = LOG_LEVEL_ERROR + 1};
	assert_int_equal(uv_loop_init(&d->loop), 0);
	assert_int_equal(uv_signal_init(&d->loop, &d->on_term), 0);
	assert_int_equal(uv_signal_init(&d->loop, &d->on_int), 0);
}

void ipc_place_open(struct ipc_place *p)
{
	*p = (struct ipc_place){.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
				.at.sun_family = AF_UNIX,
				.at_len = sizeof(p->at)};
	assert_int_equal(bind(p->listener, (const struct sockaddr *)&p->at, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(p->listener, 8), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&p->at, &p->at_len), 0);
}

void ipc_place_serve(const struct ipc_place *p, struct daemon *server, const char *edge)
{
	(void)snprintf(server->fds[0].name, sizeof(server->fds[0].name), "%s", edge);
	server->fds[0].fd = dup(p->listener);
	server->n_fds = 1;
}

int ipc_place_reach(const struct ipc_place *p)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&p->at, p->at_len), 0);
	return fd;
}

void ipc_place_close(struct ipc_place *p)
{
	(void)close(p->listener);
}
