/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a row of the table to a running program.
 *
 * The child is given exactly: /dev/null, standard error twice, and from descriptor 3 on what LISTEN_FDNAMES names. It
 * is in a session of its own (Ctrl-C is for the launcher, which drains in order), dies with the launcher, dumps no
 * core, and when we are root has a uid of its own, no groups and an empty capability bounding set. The environment is
 * made anew.
 */
#include "cli/launch_files.h"
#include "cli/launch_tally.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/daemon.h"

#define EXEC_FIRST_FD      3
#define EXEC_MEMLOCK_BYTES (64u << 20) /* for the arenas; the hard limit wins where we may not raise it */
#define EXEC_NAMES_BYTES   (DAEMON_FDS_MAX * EDGE_NAME_BYTES)

struct exec_plan {
	struct launch_child *child;
	pid_t parent;
	char program[LAUNCH_PATH_BYTES + 32];
	int program_fd; /* opened by us: the child's uid may be unable to walk to it */
	int fds[DAEMON_FDS_MAX];
	size_t n_fds;
	char names[EXEC_NAMES_BYTES];
	size_t names_len;
};

/* Descriptors of the launcher's that the child is to have; they stay open here. */
static int exec_add(struct exec_plan *p, const char *name, int fd)
{
	int n = snprintf(p->names + p->names_len, sizeof(p->names) - p->names_len, "%s%s", p->n_fds ? ":" : "", name);

	if (p->n_fds == DAEMON_FDS_MAX || n < 0 || (size_t)n >= sizeof(p->names) - p->names_len)
		return -E2BIG;
	p->names_len += (size_t)n;
	p->fds[p->n_fds++] = fd;
	return 0;
}

static int exec_collect(struct exec_plan *p, int config_fd, int control_fd, int key_fd)
{
	const struct launcher *l = p->child->l;
	int tally_fd, r = launch_tally(p->child, &tally_fd);

	if (!r)
		r = exec_add(p, "config", config_fd);
	if (!r)
		r = exec_add(p, "control", control_fd);
	if (!r && tally_fd >= 0)
		r = exec_add(p, "tally", tally_fd);
	if (!r && p->child->role == ROLE_ROUTER)
		r = exec_add(p, "http", l->http_fd);
	if (!r && key_fd >= 0)
		r = exec_add(p, "root_key", key_fd);
	for (size_t i = 0; !r && i < l->n_listeners; i++)
		if (l->listeners[i].server == p->child->role && l->listeners[i].server_worker == p->child->worker)
			r = exec_add(p, l->listeners[i].name, l->listeners[i].fd);
	return r;
}

/* ---- in the child ---- */

static _Noreturn void exec_die(const struct exec_plan *p, const char *what)
{
	bool closed = errno == EACCES && what == p->program;

	dprintf(STDERR_FILENO, "bulkhead: %s: %s: %s%s\n", p->child->name, what, strerror(errno),
		closed ? " (it runs as a uid of its own: chmod 755)" : "");
	_exit(127);
}

/* First out of the way of the numbers to come, then into place; dup2() leaves them open across exec. */
static void exec_place_fds(struct exec_plan *p)
{
	int first_free = EXEC_FIRST_FD + (int)p->n_fds;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		exec_die(p, "/dev/null");
	if ((p->program_fd = fcntl(p->program_fd, F_DUPFD_CLOEXEC, first_free)) < 0)
		exec_die(p, "descriptors");
	for (size_t i = 0; i < p->n_fds; i++)
		if ((p->fds[i] = fcntl(p->fds[i], F_DUPFD_CLOEXEC, first_free)) < 0)
			exec_die(p, "descriptors");
	for (size_t i = 0; i < p->n_fds; i++)
		if (dup2(p->fds[i], EXEC_FIRST_FD + (int)i) < 0)
			exec_die(p, "descriptors");
}

/* Soft limit to the hard one, and both to `want` where the kernel lets us. */
static void exec_raise(__rlimit_resource_t what, rlim_t want)
{
	struct rlimit limit;

	if (getrlimit(what, &limit))
		return;
	if (limit.rlim_max < want) {
		struct rlimit more = {want, want};

		if (setrlimit(what, &more) == 0)
			return;
	}
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(what, &limit);
}

static void exec_become(struct exec_plan *p)
{
	const struct launcher *l = p->child->l;
	uid_t uid = launch_uid(l, p->child->role);
	gid_t gid = launch_gid(l, p->child->role == ROLE_AUDITD ? ROLE_SHIPPER : p->child->role); /* its readers' */

	if (l->root) {
		for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* EPERM in a container that has none to drop */
		if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid) || setuid(0) == 0)
			exec_die(p, "changing to a uid of its own");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		exec_die(p, "prctl");
	if (getppid() != p->parent)
		_exit(127); /* the launcher died before it could take us along */
}

/* Variables that sanitizers and coverage of a development build want; nothing else is passed on. */
static size_t exec_environment(char **to, size_t cap)
{
	static const char *const passed[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
					     "TSAN_OPTIONS", "GCOV_PREFIX",   "GCOV_PREFIX_STRIP"};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(passed); i++)
		if (n < cap && getenv(passed[i]) && asprintf(&to[n], "%s=%s", passed[i], getenv(passed[i])) > 0)
			n++;
	return n;
}

static _Noreturn void exec_program(struct exec_plan *p)
{
	char fds[32], pid[32], worker[16], *env[16] = {NULL};
	size_t n = exec_environment(env, 8);
	char names[sizeof("LISTEN_FDNAMES=") + EXEC_NAMES_BYTES];
	char *argv[] = {p->program, (char[]){"--worker"}, worker, NULL};

	snprintf(fds, sizeof(fds), "LISTEN_FDS=%zu", p->n_fds);
	snprintf(pid, sizeof(pid), "LISTEN_PID=%d", getpid());
	snprintf(names, sizeof(names), "LISTEN_FDNAMES=%s", p->names);
	snprintf(worker, sizeof(worker), "%u", p->child->worker);
	env[n++] = fds;
	env[n++] = pid;
	env[n++] = names;
	env[n++] = (char[]){"HOME=/nonexistent"};    /* libraries then do not look for one */
	env[n++] = (char[]){"UV_THREADPOOL_SIZE=6"}; /* auditd: a commit waits for none of the jobs beside it */
	execve(p->program, argv, env);
	if (errno == EACCES)
		(void)syscall(SYS_execveat, p->program_fd, "", argv, env, AT_EMPTY_PATH);
	exec_die(p, p->program);
}

static _Noreturn void exec_child(struct exec_plan *p)
{
	(void)setsid();
	(void)umask(p->child->role == ROLE_AUDITD ? 027 : 077); /* readers of the log */
	if (chdir("/"))
		exec_die(p, "/");
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	exec_raise(RLIMIT_MEMLOCK, EXEC_MEMLOCK_BYTES);
	exec_raise(RLIMIT_NOFILE, 0);
	exec_become(p);
	exec_place_fds(p);
	exec_program(p);
}

/* ---- in the launcher ---- */

static int exec_find(struct exec_plan *p)
{
	const struct launcher *l = p->child->l;

	for (size_t i = 0; i < ARRAY_LEN(l->programs); i++) {
		snprintf(p->program, sizeof(p->program), "%s/%s", l->programs[i], launch_program(p->child->role));
		p->program_fd = open(p->program, O_PATH | O_CLOEXEC);
		if (p->program_fd >= 0)
			return 0;
	}
	return -errno;
}

/*
 * Until it is another program, the child shares the pipe by which the launcher hears of signals: a SIGTERM of the
 * child's would be one of the launcher's, its second, which kills everybody. So none is delivered before its handler is
 * gone.
 */
static pid_t exec_fork_deaf(void)
{
	static const int caught[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP}; /* launch_watch() */
	sigset_t all, before;
	pid_t pid;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	for (size_t i = 0; pid == 0 && i < ARRAY_LEN(caught); i++)
		(void)signal(caught[i], SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int exec_fork(struct exec_plan *p, int control_fd)
{
	pid_t pid = exec_fork_deaf();

	if (pid < 0) {
		int r = -errno;

		close(control_fd);
		return r;
	}
	if (pid == 0)
		exec_child(p);
	p->child->pid = pid;
	p->child->started_ms = uv_now(&p->child->l->loop);
	return launch_control_new(p->child, control_fd);
}

/* Everything that the child needs beyond the launcher's own descriptors; the rest of launch_spawn() closes it again. */
static int exec_prepare(struct exec_plan *p, int *ret_config_fd, int *ret_key_fd, int control[2])
{
	int r = exec_find(p);

	if (!r)
		r = launch_config(p->child->l, p->child->role, ret_config_fd);
	if (!r && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control))
		r = -errno;
	if (!r && p->child->role == ROLE_KEYVAULT)
		*ret_key_fd = launch_open_key(p->child->l);
	return r ? r : exec_collect(p, *ret_config_fd, control[1], *ret_key_fd);
}

static void exec_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int launch_spawn(struct launch_child *c)
{
	struct exec_plan *p = calloc(1, sizeof(*p));
	int config_fd = -1, key_fd = -1, control[2] = {-1, -1}, r;

	if (!p)
		return -ENOMEM;
	*p = (struct exec_plan){.child = c, .parent = getpid(), .program_fd = -1};
	r = exec_prepare(p, &config_fd, &key_fd, control);
	if (!r)
		r = exec_fork(p, control[0]);
	else
		exec_close(control[0]);
	exec_close(control[1]);
	exec_close(config_fd);
	exec_close(key_fd);
	exec_close(p->program_fd);
	free(p);
	return r;
}
