/* SPDX-License-Identifier: Apache-2.0 */
/* Edit distance, to guess which key a mistyped one was meant to be. */
#include "cli/config_tree.h"

#define NEAREST_BYTES_MAX 40

/* Insertions, deletions and replacements that turn `a` into `b` (Levenshtein), with one row of the table. */
static size_t nearest_distance(struct span a, struct span b)
{
	size_t row[NEAREST_BYTES_MAX + 1];

	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t replaced = diagonal + (a.p[i - 1] != b.p[j - 1]);

			diagonal = row[j];
			row[j] = MIN(replaced, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[b.len];
}

const char *config_nearest(struct span word, const char *const *candidates)
{
	const char *best = NULL;
	size_t best_distance = word.len / 2 + 1;

	if (word.len > NEAREST_BYTES_MAX)
		return NULL;
	for (; *candidates; candidates++) {
		struct span candidate = span_str(*candidates);
		size_t distance = candidate.len > NEAREST_BYTES_MAX ? best_distance : nearest_distance(word, candidate);

		if (distance < best_distance) {
			best = *candidates;
			best_distance = distance;
		}
	}
	return best;
}
