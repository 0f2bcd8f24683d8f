/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead up` and `bulkhead run`: configuration, folders, sockets, daemons, and then watching them until told to
 * stop. What must hold before a daemon starts is checked here, so that it fails with one line and not in eleven logs.
 */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/config_tree.h"
#include "cli/launch.h"
#include "cli/launch_files.h"

static int up_child(struct launcher *l, enum role role, unsigned worker)
{
	struct launch_child *c = &l->children[l->n_children++];

	*c = (struct launch_child){.l = l, .role = role, .worker = worker, .tally_fd = -1};
	instance_name(role, worker, c->name);
	return CLI_DONE;
}

/* The children of `up`: every instance; of `run`: the one named. Their number is known before any pointer to one is
 * taken. */
static int up_children(struct launcher *l)
{
	l->children = calloc(N_ROLES + 3 * (size_t)l->workers, sizeof(*l->children));
	if (!l->children)
		return cli_fail(l->cli, "out of memory");
	for (unsigned role = 0; role < N_ROLES; role++)
		for (unsigned w = 0; launch_wanted(l->cli, role) && w < (role_has_workers(role) ? l->workers : 1); w++)
			up_child(l, role, w);
	return CLI_DONE;
}

static int run_child(struct launcher *l)
{
	const char *name = l->cli->args[0];
	uint64_t worker;
	unsigned role = 0;
	int r;

	while (role < N_ROLES && (!role_is_daemon(role) || strcmp(name, role_name(role)) != 0))
		role++;
	if (role == N_ROLES)
		return cli_misuse(
			l->cli,
			"no daemon '%s': router, authd, keyvault, egress, dialer, auditd, classifier or shipper", name);
	r = cli_option_u64(l->cli, "--worker", 0, role_has_workers(role) ? l->workers - 1 : 0, 0, &worker);
	if (r)
		return r;
	l->children = calloc(1, sizeof(*l->children));
	return l->children ? up_child(l, role, (unsigned)worker) : cli_fail(l->cli, "out of memory");
}

static int up_identity(struct launcher *l)
{
	l->uid_base = (uid_t)cli_value_u64(l->cli, "bulkhead.uid_base");
	launch_identify(l);
	if (!l->root && l->whole)
		fprintf(l->cli->err,
			"bulkhead: not root, so all daemons share uid %u and only their sandboxes keep them apart\n",
			geteuid());
	if (l->root && setgroups(0, NULL))
		return cli_fail(l->cli,
				"cannot drop groups (%s): run as root with CAP_SETUID and CAP_SETGID, or not as root",
				strerror(errno));
	return CLI_DONE;
}

/* What an operator has to do before the gateway can answer; on standard error, so that the ready line stays alone. */
static void up_hint(struct launcher *l)
{
	const union proto_any *answer;
	struct admin *a = NULL;
	const char *why, *c = l->cli->config_path;
	char option[LAUNCH_PATH_BYTES];

	snprintf(option, sizeof(option), "%s%.4000s", c ? " -c " : "", c ? c : "");
	if (admin_try(l->cli, ROLE_KEYVAULT, 0, &a, &why) == CLI_DONE &&
	    admin_call(a, PROTO_VAULT_STATUS, &(struct proto_vault_status){}, PROTO_VAULT_STATUS_REP, 2000, &answer) ==
		    CLI_DONE) {
		if (span_eq_str(answer->vault_status_rep.state, "uninitialised"))
			fprintf(l->cli->err,
				"hint: the vault has no root key; run `bulkhead vault init%s`, then "
				"`bulkhead vault add PROVIDER%s`; or, where it had one, `bulkhead vault restore%s`\n",
				option, option, option);
		else if (span_eq_str(answer->vault_status_rep.state, "sealed"))
			fprintf(l->cli->err, "hint: the vault is sealed; run `bulkhead vault unseal%s`\n", option);
	}
	admin_close(a);
}

void launch_heard(struct launch_child *c)
{
	struct launcher *l = c->l;

	c->heard = true;
	for (size_t i = 0; i < l->n_children; i++)
		if (!l->children[i].heard && !(l->whole && launch_optional(l->children[i].role)))
			return;
	if (l->phase != LAUNCH_STARTING)
		return;
	l->phase = LAUNCH_SERVING;
	if (l->whole)
		fprintf(l->cli->out, "ready: http://%s\n", l->http_text);
	else
		fprintf(l->cli->out, "ready: %s\n", c->name);
	if (fflush(l->cli->out))
		clearerr(l->cli->out); /* nobody wants to know; the gateway runs all the same */
	if (l->whole)
		up_hint(l);
}

/* What somebody meant to say, and nobody hears. */
static void up_strays(const struct launcher *l)
{
	char nearest[CONFIG_ENV_BYTES];
	struct span name;

	for (char **at = environ; (at = config_env_stray(at, &name, nearest)); at++)
		log_event(&l->log, LOG_CONFIG_STRAY, LOG_SPAN("variable", name), LOG_STR("nearest", nearest));
}

static int up_prepare(struct launcher *l)
{
	int r = cli_config(l->cli);

	if (r)
		return r;
	up_strays(l);
	l->workers = (unsigned)cli_value_u64(l->cli, "router.workers");
	r = l->whole ? up_children(l) : run_child(l);
	if (!r)
		r = up_identity(l);
	if (!r)
		r = launch_find_programs(l);
	if (!r)
		r = launch_watch(l); /* before there is anything that a signal could leave behind */
	if (!r)
		r = launch_folders(l);
	if (!r)
		r = launch_check_files(l);
	if (!r)
		r = launch_check_key(l);
	if (!r)
		r = launch_listen(l);
	return r ? r : launch_sources_start(l);
}

static void up_leave(struct launcher *l)
{
	sigset_t all;

	/* It is over: one more Ctrl-C must not change the exit status, nor leave half of this undone. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	launch_unlisten(l);
	if (l->made_run_dir)
		(void)rmdir(cli_value(l->cli, "bulkhead.run_dir"));
	if (l->run_fd >= 0)
		close(l->run_fd);
	launch_close(l);
	while (l->n_locks > 0)
		close(l->locks[--l->n_locks]);
	launch_sources_free(l);
}

/*
 * What is blocked stays blocked in whoever is started, and some start others from a thread that hears nothing: no death
 * would be noticed then, in the launcher, and no word to end, in any daemon.
 */
static void up_hear_signals(void)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

static int up(struct cli *cli, bool whole)
{
	struct launcher l = {.cli = cli, .whole = whole, .run_fd = -1, .http_fd = -1};
	int r;

	log_init(&l.log, "launcher");
	up_hear_signals();
	(void)umask(022);
	if (uv_loop_init(&l.loop))
		return cli_fail(cli, "event loop: out of memory");
	r = up_prepare(&l);
	if (!r) {
		launch_start_all(&l);
		uv_run(&l.loop, UV_RUN_DEFAULT);
		launch_forget_seal(&l);
		r = l.exit_code;
	}
	up_leave(&l);
	return r;
}

int cmd_up(struct cli *cli)
{
	return up(cli, true);
}

int cmd_run(struct cli *cli)
{
	return up(cli, false);
}
