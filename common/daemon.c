/* SPDX-License-Identifier: Apache-2.0 */
#include "common/daemon.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/err.h"
#include "common/ipc_internal.h"
#include "common/sandbox.h"
#include "common/version.h"

#define DAEMON_FIRST_FD    3 /* sd_listen_fds(3): SD_LISTEN_FDS_START */
#define DAEMON_WORKERS_MAX 256

/* `--worker N`, and nothing else. */
static int daemon_parse_argv(struct daemon *d, int argc, char **argv)
{
	char *end;

	if (argc == 1)
		return 0;
	if (argc != 3 || strcmp(argv[1], "--worker") != 0)
		return err_origin(-EINVAL);
	unsigned long worker = strtoul(argv[2], &end, 10);
	if (*argv[2] == 0 || *end != 0 || worker >= DAEMON_WORKERS_MAX)
		return err_origin(-EINVAL);
	d->worker = (unsigned)worker;
	return 0;
}

/* LISTEN_FDNAMES is a colon-separated list for the descriptors from 3 on. */
static int daemon_adopt_fds(struct daemon *d)
{
	const char *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	size_t n = count ? strtoul(count, NULL, 10) : 0;

	if (n > DAEMON_FDS_MAX || (n > 0 && !names))
		return err_origin(-EINVAL);
	for (size_t i = 0; i < n; i++) {
		size_t len = strcspn(names, ":");
		int fd = DAEMON_FIRST_FD + (int)i;

		if (len == 0 || len >= sizeof d->fds[i].name || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return err_origin(-EBADF);
		memcpy(d->fds[i].name, names, len);
		d->fds[i].name[len] = 0;
		d->fds[i].fd = fd;
		names += len + (names[len] == ':');
	}
	d->n_fds = n;
	return 0;
}

int daemon_take_fd(struct daemon *d, const char *name)
{
	for (size_t i = 0; i < d->n_fds; i++)
		if (d->fds[i].fd >= 0 && strcmp(d->fds[i].name, name) == 0) {
			int fd = d->fds[i].fd;
			d->fds[i].fd = -1;
			return fd;
		}
	return -1;
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;

	(void)signum;
	if (d->draining)
		return;
	d->draining = true;
	log_event(&d->log, LOG_STOP, LOG_STR("why", "signal"));
	if (d->on_drain)
		d->on_drain(d->ctx);
	else
		daemon_stop(d);
}

static int daemon_watch_signals(struct daemon *d)
{
	(void)signal(SIGPIPE, SIG_IGN);
	d->on_term.data = d->on_int.data = d;
	int r = uv_signal_init(&d->loop, &d->on_term);
	if (!r)
		r = uv_signal_init(&d->loop, &d->on_int);
	if (!r)
		r = uv_signal_start(&d->on_term, on_signal, SIGTERM);
	if (!r)
		r = uv_signal_start(&d->on_int, on_signal, SIGINT);
	return r ? err_origin(r) : 0;
}

int daemon_init(struct daemon *d, enum role role, int argc, char **argv)
{
	*d = (struct daemon){.role = role, .config_fd = -1, .control_fd = -1};
	log_init(&d->log, role_name(role));
	int r = daemon_parse_argv(d, argc, argv);
	if (!r)
		r = daemon_adopt_fds(d);
	if (!r)
		r = sandbox_prepare();
	if (r)
		return r;
	d->log.worker = d->worker;
	instance_name(role, d->worker, d->instance);
	d->log.instance = d->instance;
	if (getrandom(d->boot, sizeof d->boot, 0) != sizeof d->boot)
		return err_origin(-EIO);
	if (edge_row(ROLE_AUDITD, role))
		r = tally_open(daemon_take_fd(d, "tally"), d->boot, &d->tally);
	if (r)
		return r;
	r = uv_loop_init(&d->loop);
	if (r)
		return err_origin(r);
	d->started_ms = uv_now(&d->loop);
	d->config_fd = daemon_take_fd(d, "config");
	d->control_fd = daemon_take_fd(d, "control");
	r = daemon_watch_signals(d);
	if (!r)
		r = ipc_new(d, &d->ipc);
	if (!r)
		log_event(&d->log, LOG_START, LOG_STR("version", BULKHEAD_VERSION), LOG_U64("pid", (uint64_t)getpid()));
	return r;
}

void daemon_set_ready(struct daemon *d, bool ready, const char *detail)
{
	bool changed = ready != d->ready || strcmp(d->detail, detail) != 0;

	d->ready = ready;
	(void)snprintf(d->detail, sizeof d->detail, "%s", detail);
	if (!changed)
		return;
	log_event(&d->log, LOG_READY, LOG_U64("ready", ready), LOG_STR("detail", detail));
	if (d->ipc->control) {
		int r = ipc_send(d->ipc->control, PROTO_READY, 0, &(struct proto_ready){.ready = ready});
		if (r < 0)
			ipc_fatal(d->ipc, r);
	}
}

void daemon_set_detail(struct daemon *d, const char *detail)
{
	(void)snprintf(d->detail, sizeof d->detail, "%s", detail);
}

int daemon_run(struct daemon *d)
{
	log_event(&d->log, LOG_CONFINED, LOG_STR("confinement", d->confinement));
	if (ipc_serve_admin(d->ipc))
		return EXIT_FAILURE;
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	if (d->on_farewell)
		d->on_farewell(d->farewell_ctx);
	return EXIT_SUCCESS;
}

void daemon_stop(struct daemon *d)
{
	d->draining = true;
	uv_stop(&d->loop);
}

void daemon_deinit(struct daemon *d)
{
	ipc_close(d->ipc);
	uv_close((uv_handle_t *)&d->on_term, NULL);
	uv_close((uv_handle_t *)&d->on_int, NULL);
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	int r = uv_loop_close(&d->loop);
	assert(r == 0); /* a handle that nobody closed */
	d->ipc = ipc_free(d->ipc);
	tally_close(d->tally);
	for (size_t i = 0; i < d->n_fds; i++)
		if (d->fds[i].fd >= 0)
			(void)close(d->fds[i].fd);
}
