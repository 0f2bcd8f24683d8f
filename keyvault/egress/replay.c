/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/replay.h"

#include <stdlib.h>

#include "common/err.h"

#define REPLAY_WORD_SHIFT 6
#define REPLAY_WINDOWS    4

int replay_init(struct replay *r)
{
	uint64_t *bits = calloc(REPLAY_WORDS * REPLAY_WINDOWS, sizeof(*bits));

	if (!bits)
		return err_origin(-ENOMEM);
	*r = (struct replay){.bits = bits};
	for (size_t i = 0; i < REPLAY_WINDOWS; i++)
		r->windows[i / 2][i % 2].ring = bits + i * REPLAY_WORDS;
	return 0;
}

void replay_deinit(struct replay *r)
{
	free(r->bits);
	*r = REPLAY_NULL;
}

void replay_reset(struct replay *r)
{
	for (size_t i = 0; i < REPLAY_WINDOWS; i++)
		r->windows[i / 2][i % 2].series = 0;
}

/* Every other word is cleared when the window moves onto it. */
static void replay_begin(struct replay_window *w, uint64_t series)
{
	w->ring[0] = 0;
	w->series = series;
	w->last = 0;
}

/*
 * The series' window, NULL when it is over. The series of windows[1] only grows until the reset, so one that has lost
 * its window never gets another.
 */
static struct replay_window *replay_find(struct replay_window windows[2], uint64_t series)
{
	if (series > windows[0].series) {
		struct replay_window oldest = windows[1];
		windows[1] = windows[0];
		windows[0] = oldest;
		replay_begin(&windows[0], series);
	}
	if (series == windows[0].series)
		return &windows[0];
	if (series > windows[1].series)
		replay_begin(&windows[1], series);
	return series == windows[1].series ? &windows[1] : NULL;
}

static void replay_move(struct replay_window *w, uint64_t word)
{
	uint64_t n = MIN(word - w->last, (uint64_t)REPLAY_WORDS);

	for (uint64_t i = 0; i < n; i++)
		w->ring[(word - i) % REPLAY_WORDS] = 0;
	w->last = word;
}

int replay_use(struct replay *r, bool renewed, uint64_t series, uint64_t number)
{
	struct replay_window *w = replay_find(r->windows[renewed], series);
	uint64_t word = number >> REPLAY_WORD_SHIFT, bit = BIT(number & 63);

	if (!w)
		return REPLAY_E_OUTRUN;
	if (word > w->last)
		replay_move(w, word);
	if (w->last - word >= REPLAY_WORDS)
		return REPLAY_E_OUTRUN;
	uint64_t *at = &w->ring[word % REPLAY_WORDS];
	if (*at & bit)
		return REPLAY_E_USED;
	*at |= bit;
	return 0;
}
