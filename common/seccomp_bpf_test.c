/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the programs in a small interpreter, on every system call number and on hostile arguments. The interpreter knows
 * just the instructions that the builder may use and fails on any other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/sandbox_table.h"

#define KILL   SECCOMP_RET_KILL_PROCESS
#define ALLOW  SECCOMP_RET_ALLOW
#define SELF   4711
#define NR_MAX 1024

#ifdef __x86_64__
#define ARCH  AUDIT_ARCH_X86_64
#define ALIEN AUDIT_ARCH_I386
#else
#define ARCH  AUDIT_ARCH_AARCH64
#define ALIEN AUDIT_ARCH_ARM
#endif

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
	uint32_t word;

	assert_true(offset % 4 == 0 && offset + 4 <= sizeof(*data));
	memcpy(&word, (const char *)data + offset, sizeof(word));
	return word;
}

static uint32_t run(const struct seccomp_bpf *p, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < p->n; pc++) {
		const struct sock_filter *i = &p->insns[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			a = load(data, i->k);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			fail_msg("instruction %u at %zu", i->code, pc);
		}
	}
	fail_msg("the program ran off its end");
	return 0;
}

#define VERDICT(p, nr, ...) verdict((p), ARCH, (nr), (const uint64_t[6]){__VA_ARGS__})

static uint32_t verdict(const struct seccomp_bpf *p, uint32_t arch, int nr, const uint64_t args[6])
{
	struct seccomp_data data = {.nr = nr, .arch = arch};

	memcpy(data.args, args, sizeof(data.args));
	return run(p, &data);
}

static void test_conditions_are_and_rows_are_or(void **state)
{
	static const struct seccomp_bpf_row rows[] = {
		{.roles = 1, .nr = 7},
		{.roles = 1, .nr = 9, .conds = {{.arg = 0, .mask = 0xf0, .value = 0x10}, {.arg = 5, .mask = ~0ull}}},
		{.roles = 1, .nr = 9, .conds = {{.arg = 1, .mask = 0xffffffffull << 32, .value = 5ull << 32}}},
		{.roles = 2, .nr = 11},
	};
	struct seccomp_bpf p;

	(void)state;
	assert_int_equal(seccomp_bpf_build(&p, rows, ARRAY_LEN(rows), 1, KILL), 0);
	assert_int_equal(p.n_calls, 2);
	assert_int_equal(VERDICT(&p, 7), ALLOW);
	assert_int_equal(VERDICT(&p, 8), KILL);
	assert_int_equal(VERDICT(&p, 11), KILL);
	assert_int_equal(VERDICT(&p, 9), KILL);
	assert_int_equal(VERDICT(&p, 9, 0x1f), ALLOW);
	assert_int_equal(VERDICT(&p, 9, 0x2f), KILL);
	assert_int_equal(VERDICT(&p, 9, 0x1f, 0, 0, 0, 0, 1ull << 63), KILL);
	assert_int_equal(VERDICT(&p, 9, 0, 5ull << 32 | 1), ALLOW);
	assert_int_equal(VERDICT(&p, 9, 0, 5), KILL);
}

static void test_foreign_entries_are_killed(void **state)
{
	static const uint64_t none[6];
	struct seccomp_bpf p;

	(void)state;
	assert_int_equal(sandbox_program(ROLE_AUTHD, SELF, KILL, &p), 0);
	for (int nr = 0; nr < NR_MAX; nr++) {
		assert_int_equal(verdict(&p, ALIEN, nr, none), KILL);
		assert_int_equal(verdict(&p, 0, nr, none), KILL);
		assert_int_equal(VERDICT(&p, nr | 0x40000000), KILL);
		assert_int_equal(VERDICT(&p, (int)(0x80000000u | (unsigned)nr)), KILL);
	}
	assert_int_equal(VERDICT(&p, -1), KILL);
}

static void test_too_long_is_an_error(void **state)
{
	struct seccomp_bpf_row *rows = test_calloc(600, sizeof(*rows));
	struct seccomp_bpf p;

	(void)state;
	for (int i = 0; i < 600; i++)
		rows[i] = (struct seccomp_bpf_row){.roles = 1, .nr = i};
	assert_int_equal(seccomp_bpf_build(&p, rows, 600, 1, KILL), -E2BIG);
	assert_int_equal(seccomp_bpf_build(&p, rows, 300, 1, KILL), 0);
	for (int i = 0; i < 600; i++)
		assert_int_equal(VERDICT(&p, i), i < 300 ? ALLOW : KILL);
	test_free(rows);
}

static void test_single_answers_one_call(void **state)
{
	struct seccomp_bpf p;

	(void)state;
	seccomp_bpf_build_single(&p, 425, SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(VERDICT(&p, 425), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(VERDICT(&p, 424), ALLOW);
	assert_int_equal(VERDICT(&p, 426), ALLOW);
}

/* No argument whatever makes one of these pass: the interpreter is asked with arguments drawn from interesting values.
 */
static bool ever_allowed(const struct seccomp_bpf *p, int nr)
{
	static const uint64_t pool[] = {0,  1,  2,  3,      4,      5,    6,          7,          9,
					10, 16, 17, 0x1000, 0x5421, SELF, UINT64_MAX, 1ull << 32, 0xffffffff};
	unsigned seed = 1;

	if (VERDICT(p, nr) == ALLOW)
		return true;
	for (int i = 0; i < 5000; i++) {
		uint64_t args[6];

		for (size_t k = 0; k < 6; k++)
			args[k] = pool[(size_t)rand_r(&seed) % ARRAY_LEN(pool)];
		if (verdict(p, ARCH, nr, args) == ALLOW)
			return true;
	}
	return false;
}

static void test_what_no_role_may(void **state)
{
	/* clang-format off */
	static const int never[] = {
		__NR_execve, __NR_execveat, __NR_clone, __NR_clone3, __NR_ptrace, __NR_process_vm_readv,
		__NR_process_vm_writev, __NR_kill, __NR_tkill, __NR_pidfd_open, __NR_pidfd_getfd,
		__NR_pidfd_send_signal, __NR_io_uring_setup, __NR_io_uring_enter, __NR_bpf, __NR_userfaultfd,
		__NR_keyctl, __NR_add_key, __NR_bind, __NR_listen, __NR_socketpair, __NR_open_by_handle_at,
		__NR_openat2, __NR_mount, __NR_umount2, __NR_pivot_root, __NR_chroot, __NR_setns, __NR_unshare,
		__NR_setuid, __NR_setresuid, __NR_capset, __NR_prctl, __NR_seccomp, __NR_perf_event_open,
		__NR_init_module, __NR_finit_module, __NR_kexec_load, __NR_reboot, __NR_swapon, __NR_personality,
		__NR_linkat, __NR_symlinkat, __NR_mknodat, __NR_fchmodat, __NR_setxattr, __NR_splice, __NR_vmsplice,
		__NR_tee, __NR_sendmmsg, __NR_memfd_secret, __NR_shmget, __NR_shmat, __NR_inotify_init1,
		__NR_fanotify_init, __NR_move_pages, __NR_process_madvise, __NR_pkey_mprotect,
		__NR_landlock_restrict_self,
	};
	/* clang-format on */
	struct seccomp_bpf p;

	(void)state;
	for (enum role role = ROLE_ROUTER; role <= ROLE_CLASSIFIER; role++) {
		assert_int_equal(sandbox_program(role, SELF, KILL, &p), 0);
		for (size_t i = 0; i < ARRAY_LEN(never); i++)
			if (ever_allowed(&p, never[i]))
				fail_msg("%s may call %d", role_name(role), never[i]);
	}
}

static void test_who_may_open_files_and_sockets(void **state)
{
	struct seccomp_bpf p;

	(void)state;
	for (enum role role = ROLE_ROUTER; role <= ROLE_CLASSIFIER; role++) {
		assert_int_equal(sandbox_program(role, SELF, KILL, &p), 0);
		assert_int_equal(ever_allowed(&p, __NR_openat), role == ROLE_AUTHD || role == ROLE_AUDITD);
		assert_int_equal(ever_allowed(&p, __NR_socket), role == ROLE_DIALER);
		assert_int_equal(ever_allowed(&p, __NR_connect), role == ROLE_DIALER);
		assert_int_equal(ever_allowed(&p, __NR_memfd_create), role == ROLE_ROUTER);
	}
}

static void test_arguments_that_all_roles_must_keep(void **state)
{
	struct seccomp_bpf p;

	(void)state;
	for (enum role role = ROLE_ROUTER; role <= ROLE_CLASSIFIER; role++) {
		assert_int_equal(sandbox_program(role, SELF, KILL, &p), 0);
		assert_int_equal(VERDICT(&p, __NR_mmap, 0, 4096, PROT_READ | PROT_WRITE), ALLOW);
		assert_int_equal(VERDICT(&p, __NR_mmap, 0, 4096, PROT_READ | PROT_EXEC), KILL);
		assert_int_equal(VERDICT(&p, __NR_mprotect, 0, 4096, PROT_EXEC), KILL);
		assert_int_equal(VERDICT(&p, __NR_sendmsg, 3, 0, MSG_NOSIGNAL), ALLOW);
		assert_int_equal(VERDICT(&p, __NR_sendmsg, 3, 0, MSG_FASTOPEN), KILL);
		assert_int_equal(VERDICT(&p, __NR_sendto, 3, 0, 0, MSG_FASTOPEN), KILL);
		assert_int_equal(VERDICT(&p, __NR_tgkill, SELF, 1, SIGABRT), ALLOW);
		assert_int_equal(VERDICT(&p, __NR_tgkill, SELF + 1, 1, SIGABRT), KILL);
		assert_int_equal(VERDICT(&p, __NR_tgkill, SELF, 1, SIGKILL), KILL);
		assert_int_equal(VERDICT(&p, __NR_ioctl, 1, FIONBIO), ALLOW);
		assert_int_equal(VERDICT(&p, __NR_ioctl, 1, TIOCSTI), KILL);
		assert_int_equal(VERDICT(&p, __NR_setsockopt, 1, IPPROTO_TCP, TCP_FASTOPEN_CONNECT), KILL);
		assert_int_equal(VERDICT(&p, __NR_getsockopt, 1, 282 /* SOL_TLS hands out session keys */, 1), KILL);
	}
}

/* A pointer has two halves. */
static void test_a_null_pointer_is_null_in_both_halves(void **state)
{
	static const struct {
		enum role role;
		int nr;
	} rows[] = {
		{ROLE_EGRESS, __NR_recvfrom},
		{ROLE_DIALER, __NR_recvfrom},
		{ROLE_SHIPPER, __NR_recvfrom},
		{ROLE_SHIPPER, __NR_sendto},
	};
	struct seccomp_bpf p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(sandbox_program(rows[i].role, SELF, KILL, &p), 0);
		assert_int_equal(VERDICT(&p, rows[i].nr, 3, 0, 1, 0, 0), ALLOW);
		assert_int_equal(VERDICT(&p, rows[i].nr, 3, 0, 1, 0, 1), KILL);
		assert_int_equal(VERDICT(&p, rows[i].nr, 3, 0, 1, 0, 1ull << 31), KILL);
		assert_int_equal(VERDICT(&p, rows[i].nr, 3, 0, 1, 0, 1ull << 32), KILL);
		assert_int_equal(VERDICT(&p, rows[i].nr, 3, 0, 1, 0, 1ull << 63), KILL);
	}
}

static void test_dialer_opens_only_tcp(void **state)
{
	struct seccomp_bpf p;

	(void)state;
	assert_int_equal(sandbox_program(ROLE_DIALER, SELF, KILL, &p), 0);
	for (uint64_t family = 0; family < 64; family++)
		for (uint64_t type = 0; type < 16; type++)
			for (uint64_t proto = 0; proto < 300; proto++) {
				bool inet = family == AF_INET || family == AF_INET6;
				bool tcp = type == SOCK_STREAM && proto == 0;

				assert_int_equal(VERDICT(&p, __NR_socket, family, type | SOCK_CLOEXEC, proto),
						 inet && tcp ? ALLOW : KILL);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conditions_are_and_rows_are_or),
		cmocka_unit_test(test_foreign_entries_are_killed),
		cmocka_unit_test(test_too_long_is_an_error),
		cmocka_unit_test(test_single_answers_one_call),
		cmocka_unit_test(test_what_no_role_may),
		cmocka_unit_test(test_who_may_open_files_and_sockets),
		cmocka_unit_test(test_arguments_that_all_roles_must_keep),
		cmocka_unit_test(test_a_null_pointer_is_null_in_both_halves),
		cmocka_unit_test(test_dialer_opens_only_tcp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
