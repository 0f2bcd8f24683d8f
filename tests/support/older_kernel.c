/* SPDX-License-Identifier: Apache-2.0 */
/*
 * older_kernel COMMAND [ARGUMENT...]: runs it as on a kernel that knows nothing of what the daemons can do without:
 * memfd_secret (off by default before Linux 6.5), Landlock (before 5.13, and where it is not among the kernel's
 * modules), MDWE (before 6.3), mseal (before 6.10); and without protection keys. Some containers refuse these too.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common/base.h"

#define NR_MEMFD_SECRET 447 /* these are the same on all architectures; not in all headers */
#define NR_MSEAL        462
#define SET_MDWE        65

#define LOAD(field)    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what)   BPF_STMT(BPF_RET | BPF_K, (what))
#define SKIP_UNLESS(k) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), 0, 1)
#define REFUSE(nr)     SKIP_UNLESS(nr), RETURN(SECCOMP_RET_ERRNO | ENOSYS)

int main(int argc, char **argv)
{
	struct sock_filter insns[] = {
		LOAD(nr),
		REFUSE(NR_MEMFD_SECRET),
		REFUSE(__NR_landlock_create_ruleset),
		REFUSE(__NR_pkey_alloc),
		REFUSE(NR_MSEAL),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_prctl, 0, 3),
		LOAD(args[0]), /* the low half: little endian */
		SKIP_UNLESS(SET_MDWE),
		RETURN(SECCOMP_RET_ERRNO | EINVAL),
		RETURN(SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {ARRAY_LEN(insns), insns};

	if (argc < 2) {
		fputs("usage: older_kernel COMMAND [ARGUMENT...]\n", stderr);
		return 2;
	}
	/* Without CAP_SYS_ADMIN (root in a container, too) a filter is for processes that gain no privileges. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))) {
		perror("older_kernel: seccomp");
		return 1;
	}
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 127;
}
