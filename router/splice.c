/* SPDX-License-Identifier: Apache-2.0 */
#include "router/splice.h"

#include "common/err.h"
#include "proto/reasons.h"

/* A label in the place of a bare number needs quotes to stay JSON. */
#define CLASS(NAME, number, text, label) [CLASS_##NAME] = "\"" label "\"",
static const char *const quoted[] = {
#include "proto/classes.def"
};
#undef CLASS

static enum guard_action splice_action(uint64_t guard, uint64_t classes)
{
	enum guard_action strictest = GUARD_IGNORE;

	for (unsigned c = 0; c < N_CLASSES; c++)
		if (classes & BIT(c))
			strictest = MAX(strictest, guard_action(guard, (enum class)c));
	return strictest;
}

/* Is there a class whose findings must not pass? */
static bool splice_must_know(uint64_t guard)
{
	return splice_action(guard, BIT(N_CLASSES) - 1) > GUARD_FLAG;
}

static struct span splice_label(const struct proto_finding *f)
{
	return span_str(f->number ? quoted[f->class] : class_row((enum class)f->class)->label);
}

int splice_plan(const struct proto_verdict *verdict, uint64_t guard, struct span body, struct span keep,
		struct splices *ret_splices)
{
	struct proto_list findings = verdict->findings;
	struct splices *s = ret_splices;
	size_t keep_begin = keep.p ? (size_t)(keep.p - body.p) : 0, last = 0;
	struct proto_finding f;

	s->n = 0;
	s->flagged = verdict->total > findings.count;
	if (s->flagged && splice_must_know(guard))
		return SPLICE_E_BLOCKED;
	while (proto_finding_next(&findings, &f)) {
		if (f.class >= N_CLASSES || f.classes >= BIT(N_CLASSES) || !(f.classes & BIT(f.class)) ||
		    f.begin < last || f.begin >= f.end || f.end > body.len || s->n == SPLICES_MAX)
			return SPLICE_E_INVALID;
		last = f.end;
		enum guard_action action = splice_action(guard, f.classes);
		bool kept = keep.len > 0 && f.begin < keep_begin + keep.len && f.end > keep_begin;
		if (action == GUARD_BLOCK || (action == GUARD_REDACT && kept))
			return SPLICE_E_BLOCKED;
		if (action == GUARD_REDACT)
			s->at[s->n++] = (struct splice){f.begin, f.end, splice_label(&f)};
		s->flagged |= action == GUARD_FLAG;
	}
	return 0;
}

int splice_body(struct span from, const struct splice *at, size_t n, struct body *to)
{
	size_t bytes = from.len, done = 0;
	int r;

	for (size_t i = 0; i < n; i++)
		bytes = bytes + at[i].with.len - (at[i].end - at[i].begin);
	if (bytes > BODY_BYTES_MAX)
		return SPLICE_E_TOO_LARGE;
	r = body_expect(to, bytes);
	for (size_t i = 0; i < n && !r; i++) {
		r = body_append(to, span_of(from.p + done, at[i].begin - done));
		if (!r)
			r = body_append(to, at[i].with);
		done = at[i].end;
	}
	if (!r)
		r = body_append(to, span_of(from.p + done, from.len - done));
	if (!r)
		r = body_finish(to);
	return err_fold(r);
}

ptrdiff_t splice_shift(const struct splices *splices, size_t offset)
{
	ptrdiff_t shift = 0;

	for (size_t i = 0; i < splices->n && splices->at[i].end <= offset; i++)
		shift += (ptrdiff_t)splices->at[i].with.len - (ptrdiff_t)(splices->at[i].end - splices->at[i].begin);
	return shift;
}
