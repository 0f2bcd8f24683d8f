/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/view.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

/* The largest entry, and what follows it up to the next multiple of 8. */
#define VIEW_ENTRY_BYTES (ENTRY_HEAD_BYTES + ENTRY_LEAF_MAX + 8)

static_assert(VIEW_ENTRY_BYTES < VIEW_WINDOW_BYTES && SEGMENT_HEAD_BYTES < VIEW_WINDOW_BYTES, "what is asked for fits");

static int view_unreadable(struct view *v, uint64_t at, int error)
{
	v->bad_at = at;
	v->error = error;
	return VIEW_E_UNREADABLE;
}

void view_why(const struct view *v, char to[VIEW_WHY_BYTES])
{
	(void)snprintf(to, VIEW_WHY_BYTES, "%s cannot be read at byte %" PRIu64 ": %s", v->path, v->bad_at,
		       v->error ? strerrordesc_np(v->error) : "the file ends there");
}

int view_open(struct view *v, int dir, uint64_t first)
{
	struct stat st;

	*v = VIEW_NULL;
	segment_file(v->path, first);
	v->fd = openat(dir, v->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (v->fd < 0) {
		int error = errno;
		(void)view_unreadable(v, 0, error);
		return error == ENOENT ? VIEW_E_MISSING : VIEW_E_UNREADABLE;
	}
	v->window = malloc(VIEW_WINDOW_BYTES);
	int r = !v->window ? err_origin(-ENOMEM) : fstat(v->fd, &st) < 0 ? view_unreadable(v, 0, errno) : 0;
	if (r)
		view_close(v);
	else
		v->size = (uint64_t)st.st_size;
	return r;
}

void view_close(struct view *v)
{
	if (v->fd >= 0)
		(void)close(v->fd);
	free(v->window);
	v->fd = -1;
	v->window = NULL;
}

static int view_fill(struct view *v, uint8_t *to, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(v->fd, to + done, len - done, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return view_unreadable(v, at + done, n < 0 ? errno : 0);
		done += (size_t)n;
	}
	return 0;
}

void view_refresh(struct view *v)
{
	v->len = 0;
}

/* Puts `at` at the front of the window. */
static int view_move(struct view *v, uint64_t at)
{
	size_t len = (size_t)MIN(v->size - at, (uint64_t)VIEW_WINDOW_BYTES);
	int r = view_fill(v, v->window, len, at);

	v->at = at;
	v->len = r ? 0 : len;
	return r;
}

int view_read(struct view *v, uint64_t at, struct span *ret)
{
	uint64_t end = MIN(v->size, at + VIEW_ENTRY_BYTES);
	int r = 0;

	*ret = SPAN_NULL;
	if (at >= v->size)
		return 0;
	if (at < v->at || end > v->at + v->len)
		r = view_move(v, at);
	if (!r)
		*ret = span_of(v->window + (at - v->at), v->len - (size_t)(at - v->at));
	return r;
}

int view_copy(struct view *v, uint64_t at, size_t len, uint8_t **ret)
{
	uint8_t *bytes = malloc(len + 1);

	if (!bytes)
		return err_origin(-ENOMEM);
	int r = view_fill(v, bytes, len, at);
	if (r)
		free(bytes);
	else
		*ret = bytes;
	return r;
}

/* Most tails are zeros; what is not is looked at as a whole. */
int view_tail(struct view *v, uint64_t at, uint64_t index, enum tail *ret, size_t *ret_bytes)
{
	uint8_t *bytes = NULL;
	struct span rest;

	*ret = TAIL_CLEAN;
	*ret_bytes = 0;
	for (uint64_t from = at; from < v->size; from += rest.len) {
		int r = view_read(v, from, &rest);
		if (r)
			return r;
		if (segment_tail(rest, index, ret_bytes) != TAIL_CLEAN)
			break;
	}
	if (*ret_bytes == 0)
		return 0;
	int r = view_copy(v, at, (size_t)(v->size - at), &bytes);
	if (r)
		return r;
	*ret = segment_tail(span_of(bytes, (size_t)(v->size - at)), index, ret_bytes);
	free(bytes);
	return 0;
}
