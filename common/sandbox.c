/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order matters. sandbox_prepare() comes before anything is read, so that a core dump or a debugger never finds a
 * secret, and before libuv makes a loop: newer versions would submit epoll_ctl through io_uring, which seccomp does not
 * see. sandbox_enter() comes after everything is open. Landlock first, because its calls are not in any role's list.
 *
 * Up to glibc 2.36 the first qsort() of a kilobyte or more asks how much memory the machine has, by sysinfo(), and
 * keeps the answer. It is asked for before the list closes: no role needs that call for anything else, and the
 * libraries sort as well.
 *
 * Builds with BULKHEAD_INSTRUMENTED (asan, tsan, cov, fuzz) stop at sandbox_prepare() without the dump flag: sanitizers
 * read /proc, start threads and write profiles. There is no way to switch anything off at run time.
 */
#include "common/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/err.h"
#include "common/landlock.h"
#include "common/sandbox_table.h"

#ifdef BULKHEAD_INSTRUMENTED
#define SANDBOX_INSTRUMENTED true
#else
#define SANDBOX_INSTRUMENTED false
#endif

/* Kernel numbers that the oldest supported headers lack. */
#define PR_SET_MDWE_         65
#define PR_GET_MDWE_         66
#define PR_MDWE_REFUSE_EXEC_ 1UL

static int sandbox_install(const struct seccomp_bpf *program)
{
	struct sock_fprog fprog = {.len = program->n, .filter = (struct sock_filter *)(uintptr_t)program->insns};
	long r;

	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &fprog);
	if (r > 0) /* a thread has a filter of its own; cannot be */
		return err_origin(-EBUSY);
	return r < 0 ? err_origin(-errno) : 0;
}

static int sandbox_drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capset, &head, none) < 0)
		return err_origin(-errno);
	return 0;
}

int sandbox_prepare(void)
{
	const struct rlimit no_core = {0, 0};
	struct seccomp_bpf program;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0)
		return err_origin(-errno);
	if (!SANDBOX_INSTRUMENTED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_origin(-errno);
	/* Kernels before 6.3 do not know it; the seccomp list then stands alone against executable memory. */
	if (!SANDBOX_INSTRUMENTED)
		(void)prctl(PR_SET_MDWE_, PR_MDWE_REFUSE_EXEC_, 0, 0, 0);
	seccomp_bpf_build_single(&program, __NR_io_uring_setup, SECCOMP_RET_ERRNO | ENOSYS);
	return sandbox_install(&program);
}

/* What holds, asked back from the kernel where it can be asked. */
static void sandbox_describe(const struct seccomp_bpf *program, int abi, char *to, size_t cap)
{
	char landlock[24] = "no-landlock";

	if (abi > 0)
		(void)snprintf(landlock, sizeof(landlock), "landlock(%d)", abi);
	(void)snprintf(to, cap, "seccomp(%u) %s %s %s", program->n_calls, landlock,
		       prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? "no-dump" : "dumpable",
		       prctl(PR_GET_MDWE_, 0, 0, 0, 0) > 0 ? "mdwe" : "no-mdwe");
}

static int sandbox_compare(const void *a, const void *b)
{
	const uint8_t *x = a, *y = b;

	return *x - *y;
}

static void sandbox_sort_once(void)
{
	uint8_t bytes[4096] = {0};

	qsort(bytes, sizeof(bytes), 1, sandbox_compare);
}

static int sandbox_confine(enum role role, const struct landlock_rules *rules, char *ret_text, size_t cap)
{
	struct seccomp_bpf program;
	int r, abi = 0;

	if (SANDBOX_INSTRUMENTED) {
		(void)snprintf(ret_text, cap, "none: an instrumented build");
		return 0;
	}
	r = sandbox_program(role, getpid(), SECCOMP_RET_KILL_PROCESS, &program);
	if (r < 0)
		return r;
	sandbox_sort_once();
	r = sandbox_drop_capabilities();
	if (r < 0)
		return r;
	r = landlock_enter(rules, &abi);
	if (r < 0)
		return r;
	sandbox_describe(&program, abi, ret_text, cap);
	return sandbox_install(&program);
}

int sandbox_enter(enum role role, const struct sandbox_path *paths, size_t n_paths, char *ret_text, size_t cap)
{
	return sandbox_confine(role, &(const struct landlock_rules){.paths = paths, .n_paths = n_paths}, ret_text, cap);
}

int sandbox_enter_dialing(const uint16_t *ports, size_t n_ports, char *ret_text, size_t cap)
{
	return sandbox_confine(ROLE_DIALER, &(const struct landlock_rules){.tcp_ports = ports, .n_tcp_ports = n_ports},
			       ret_text, cap);
}

int sandbox_enter_shipping(const struct sandbox_path *paths, size_t n_paths, const uint16_t *ports, size_t n_ports,
			   char *ret_text, size_t cap)
{
	const struct landlock_rules rules = {
		.paths = paths, .n_paths = n_paths, .tcp_ports = ports, .n_tcp_ports = n_ports};

	return sandbox_confine(ROLE_SHIPPER, &rules, ret_text, cap);
}
