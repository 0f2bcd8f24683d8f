/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/retained.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "auditd/tree.h"
#include "common/note.h"

#define RETAINED_FIRST_LINE "bulkhead-retention/1"
#define RETAINED_BYTES_MAX  512

/* A word, up to `end`. */
static bool retained_word(struct span *text, char end, struct span *ret)
{
	return note_take(text, end, ret) && ret->len > 0;
}

static bool retained_number(struct span *text, char end, uint64_t *ret)
{
	struct span word;

	return retained_word(text, end, &word) && note_decimal(word, ret);
}

static bool retained_name(struct span *text, const char *name, char end)
{
	struct span word;

	return retained_word(text, end, &word) && span_eq_str(word, name);
}

static bool retained_parse(struct span text, struct retained *ret)
{
	struct span keep, state;

	if (!retained_name(&text, RETAINED_FIRST_LINE, '\n') || !retained_name(&text, "clock", ' ') ||
	    !retained_number(&text, '\n', &ret->clock_ns) || !retained_name(&text, "newest", ' ') ||
	    !retained_number(&text, '\n', &ret->newest_ns) || !retained_name(&text, "prune", ' ') ||
	    !retained_number(&text, ' ', &ret->first) || !retained_number(&text, ' ', &ret->end) ||
	    !retained_number(&text, ' ', &ret->index) || !retained_number(&text, ' ', &ret->time_ns) ||
	    !retained_word(&text, '\n', &keep) || keep.len >= sizeof(ret->keep) ||
	    !retained_name(&text, "state", ' ') || !retained_word(&text, '\n', &state) || text.len > 0)
		return false;
	memcpy(ret->keep, keep.p, keep.len);
	ret->keep[keep.len] = '\0';
	ret->done = span_eq_str(state, "done");
	return (ret->done || span_eq_str(state, "doing")) && ret->first <= ret->end && ret->end <= ret->index;
}

int retained_read(int dir, struct retained *ret)
{
	struct retained found = RETAINED_NULL;
	uint8_t *bytes;
	size_t len;

	*ret = found;
	int r = tile_slurp(dir, RETAINED_FILE, RETAINED_BYTES_MAX, &bytes, &len);
	if (r)
		return r < 0 ? r : RETAINED_E_NONE;
	if (retained_parse(span_of(bytes, len), &found))
		*ret = found;
	else
		r = RETAINED_E_NONE;
	free(bytes);
	return r;
}

int retained_write(int dir, const struct retained *r)
{
	char text[RETAINED_BYTES_MAX];
	int n = snprintf(text, sizeof(text),
			 RETAINED_FIRST_LINE "\nclock %" PRIu64 "\nnewest %" PRIu64 "\nprune %" PRIu64 " %" PRIu64
					     " %" PRIu64 " %" PRIu64 " %s\nstate %s\n",
			 r->clock_ns, r->newest_ns, r->first, r->end, r->index, r->time_ns,
			 r->keep[0] ? r->keep : "none", r->done ? "done" : "doing");

	return tree_write_durable_by(dir, RETAINED_FILE ".tmp", RETAINED_FILE, span_of(text, (size_t)n));
}
