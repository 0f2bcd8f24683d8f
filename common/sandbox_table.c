/* SPDX-License-Identifier: Apache-2.0 */
/* The words that sandbox.def is written in, and the table that comes out. OWN_PID is the one thing known only at run
 * time. */
#include "common/sandbox_table.h"

#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

/* clang-format off */
#define ROUTER     BIT(ROLE_ROUTER)
#define AUTHD      BIT(ROLE_AUTHD)
#define KEYVAULT   BIT(ROLE_KEYVAULT)
#define EGRESS     BIT(ROLE_EGRESS)
#define DIALER     BIT(ROLE_DIALER)
#define AUDITD     BIT(ROLE_AUDITD)
#define CLASSIFIER BIT(ROLE_CLASSIFIER)
#define SHIPPER    BIT(ROLE_SHIPPER)
#define ALL        (ROUTER | AUTHD | KEYVAULT | EGRESS | DIALER | AUDITD | CLASSIFIER | SHIPPER)

#define INT_MASK   UINT64_C(0xffffffff)
#define OWN_PID_VALUE INT_MASK /* no process has it */

#define INT_IS(n, v)          { .arg = (n), .mask = INT_MASK, .value = (uint32_t)(v) }
#define FLAGS(n, set, free)   { .arg = (n), .mask = INT_MASK & ~(uint64_t)(free), .value = (uint32_t)(set) }
#define WITHOUT(n, bits)      { .arg = (n), .mask = (uint32_t)(bits), .value = 0 }
#define IS_NULL(n)            { .arg = (n), .mask = UINT64_MAX, .value = 0 }
#define OWN_PID(n)            { .arg = (n), .mask = INT_MASK, .value = OWN_PID_VALUE }

/* Kernel numbers that the oldest supported headers lack. */
#define MFD_NOEXEC_SEAL_ 0x0008U
#define SOCK_FLAGS      (SOCK_CLOEXEC | SOCK_NONBLOCK)
#define O_TMPFILE_BIT   (O_TMPFILE & ~O_DIRECTORY)

static const struct seccomp_bpf_row sandbox_rows[] = {
#define CALL(name, who, ...) { .roles = (who), .nr = __NR_##name, .conds = { __VA_ARGS__ } },
#ifdef __x86_64__
#define X86 CALL
#else
#define X86(name, who, ...)
#endif
#include "common/sandbox.def"
#undef CALL
#undef X86
};
/* clang-format on */

static_assert(ARRAY_LEN(sandbox_rows) < 200, "no longer a tight list");

int sandbox_program(enum role role, pid_t self, uint32_t otherwise, struct seccomp_bpf *ret)
{
	struct seccomp_bpf_row rows[ARRAY_LEN(sandbox_rows)];

	memcpy(rows, sandbox_rows, sizeof(rows));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t k = 0; k < SECCOMP_BPF_CONDS_MAX; k++)
			if (rows[i].conds[k].mask == INT_MASK && rows[i].conds[k].value == OWN_PID_VALUE)
				rows[i].conds[k].value = (uint32_t)self;
	return seccomp_bpf_build(ret, rows, ARRAY_LEN(rows), BIT(role), otherwise);
}
