/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay window: any uses, in any order, answered as by a set that forgets nothing. Oracle: of the series that were
 * ever named the two greatest are known; in each, numbers down to a window below the greatest; of these, a number is
 * taken once. Input: four bytes a use, which say what it is relative to: the edges of the window, and what was
 * taken a ring before or after.
 */
#include <assert.h>
#include <stdlib.h>

#include "keyvault/egress/replay.h"

#define USES_MAX   512
#define SERIES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
	struct {
		bool named;
		uint64_t greatest;
	} series[2][SERIES_MAX];
	struct use {
		bool renewed;
		size_t series;
		uint64_t number;
	} taken[USES_MAX];
	size_t n_taken;
};

static bool model_knows(const struct model *m, bool renewed, size_t series)
{
	size_t above = 0;

	for (size_t i = series + 1; i < SERIES_MAX; i++)
		above += m->series[renewed][i].named;
	return above < 2;
}

static bool model_has(const struct model *m, const struct use *use)
{
	for (size_t i = 0; i < m->n_taken; i++)
		if (m->taken[i].renewed == use->renewed && m->taken[i].series == use->series &&
		    m->taken[i].number == use->number)
			return true;
	return false;
}

static int model_use(struct model *m, const struct use *use)
{
	uint64_t *greatest = &m->series[use->renewed][use->series].greatest;

	if (!model_knows(m, use->renewed, use->series))
		return REPLAY_E_OUTRUN;
	m->series[use->renewed][use->series].named = true;
	*greatest = MAX(*greatest, use->number);
	if (*greatest / 64 - use->number / 64 >= REPLAY_WORDS)
		return REPLAY_E_OUTRUN;
	if (model_has(m, use))
		return REPLAY_E_USED;
	m->taken[m->n_taken++] = *use;
	return 0;
}

static struct use read_use(const struct model *m, const uint8_t p[4])
{
	struct use use = {.renewed = p[0] & 1, .series = p[0] >> 1 & (SERIES_MAX - 1)};
	uint64_t by = (uint64_t)(int8_t)p[3] * (p[1] & 8 ? 64 : 1), ring = REPLAY_WORDS * 64;
	uint64_t greatest = m->series[use.renewed][use.series].greatest;
	uint64_t taken = m->n_taken ? m->taken[p[2] % m->n_taken].number : 0;
	const uint64_t numbers[] = {
		0, greatest, greatest + ring, greatest - ring, taken, taken + ring, taken - ring, UINT64_MAX,
	};

	use.number = numbers[p[1] % ARRAY_LEN(numbers)] + by;
	return use;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model *m = calloc(1, sizeof(*m));
	struct replay r;

	if (!m || replay_init(&r))
		abort();
	for (size_t at = 0; size - at >= 4 && at < 4 * (size_t)USES_MAX; at += 4) {
		struct use use = read_use(m, data + at);
		if (data[at] == 0xff) {
			replay_reset(&r);
			*m = (struct model){0};
			continue;
		}
		if (replay_use(&r, use.renewed, use.series + 1, use.number) != model_use(m, &use))
			abort();
	}
	replay_deinit(&r);
	free(m);
	return 0;
}
