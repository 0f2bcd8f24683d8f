/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a loop turn, in this order: what has gathered for clients leaves; the clock is set, since that may have
 * moved requests on; the frames for other daemons leave (common/ipc, whose hook calls us first). Then the loop sleeps.
 *
 * The clock: one timer for all requests, set to the earliest deadline of all lists. It is looked at once per loop turn
 * and moved only when something is due earlier than it rings, so a busy worker rarely touches it.
 */
#include "router/worker.h"

#include <sys/resource.h>
#include <time.h>

#include "common/err.h"

#define WORKER_AUDIT_EVENTS_MAX 4096
#define WORKER_AUTHORIZE_MS     2000
#define WORKER_SCAN_MS          2000
#define WORKER_LINGER_MS        5000
/* For what is under way to end by itself; then for its clients to hear that it will not. The launcher kills whoever is
 * left after 30 s (cli/launch_watch.c): the rest of that time is for those who stop after us. */
#define WORKER_DRAIN_MS    20000
#define WORKER_FAREWELL_MS 5000
/* Descriptors for everything that is not a client: edges, listeners, bodies on their way. */
#define WORKER_FDS_RESERVED 128

static int worker_fatal(struct worker *w, const char *what, const char *why)
{
	log_event(&w->daemon.log, LOG_FATAL, LOG_STR("what", what), LOG_STR("why", why));
	return -EINVAL;
}

static void worker_now(struct worker *w)
{
	struct timespec now;

	w->all.now_us = uv_hrtime() / 1000;
	if (clock_gettime(CLOCK_REALTIME_COARSE, &now) == 0)
		w->all.unix_s = (uint64_t)now.tv_sec;
}

int worker_configure(struct worker *w)
{
	struct requests *all = &w->all;
	const struct config_router *c = &w->config.router;
	int r = config_read(w->daemon.config_fd, ROLE_ROUTER, BIT(CONFIG_ROUTER), &w->config);

	if (r)
		return r < 0 ? r : worker_fatal(w, "configuration", "see the line before");
	all->limits = (struct request_limits){
		.idle_ms = c->idle_timeout_ms,
		.head_ms = c->head_timeout_ms,
		.body_ms = c->body_timeout_ms,
		.authorize_ms = WORKER_AUTHORIZE_MS,
		.scan_ms = WORKER_SCAN_MS,
		.reply_ms = c->reply_timeout_ms,
		.stall_ms = c->stall_timeout_ms,
		.linger_ms = WORKER_LINGER_MS,
		.stream_bytes_max = c->stream_bytes_max,
		.anonymous_bytes_max = BODY_SMALL_BYTES_MAX,
	};
	all->bodies.bytes_max = c->bodies_bytes_max;
	if (proxies_parse(&all->trusted, c->trusted_proxies))
		return worker_fatal(w, "router.trusted_proxies", "not a list of addresses and CIDR ranges");
	worker_now(w);
	return requests_init(all, w->daemon.boot, w->daemon.worker);
}

int worker_connect(struct worker *w)
{
	struct ipc *ipc = w->daemon.ipc;
	int r = audit_client_new(ipc, WORKER_AUDIT_EVENTS_MAX, w->config.digest, &w->all.audit);

	if (!r)
		r = peers_new(ipc, &w->all, w->daemon.worker, worker_update_ready, w, &w->all.peers);
	if (!r)
		r = lane_new(ipc, &w->all, w->daemon.worker, worker_update_ready, w, &w->all.lane);
	return r;
}

int worker_serve_operator(struct worker *w)
{
	static const struct ipc_edge_spec spec = {.peer = ROLE_CLI};

	return ipc_serve(w->daemon.ipc, &spec, w, NULL);
}

static void worker_end_turn(void *ctx);

/* As many clients as there are descriptors for, one for the connection and one for a large body: accept4 must not fail
 * for want of one. */
static size_t worker_connections_max(struct worker *w)
{
	size_t asked = w->config.router.connections_max;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return 64;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	size_t room =
		files.rlim_cur > 2 * WORKER_FDS_RESERVED ? files.rlim_cur - WORKER_FDS_RESERVED : WORKER_FDS_RESERVED;
	if (room / 2 < asked)
		log_event(&w->daemon.log, LOG_CONNECTIONS_LOWERED, LOG_U64("open_files", files.rlim_cur),
			  LOG_U64("connections_max", asked), LOG_U64("in_effect", room / 2));
	return MIN(asked, room / 2);
}

int worker_open_door(struct worker *w)
{
	uv_loop_t *loop = &w->daemon.loop;
	int fd = daemon_take_fd(&w->daemon, "http"), r;

	if (fd < 0)
		return worker_fatal(w, "http", "no listener was handed over");
	w->clock.data = w;
	r = uv_timer_init(loop, &w->clock);
	if (r)
		return err_origin(r);
	r = door_open(loop, fd, worker_connections_max(w), &w->all, &w->door);
	if (!r)
		ipc_set_before_flush(w->daemon.ipc, worker_end_turn, w);
	return r;
}

static void worker_drain_on(struct worker *w)
{
	if (w->ending) {
		door_drop_all(w->door);
		return;
	}
	w->ending = true;
	w->drain_ms += WORKER_FAREWELL_MS;
	requests_end(&w->all);
}

static void on_clock(uv_timer_t *clock)
{
	struct worker *w = clock->data;

	w->clock_ms = 0;
	worker_now(w);
	requests_expire(&w->all);
	if (w->drain_ms && w->all.now_us / 1000 >= w->drain_ms)
		worker_drain_on(w);
}

static void worker_set_clock(struct worker *w)
{
	uint64_t next = requests_next_ms(&w->all), now = w->all.now_us / 1000;

	if (w->drain_ms)
		next = MIN(next, w->drain_ms);
	if (next == UINT64_MAX || (w->clock_ms && w->clock_ms <= next))
		return;
	w->clock_ms = next;
	uv_update_time(&w->daemon.loop);
	(void)uv_timer_start(&w->clock, on_clock, next > now ? next - now : 1, 0);
}

static void worker_end_turn(void *ctx)
{
	struct worker *w = ctx;

	worker_now(w);
	door_flush(w->door);
	worker_set_clock(w);
	w->all.clock_told = false;
	if (w->drain_ms && door_connections(w->door) == 0)
		daemon_stop(&w->daemon);
}

void worker_update_ready(void *ctx)
{
	struct worker *w = ctx;
	enum reason missing = requests_unready(&w->all);

	daemon_set_ready(&w->daemon, !missing,
			 missing == REASON_AUTHD_GONE        ? "authd is not connected"
			 : missing == REASON_VAULT_SEALED    ? "the vault is sealed"
			 : missing == REASON_EGRESS_GONE     ? "the egress is not connected"
			 : missing == REASON_CLASSIFIER_GONE ? "the classifier is not connected"
							     : "serving");
}

void worker_drain(void *ctx)
{
	struct worker *w = ctx;

	worker_now(w);
	w->drain_ms = w->all.now_us / 1000 + WORKER_DRAIN_MS;
	door_shut(w->door);
	requests_shutdown(&w->all);
}

void worker_metrics(void *ctx, char *to, size_t cap)
{
	const struct worker *w = ctx;

	requests_metrics(&w->all, to, cap);
}

void worker_stop(struct worker *w)
{
	worker_now(w);
	door_close(w->door);
	uv_close((uv_handle_t *)&w->clock, NULL);
	ipc_set_before_flush(w->daemon.ipc, NULL, NULL);
	w->all.audit = audit_client_free(w->all.audit);
	daemon_deinit(&w->daemon);
	w->door = door_free(w->door);
	w->all.lane = lane_free(w->all.lane);
	w->all.peers = peers_free(w->all.peers);
	requests_deinit(&w->all);
	config_deinit(&w->config);
}
