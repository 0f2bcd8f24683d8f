/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/prune.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditd/finder.h"
#include "auditd/view.h"
#include "common/err.h"

/* To give back a segment's blocks costs as much as so many small files. */
#define PRUNE_SEGMENT_FILES 64

/* ---- what is over ---- */

int prune_look_init(struct prune_look *l, int dir)
{
	*l = (struct prune_look){.dir = dir};
	l->known = calloc(PRUNE_SEGMENTS_MAX, sizeof(*l->known));
	return l->known ? 0 : err_origin(-ENOMEM);
}

void prune_look_deinit(struct prune_look *l)
{
	free(l->known);
	*l = (struct prune_look){.dir = -1};
}

/* 0, PRUNE_E_DAMAGED or negative; where it is not as it should be is in l->where. */
static int prune_open(struct prune_look *l, struct view *v, uint64_t first)
{
	int r = view_open(v, l->dir, first);

	(void)snprintf(l->where, sizeof(l->where), "%s", v->path);
	if (r == VIEW_E_UNREADABLE)
		view_why(v, l->where);
	return r > 0 ? PRUNE_E_DAMAGED : r;
}

static int prune_read(struct prune_look *l, struct view *v, uint64_t at, struct span *ret)
{
	if (view_read(v, at, ret) == 0)
		return 0;
	view_why(v, l->where);
	return PRUNE_E_DAMAGED;
}

/* The times of its records, which must be [first, next). */
static int prune_read_times(struct prune_look *l, uint64_t first, uint64_t next, struct retention_times *ret)
{
	uint64_t at = SEGMENT_HEAD_BYTES;
	struct proto_leaf leaf;
	struct entry entry;
	struct span rest;
	struct view v;

	int r = prune_open(l, &v, first);
	if (r)
		return r;
	*ret = RETENTION_TIMES_NULL;
	for (uint64_t index = first; index < next && !r; index++) {
		r = prune_read(l, &v, at, &rest);
		if (!r && (rest.len == 0 || entry_read(rest, index, &entry) || leaf_unpack(entry.leaf, &leaf)))
			r = PRUNE_E_DAMAGED;
		if (r)
			break;
		retention_times_add(ret, leaf.recorded_ns, l->wall_ns);
		at += entry.bytes;
	}
	view_close(&v);
	return r;
}

/* Of segment i. Those that tell of a wrong clock are read each time: what is the future now need not be tomorrow. */
static int prune_times(struct prune_look *l, size_t i, struct retention_times *ret)
{
	struct prune_times *known = &l->known[i];
	int r = 0;

	if (i >= l->n_known || known->first != l->firsts[i] || !known->times.straight) {
		r = prune_read_times(l, l->firsts[i], l->firsts[i + 1], &known->times);
		known->first = l->firsts[i];
		l->n_known = r ? i : MAX(l->n_known, i + 1);
	}
	*ret = known->times;
	return r;
}

/* What was removed since the last look is not known any more. */
static void prune_forget(struct prune_look *l)
{
	size_t gone = 0;

	while (gone < l->n_known && l->known[gone].first < l->firsts[0])
		gone++;
	if (gone > 0)
		memmove(l->known, l->known + gone, (l->n_known - gone) * sizeof(*l->known));
	l->n_known -= gone;
}

/* How many of the first segments are over. The first that is not ends it: what comes later is not read. */
static int prune_count(struct prune_look *l, size_t *ret_over)
{
	struct retention_times *times = calloc(PRUNE_SEGMENTS_MAX, sizeof(*times));
	size_t most = MIN(l->n - 1, (size_t)PRUNE_SEGMENTS_MAX), n;
	int r = times ? 0 : err_origin(-ENOMEM);

	*ret_over = 0;
	while (most > 0 && l->firsts[most] > l->signed_size)
		most--; /* what nobody signed stays */
	for (n = 0; n < most && !r; n++) {
		r = prune_times(l, n, &times[n]);
		uint64_t newest = r ? UINT64_MAX : retention_newest(times, n + 1, l->newest_before_ns);
		if (newest >= l->now_ns || l->now_ns - newest <= l->keep_ns)
			break;
	}
	if (!r) {
		*ret_over = retention_over(times, n, l->newest_before_ns, l->now_ns, l->keep_ns);
		l->newest_ns = retention_newest(times, *ret_over, l->newest_before_ns);
	}
	free(times);
	return r;
}

/* The root at l->end, as the tiles have it; the segment that begins there must know it. */
static int prune_root(struct prune_look *l)
{
	struct tile_source *tiles = malloc(sizeof(*tiles));
	struct segment_head head;
	struct span bytes;
	struct view v;

	if (!tiles)
		return err_origin(-ENOMEM);
	tile_source_init(tiles, l->dir, l->signed_size);
	int r = merkle_root(&(struct merkle_source){tile_source_node, tiles}, l->end, &l->root);
	free(tiles);
	(void)snprintf(l->where, sizeof(l->where), "tile/");
	if (!r)
		r = prune_open(l, &v, l->end);
	if (r)
		return r < 0 ? r : PRUNE_E_DAMAGED;
	r = prune_read(l, &v, 0, &bytes);
	if (!r &&
	    (segment_head_read(bytes, &head) || head.first_index != l->end || !merkle_hash_eq(&head.root, &l->root)))
		r = PRUNE_E_DAMAGED;
	view_close(&v);
	return r;
}

/* When the segment that is being written was begun, by its first record. */
static int prune_active(struct prune_look *l)
{
	uint64_t first = l->firsts[l->n - 1];
	struct proto_leaf leaf;
	struct entry entry;
	struct span rest;
	struct view v;

	l->active_ns = 0;
	int r = prune_open(l, &v, first);
	if (r)
		return r;
	r = prune_read(l, &v, SEGMENT_HEAD_BYTES, &rest);
	if (!r && rest.len > 0 && entry_read(rest, first, &entry) == 0 && leaf_unpack(entry.leaf, &leaf) == 0)
		l->active_ns = leaf.recorded_ns;
	view_close(&v);
	return r;
}

int prune_look(struct prune_look *l)
{
	size_t over = 0;

	l->end = 0;
	prune_forget(l);
	int r = prune_count(l, &over);
	if (!r && over > 0) {
		l->end = l->firsts[over];
		r = prune_root(l);
	}
	if (r)
		l->end = 0;
	return r ? r : prune_active(l);
}

/* ---- the removal ---- */

void prune_resume(struct prune *p, int dir, struct retained *what, const uint64_t *firsts, size_t n)
{
	*p = (struct prune){
		.dir = dir,
		.what = what,
		.firsts = firsts,
		.n = n,
		.bundle = what->first / TILE_WIDTH,
		.block = what->first / FINDER_BLOCK,
	};
}

int prune_begin(struct prune *p, int dir, struct retained *what, const uint64_t *firsts, size_t n)
{
	prune_resume(p, dir, what, firsts, n);
	what->done = false;
	return retained_write(dir, what);
}

/* True also for what is gone already. */
static int prune_unlink(int dir, const char *path, int flags)
{
	return unlinkat(dir, path, flags) < 0 && errno != ENOENT ? -errno : 0;
}

/* The oldest goes first, and is gone for good before the next: what is left begins at one place. */
static int prune_segment(struct prune *p, unsigned *files)
{
	char path[SEGMENT_FILE_BYTES];

	segment_file(path, p->firsts[p->at]);
	int r = prune_unlink(p->dir, path, 0);
	int seg = r ? -1 : openat(p->dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r || seg < 0 || fsync(seg) < 0)
		r = err_origin(r ? r : -errno);
	if (seg >= 0)
		(void)close(seg);
	p->at += r == 0;
	*files += PRUNE_SEGMENT_FILES;
	return r;
}

/* A bundle, and the partial ones that checkpoints left when it grew. *files: how many calls there were. */
static int prune_bundle(struct prune *p, unsigned *files)
{
	char path[TILE_PATH_MAX];

	tile_path(path, TILE_ENTRIES, p->bundle, TILE_WIDTH);
	int r = prune_unlink(p->dir, path, 0);
	tile_path(path, TILE_ENTRIES, p->bundle, 1);
	*strrchr(path, '/') = '\0';
	*files += 2;
	if (!r && unlinkat(p->dir, path, AT_REMOVEDIR) < 0 && errno != ENOENT) { /* most have none */
		for (unsigned width = 1; width < TILE_WIDTH && !r; width++) {
			tile_path(path, TILE_ENTRIES, p->bundle, width);
			r = prune_unlink(p->dir, path, 0);
		}
		*strrchr(path, '/') = '\0';
		if (!r)
			r = prune_unlink(p->dir, path, AT_REMOVEDIR);
		*files += TILE_WIDTH;
	}
	p->bundle += r == 0;
	return r ? err_origin(r) : 0;
}

static int prune_block(struct prune *p)
{
	char path[64];

	(void)snprintf(path, sizeof(path), FINDER_FOLDER "/%010" PRIu64, p->block);
	int r = prune_unlink(p->dir, path, 0);
	p->block += r == 0;
	return r ? err_origin(r) : 0;
}

/*
 * By a descriptor of its own. What the kernel could not write it tells each open file once: who commits relies on being
 * told by his that a tile is not on the disk (tree_sync()), and we would only try again.
 */
static int prune_sync(const struct prune *p)
{
	int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || syncfs(fd) < 0 ? err_origin(-errno) : 0;

	if (fd >= 0)
		(void)close(fd);
	return r;
}

static int prune_end(struct prune *p)
{
	int r = prune_sync(p);

	if (r)
		return r;
	p->what->done = true;
	r = retained_write(p->dir, p->what);
	p->what->done = r == 0;
	return r ? r : PRUNE_E_DONE;
}

int prune_step(struct prune *p, unsigned files)
{
	int r = 0;

	for (unsigned done = 0; done < files && !r; done++) {
		if (p->at < p->n)
			r = prune_segment(p, &done);
		else if (p->bundle < p->what->end / TILE_WIDTH)
			r = prune_bundle(p, &done);
		else if (p->block < p->what->end / FINDER_BLOCK)
			r = prune_block(p);
		else
			r = prune_end(p);
	}
	return r;
}
