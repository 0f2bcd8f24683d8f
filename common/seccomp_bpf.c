/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program is straight-line: a guard for the architecture, then one block a row, then `otherwise`.
 *
 *      A = nr;  if A != row.nr goto next row
 *      A = low  word of the argument; A &= mask; if A != value goto next row     (per condition, only words with a
 * mask) A = high word ... return ALLOW
 *
 * A block is at most 2 + 6 * conditions + 1 instructions, far below the 255 that a jump can span. Rows without
 * conditions cost nothing at run time: the kernel keeps a bitmap of calls that a filter always allows.
 */
#include "common/seccomp_bpf.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "no seccomp table for this architecture"
#endif

/* x32 shares the architecture value of x86-64 and sets this bit in the number. No native number comes near it. */
#define FOREIGN_NR 0x40000000u

/* Instructions of the longest block, see above; and what stands before and after the blocks. */
#define BLOCK_INSNS_MAX (3 + 6 * SECCOMP_BPF_CONDS_MAX)
#define FRAME_INSNS     6

#define LOAD(offset)         ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset)))
#define AND(bits)            ((struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (bits)))
#define RETURN(action)       ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (action)))
#define IF_EQ(k, then, not ) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), (then), (not )))
#define IF_GE(k, then, not ) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (k), (then), (not )))
#define NR_OFFSET            offsetof(struct seccomp_data, nr)
#define ARCH_OFFSET          offsetof(struct seccomp_data, arch)
#define NEXT_ROW             0xff /* patched when the block's length is known */

static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "argument words are loaded as little-endian");
static_assert(BLOCK_INSNS_MAX < NEXT_ROW, "a jump must span a block");

static void seccomp_bpf_emit(struct seccomp_bpf *p, struct sock_filter insn)
{
	assert(p->n < SECCOMP_BPF_INSNS_MAX);
	p->insns[p->n++] = insn;
}

static void seccomp_bpf_emit_word(struct seccomp_bpf *p, size_t offset, uint32_t mask, uint32_t value)
{
	if (mask == 0)
		return;
	seccomp_bpf_emit(p, LOAD(offset));
	if (mask != UINT32_MAX)
		seccomp_bpf_emit(p, AND(mask));
	seccomp_bpf_emit(p, IF_EQ(value, 0, NEXT_ROW));
}

static void seccomp_bpf_emit_cond(struct seccomp_bpf *p, const struct seccomp_bpf_cond *c)
{
	size_t low = offsetof(struct seccomp_data, args) + c->arg * sizeof(uint64_t);

	assert(c->arg < 6 && (c->value & ~c->mask) == 0);
	seccomp_bpf_emit_word(p, low, (uint32_t)c->mask, (uint32_t)c->value);
	seccomp_bpf_emit_word(p, low + sizeof(uint32_t), (uint32_t)(c->mask >> 32), (uint32_t)(c->value >> 32));
}

static void seccomp_bpf_emit_row(struct seccomp_bpf *p, const struct seccomp_bpf_row *row)
{
	uint16_t begin = p->n;

	seccomp_bpf_emit(p, LOAD(NR_OFFSET));
	seccomp_bpf_emit(p, IF_EQ((uint32_t)row->nr, 0, NEXT_ROW));
	for (size_t i = 0; i < SECCOMP_BPF_CONDS_MAX && row->conds[i].mask != 0; i++)
		seccomp_bpf_emit_cond(p, &row->conds[i]);
	seccomp_bpf_emit(p, RETURN(SECCOMP_RET_ALLOW));

	for (uint16_t i = begin; i < p->n; i++)
		if (BPF_CLASS(p->insns[i].code) == BPF_JMP)
			p->insns[i].jf = (uint8_t)(p->n - i - 1);
}

static void seccomp_bpf_emit_guard(struct seccomp_bpf *p, uint32_t otherwise)
{
	seccomp_bpf_emit(p, LOAD(ARCH_OFFSET));
	seccomp_bpf_emit(p, IF_EQ(NATIVE_ARCH, 0, 2));
	seccomp_bpf_emit(p, LOAD(NR_OFFSET));
	seccomp_bpf_emit(p, IF_GE(FOREIGN_NR, 0, 1));
	seccomp_bpf_emit(p, RETURN(otherwise));
}

static bool seccomp_bpf_seen(const struct seccomp_bpf_row *rows, size_t before, uint64_t role_bit, int nr)
{
	for (size_t i = 0; i < before; i++)
		if (rows[i].nr == nr && (rows[i].roles & role_bit))
			return true;
	return false;
}

int seccomp_bpf_build(struct seccomp_bpf *ret, const struct seccomp_bpf_row *rows, size_t n_rows, uint64_t role_bit,
		      uint32_t otherwise)
{
	ret->n = 0;
	ret->n_calls = 0;
	seccomp_bpf_emit_guard(ret, otherwise);
	for (size_t i = 0; i < n_rows; i++) {
		if (!(rows[i].roles & role_bit))
			continue;
		if (ret->n + BLOCK_INSNS_MAX + FRAME_INSNS > SECCOMP_BPF_INSNS_MAX)
			return -E2BIG;
		if (!seccomp_bpf_seen(rows, i, role_bit, rows[i].nr))
			ret->n_calls++;
		seccomp_bpf_emit_row(ret, &rows[i]);
	}
	seccomp_bpf_emit(ret, RETURN(otherwise));
	return 0;
}

void seccomp_bpf_build_single(struct seccomp_bpf *ret, int nr, uint32_t answer)
{
	ret->n = 0;
	ret->n_calls = 1;
	seccomp_bpf_emit_guard(ret, SECCOMP_RET_ALLOW);
	seccomp_bpf_emit(ret, LOAD(NR_OFFSET));
	seccomp_bpf_emit(ret, IF_EQ((uint32_t)nr, 0, 1));
	seccomp_bpf_emit(ret, RETURN(answer));
	seccomp_bpf_emit(ret, RETURN(SECCOMP_RET_ALLOW));
}
