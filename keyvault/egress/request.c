/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A body in a memfd is used in place. Its seals must be there before it is looked at: then nobody can change a byte
 * between the count and the send, nor cut it off under our feet.
 */
#include "keyvault/egress/request.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/err.h"

#define REQUEST_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

bool request_map(struct exchange_request *q, uint64_t body_bytes, int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & REQUEST_SEALS) != REQUEST_SEALS || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size <= 0 || (uint64_t)st.st_size != body_bytes)
		return false;
	void *p = mmap(NULL, (size_t)body_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return false;
	q->map = p;
	q->map_len = (size_t)body_bytes;
	q->body = span_of(p, q->map_len);
	return true;
}

/* Copies `s` to the front of *to and makes it a view of the copy. */
static void request_move(struct span *s, uint8_t **to)
{
	if (s->len > 0)
		memcpy(*to, s->p, s->len);
	s->p = *to;
	*to += s->len;
}

int request_keep(struct exchange_request *q)
{
	if (q->kept)
		return 0;
	q->owned = malloc(q->grant.len + q->path.len + q->fields.raw.len + (q->map ? 0 : q->body.len));
	if (!q->owned)
		return err_origin(-ENOMEM);
	uint8_t *to = q->owned;
	request_move(&q->grant, &to);
	request_move(&q->path, &to);
	request_move(&q->fields.raw, &to);
	if (!q->map)
		request_move(&q->body, &to);
	q->kept = true;
	return 0;
}

void request_drop(struct exchange_request *q)
{
	free(q->owned);
	if (q->map)
		(void)munmap(q->map, q->map_len);
	*q = (struct exchange_request){.method = q->method};
}
