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

static void line_value(struct line *l, const struct log_field *f)
{
	if (f->kind == LOG_KIND_U64) {
		char number[24];
		(void)snprintf(number, sizeof number, "%llu", (unsigned long long)f->u64);
		line_puts(l, number);
		return;
	}
	line_puts(l, "\"");
	line_escaped(l, f->kind == LOG_KIND_SPAN ? f->span : span_str(f->str ? f->str : ""));
	line_puts(l, "\"");
}

/* What stands around the fields of an event. */
struct log_form {
	const char *first, *next, *is, *end;
};

static const struct log_form log_json = {",\"", ",\"", "\":", "}\n"}, log_words = {": ", ", ", "=", "\n"};

static void line_field(struct line *l, const struct log_form *form, bool first, const struct log_field *f)
{
	size_t was = l->len;

	line_puts(l, first ? form->first : form->next);
	line_puts(l, f->key);
	line_puts(l, form->is);
	line_value(l, f);
	if (l->len >= sizeof l->text - LINE_TAIL)
		l->len = was; /* cut at a field, so that the line stays JSON */
}

static const struct {
	enum log_level level;
	const char *text;
} log_catalogue[] = {
#define LOG(NAME, level, text) [LOG_##NAME] = {LOG_LEVEL_##level, text},
#include "common/log.def"
#undef LOG
};

static const char *const log_levels[] = {"info", "warning", "error"};

static void line_json(struct line *l, const struct log *log, enum log_id id, const char *date, const char *time)
{
	const char *text = log_catalogue[id].text;
	struct log_field head[] = {LOG_STR("level", log_levels[log_catalogue[id].level]),
				   LOG_STR("daemon", log->daemon), LOG_U64("worker", log->worker),
				   LOG_SPAN("event", span_of(text, strcspn(text, ":")))};

	line_puts(l, "{\"time\":\"");
	line_puts(l, date);
	line_puts(l, "T");
	line_puts(l, time);
	line_puts(l, "\"");
	for (size_t i = 0; i < ARRAY_LEN(head); i++)
		line_field(l, &log_json, false, &head[i]);
}

/* For somebody who watches: when, who, how bad, and what it means. */
static void line_words(struct line *l, const struct log *log, enum log_id id, const char *time)
{
	char who[64];

	(void)snprintf(who, sizeof who, "%s %s %s: ", time, log->instance, log_levels[log_catalogue[id].level]);
	line_puts(l, who);
	line_puts(l, strchr(log_catalogue[id].text, ':') + 2);
}

void log_init(struct log *log, const char *daemon)
{
	bool watched = isatty(STDERR_FILENO) == 1;

	*log = (struct log){.daemon = daemon, .instance = daemon, .words = watched};
	log->level = watched ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
}

void log_event_fields(const struct log *log, enum log_id id, const struct log_field *fields, size_t n)
{
	const struct log_form *form = log->words ? &log_words : &log_json;
	struct line l = {.len = 0};
	struct timespec now;
	struct tm tm;
	char date[16], time[24];

	if (log_catalogue[id].level < log->level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	(void)strftime(date, sizeof date, "%Y-%m-%d", &tm);
	size_t at = strftime(time, sizeof time, "%H:%M:%S", &tm);
	(void)snprintf(time + at, sizeof time - at, ".%03ldZ", now.tv_nsec / 1000000);
	if (log->words)
		line_words(&l, log, id, time);
	else
		line_json(&l, log, id, date, time);
	for (size_t i = 1; i < n; i++)
		line_field(&l, form, i == 1, &fields[i]);
	memcpy(l.text + l.len, form->end, strlen(form->end));
	ssize_t written = write(STDERR_FILENO, l.text, l.len + strlen(form->end));
	(void)written; /* there is nowhere to complain */
}
