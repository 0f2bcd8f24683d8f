/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reservation of address space, made at start and never changed:
 *
 *      | guard | granule 0 | granule 1 | ...                                  | guard |
 *        none    the data: memfd_secret or locked anonymous memory              none
 *
 * The data is cut into granules of 64 bytes. A piece takes whole granules: a canary of 16 bytes, the caller's bytes,
 * and canary bytes again up to the end of its last granule, at least 16, so that an overrun by a single byte is seen.
 * Which granules are taken stands in a byte map on the ordinary heap: it holds no secret, and damage to the data cannot
 * misdirect the allocator.
 *
 * The data is closed by a protection key where the CPU has them: some 40 ns for a pair, and it holds for the kernel's
 * copies too, so that write(2) from a closed arena fails with EFAULT. Else by mprotect, which excludes mseal, for mseal
 * would freeze it. Neither stops code that runs in this process; the process boundary does. What they stop is the
 * over-read and the stray write.
 *
 * mprotect costs by the page (50 us a pair for 4 MiB, 1.5 us for one page) and by each mapping that it has to cut, so
 * without protection keys only what is in use is opened: the data is mapped in banks of 1, 1, 2, 4, 8 ... pages, and an
 * open takes the banks from the first up to the last that holds a piece. Pieces go to the lowest place that fits.
 *
 * No library is used here, so that daemons without secrets can link the IPC layer without a crypto library.
 */
#include "common/secret.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/err.h"

/* One number for all architectures; headers older than the calls lack the names. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define SECRET_GRANULE_BYTES 64
#define SECRET_CANARY_BYTES  16

enum secret_granule { SECRET_GRANULE_FREE, SECRET_GRANULE_HEAD, SECRET_GRANULE_BODY };

struct secret_arena {
	uint8_t *map; /* with guards */
	uint8_t *data;
	size_t guard_bytes, data_bytes, used_bytes;
	uint8_t *granules; /* enum secret_granule of each */
	size_t n_granules;
	size_t end_granule; /* behind the last that is taken */
	size_t open_bytes;  /* 0: closed */
	unsigned opens, holds;
	int pkey; /* -1: closed by mprotect */
	bool hidden, sealed;
	uint8_t canary[SECRET_CANARY_BYTES];
	char protection[48];
};

/* memfd_secret: out of the kernel's own map, so that not even root reads it through /proc or ptrace. */
static int secret_map_hidden(uint8_t *at, size_t bytes)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	void *p = MAP_FAILED;
	if (ftruncate(fd, (off_t)bytes) == 0)
		p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	int r = p == MAP_FAILED ? -errno : 0;
	/* An open descriptor could be fetched and mapped from outside (pidfd_getfd): the mapping lives without it. */
	(void)close(fd);
	return r;
}

static int secret_map_locked(uint8_t *at, size_t bytes)
{
	void *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	char name[48];

	/* For whoever looks at /proc/PID/maps, and so that the kernel does not join the banks; from 5.17 on. */
	(void)snprintf(name, sizeof(name), "bulkhead-arena-%zuk", bytes / 1024);
	if (p != MAP_FAILED)
		(void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, bytes, name);
	if (p == MAP_FAILED || mlock(at, bytes) || madvise(at, bytes, MADV_DONTDUMP))
		return -errno;
	return 0;
}

/* The end of the bank that the byte before `bytes` lies in: 1, 2, 4, 8 ... pages from the start. */
static size_t secret_bank_end(const struct secret_arena *a, size_t bytes)
{
	size_t end = a->guard_bytes;

	while (end < bytes)
		end *= 2;
	return MIN(end, a->data_bytes);
}

static int secret_map_banks(struct secret_arena *a, int (*map)(uint8_t *at, size_t bytes))
{
	int r = 0;

	for (size_t from = 0, to; !r && from < a->data_bytes; from = to) {
		to = secret_bank_end(a, from + 1);
		r = map(a->data + from, to - from);
	}
	return r;
}

static int secret_map_data(struct secret_arena *a, unsigned without)
{
	int r = without & SECRET_WITHOUT_MEMFD ? -ENOSYS : secret_map_banks(a, secret_map_hidden);

	a->hidden = r == 0;
	/* ENOSYS: no such call, or not enabled at boot. EINVAL, EPERM: refused by a container's filter. EAGAIN is the
	 * memlock limit. */
	if (r == -ENOSYS || r == -EINVAL || r == -EPERM)
		r = secret_map_banks(a, secret_map_locked);
	if (r == -EAGAIN || r == -ENOMEM)
		r = -EPERM;
	if (r)
		return err_origin(r);
	if (madvise(a->data, a->data_bytes, MADV_DONTFORK))
		return err_origin(-errno);
	memset(a->data, 0, a->data_bytes); /* every page is there now, not at first use */
	return 0;
}

static int secret_protect(struct secret_arena *a, unsigned without)
{
	a->pkey = without & SECRET_WITHOUT_PKEY ? -1 : pkey_alloc(0, PKEY_DISABLE_ACCESS);
	/* the kernel may know the keys of a processor that libc does not */
	if (a->pkey >= 0 && pkey_set(a->pkey, PKEY_DISABLE_ACCESS)) {
		(void)pkey_free(a->pkey);
		a->pkey = -1;
	}
	if (a->pkey >= 0 && pkey_mprotect(a->data, a->data_bytes, PROT_READ | PROT_WRITE, a->pkey))
		return err_origin(-errno);
	if (a->pkey < 0 && mprotect(a->data, a->data_bytes, PROT_NONE))
		return err_origin(-errno);
	if (a->pkey >= 0 && !(without & SECRET_WITHOUT_MSEAL))
		a->sealed = syscall(SYS_mseal, a->map, a->data_bytes + 2 * a->guard_bytes, 0) == 0;
	(void)snprintf(a->protection, sizeof(a->protection), "%s+%s%s", a->hidden ? "memfd_secret" : "mlock",
		       a->pkey >= 0 ? "pkey" : "mprotect", a->sealed ? "+mseal" : "");
	return 0;
}

int secret_arena_new_without(size_t bytes, unsigned without, struct secret_arena **ret_arena)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	assert(bytes > 0 && bytes <= SECRET_ARENA_BYTES_MAX);
	struct secret_arena *a = calloc(1, sizeof(*a));
	if (!a)
		return err_origin(-ENOMEM);
	a->pkey = -1;
	a->guard_bytes = page;
	a->data_bytes = (bytes + page - 1) / page * page;
	a->n_granules = a->data_bytes / SECRET_GRANULE_BYTES;
	a->granules = calloc(a->n_granules, 1);
	a->map = mmap(NULL, a->data_bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->map == MAP_FAILED)
		a->map = NULL;
	int r = a->granules && a->map ? 0 : err_origin(-ENOMEM);
	if (!r && getrandom(a->canary, sizeof(a->canary), 0) != sizeof(a->canary))
		r = err_origin(-EIO);
	if (!r) {
		a->data = a->map + page;
		r = secret_map_data(a, without);
	}
	if (!r)
		r = secret_protect(a, without);
	if (r) {
		if (a->map)
			(void)munmap(a->map, a->data_bytes + 2 * page);
		if (a->pkey >= 0)
			(void)pkey_free(a->pkey);
		free(a->granules);
		free(a);
		return r;
	}
	*ret_arena = a;
	return 0;
}

int secret_arena_new(size_t bytes, struct secret_arena **ret_arena)
{
	return secret_arena_new_without(bytes, 0, ret_arena);
}

void secret_arena_explain(size_t bytes, char *to, size_t cap)
{
	struct rlimit limit = {0};

	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	(void)snprintf(to, cap,
		       "%zu KiB cannot be locked, the limit is %llu KiB: raise it to at least the first number "
		       "(systemd: LimitMEMLOCK=%zuK, containers: --ulimit memlock=%zu, shell: ulimit -l %zu)",
		       bytes / 1024, (unsigned long long)limit.rlim_cur / 1024, bytes / 1024, bytes, bytes / 1024);
}

struct secret_arena *secret_arena_free(struct secret_arena *a)
{
	if (!a)
		return NULL;
	a->end_granule = a->n_granules;
	secret_open(a);
	secret_wipe(a->data, a->data_bytes);
	secret_close(a);
	assert(a->opens == 0);
	/* A sealed mapping stays until the process ends, wiped and closed. */
	if (!a->sealed)
		(void)munmap(a->map, a->data_bytes + 2 * a->guard_bytes);
	if (a->pkey >= 0)
		(void)pkey_free(a->pkey);
	free(a->granules);
	free(a);
	return NULL;
}

const char *secret_arena_protection(const struct secret_arena *a)
{
	return a->protection;
}

size_t secret_arena_used(const struct secret_arena *a)
{
	return a->used_bytes;
}

size_t secret_arena_size(const struct secret_arena *a)
{
	return a->data_bytes;
}

/* Our own defect, or an attack that came so far: nothing in this process can be trusted any more. */
static _Noreturn void secret_abort(const char *why)
{
	(void)fprintf(stderr, "{\"event\":\"secret.damaged\",\"text\":\"%s\"}\n", why);
	abort();
}

static void secret_access(struct secret_arena *a, bool open)
{
	int r;

	if (a->pkey >= 0) {
		r = pkey_set(a->pkey, open ? 0 : PKEY_DISABLE_ACCESS);
		a->open_bytes = a->data_bytes;
	} else {
		if (open)
			a->open_bytes = secret_bank_end(a, a->end_granule * SECRET_GRANULE_BYTES);
		r = mprotect(a->data, a->open_bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
	}
	if (r)
		secret_abort("the arena could not be opened or closed");
	if (!open)
		a->open_bytes = 0;
}

/*
 * The copy routines of libc and the ciphers of OpenSSL leave what they touched in vector registers, for as long as
 * nothing else needs those: from there it gets into core dumps. All of them are the caller's to save, so a function may
 * clear them, and a function it must remain: within its caller, or where the compiler looks which registers a function
 * needs, what the caller has in one would be gone. vzeroall knows the first sixteen; the others exist with AVX-512,
 * where clearing the low part clears the rest.
 */
#ifdef __clang__
#define SECRET_CALLED __attribute__((noinline))
#else
#define SECRET_CALLED __attribute__((noipa))
#endif

#if defined(__x86_64__)
#define SECRET_CLOBBERS                                                                                             \
	"memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
		"xmm12", "xmm13", "xmm14", "xmm15"

static SECRET_CALLED void secret_clear_registers(void)
{
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall" ::: SECRET_CLOBBERS);
	else
		__asm__ volatile(".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
				 "pxor %%xmm\\n, %%xmm\\n\n\t"
				 ".endr" ::
					 : SECRET_CLOBBERS);
	if (__builtin_cpu_supports("avx512vl"))
		__asm__ volatile(".irp n, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
				 "vpxord %%xmm\\n, %%xmm\\n, %%xmm\\n\n\t"
				 ".endr" ::
					 : "memory");
}
#elif defined(__aarch64__)
static SECRET_CALLED void secret_clear_registers(void)
{
	/* The lower halves of 8 to 15 must outlive a call (AAPCS64 6.1.2); the compiler saves them when it is told. */
	__asm__ volatile(
		".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
		"movi v\\n\\().2d, #0\n\t"
		".endr" ::
			: "memory", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15");
}
#else
static SECRET_CALLED void secret_clear_registers(void)
{
}
#endif

void secret_open(struct secret_arena *a)
{
	a->opens++;
	if (a->open_bytes == 0 || a->open_bytes < a->end_granule * SECRET_GRANULE_BYTES)
		secret_access(a, true);
}

static void secret_shut(struct secret_arena *a)
{
	secret_clear_registers();
	secret_access(a, false);
}

void secret_close(struct secret_arena *a)
{
	assert(a->opens > 0);
	if (--a->opens == 0 && (a->holds == 0 || a->pkey >= 0))
		secret_shut(a);
}

void secret_hold(struct secret_arena *a)
{
	if (a)
		a->holds++;
}

void secret_release(struct secret_arena *a)
{
	if (!a)
		return;
	assert(a->holds > 0);
	if (--a->holds == 0 && a->opens == 0 && a->open_bytes > 0)
		secret_shut(a);
}

static size_t secret_granules_of(size_t len)
{
	return (len + 2 * SECRET_CANARY_BYTES + SECRET_GRANULE_BYTES - 1) / SECRET_GRANULE_BYTES;
}

/* First fit. False when there is no run of `n` free granules. */
static bool secret_find(const struct secret_arena *a, size_t n, size_t *ret_first)
{
	size_t at = 0;

	while (at < a->n_granules && a->n_granules - at >= n) {
		const uint8_t *free_from = memchr(a->granules + at, SECRET_GRANULE_FREE, a->n_granules - at);
		if (!free_from)
			return false;
		at = (size_t)(free_from - a->granules);
		size_t run = 0;
		while (run < n && at + run < a->n_granules && a->granules[at + run] == SECRET_GRANULE_FREE)
			run++;
		if (run == n) {
			*ret_first = at;
			return true;
		}
		at += run;
	}
	return false;
}

/* The canary bytes that follow `len` bytes of content, to the end of the last granule. */
static size_t secret_tail_bytes(size_t len)
{
	return secret_granules_of(len) * SECRET_GRANULE_BYTES - SECRET_CANARY_BYTES - len;
}

int secret_alloc(struct secret_arena *a, size_t len, struct secret *ret_secret)
{
	size_t first;

	assert(len > 0);
	if (len > a->data_bytes || !secret_find(a, secret_granules_of(len), &first))
		return SECRET_E_FULL;
	size_t n = secret_granules_of(len);
	memset(a->granules + first, SECRET_GRANULE_BODY, n);
	a->granules[first] = SECRET_GRANULE_HEAD;
	a->used_bytes += n * SECRET_GRANULE_BYTES;
	a->end_granule = MAX(a->end_granule, first + n);

	uint8_t *p = a->data + first * SECRET_GRANULE_BYTES + SECRET_CANARY_BYTES;
	secret_open(a);
	memcpy(p - SECRET_CANARY_BYTES, a->canary, SECRET_CANARY_BYTES);
	memset(p, 0, len);
	for (size_t i = 0; i < secret_tail_bytes(len); i++)
		p[len + i] = a->canary[i % SECRET_CANARY_BYTES];
	secret_close(a);
	*ret_secret = (struct secret){p, len};
	return 0;
}

/* The index of the first granule of a piece that must be one of ours, of exactly this length. */
static size_t secret_locate(const struct secret_arena *a, const struct secret *s)
{
	uintptr_t at = (uintptr_t)s->p - (uintptr_t)a->data - SECRET_CANARY_BYTES;
	size_t first = at / SECRET_GRANULE_BYTES, n = secret_granules_of(s->len);

	if (at >= a->data_bytes || at % SECRET_GRANULE_BYTES || n > a->n_granules - first ||
	    a->granules[first] != SECRET_GRANULE_HEAD)
		secret_abort("a piece was freed that is not in the arena");
	for (size_t i = 1; i < n; i++)
		if (a->granules[first + i] != SECRET_GRANULE_BODY)
			secret_abort("a piece was freed with a wrong length");
	if (first + n < a->n_granules && a->granules[first + n] == SECRET_GRANULE_BODY)
		secret_abort("a piece was freed with a wrong length");
	return first;
}

void secret_free(struct secret_arena *a, struct secret *s)
{
	if (!s->p)
		return;
	size_t first = secret_locate(a, s), n = secret_granules_of(s->len);
	secret_open(a);
	bool whole = secret_eq(s->p - SECRET_CANARY_BYTES, a->canary, SECRET_CANARY_BYTES);
	for (size_t i = 0; i < secret_tail_bytes(s->len); i++)
		whole = whole && s->p[s->len + i] == a->canary[i % SECRET_CANARY_BYTES];
	secret_wipe(a->data + first * SECRET_GRANULE_BYTES, n * SECRET_GRANULE_BYTES);
	secret_close(a);
	if (!whole)
		secret_abort("a canary was overwritten");
	memset(a->granules + first, SECRET_GRANULE_FREE, n);
	a->used_bytes -= n * SECRET_GRANULE_BYTES;
	while (a->end_granule > 0 && a->granules[a->end_granule - 1] == SECRET_GRANULE_FREE)
		a->end_granule--;
	*s = SECRET_NULL;
}

void secret_wipe(void *p, size_t len)
{
	explicit_bzero(p, len);
}

bool secret_eq(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t differ = 0;

	for (size_t i = 0; i < len; i++)
		differ |= (uint8_t)(x[i] ^ y[i]);
	return differ == 0;
}
