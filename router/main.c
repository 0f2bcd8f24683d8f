/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The router: takes HTTP from clients, asks authd, the classifier and the egress of its lane, and passes on what they
 * say. It opens no connection and no file, and holds no key but the ones that clients present, for as long as it takes
 * to ask. One process per worker; they share the listener.
 */
#include <stdlib.h>

#include "common/sandbox.h"
#include "router/worker.h"

static int worker_start(struct worker *w, int argc, char **argv)
{
	struct daemon *d = &w->daemon;
	int r = daemon_init(d, ROLE_ROUTER, argc, argv);

	if (!r)
		r = worker_configure(w);
	if (!r)
		r = worker_connect(w);
	if (!r)
		r = worker_serve_operator(w);
	if (!r)
		r = worker_open_door(w);
	if (!r)
		r = sandbox_enter(ROLE_ROUTER, NULL, 0, d->confinement, sizeof(d->confinement));
	return r;
}

int main(int argc, char **argv)
{
	struct worker w = {.config = CONFIG_NULL};

	if (worker_start(&w, argc, argv))
		return EXIT_FAILURE;
	w.daemon.ctx = &w;
	w.daemon.on_drain = worker_drain;
	w.daemon.metrics = worker_metrics;
	worker_update_ready(&w);
	int code = daemon_run(&w.daemon);
	worker_stop(&w);
	return code;
}
