/* SPDX-License-Identifier: Apache-2.0 */
#include "classifier/body.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

/* Without all of these the router could change or cut the text while it is read. */
#define BODY_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int body_map(int fd, size_t bytes, struct body *ret_body)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *map;

	if (seals < 0 || (seals & BODY_SEALS) != BODY_SEALS || fstat(fd, &st) != 0 || st.st_size != (off_t)bytes)
		return BODY_E_PEER;
	map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return err_origin(-errno);
	*ret_body = (struct body){span_of(map, bytes), map};
	return 0;
}

int body_open(const struct proto_scan *scan, int fd, struct body *ret_body)
{
	int r = BODY_E_PEER;

	if (fd >= 0 && scan->body.len == 0)
		r = body_map(fd, (size_t)scan->body_bytes, ret_body);
	if (fd < 0 && scan->body.len == scan->body_bytes) {
		*ret_body = (struct body){scan->body, NULL};
		r = 0;
	}
	if (fd >= 0)
		(void)close(fd);
	return r;
}

void body_close(struct body *b)
{
	if (b->map)
		(void)munmap(b->map, b->json.len);
	*b = BODY_NULL;
}
