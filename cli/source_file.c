/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "cli/source.h"

static bool source_same(const struct source_id *a, const struct source_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->bytes == b->bytes && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

bool source_is_news(struct source_file *f, const char *why)
{
	bool news = strncmp(why, f->told, sizeof(f->told) - 1) != 0;

	(void)snprintf(f->told, sizeof(f->told), "%s", why);
	return news;
}

/* One that was not there before, or was another. */
static void source_note_change(struct source_file *f)
{
	f->told[0] = 0;
	f->settled = false;
	source_hurry(f);
}

bool source_look(const struct cli *cli, struct source_file *f, char why[KEY_FILE_WHY_BYTES])
{
	struct stat st;
	int fd, r = source_open(cli, f->provider, &fd, why);

	if (r == 0) {
		r = fstat(fd, &st);
		close(fd);
	}
	if (r) {
		f->there = false;
		return false;
	}
	struct source_id id = {st.st_dev, st.st_ino, st.st_size, st.st_ctim};
	f->settled = true;
	if (!f->there || !source_same(&id, &f->seen))
		source_note_change(f);
	f->there = true;
	f->seen = id;
	return true;
}

bool source_is_due(const struct source_file *f, uint64_t now_ms)
{
	return f->there && f->settled && !source_same(&f->seen, &f->taken) && now_ms >= f->retry_at_ms;
}

void source_begin(struct source_file *f)
{
	f->taking = f->seen;
}

void source_end(struct source_file *f, bool taken, uint64_t now_ms)
{
	uint64_t pause_ms = MIN((uint64_t)SOURCE_RETRY_MS << MIN(f->tries, 16u), (uint64_t)SOURCE_RETRY_MS_MAX);

	if (!taken) {
		f->retry_at_ms = now_ms + pause_ms;
		f->tries++;
		return;
	}
	f->taken = f->taking;
	source_hurry(f);
}

void source_hurry(struct source_file *f)
{
	f->tries = 0;
	f->retry_at_ms = 0;
}
