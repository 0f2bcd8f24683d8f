/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A body and the same body with every character of its strings written as \u escapes: the verdicts must be the same,
 * range by range. And a range cut out for a label must leave valid JSON.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "classifier/classify.h"
#include "common/json_scan.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct classifier *plain, *spelled;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	assert(classifier_new(&plain) == 0 && classifier_new(&spelled) == 0);
	return 0;
}

struct out {
	struct span in;
	size_t at; /* taken of `in` */
	char *text;
	size_t len;
};

static void copy(struct out *o, const uint8_t *upto)
{
	size_t n = (size_t)(upto - o->in.p) - o->at;

	memcpy(o->text + o->len, o->in.p + o->at, n);
	o->len += n;
	o->at += n;
}

static int spell(void *ctx, const struct json_value *value, bool is_key)
{
	struct out *o = ctx;
	struct span raw = value->raw;

	(void)is_key;
	if (value->kind != JSON_KIND_STRING)
		return 0;
	copy(o, raw.p);
	o->at += raw.len;
	while (raw.len > 0) {
		uint32_t c;
		size_t used = json_char(raw, &c);

		raw = span_of(raw.p + used, raw.len - used);
		if (c >= 0x10000)
			o->len += (size_t)sprintf(o->text + o->len, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
						  0xdc00 + (c & 0x3ff));
		else
			o->len += (size_t)sprintf(o->text + o->len, "\\u%04x", c);
	}
	return 0;
}

static size_t decode(const char *p, const struct proto_finding *f, uint8_t to[4096])
{
	struct json_value v = {JSON_KIND_STRING, true, span_of(p + f->begin, f->end - f->begin)};
	size_t len;

	assert(json_text(&v, to, 4096, &len) == 0);
	return len;
}

static void check_redacted(struct span json, const struct classify_verdict *v)
{
	struct out o = {.in = json, .text = malloc(json.len + v->n_findings * 16 + 1)};
	struct json_body body;

	assert(o.text);
	for (size_t i = 0; i < v->n_findings; i++) {
		const struct proto_finding *f = &v->findings[i];

		assert(f->begin >= o.at && f->begin < f->end && f->end <= json.len && f->classes & BIT(f->class));
		copy(&o, json.p + f->begin);
		o.at = f->end;
		o.len += (size_t)sprintf(o.text + o.len, f->number ? "\"%s\"" : "%s",
					 class_row((enum class)f->class)->label);
	}
	copy(&o, json.p + json.len);
	assert(json_scan(span_of(o.text, o.len), NULL, NULL, &body) == 0);
	free(o.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct out o = {.in = span_of(data, size), .text = malloc(size * 6 + 16)};
	struct json_body body;
	struct classify_verdict a, b;
	int r = json_scan(o.in, spell, &o, &body);

	assert(o.text && (classify(plain, o.in, UINT64_MAX, &a) == 0) == (r == 0));
	if (r == 0) {
		copy(&o, data + size);
		assert(classify(spelled, span_of(o.text, o.len), UINT64_MAX, &b) == 0);
		assert(a.total == b.total && a.n_findings == b.n_findings);
		for (size_t i = 0; i < a.n_findings; i++) {
			uint8_t x[4096], y[4096];
			size_t n = decode((const char *)data, &a.findings[i], x);

			assert(n == decode(o.text, &b.findings[i], y) && memcmp(x, y, n) == 0);
			assert(a.findings[i].class == b.findings[i].class);
			assert(a.findings[i].classes == b.findings[i].classes);
		}
		check_redacted(o.in, &a);
	}
	free(o.text);
	return 0;
}
