/* SPDX-License-Identifier: Apache-2.0 */
#include "router/body.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/err.h"

#define BODY_KEPT_BYTES 16384

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3; older kernels answer EINVAL */
#endif

void body_init(struct body *b, struct bodies *all)
{
	*b = (struct body){.all = all, .fd = -1};
	buf_init(&b->small, BODY_SMALL_BYTES_MAX);
}

static void body_unmap(struct body *b)
{
	if (b->map)
		(void)munmap(b->map, b->map_bytes);
	b->map = NULL;
}

static void body_count(struct body *b, ptrdiff_t more)
{
	if (b->all)
		b->all->bytes = (size_t)((ptrdiff_t)b->all->bytes + more);
}

static bool body_fits(const struct body *b, size_t more)
{
	return !b->all || (b->all->bytes <= b->all->bytes_max && more <= b->all->bytes_max - b->all->bytes);
}

void body_deinit(struct body *b)
{
	body_unmap(b);
	if (b->fd >= 0) {
		body_count(b, -(ptrdiff_t)b->len);
		(void)close(b->fd);
	}
	b->fd = -1;
	b->len = 0;
	buf_deinit(&b->small);
}

void body_reset(struct body *b)
{
	if (b->fd >= 0 || b->small.cap > BODY_KEPT_BYTES)
		body_deinit(b);
	buf_reset(&b->small);
	b->len = 0;
}

/* From ordinary memory to a memfd. The file is sparse: only what is written takes memory. */
static int body_grow_up(struct body *b)
{
	int fd = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_origin(-errno);
	b->fd = fd;
	body_count(b, (ptrdiff_t)b->len);
	if (ftruncate(fd, BODY_BYTES_MAX) < 0)
		return err_origin(-errno);
	void *map = mmap(NULL, BODY_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return err_origin(-errno);
	b->map = map;
	b->map_bytes = BODY_BYTES_MAX;
	struct span have = buf_span(&b->small);
	if (have.len > 0)
		memcpy(b->map, have.p, have.len);
	buf_deinit(&b->small);
	return 0;
}

int body_expect(struct body *b, size_t bytes)
{
	assert(b->len == 0 && bytes <= BODY_BYTES_MAX);
	if (bytes <= BODY_SMALL_BYTES_MAX)
		return 0;
	if (!body_fits(b, bytes))
		return BODY_E_CROWDED;
	return b->fd < 0 ? body_grow_up(b) : 0;
}

int body_space(struct body *b, size_t want, uint8_t **ret_to, size_t *ret_bytes)
{
	if (b->len == BODY_BYTES_MAX)
		return BODY_E_TOO_LARGE;
	if (b->fd < 0 && b->len + want > BODY_SMALL_BYTES_MAX) {
		int r = body_grow_up(b);
		if (r)
			return r;
	}
	if (b->fd < 0) {
		*ret_bytes = want;
		return err_fold(buf_reserve(&b->small, want, ret_to));
	}
	if (!body_fits(b, want))
		return BODY_E_CROWDED;
	*ret_to = b->map + b->len;
	*ret_bytes = MIN(want, BODY_BYTES_MAX - b->len);
	return 0;
}

void body_commit(struct body *b, size_t bytes)
{
	assert(bytes <= BODY_BYTES_MAX - b->len);
	if (b->fd < 0)
		buf_commit(&b->small, bytes);
	else
		body_count(b, (ptrdiff_t)bytes);
	b->len += bytes;
}

int body_append(struct body *b, struct span bytes)
{
	uint8_t *to;
	size_t room;

	if (bytes.len == 0)
		return 0;
	if (bytes.len > BODY_BYTES_MAX - b->len)
		return BODY_E_TOO_LARGE;
	int r = body_space(b, bytes.len, &to, &room);
	if (r)
		return r;
	memcpy(to, bytes.p, bytes.len);
	body_commit(b, bytes.len);
	return 0;
}

/* Seals need a file without writable mappings; a private read-only one is allowed on every kernel. */
int body_finish(struct body *b)
{
	if (b->fd < 0)
		return 0;
	body_unmap(b);
	if (ftruncate(b->fd, (off_t)b->len) < 0)
		return err_origin(-errno);
	if (fcntl(b->fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_origin(-errno);
	void *map = mmap(NULL, b->len, PROT_READ, MAP_PRIVATE, b->fd, 0);
	if (map == MAP_FAILED)
		return err_origin(-errno);
	b->map = map;
	b->map_bytes = b->len;
	return 0;
}

void body_replace(struct body *b, struct body *with)
{
	struct bodies *all = b->all;

	assert(!with->all);
	body_deinit(b);
	*b = *with;
	b->all = all;
	if (b->fd >= 0)
		body_count(b, (ptrdiff_t)b->len);
	body_init(with, NULL);
}

struct span body_span(const struct body *b)
{
	return b->fd < 0 ? buf_span(&b->small) : span_of(b->map, b->len);
}

int body_share(const struct body *b, int *ret_fd)
{
	int fd = -1;

	if (b->fd >= 0) {
		fd = fcntl(b->fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return err_origin(-errno);
	}
	*ret_fd = fd;
	return 0;
}
