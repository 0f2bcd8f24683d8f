/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with provider keys, watched by `up` (source.h). One that is to be taken is taken by `bulkhead vault sync
 * PROVIDER`, a child that does what an operator would do; the launcher waits for nobody and reads no key. One that
 * fails is tried again, and at once when the vault opens. A file that goes away or cannot be used is told once; the key
 * that is sealed stays in use.
 */
#include "cli/launch_files.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/config_tree.h"
#include "cli/source.h"

#define SOURCE_TRIES_TOLD 3
#define SOURCE_TIMEOUT_MS 60000

struct launch_sources {
	struct launcher *l;
	uv_timer_t tick;
	uv_process_t sync;
	bool running; /* until the handle is closed */
	uint64_t kill_at_ms;
	size_t current;
	size_t n;
	struct source_file of[];
};

static void launch_source_tell(struct launcher *l, struct source_file *f, const char *why)
{
	if (source_is_news(f, why))
		log_event(&l->log, LOG_SOURCE_KEPT, LOG_STR("provider", source_provider(l->cli, f->provider)),
			  LOG_STR("why", why));
}

static void on_sync_closed(uv_handle_t *handle)
{
	struct launch_sources *all = handle->data;

	all->running = false;
}

static void on_synced(uv_process_t *process, int64_t status, int signum)
{
	struct launch_sources *all = process->data;
	struct source_file *f = &all->of[all->current];

	uv_close((uv_handle_t *)process, on_sync_closed);
	source_end(f, status == CLI_DONE && signum == 0, uv_now(&all->l->loop));
	if (f->tries == SOURCE_TRIES_TOLD)
		launch_source_tell(
			all->l, f,
			"it was not taken, see above; tried again now and then, when it changes or the vault opens");
}

static void launch_source_take(struct launch_sources *all, size_t i)
{
	struct launcher *l = all->l;
	char *args[] = {(char[]){"bulkhead"},
			(char[]){"vault"},
			(char[]){"sync"},
			strdup(source_provider(l->cli, all->of[i].provider)),
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
	source_begin(&all->of[i]);
	all->sync.data = all;
	int r = args[3] && args[4] && args[5] ? uv_spawn(&l->loop, &all->sync, &options) : -ENOMEM;
	if (r) {
		uv_close((uv_handle_t *)&all->sync, on_sync_closed);
		launch_source_tell(l, &all->of[i], uv_strerror(r));
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
	char why[KEY_FILE_WHY_BYTES];

	if (all->running && uv_now(&l->loop) >= all->kill_at_ms)
		(void)uv_process_kill(&all->sync, SIGKILL);
	for (size_t i = 0; i < all->n; i++) {
		struct source_file *f = &all->of[i];

		if (!source_look(l->cli, f, why))
			launch_source_tell(l, f, why);
		else if (source_is_due(f, uv_now(&l->loop)) && l->vault_open && !all->running)
			launch_source_take(all, i);
	}
}

void launch_sources_heard(struct launcher *l, bool vault_open)
{
	bool again = vault_open && !l->vault_open;

	l->vault_open = vault_open;
	if (!again)
		return;
	for (size_t i = 0; l->sources && i < l->sources->n; i++)
		source_hurry(&l->sources->of[i]);
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
