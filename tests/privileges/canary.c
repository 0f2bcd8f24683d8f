/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the captured daemon: `canary ROLE [FOLDER]` takes a fresh process for each line of attempts.def, puts it under
 * a uid of its own (when root) and into the role's sandbox, with FOLDER as the role's own; makes the attempt; and
 * prints what came of it:
 *
 *   <attempt> done | errno <number> | signal <number>
 *
 * `canary free` does the same without a sandbox, which shows that the attempts are real. The current folder must be
 * writable for everybody; things may be left in it.
 *
 * `canary calls ROLE` makes every system call that there is, by its number and with arguments that suit none, and
 * prints the numbers of those that the kernel did not kill for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "common/sandbox.h"

#define CANARY_UID 62999

#define CALLS_MAX    512 /* of either numbering; the highest in Linux 6.18 is 470 or so */
#define CALLS_X32    0x40000000
#define CALLS_HUNG_S 5

/* Everything that a daemon might have open or could have prepared; a captured one may have got hold of worse. */
struct fixture {
	int tcp_fd, udp_fd, unix_fd, root_fd, memfd, elf_fd, pipe_fd, pidfd;
	int pair[2], one;
	pid_t sibling;
	struct sockaddr_in listener, any;
	struct sockaddr_un edge, abstract;
	socklen_t abstract_len;
	struct iovec iov;
	struct msghdr msg_to_listener;
	struct mmsghdr mmsg;
	struct open_how how;
	struct clone_args clone;
	struct rlimit limit;
	struct __user_cap_header_struct cap_head;
	struct __user_cap_data_struct cap_data[2];
	char *argv[2], own_file[64];
	char scratch[4096], ones[4096];
	unsigned long aio; /* aio_context_t */
	socklen_t scratch_len;
	struct stat stat;
	struct itimerval timer;
	void *page;
};

static long mapped(const void *p)
{
	return p == MAP_FAILED ? -1 : 0;
}

#ifdef __x86_64__
/* getpid() through the 32-bit entry, which numbers its calls differently: 20. */
static long i386_getpid(void)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(20) : "memory");
	return ret;
}
#endif

/* clang-format off */
#define ATTEMPT(name, expression) \
	static long attempt_##name(struct fixture *f) { (void)f; return (expression); }
#include "tests/privileges/attempts.def"
#undef ATTEMPT

static const struct attempt {
	const char *name;
	long (*act)(struct fixture *f);
} attempts[] = {
#define ATTEMPT(name, expression) { #name, attempt_##name },
#include "tests/privileges/attempts.def"
#undef ATTEMPT
};
/* clang-format on */

static void fixture_sockets(struct fixture *f)
{
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(f->listener);

	f->listener.sin_family = f->any.sin_family = AF_INET;
	f->listener.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(server, (const struct sockaddr *)&f->listener, len) || listen(server, 8) ||
	    getsockname(server, (struct sockaddr *)&f->listener, &len))
		abort();
	f->msg_to_listener = (struct msghdr){
		.msg_name = &f->listener, .msg_namelen = sizeof(f->listener), .msg_iov = &f->iov, .msg_iovlen = 1};
	f->mmsg.msg_hdr = f->msg_to_listener;
}

/* Another edge: a listener by path that belongs to somebody else, and one with an abstract name, which belongs to
 * nobody. */
static void fixture_edges(struct fixture *f)
{
	int path_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    name_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	f->edge.sun_family = f->abstract.sun_family = AF_UNIX;
	(void)snprintf(f->edge.sun_path, sizeof(f->edge.sun_path), "canary-edge.%d", getpid());
	(void)snprintf(f->abstract.sun_path + 1, sizeof(f->abstract.sun_path) - 1, "canary.%d", getpid());
	f->abstract_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(f->abstract.sun_path + 1));
	if (bind(path_fd, (const struct sockaddr *)&f->edge, sizeof(f->edge)) || chmod(f->edge.sun_path, 0600) ||
	    listen(path_fd, 8) || bind(name_fd, (const struct sockaddr *)&f->abstract, f->abstract_len) ||
	    listen(name_fd, 8))
		abort();
}

static void fixture_files(struct fixture *f)
{
	int pipe_fds[2], truth = open("/bin/true", O_RDONLY | O_CLOEXEC);

	f->root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->memfd = memfd_create("canary", MFD_CLOEXEC);
	f->elf_fd = memfd_create("elf", 0);
	if (ftruncate(f->memfd, 4096) || pipe2(pipe_fds, O_CLOEXEC) || sendfile(f->elf_fd, truth, NULL, 1 << 20) < 0)
		abort();
	f->pipe_fd = pipe_fds[1];
}

/* In the child, already under its uid: what must be its own to be tempting. */
static void fixture_own(struct fixture *f)
{
	int fd;

	(void)snprintf(f->own_file, sizeof(f->own_file), "canary-own.%d", getpid());
	fd = open(f->own_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1)
		abort();
	f->tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	f->udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	f->unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	f->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f->iov = (struct iovec){.iov_base = f->page, .iov_len = 8};
	f->argv[0] = (char *)(uintptr_t) "true";
	f->one = 1;
	memset(f->ones, 0xff, sizeof(f->ones));
	f->scratch_len = sizeof(f->any);
	f->clone.exit_signal = SIGCHLD;
	f->cap_head.version = _LINUX_CAPABILITY_VERSION_3;
	f->cap_data[0].effective = f->cap_data[0].permitted = ~0u;
	f->sibling = fork();
	if (f->sibling == 0) {
		(void)pause();
		_exit(0);
	}
	f->pidfd = (int)syscall(SYS_pidfd_open, f->sibling, 0);
}

static void become_nobody(void)
{
	if (getuid() == 0 &&
	    (setresgid(CANARY_UID, CANARY_UID, CANARY_UID) || setresuid(CANARY_UID, CANARY_UID, CANARY_UID)))
		abort();
}

static int become(enum role role, const char *folder)
{
	const struct sandbox_path paths[] = {{.path = folder, .write = true}};
	char text[256];

	if (role == N_ROLES)
		return 0;
	if (sandbox_prepare() != 0)
		return -1;
	return sandbox_enter(role, paths, folder ? 1 : 0, text, sizeof(text));
}

/* Never returns: the value is written to `report`, because an exit code could not tell an errno from a success. */
static void attempt_run(const struct attempt *a, enum role role, const char *folder, struct fixture *f, int report)
{
	long r;
	int e;

	become_nobody();
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as after an exec under that uid */
	fixture_own(f);
	if (become(role, folder) != 0)
		abort();
	(void)!write(report, &f->sibling, sizeof(f->sibling));
	errno = 0;
	r = a->act(f);
	e = r < 0 ? (errno ? errno : (int)-r) : 0;
	(void)!write(report, &e, sizeof(e));
	_exit(0);
}

static void attempt_report(const struct attempt *a, enum role role, const char *folder, struct fixture *f)
{
	int report[2], status, answer[2] = {0, -1};
	ssize_t n;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC))
		abort();
	pid = fork();
	if (pid == 0)
		attempt_run(a, role, folder, f, report[1]);
	(void)close(report[1]);
	if (waitpid(pid, &status, 0) != pid)
		abort();
	n = read(report[0], answer, sizeof(answer));
	(void)close(report[0]);
	if (answer[0] > 0)
		(void)kill(answer[0], SIGKILL);
	if (n == sizeof(answer) && answer[1] == 0)
		(void)printf("%s done\n", a->name);
	else if (n == sizeof(answer))
		(void)printf("%s errno %d\n", a->name, answer[1]);
	else if (n == sizeof(answer[0]) && WIFSIGNALED(status))
		(void)printf("%s signal %d\n", a->name, WTERMSIG(status));
	else if (n == sizeof(answer[0])) /* replaced itself by another program */
		(void)printf("%s done\n", a->name);
	else
		(void)printf("%s lost\n", a->name);
}

/* The alarm is set before the sandbox: a call that waits for ever has come back too. */
static void call_report(long nr, enum role role)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		become_nobody();
		(void)alarm(CALLS_HUNG_S);
		if (become(role, NULL) != 0)
			_exit(1);
		(void)syscall(nr, -1L, -1L, -1L, -1L, -1L, -1L);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		abort();
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		(void)printf("%ld\n", nr);
}

static int calls_report(enum role role)
{
	if (role == N_ROLES)
		return 2;
	for (long nr = 0; nr < CALLS_MAX; nr++) {
		call_report(nr, role);
		call_report(CALLS_X32 | nr, role);
	}
	return 0;
}

static enum role role_of(const char *name)
{
	for (enum role role = ROLE_ROUTER; role < N_ROLES; role++)
		if (strcmp(name, role_name(role)) == 0)
			return role;
	return N_ROLES;
}

int main(int argc, char **argv)
{
	enum role role = argc > 1 ? role_of(argv[1]) : N_ROLES;
	struct fixture *f = calloc(1, sizeof(*f));

	if (argc == 3 && strcmp(argv[1], "calls") == 0)
		return calls_report(role_of(argv[2]));
	if (argc < 2 || !f || (role == N_ROLES && strcmp(argv[1], "free") != 0))
		return 2;
	fixture_sockets(f);
	fixture_edges(f);
	fixture_files(f);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < ARRAY_LEN(attempts); i++)
		attempt_report(&attempts[i], role, argc > 2 ? argv[2] : NULL, f);
	(void)unlink(f->edge.sun_path);
	free(f);
	return 0;
}
