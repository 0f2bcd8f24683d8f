/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_BYTES 2048

/* A line under construction; what does not fit is left out, and the closing bytes always fit. */
struct line {
	char text[LOG_LINE_BYTES];
	size_t len;
};

#define LINE_TAIL 3 /* room for `"}\n` */

static void line_put(struct line *l, const char *s, size_t len)
{
	size_t room = sizeof l->text - LINE_TAIL - l->len;

	if (len > room)
		len = room;
	memcpy(l->text + l->len, s, len);
	l->len += len;
}

static void line_puts(struct line *l, const char *s)
{
	line_put(l, s, strlen(s));
}

/* RFC 8259 section 7; bytes above 0x7e are written as ? so that a line is ASCII whatever a peer sent. */
static void line_escaped(struct line *l, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		char one[8];
		int n = s.p[i] == '"' || s.p[i] == '\\' ? snprintf(one, sizeof one, "\\%c", s.p[i])
			: s.p[i] < 0x20                 ? snprintf(one, sizeof one, "\\u%04x", s.p[i])
							: snprintf(one, sizeof one, "%c", s.p[i] > 0x7e ? '?' : s.p[i]);
		if (l->len + (size_t)n > sizeof l->text - LINE_TAIL)
			return;
		line_put(l, one, (size_t)n);
	}
}

static void line_field(struct line *l, const struct log_field *f)
{
	size_t before = l->len;

	line_puts(l, ",\"");
	line_puts(l, f->key);
	line_puts(l, "\":");
	if (f->kind == LOG_KIND_U64) {
		char number[24];
		(void)snprintf(number, sizeof number, "%llu", (unsigned long long)f->u64);
		line_puts(l, number);
		return;
	}
	line_puts(l, "\"");
	line_escaped(l, f->kind == LOG_KIND_SPAN ? f->span : span_str(f->str ? f->str : ""));
	if (l->len >= sizeof l->text - LINE_TAIL)
		l->len = before; /* cut at a field, so that the line stays JSON */
	else
		line_puts(l, "\"");
}

void log_event_fields(const struct log *log, enum log_id id, const struct log_field *fields, size_t n)
{
	static const struct {
		enum log_level level;
		const char *text;
	} catalogue[] = {
#define LOG(NAME, level, text) [LOG_##NAME] = {LOG_LEVEL_##level, text},
#include "common/log.def"
#undef LOG
	};
	static const char *const levels[] = {"info", "warning", "error"};
	struct line l = {.len = 0};
	struct timespec now;
	struct tm tm;
	char stamp[40];

	if (catalogue[id].level < log->level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t at = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(stamp + at, sizeof stamp - at, ".%03ldZ", now.tv_nsec / 1000000);

	const char *text = catalogue[id].text, *colon = strchr(text, ':');
	struct log_field head[] = {LOG_STR("level", levels[catalogue[id].level]), LOG_STR("daemon", log->daemon),
				   LOG_U64("worker", log->worker),
				   LOG_SPAN("event", span_of(text, (size_t)(colon - text)))};
	line_puts(&l, "{\"time\":\"");
	line_puts(&l, stamp);
	line_puts(&l, "\"");
	for (size_t i = 0; i < ARRAY_LEN(head); i++)
		line_field(&l, &head[i]);
	for (size_t i = 1; i < n; i++)
		line_field(&l, &fields[i]);
	memcpy(l.text + l.len, "}\n", 2);
	ssize_t written = write(STDERR_FILENO, l.text, l.len + 2);
	(void)written; /* there is nowhere to complain */
}
