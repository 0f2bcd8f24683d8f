/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with provider keys, watched by `up`.
 *
 * Once a second each file is looked at as it would be opened, links and all: whose folder swap (`..data` of
 * Kubernetes), rename or rewriting it was does not matter, and a file system that tells nobody of changes is fine. A
 * file that has looked the same twice, and other than the one last taken, is taken by `bulkhead vault sync PROVIDER`, a
 * child that does what an operator would do; the launcher waits for nobody and reads no key. One that fails is tried
 * again, three times, then when the file changes or the vault opens. A file that goes away or cannot be used is told
 * once; the key that is sealed stays in use.
 */
#include "cli/launch_files.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config_tree.h"
#include "cli/source.h"

#define SOURCE_TICK_MS    1000
#define SOURCE_TRIES_MAX  3
#define SOURCE_RETRY_MS   2000 /* doubles */
#define SOURCE_TIMEOUT_MS 60000

struct source_id {
	dev_t dev;
	ino_t ino;
	off_t bytes;
	struct timespec changed;
};

struct launch_source {
	size_t provider;
	bool there;
	char told[256]; /* what was said of it last */
	struct source_id seen, taken;
	unsigned tries;
	uint64_t retry_at_ms;
};

struct launch_sources {
	struct launcher *l;
	uv_timer_t tick;
	uv_process_t sync;
	bool running; /* until the handle is closed */
	uint64_t kill_at_ms;
	size_t current;
	struct source_id taking; /* as it was when the command began: it may change under it */
	size_t n;
	struct launch_source of[];
};

static bool source_same(const struct source_id *a, const struct source_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->bytes == b->bytes && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

static void source_tell(struct launcher *l, struct launch_source *s, const char *why)
{
	if (strncmp(why, s->told, sizeof(s->told) - 1) != 0)
		log_event(&l->log, LOG_SOURCE_KEPT,
			  LOG_STR("provider", config_tree_get(l->cli->config, CONFIG_PROVIDERS, s->provider, "name")),
			  LOG_STR("why", why));
	(void)snprintf(s->told, sizeof(s->told), "%s", why);
}

/* True when it is there and is the same as a moment ago. */
static bool source_look(struct launcher *l, struct launch_source *s)
{
	char why[KEY_FILE_WHY_BYTES];
	struct source_id id;
	struct stat st;
	int fd, r = source_open(l->cli, s->provider, &fd, why);

	if (r == 0) {
		r = fstat(fd, &st);
		close(fd);
	}
	if (r) {
		source_tell(l, s, why);
		s->there = false;
		return false;
	}
	id = (struct source_id){st.st_dev, st.st_ino, st.st_size, st.st_ctim};
	bool still = s->there && source_same(&id, &s->seen);
	if (!still) {
		s->told[0] = 0;
		s->tries = 0;
		s->retry_at_ms = 0;
	}
	s->there = true;
	s->seen = id;
	return still;
}

static void on_sync_closed(uv_handle_t *handle)
{
	struct launch_sources *all = handle->data;

	all->running = false;
}

static void on_synced(uv_process_t *process, int64_t status, int signum)
{
	struct launch_sources *all = process->data;
	struct launch_source *s = &all->of[all->current];

	uv_close((uv_handle_t *)process, on_sync_closed);
	if (status == CLI_DONE && signum == 0) {
		s->taken = all->taking;
		s->tries = 0;
		return;
	}
	s->retry_at_ms = uv_now(&all->l->loop) + ((uint64_t)SOURCE_RETRY_MS << s->tries);
	if (++s->tries == SOURCE_TRIES_MAX)
		source_tell(all->l, s, "it was not taken, see above; tried again when it changes or the vault opens");
}

static void source_sync_start(struct launch_sources *all, size_t i)
{
	struct launcher *l = all->l;
	const char *name = config_tree_get(l->cli->config, CONFIG_PROVIDERS, all->of[i].provider, "name");
	char *args[] = {(char[]){"bulkhead"},
			(char[]){"vault"},
			(char[]){"sync"},
			strdup(name),
			strdup("-c"),
			strdup(l->cli->config->file),
			NULL};
	uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
					 {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
					 {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO}};
	uv_process_options_t options = {.exit_cb = on_synced,
					.file = "/proc/self/exe",
					.args = args,
					.stdio_count = ARRAY_LEN(stdio),
					.stdio = stdio,
					.flags = UV_PROCESS_DETACHED};

	all->current = i;
	all->taking = all->of[i].seen;
	all->sync.data = all;
	int r = args[3] && args[4] && args[5] ? uv_spawn(&l->loop, &all->sync, &options) : -ENOMEM;
	if (r) {
		uv_close((uv_handle_t *)&all->sync, on_sync_closed);
		source_tell(l, &all->of[i], uv_strerror(r));
	}
	all->running = true;
	all->kill_at_ms = uv_now(&l->loop) + SOURCE_TIMEOUT_MS;
	for (size_t k = 3; k < 6; k++)
		free(args[k]);
}

static void on_tick(uv_timer_t *timer)
{
	struct launch_sources *all = timer->data;
	struct launcher *l = all->l;

	if (all->running && uv_now(&l->loop) >= all->kill_at_ms)
		(void)uv_process_kill(&all->sync, SIGKILL);
	for (size_t i = 0; i < all->n; i++) {
		struct launch_source *s = &all->of[i];
		bool still = source_look(l, s);

		if (!still || all->running || !l->vault_open || source_same(&s->seen, &s->taken) ||
		    s->tries >= SOURCE_TRIES_MAX || uv_now(&l->loop) < s->retry_at_ms)
			continue;
		source_sync_start(all, i);
	}
}

void launch_sources_heard(struct launcher *l, bool vault_open)
{
	bool again = vault_open && !l->vault_open;

	l->vault_open = vault_open;
	if (!again)
		return;
	for (size_t i = 0; l->sources && i < l->sources->n; i++) {
		l->sources->of[i].tries = 0;
		l->sources->of[i].retry_at_ms = 0;
	}
}

int launch_sources_start(struct launcher *l)
{
	size_t n = l->cli->config->sections[CONFIG_PROVIDERS].n;
	struct launch_sources *all = calloc(1, sizeof(*all) + n * sizeof(all->of[0]));

	if (!all)
		return cli_fail(l->cli, "out of memory");
	all->l = l;
	for (size_t i = 0; i < n; i++)
		if (source_is_configured(l->cli, i))
			all->of[all->n++].provider = i;
	if (all->n == 0 || !l->whole) {
		free(all);
		return CLI_DONE;
	}
	l->sources = all;
	all->tick.data = all;
	int r = uv_timer_init(&l->loop, &all->tick);
	return r || (r = uv_timer_start(&all->tick, on_tick, SOURCE_TICK_MS, SOURCE_TICK_MS))
		       ? cli_fail(l->cli, "event loop: %s", uv_strerror(r))
		       : CLI_DONE;
}

void launch_sources_stop(struct launcher *l)
{
	struct launch_sources *all = l->sources;

	if (!all)
		return;
	(void)uv_timer_stop(&all->tick);
	if (all->running && uv_is_active((uv_handle_t *)&all->sync))
		(void)uv_process_kill(&all->sync, SIGKILL);
}

void launch_sources_free(struct launcher *l)
{
	free(TAKE(l->sources));
}
