/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One listening socket for each pair of instances that edges.def lets talk: `<server>.<client>.sock`, owned by the
 * server's uid, its group the client's, mode 0660. We keep the descriptors open, so a socket outlives the daemon that
 * serves it: after a kill -9 connections wait for the restarted one.
 */
#include "cli/launch.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/listen.h"
#include "cli/rundir.h"

static unsigned listen_instances(const struct launcher *l, enum role role)
{
	return role_has_workers(role) ? l->workers : 1;
}

static int listen_edge(struct launcher *l, const struct launch_child *server, enum role client, unsigned client_worker)
{
	struct launch_listener *new_ones = realloc(l->listeners, (l->n_listeners + 1) * sizeof(*new_ones));
	struct launch_listener *it;
	int r;

	if (!new_ones)
		return cli_fail(l->cli, "out of memory");
	l->listeners = new_ones;
	it = &l->listeners[l->n_listeners];
	*it = (struct launch_listener){.server = server->role, .server_worker = server->worker, .fd = -1};
	edge_name(server->role, server->worker, client, client_worker, it->name);
	r = rundir_listen(l->run_fd, it->name, launch_uid(l, server->role), launch_gid(l, client), &it->fd);
	if (r == -EADDRINUSE)
		return cli_fail(l->cli, "%s is served by another process already", it->name);
	if (r == -EPERM)
		return cli_fail(l->cli,
				"socket %s cannot be given to gid %u: add that group to this container (group_add)",
				it->name, launch_gid(l, client));
	if (r)
		return cli_fail(l->cli, "socket %s/%s.sock: %s", cli_value(l->cli, "bulkhead.run_dir"), it->name,
				strerror(-r));
	l->n_listeners++;
	return CLI_DONE;
}

/* All that `server` serves. */
static int listen_server(struct launcher *l, const struct launch_child *server)
{
	size_t n;
	const struct edge_row *rows = edge_rows(&n);

	for (size_t i = 0; i < n; i++) {
		if (rows[i].server != server->role)
			continue;
		for (unsigned w = 0; w < listen_instances(l, rows[i].client); w++) {
			int r = rows[i].pairing == EDGE_PAIRED && w != server->worker
					? CLI_DONE
					: listen_edge(l, server, rows[i].client, w);
			if (r)
				return r;
		}
	}
	return CLI_DONE;
}

static int listen_http(struct launcher *l)
{
	const char *text = cli_value(l->cli, "router.listen");
	struct listen_address address;
	int r = listen_parse(text, &address);

	if (r)
		return cli_fail(l->cli, "router.listen '%s' is not an address", text);
	r = listen_open(&address, &l->http_fd, l->http_text, sizeof(l->http_text));
	if (r == -EADDRINUSE)
		return cli_fail(l->cli, "%s is in use: stop what listens there, or set router.listen", text);
	if (r == -EACCES)
		return cli_fail(l->cli,
				"%s may be listened on only by root or with CAP_NET_BIND_SERVICE: set router.listen",
				text);
	return r ? cli_fail(l->cli, "cannot listen on %s: %s; set router.listen", text, strerror(-r)) : CLI_DONE;
}

int launch_listen(struct launcher *l)
{
	int r = CLI_DONE;

	for (size_t i = 0; !r && i < l->n_children; i++) {
		r = listen_server(l, &l->children[i]);
		if (!r && l->children[i].role == ROLE_ROUTER && l->http_fd < 0)
			r = listen_http(l);
	}
	return r;
}

void launch_unlisten(struct launcher *l)
{
	for (size_t i = 0; i < l->n_listeners; i++) {
		rundir_remove(l->run_fd, l->listeners[i].name);
		close(l->listeners[i].fd);
	}
	free(l->listeners);
	l->listeners = NULL;
	l->n_listeners = 0;
	if (l->http_fd >= 0)
		close(l->http_fd);
	l->http_fd = -1;
}
