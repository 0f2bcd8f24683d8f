/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vectorscan finds the ends of anchors, the recognisers the ranges. Start offsets are not asked of Vectorscan: it
 * refuses them for long bounded repeats, they cost state in every stream, and a recogniser has to look around the
 * anchor anyway.
 */
#include "classifier/engine.h"

#include <assert.h>
#include <hs.h>
#include <stdlib.h>

#include "classifier/recognise.h"
#include "common/err.h"

struct engine {
	hs_database_t *db;
	hs_scratch_t *scratch;
};

struct engine_pattern {
	enum class class;
	const char *anchor;
	recogniser *recognise;
	const char *example;
};

static const struct engine_pattern engine_patterns[] = {
#define PATTERN(CLASS, anchor, recognise, example, doc) {CLASS_##CLASS, anchor, recognise, example},
#include "classifier/patterns.def"
#undef PATTERN
};
#define N_PATTERNS ARRAY_LEN(engine_patterns)

/* Four of the longest vectors, and a bit. */
#define ENGINE_TRIAL_BYTES 300

struct engine_run {
	struct span text;
	uint64_t classes;
	engine_found *found;
	void *ctx;
};

static int engine_compile(struct engine *e)
{
	const char *anchors[N_PATTERNS];
	unsigned flags[N_PATTERNS] = {0}, ids[N_PATTERNS];
	hs_compile_error_t *error = NULL;

	for (unsigned i = 0; i < N_PATTERNS; i++) {
		anchors[i] = engine_patterns[i].anchor;
		ids[i] = i;
	}
	if (hs_compile_multi(anchors, flags, ids, N_PATTERNS, HS_MODE_BLOCK, NULL, &e->db, &error) != HS_SUCCESS) {
		hs_free_compile_error(error);
		return err_origin(-EINVAL);
	}
	if (hs_alloc_scratch(e->db, &e->scratch) != HS_SUCCESS)
		return -ENOMEM;
	return 0;
}

static bool engine_on_example(void *ctx, enum class class, size_t begin, size_t end)
{
	struct range *seen = ctx;

	(void)class;
	*seen = (struct range){begin, end};
	return true;
}

/* Each example in a text of ENGINE_TRIAL_BYTES, at every place: found there and nowhere else? */
static int engine_try(struct engine *e)
{
	uint8_t text[ENGINE_TRIAL_BYTES];

	for (unsigned i = 0; i < N_PATTERNS; i++) {
		struct span example = span_str(engine_patterns[i].example);

		for (size_t at = 0; at + example.len <= sizeof(text); at++) {
			struct range seen = {0};
			int r;

			memset(text, ' ', sizeof(text));
			memcpy(text + at, example.p, example.len);
			r = engine_scan(e, span_of(text, sizeof(text)), BIT(engine_patterns[i].class),
					engine_on_example, &seen);
			if (r)
				return r;
			if (seen.begin != at || seen.end != at + example.len)
				return err_origin(-ENOTSUP);
		}
	}
	return 0;
}

int engine_new(struct engine **ret_engine)
{
	struct engine *e;
	int r;

	if (hs_valid_platform() != HS_SUCCESS)
		return err_origin(-ENOTSUP);
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	r = engine_compile(e);
	if (r == 0)
		r = engine_try(e);
	if (r) {
		engine_free(e);
		return r;
	}
	*ret_engine = e;
	return 0;
}

struct engine *engine_free(struct engine *e)
{
	if (e) {
		hs_free_scratch(e->scratch);
		hs_free_database(e->db);
		free(e);
	}
	return NULL;
}

static int engine_on_anchor(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *ctx)
{
	const struct engine_run *run = ctx;
	const struct engine_pattern *pattern = &engine_patterns[id];
	struct range range;

	(void)from;
	(void)flags;
	if (!(run->classes & BIT(pattern->class)) || !pattern->recognise(run->text, to, &range))
		return 0;
	assert(range.begin < range.end && range.end <= run->text.len);
	return run->found(run->ctx, pattern->class, range.begin, range.end) ? 0 : 1;
}

int engine_scan(struct engine *e, struct span text, uint64_t classes, engine_found *found, void *ctx)
{
	struct engine_run run = {text, classes, found, ctx};
	hs_error_t r;

	assert(text.len <= UINT32_MAX);
	if (text.len == 0)
		return 0;
	r = hs_scan(e->db, (const char *)text.p, (unsigned)text.len, 0, e->scratch, engine_on_anchor, &run);
	return r == HS_SUCCESS || r == HS_SCAN_TERMINATED ? 0 : err_origin(-EINVAL);
}

unsigned engine_precedence(enum class class)
{
	unsigned i = 0;

	while (i < N_PATTERNS && engine_patterns[i].class != class)
		i++;
	return i;
}
