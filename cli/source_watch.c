/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead vault sync --watch`: what the launcher of `up` does with files of provider keys, as a process of its own,
 * for daemons that have containers of their own. One line for each thing that happens, an object with --json:
 *
 *      Watching 2 files.                                          {"watching": ["openai", "local"]}
 *      Sealed the key of openai (version 3): ...                  {"credential": "openai", "version": 3}
 *      The key of openai stays as it was: ...                     {"credential": "openai", "kept": "..."}
 *      Waits: the vault is sealed                                 {"waits": "the vault is sealed"}
 *      Goes on.                                                   {"waits": ""}
 *
 * It waits while the vault is sealed and while core or authd is away; such a failure is not the file's. SIGTERM and
 * SIGINT are asked for between two steps, so that a key that is being sealed is stored or was never sealed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "cli/admin.h"
#include "cli/config_tree.h"
#include "cli/output.h"
#include "cli/plain.h"
#include "cli/source.h"

#define WATCH_WHY_BYTES 1024

struct watch {
	struct cli *cli;
	sigset_t ends;
	char waits[WATCH_WHY_BYTES]; /* for what, as said last; "": for nothing */
	size_t n;
	struct source_file files[];
};

/* ---- what is said ---- */

static void watch_say_json(struct watch *w, json_t *doc)
{
	int r = cli_print_json(w->cli, doc);

	(void)r; /* whoever read it has gone */
	(void)fflush(w->cli->out);
}

static void watch_say_begin(struct watch *w)
{
	json_t *names = json_array();

	for (size_t i = 0; i < w->n; i++)
		json_array_append_new(names, json_string(source_provider(w->cli, w->files[i].provider)));
	if (w->cli->json) {
		watch_say_json(w, json_pack("{s:o}", "watching", names));
		return;
	}
	json_decref(names);
	fprintf(w->cli->out, "Watching %zu file%s.\n", w->n, w->n == 1 ? "" : "s");
	(void)fflush(w->cli->out);
}

static void watch_say_kept(struct watch *w, struct source_file *f, const char *why)
{
	const char *name = source_provider(w->cli, f->provider);

	if (!source_is_news(f, why))
		return;
	if (w->cli->json) {
		watch_say_json(w, json_pack("{s:s,s:o}", "credential", name, "kept", json_span(span_str(why))));
		return;
	}
	plain_line(w->cli->out, "The key of %s stays as it was: %s", name, why);
	(void)fflush(w->cli->out);
}

static void watch_say_waits(struct watch *w, const char *why)
{
	if (strcmp(why, w->waits) == 0)
		return;
	(void)snprintf(w->waits, sizeof(w->waits), "%s", why);
	if (w->cli->json)
		watch_say_json(w, json_pack("{s:o}", "waits", json_span(span_str(why))));
	else
		plain_line(w->cli->out, why[0] ? "Waits: %s" : "Goes on.", why);
	(void)fflush(w->cli->out);
}

/* ---- what it waits for ---- */

/* The reason, if the vault cannot take a key now. */
static bool watch_is_ready(struct watch *w, struct admin **ret_authd, char why[WATCH_WHY_BYTES])
{
	const union proto_any *answer;
	struct admin *core = NULL;
	const char *text = "";
	bool open = false;

	if (admin_try(w->cli, ROLE_KEYVAULT, 0, &core, &text)) {
		(void)snprintf(why, WATCH_WHY_BYTES, "keyvault %s", text);
		return false;
	}
	if (admin_call(core, PROTO_VAULT_STATUS, &(struct proto_vault_status){}, PROTO_VAULT_STATUS_REP,
		       ADMIN_DEADLINE_MS, &answer)) {
		(void)snprintf(why, WATCH_WHY_BYTES, "keyvault does not answer");
	} else {
		open = span_eq_str(answer->vault_status_rep.state, "unsealed");
		(void)snprintf(why, WATCH_WHY_BYTES, "the vault is %.*s", SPAN_ARG(answer->vault_status_rep.state));
	}
	admin_close(core);
	if (!open || admin_try(w->cli, ROLE_AUTHD, 0, ret_authd, &text) == CLI_DONE)
		return open;
	(void)snprintf(why, WATCH_WHY_BYTES, "authd %s", text);
	return false;
}

/* ---- one file ---- */

/* As source_sync(), but what it would have said on standard error is in `why`. */
static bool watch_sync(struct watch *w, struct admin *authd, size_t provider, char why[WATCH_WHY_BYTES])
{
	FILE *err = w->cli->err, *to = fmemopen(why, WATCH_WHY_BYTES, "w");
	size_t name = strlen(cli_program.name) + strlen(": ");

	if (!to) {
		(void)snprintf(why, WATCH_WHY_BYTES, "out of memory");
		return false;
	}
	why[0] = 0;
	w->cli->err = to;
	bool done = source_sync(w->cli, authd, provider) == CLI_DONE;
	w->cli->err = err;
	(void)fclose(to);
	(void)fflush(w->cli->out);
	why[strcspn(why, "\n")] = 0;
	memmove(why, why + MIN(name, strlen(why)), strlen(why + MIN(name, strlen(why))) + 1);
	return done;
}

static uint64_t watch_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void watch_take(struct watch *w, struct source_file *f)
{
	char why[WATCH_WHY_BYTES], waits[WATCH_WHY_BYTES];
	struct admin *authd = NULL;

	if (!watch_is_ready(w, &authd, waits)) {
		watch_say_waits(w, waits);
		return;
	}
	watch_say_waits(w, "");
	source_begin(f);
	bool done = watch_sync(w, authd, f->provider, why);
	authd = admin_close(authd);
	if (!done && !watch_is_ready(w, &authd, waits)) {
		watch_say_waits(w, waits); /* that was it */
		return;
	}
	admin_close(authd);
	source_end(f, done, watch_now_ms());
	if (!done)
		watch_say_kept(w, f, why);
}

/* ---- all of them ---- */

/* True when it is to end. */
static bool watch_pause(const struct watch *w, uint64_t ms)
{
	struct timespec at_most = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	return sigtimedwait(&w->ends, NULL, &at_most) > 0;
}

static bool watch_round(struct watch *w)
{
	char why[KEY_FILE_WHY_BYTES];

	for (size_t i = 0; i < w->n; i++) {
		struct source_file *f = &w->files[i];

		if (!source_look(w->cli, f, why))
			watch_say_kept(w, f, why);
		else if (source_is_due(f, watch_now_ms()))
			watch_take(w, f);
		if (watch_pause(w, 0))
			return true;
	}
	return watch_pause(w, SOURCE_TICK_MS);
}

int source_watch(struct cli *cli)
{
	size_t n = cli->config->sections[CONFIG_PROVIDERS].n;
	struct watch *w = calloc(1, sizeof(*w) + n * sizeof(w->files[0]));

	if (!w)
		return cli_fail(cli, "out of memory");
	w->cli = cli;
	for (size_t i = 0; i < n; i++)
		if (source_is_asked_for(cli, i))
			w->files[w->n++].provider = i;
	(void)sigemptyset(&w->ends);
	(void)sigaddset(&w->ends, SIGTERM);
	(void)sigaddset(&w->ends, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &w->ends, NULL);
	watch_say_begin(w);
	while (!watch_round(w))
		;
	free(w);
	return CLI_DONE;
}
