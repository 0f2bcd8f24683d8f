/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deaths and the end.
 *
 * A child that dies is restarted: at once the first time, then after 100 ms, doubling to restart_pause_ms, as long as
 * each life is shorter than ten seconds. Before everybody has been up once, five short lives of one child mean that it
 * cannot start, and we give up. Later nothing that happens to one is a reason to end the others.
 *
 * Draining goes in stages, because a request in flight needs everybody behind the router: routers first, then what
 * serves them, then the log, and last the core, which signs the log's final checkpoint. Whoever of a stage is left at
 * the deadline is killed, and only they: the stages behind it still end in order, though in a shorter time.
 */
#include "cli/launch_files.h"
#include "cli/launch_tally.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCH_LIFE_MS    10000
#define WATCH_BACKOFF_MS 100
#define WATCH_DEATHS_MAX 5
#define WATCH_DRAIN_MS   30000
#define WATCH_LATE_MS    2500 /* for each stage after that: all within the 40 s of bulkhead.service */

static const uint64_t stages[] = {
	BIT(ROLE_ROUTER),
	BIT(ROLE_CLASSIFIER) | BIT(ROLE_EGRESS) | BIT(ROLE_DIALER) | BIT(ROLE_AUTHD),
	BIT(ROLE_AUDITD),
	BIT(ROLE_KEYVAULT) | BIT(ROLE_SHIPPER),
};

/* ---- draining ---- */

static void watch_signal(struct launcher *l, uint64_t roles, int signum)
{
	for (size_t i = 0; i < l->n_children; i++)
		if (l->children[i].pid && (roles & BIT(l->children[i].role)))
			kill(l->children[i].pid, signum);
}

static bool watch_any(const struct launcher *l, uint64_t roles)
{
	for (size_t i = 0; i < l->n_children; i++)
		if (l->children[i].pid && (roles & BIT(l->children[i].role)))
			return true;
	return false;
}

/* Goes on to the next stage that has somebody, or ends. */
static void watch_advance(struct launcher *l)
{
	while (l->stage < ARRAY_LEN(stages) && !watch_any(l, stages[l->stage]))
		if (++l->stage < ARRAY_LEN(stages)) {
			watch_signal(l, stages[l->stage], SIGTERM);
			if (l->late)
				(void)uv_timer_again(&l->deadline);
		}
	if (l->stage == ARRAY_LEN(stages))
		uv_stop(&l->loop);
}

/* Again for each stage behind the one that was late: the timer repeats. */
static void on_deadline(uv_timer_t *timer)
{
	struct launcher *l = timer->data;

	if (l->stage == ARRAY_LEN(stages))
		return; /* all are gone since the loop polled */
	if (!l->late)
		log_event(&l->log, LOG_LAUNCH_DRAIN_TIMEOUT);
	l->late = true;
	watch_signal(l, stages[l->stage], SIGKILL);
}

/* Once the routers have closed theirs, who comes is refused, and not left to wait for the end of the last stream. */
static void watch_shut_http(struct launcher *l)
{
	if (l->http_fd >= 0)
		close(l->http_fd);
	l->http_fd = -1;
}

void launch_drain(struct launcher *l, int exit_code)
{
	if (l->phase == LAUNCH_DRAINING) {
		watch_signal(l, UINT64_MAX, SIGKILL);
		return;
	}
	l->phase = LAUNCH_DRAINING;
	launch_sources_stop(l);
	watch_shut_http(l);
	l->exit_code = exit_code;
	for (size_t i = 0; i < l->n_children; i++)
		uv_timer_stop(&l->children[i].restart);
	uv_timer_start(&l->deadline, on_deadline, WATCH_DRAIN_MS, WATCH_LATE_MS);
	watch_signal(l, stages[0], SIGTERM);
	watch_advance(l);
}

static void on_stop_signal(uv_signal_t *handle, int signum)
{
	(void)signum;
	launch_drain(handle->data, CLI_DONE);
}

/* A terminal that is closed says so twice, itself and by its shell: the second time is no second word of a person's. */
static void on_hang_up(uv_signal_t *handle, int signum)
{
	struct launcher *l = handle->data;

	(void)signum;
	if (l->phase != LAUNCH_DRAINING)
		launch_drain(l, CLI_DONE);
}

/* ---- restarting ---- */

static void on_restart(uv_timer_t *timer);

static void watch_again(struct launch_child *c, uint64_t pause_least_ms)
{
	uint64_t pause_ms = 0;

	if (c->deaths > 1)
		pause_ms = MIN((uint64_t)WATCH_BACKOFF_MS << MIN(c->deaths - 2, 16u),
			       cli_value_u64(c->l->cli, "bulkhead.restart_pause_ms"));
	uv_timer_start(&c->restart, on_restart, MAX(pause_ms, pause_least_ms), 0);
}

/* Of a gateway that serves: too many processes, too few descriptors or too little memory for a moment are no reason to
 * end what runs. */
static void watch_put_off(struct launch_child *c)
{
	if (c->pid) {
		kill(c->pid, SIGKILL); /* it has no control socket; its death goes on from here */
		return;
	}
	c->deaths++;
	watch_again(c, WATCH_BACKOFF_MS);
}

static void watch_start(struct launch_child *c)
{
	int r = launch_spawn(c);

	if (r == 0)
		return;
	cli_fail(c->l->cli, "%s does not start: %s", c->name,
		 r > 0 ? "its part of the configuration is too large" : strerror(-r));
	if (c->l->phase == LAUNCH_SERVING)
		watch_put_off(c);
	else
		launch_drain(c->l, CLI_FAILED);
}

static void on_restart(uv_timer_t *timer)
{
	watch_start(timer->data);
}

/* In order, or by our word before it could hear it. */
static bool watch_as_told(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGTERM;
}

static void watch_report(struct launch_child *c, int status)
{
	char how[128];

	if (WIFEXITED(status))
		snprintf(how, sizeof(how), "exited with %d", WEXITSTATUS(status));
	else if (WTERMSIG(status) == SIGSYS)
		snprintf(how, sizeof(how), "killed by seccomp (SIGSYS): a system call that is not on its list");
	else
		snprintf(how, sizeof(how), "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	log_event(&c->l->log, LOG_LAUNCH_DIED, LOG_STR("instance", c->name), LOG_U64("pid", (uint64_t)c->pid),
		  LOG_STR("how", how));
}

static void watch_died(struct launch_child *c, int status)
{
	struct launcher *l = c->l;

	if (l->phase != LAUNCH_DRAINING || !watch_as_told(status))
		watch_report(c, status);
	c->pid = 0;
	launch_control_close(c);
	if (l->phase == LAUNCH_DRAINING) {
		watch_advance(l);
		return;
	}
	c->deaths = uv_now(&l->loop) - c->started_ms > WATCH_LIFE_MS ? 1 : c->deaths + 1;
	if (l->phase == LAUNCH_STARTING && !(l->whole && launch_optional(c->role)) && c->deaths >= WATCH_DEATHS_MAX) {
		cli_fail(l->cli, "%s does not start; its own lines above say why", c->name);
		launch_drain(l, CLI_FAILED);
		return;
	}
	watch_again(c, 0);
}

static void on_child(uv_signal_t *handle, int signum)
{
	struct launcher *l = handle->data;

	(void)signum;
	uv_update_time(&l->loop);
	for (size_t i = 0; i < l->n_children; i++) {
		int status;

		if (l->children[i].pid && waitpid(l->children[i].pid, &status, WNOHANG) == l->children[i].pid)
			watch_died(&l->children[i], status);
	}
}

/* ---- start and end ---- */

void launch_start_all(struct launcher *l)
{
	for (size_t i = 0; i < l->n_children && l->phase != LAUNCH_DRAINING; i++)
		watch_start(&l->children[i]);
}

static int watch_signal_handle(struct launcher *l, uv_signal_t *handle, uv_signal_cb callback, int signum)
{
	int r = uv_signal_init(&l->loop, handle);

	handle->data = l;
	return r ? r : uv_signal_start(handle, callback, signum);
}

/* Under nohup it goes on without its terminal. */
static bool watch_is_ignored(int signum)
{
	struct sigaction was;

	return sigaction(signum, NULL, &was) == 0 && was.sa_handler == SIG_IGN;
}

int launch_watch(struct launcher *l)
{
	int r = watch_signal_handle(l, &l->on_child, on_child, SIGCHLD);

	if (!r)
		r = watch_signal_handle(l, &l->on_int, on_stop_signal, SIGINT);
	if (!r)
		r = watch_signal_handle(l, &l->on_term, on_stop_signal, SIGTERM);
	if (!r && !watch_is_ignored(SIGHUP))
		r = watch_signal_handle(l, &l->on_hup, on_hang_up, SIGHUP);
	if (!r)
		r = uv_timer_init(&l->loop, &l->deadline);
	l->deadline.data = l;
	for (size_t i = 0; !r && i < l->n_children; i++) {
		r = uv_timer_init(&l->loop, &l->children[i].restart);
		l->children[i].restart.data = &l->children[i];
	}
	return r ? cli_fail(l->cli, "event loop: %s", uv_strerror(r)) : CLI_DONE;
}

static void watch_close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void launch_close(struct launcher *l)
{
	for (size_t i = 0; i < l->n_children; i++)
		launch_control_close(&l->children[i]);
	launch_close_tallies(l);
	uv_walk(&l->loop, watch_close_handle, NULL);
	uv_run(&l->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&l->loop))
		abort(); /* a handle that nobody closed */
	free(l->children);
	l->children = NULL;
	l->n_children = 0;
}
