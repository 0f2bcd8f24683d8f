/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   json_scan --value--> json_text (batch) --> engine --candidate--> merge --> raw offsets
 *
 * The scanner hands over each string and number as it validates the text. They are collected, decoded, into a batch of
 * some 64 KiB, because a call of the engine costs as much as a hundred bytes of text. When the batch is full, the
 * engine's candidates are sorted and those that overlap become one finding: all their bytes, all their classes, the
 * label of the one with precedence. What is found is the same however values fall into batches, since no finding
 * crosses a barrier.
 *
 * More than 512 findings are not listed, so nobody could redact them: the scan ends and says so. The same holds for
 * more candidates in a batch than any honest text has.
 */
#include "classifier/classify.h"

#include <assert.h>
#include <stdlib.h>

#include "classifier/json_text.h"
#include "common/err.h"
#include "common/json_scan.h"

#define CLASSIFY_CANDIDATES_MAX   8192
#define CLASSIFY_STRING_BYTES_MIN 6  /* a@b.cd */
#define CLASSIFY_DIGITS_MIN       13 /* the shortest card, for numbers */
#define CLASSIFY_DIGITS_MAX       19

struct classify_candidate {
	size_t begin, end;
	enum class class;
};

struct classifier {
	struct engine *engine;
	struct json_text text;
	/* one call's state */
	struct span json;
	uint64_t classes;
	bool overflow;
	size_t n_candidates, n_findings;
	struct classify_candidate candidates[CLASSIFY_CANDIDATES_MAX];
	struct proto_finding findings[CLASSIFY_FINDINGS_MAX];
};

int classifier_new(struct classifier **ret_classifier)
{
	struct classifier *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	json_text_init(&c->text, CLASSIFY_BYTES_MAX);
	r = engine_new(&c->engine);
	if (r) {
		classifier_free(c);
		return r;
	}
	*ret_classifier = c;
	return 0;
}

struct classifier *classifier_free(struct classifier *c)
{
	if (c) {
		engine_free(c->engine);
		json_text_deinit(&c->text);
		free(c);
	}
	return NULL;
}

static bool classify_on_found(void *ctx, enum class class, size_t begin, size_t end)
{
	struct classifier *c = ctx;

	if (c->n_candidates == CLASSIFY_CANDIDATES_MAX) {
		c->overflow = true;
		return false;
	}
	c->candidates[c->n_candidates++] = (struct classify_candidate){begin, end, class};
	return true;
}

static int classify_compare(const void *a, const void *b)
{
	const struct classify_candidate *x = a, *y = b;

	return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* The finding that candidates i to *ret_next - 1 make, all of which overlap; [begin, end) still in the batch's text. */
static struct proto_finding classify_merge(const struct classifier *c, size_t i, size_t *ret_next)
{
	const struct classify_candidate *first = &c->candidates[i];
	struct proto_finding f = {.class = first->class, .begin = first->begin, .end = first->end};

	for (; i < c->n_candidates && c->candidates[i].begin < f.end; i++) {
		const struct classify_candidate *next = &c->candidates[i];

		f.classes |= BIT(next->class);
		f.end = MAX(f.end, next->end);
		if (engine_precedence(next->class) < engine_precedence((enum class)f.class))
			f.class = next->class;
	}
	*ret_next = i;
	return f;
}

static void classify_list(struct classifier *c, struct proto_finding f)
{
	struct json_range range;

	if (c->n_findings == CLASSIFY_FINDINGS_MAX) {
		c->overflow = true;
		return;
	}
	range = json_text_raw(&c->text, f.begin, f.end);
	f.begin = (uint64_t)(range.raw.p - c->json.p);
	f.end = f.begin + range.raw.len;
	f.number = range.number;
	c->findings[c->n_findings++] = f;
}

static int classify_batch(struct classifier *c)
{
	int r;

	c->n_candidates = 0;
	r = engine_scan(c->engine, json_text_span(&c->text), c->classes, classify_on_found, c);
	if (r)
		return r;
	if (c->n_candidates > 1)
		qsort(c->candidates, c->n_candidates, sizeof(c->candidates[0]), classify_compare);
	for (size_t i = 0; i < c->n_candidates && !c->overflow;)
		classify_list(c, classify_merge(c, i, &i));
	json_text_reset(&c->text);
	return 0;
}

/* Can there be anything in it? Only whole numbers are looked at: digits behind a point are no card. */
static bool classify_matters(const struct json_value *value)
{
	if (value->kind == JSON_KIND_STRING)
		return value->raw.len >= CLASSIFY_STRING_BYTES_MIN;
	if (value->raw.len < CLASSIFY_DIGITS_MIN || value->raw.len > CLASSIFY_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < value->raw.len; i++)
		if (value->raw.p[i] < '0' || value->raw.p[i] > '9')
			return false;
	return true;
}

static int classify_visit(void *ctx, const struct json_value *value, bool is_key)
{
	struct classifier *c = ctx;
	int r;

	(void)is_key;
	if (!classify_matters(value) || c->overflow)
		return 0;
	r = json_text_add(&c->text, value);
	if (r == JSON_TEXT_E_FULL) {
		r = classify_batch(c);
		if (r == 0)
			r = json_text_add(&c->text, value);
	}
	return err_fold(r);
}

int classify(struct classifier *c, struct span json, uint64_t classes, struct classify_verdict *ret_verdict)
{
	struct json_body body;
	int r;

	if (json.len > CLASSIFY_BYTES_MAX)
		return CLASSIFY_E_JSON;
	c->json = json;
	c->classes = classes;
	c->n_findings = 0;
	c->overflow = false;
	json_text_reset(&c->text);
	r = json_scan(json, classify_visit, c, &body);
	if (r == 0 && !c->overflow)
		r = classify_batch(c);
	if (r)
		return r > 0 ? CLASSIFY_E_JSON : r;
	*ret_verdict = (struct classify_verdict){c->overflow ? CLASSIFY_FINDINGS_MAX + 1 : c->n_findings, c->findings,
						 c->n_findings};
	return 0;
}
