/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of the steps are those of AWS's documentation: canonical request, string to sign, signing key, signature.
 *
 * Sorting: fields and parameters are few, so the next one in order is searched for each time; nothing is moved and
 * nothing needs memory of its own.
 */
#include "keyvault/egress/sigv4.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#define SIGV4_DAY_BYTES 8
#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"

void sigv4_date(uint64_t unix_s, char ret[SIGV4_DATE_BYTES + 1])
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	(void)strftime(ret, SIGV4_DATE_BYTES + 1, "%Y%m%dT%H%M%SZ", &tm);
}

static int sigv4_compare(struct span a, struct span b)
{
	size_t n = MIN(a.len, b.len);
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* ---- the path ---- */

static struct span sigv4_segment(struct span *rest)
{
	size_t at = 0, end;

	while (at < rest->len && rest->p[at] == '/')
		at++;
	for (end = at; end < rest->len && rest->p[end] != '/';)
		end++;
	struct span segment = span_of(rest->p + at, end - at);
	*rest = span_of(rest->p + end, rest->len - end);
	return segment;
}

/* Back to before the last segment written. */
static void sigv4_drop_segment(struct text *to, size_t begin)
{
	while (to->len > begin && to->to[to->len - 1] != '/')
		to->len--;
	if (to->len > begin)
		to->len--;
}

static void sigv4_put_path(struct text *to, struct span path)
{
	size_t begin = to->len;
	bool slash = true;

	while (path.len > 0) {
		struct span segment = sigv4_segment(&path);
		slash = segment.len == 0 || (path.len > 0 && path.p[0] == '/');
		if (segment.len == 0 || span_eq(segment, SPAN_LIT(".")))
			continue;
		if (span_eq(segment, SPAN_LIT(".."))) {
			sigv4_drop_segment(to, begin);
			continue;
		}
		text_put_str(to, "/");
		text_put_escaped(to, segment, 0);
	}
	if (to->len == begin || slash)
		text_put_str(to, "/");
}

/* ---- the query ---- */

static int sigv4_hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One decoded character and how many bytes spell it. */
static size_t sigv4_char(struct span s, uint8_t *ret)
{
	int high = s.len > 2 && s.p[0] == '%' ? sigv4_hex(s.p[1]) : -1;
	int low = high >= 0 ? sigv4_hex(s.p[2]) : -1;

	*ret = (uint8_t)(low < 0 ? s.p[0] : high << 4 | low);
	return low < 0 ? 1 : 3;
}

static void sigv4_put_value(struct text *to, struct span s)
{
	for (size_t i = 0; i < s.len;) {
		uint8_t c;
		i += sigv4_char(span_of(s.p + i, s.len - i), &c);
		text_put_escaped(to, span_of(&c, 1), 0);
	}
}

/* Writes the query's parameters in their canonical spelling, each once, and notes where. */
static int sigv4_split(struct span query, struct text *to, struct sigv4_field *params, size_t *ret_n)
{
	size_t n = 0;

	while (query.len > 0) {
		const uint8_t *end = memchr(query.p, '&', query.len);
		struct span one = span_of(query.p, end ? (size_t)(end - query.p) : query.len);
		const uint8_t *equals = one.len ? memchr(one.p, '=', one.len) : NULL;
		size_t name = equals ? (size_t)(equals - one.p) : one.len;

		query = span_of(one.p + one.len + (end != NULL), query.len - one.len - (end != NULL));
		if (one.len == 0)
			continue;
		if (n == SIGV4_PARAMS_MAX)
			return SIGV4_E_SIZE;
		size_t begin = to->len;
		sigv4_put_value(to, span_of(one.p, name));
		params[n].name = span_of(to->to + begin, to->len - begin);
		begin = to->len;
		if (equals)
			sigv4_put_value(to, span_of(equals + 1, one.len - name - 1));
		params[n++].value = span_of(to->to + begin, to->len - begin);
	}
	*ret_n = n;
	return to->full ? SIGV4_E_SIZE : 0;
}

static bool sigv4_param_less(const struct sigv4_field *a, const struct sigv4_field *b)
{
	int c = sigv4_compare(a->name, b->name);

	return c ? c < 0 : sigv4_compare(a->value, b->value) < 0;
}

/* The parameters are spelled at the end of the memory first, then written in order. */
static int sigv4_put_query(struct text *to, struct span query)
{
	struct sigv4_field params[SIGV4_PARAMS_MAX];
	size_t half = (to->cap - to->len) / 2, n = 0;
	struct text spelled = TEXT_OF(to->to + to->len + half, to->cap - to->len - half);
	struct text first = {.to = to->to, .len = to->len, .cap = to->len + half, .full = to->full};
	int r = sigv4_split(query, &spelled, params, &n);

	for (size_t i = 0; !r && i < n; i++) {
		size_t least = i;
		for (size_t k = i + 1; k < n; k++)
			if (sigv4_param_less(&params[k], &params[least]))
				least = k;
		struct sigv4_field next = params[least];
		params[least] = params[i];
		params[i] = next;
		text_put_str(&first, i ? "&" : "");
		text_put(&first, next.name);
		text_put_str(&first, "=");
		text_put(&first, next.value);
	}
	to->len = first.len;
	to->full |= first.full;
	return r;
}

/* ---- the fields ---- */

/* White space at the ends goes, and between a run of it is one space. */
static void sigv4_put_trimmed(struct text *to, struct span value)
{
	bool space = false, any = false;

	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] == ' ' || value.p[i] == '\t') {
			space = any;
			continue;
		}
		if (space)
			text_put_str(to, " ");
		text_put(to, span_of(&value.p[i], 1));
		space = false;
		any = true;
	}
}

/* The field that comes after `last` in order of names; NULL at the end. */
static const struct sigv4_field *sigv4_next(const struct sigv4 *s, const struct sigv4_field *last)
{
	const struct sigv4_field *next = NULL;

	for (size_t i = 0; i < s->n_fields; i++) {
		const struct sigv4_field *f = &s->fields[i];
		if ((!last || sigv4_compare(f->name, last->name) > 0) &&
		    (!next || sigv4_compare(f->name, next->name) < 0))
			next = f;
	}
	return next;
}

static void sigv4_put_fields(struct text *to, const struct sigv4 *s)
{
	for (const struct sigv4_field *f = sigv4_next(s, NULL); f; f = sigv4_next(s, f)) {
		text_put(to, f->name);
		text_put_str(to, ":");
		sigv4_put_trimmed(to, f->value);
		text_put_str(to, "\n");
	}
}

static void sigv4_put_names(struct text *to, const struct sigv4 *s)
{
	for (const struct sigv4_field *f = sigv4_next(s, NULL); f; f = sigv4_next(s, f)) {
		text_put(to, f->name);
		if (sigv4_next(s, f))
			text_put_str(to, ";");
	}
}

/* ---- the whole ---- */

int sigv4_canonical(const struct sigv4 *s, struct text *to)
{
	const uint8_t *mark = s->target.len ? memchr(s->target.p, '?', s->target.len) : NULL;
	size_t path = mark ? (size_t)(mark - s->target.p) : s->target.len;
	uint8_t hash[DIGEST_BYTES];

	assert(s->n_fields <= SIGV4_FIELDS_MAX);
	text_put_str(to, s->method);
	text_put_str(to, "\n");
	sigv4_put_path(to, span_of(s->target.p, path));
	text_put_str(to, "\n");
	int r = mark ? sigv4_put_query(to, span_of(mark + 1, s->target.len - path - 1)) : 0;
	if (r)
		return r;
	text_put_str(to, "\n");
	sigv4_put_fields(to, s);
	text_put_str(to, "\n");
	sigv4_put_names(to, s);
	text_put_str(to, "\n");
	r = digest_sha256(s->body, hash);
	if (r)
		return r;
	text_put_hex(to, span_of(hash, sizeof(hash)));
	return to->full ? SIGV4_E_SIZE : 0;
}

static void sigv4_put_scope(struct text *to, const struct sigv4 *s)
{
	text_put(to, span_of(s->date, SIGV4_DAY_BYTES));
	text_put_str(to, "/");
	text_put(to, s->region);
	text_put_str(to, "/");
	text_put(to, s->service);
	text_put_str(to, "/aws4_request");
}

/* "AWS4" and the secret, then day, region, service and a fixed word, each the message under the key before. `work`
 * holds the first key, and two places for the others. */
static int sigv4_key(const struct sigv4 *s, struct text *work, uint8_t **ret_key)
{
	const struct span parts[] = {span_of(s->date, SIGV4_DAY_BYTES), s->region, s->service,
				     SPAN_LIT("aws4_request")};
	size_t begin = work->len;

	text_put_str(work, "AWS4");
	text_put(work, s->secret);
	struct span key = span_of(work->to + begin, work->len - begin);
	if (work->full || work->cap - work->len < 2 * DIGEST_BYTES)
		return SIGV4_E_SIZE;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		uint8_t *next = work->to + work->len + (i % 2) * DIGEST_BYTES;
		int r = digest_hmac(key, parts[i], next);
		if (r)
			return r;
		key = span_of(next, DIGEST_BYTES);
		*ret_key = next;
	}
	work->len += (size_t)2 * DIGEST_BYTES;
	return 0;
}

static int sigv4_signature(const struct sigv4 *s, struct text *work, uint8_t ret[DIGEST_BYTES])
{
	uint8_t hash[DIGEST_BYTES], *key = NULL;

	int r = sigv4_canonical(s, work);
	if (!r)
		r = digest_sha256(text_span(work), hash);
	if (r)
		return r;
	work->len = 0;
	text_put_str(work, SIGV4_ALGORITHM "\n");
	text_put(work, span_of(s->date, SIGV4_DATE_BYTES));
	text_put_str(work, "\n");
	sigv4_put_scope(work, s);
	text_put_str(work, "\n");
	text_put_hex(work, span_of(hash, sizeof(hash)));
	struct span to_sign = text_span(work);
	r = sigv4_key(s, work, &key);
	return r ? r : digest_hmac(span_of(key, DIGEST_BYTES), to_sign, ret);
}

int sigv4_sign(const struct sigv4 *s, uint8_t *work, size_t work_len, struct text *to)
{
	struct text t = TEXT_OF(work, work_len);
	uint8_t signature[DIGEST_BYTES];

	int r = sigv4_signature(s, &t, signature);
	if (r)
		return r;
	text_put_str(to, SIGV4_ALGORITHM " Credential=");
	text_put(to, s->key_id);
	text_put_str(to, "/");
	sigv4_put_scope(to, s);
	text_put_str(to, ", SignedHeaders=");
	sigv4_put_names(to, s);
	text_put_str(to, ", Signature=");
	text_put_hex(to, span_of(signature, sizeof(signature)));
	return to->full ? SIGV4_E_SIZE : 0;
}
