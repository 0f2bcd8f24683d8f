/* SPDX-License-Identifier: Apache-2.0 */
#include "router/http_write.h"

#include <stdio.h>
#include <time.h>

static const struct {
	uint16_t status;
	const char *phrase;
} phrases[] = {
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{413, "Content Too Large"},
	{415, "Unsupported Media Type"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Content"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
};

/* Names are spelled out: strftime's depend on the locale. */
void http_date(uint64_t unix_s, char ret[HTTP_DATE_BYTES])
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)unix_s;
	struct tm tm = {0};

	(void)gmtime_r(&t, &tm);
	(void)snprintf(ret, HTTP_DATE_BYTES, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * tm.tm_wday,
		       (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000,
		       (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

static inline void put(struct http_write *w, const void *p, size_t len)
{
	if (!w->r)
		w->r = buf_append(w->to, p, len);
}

static inline void put_str(struct http_write *w, const char *s)
{
	put(w, s, strlen(s));
}

#define NUMBER_BYTES_MAX 20

static struct span number(uint64_t n, char text[NUMBER_BYTES_MAX])
{
	char *end = text + NUMBER_BYTES_MAX, *p = end;

	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return span_of(p, (size_t)(end - p));
}

static void put_u64(struct http_write *w, uint64_t n)
{
	char text[NUMBER_BYTES_MAX];
	struct span s = number(n, text);

	put(w, s.p, s.len);
}

void http_write_status(struct http_write *w, unsigned status, const char *date)
{
	put_str(w, "HTTP/1.1 ");
	put_u64(w, status);
	put_str(w, " ");
	for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
		if (phrases[i].status == status) {
			put_str(w, phrases[i].phrase);
			break;
		}
	put_str(w, "\r\ndate: ");
	put_str(w, date);
	put_str(w, "\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n");
}

void http_write_field_named(struct http_write *w, struct span name, struct span value)
{
	put(w, name.p, name.len);
	put_str(w, ": ");
	put(w, value.p, value.len);
	put_str(w, "\r\n");
}

void http_write_field_u64(struct http_write *w, const char *name, uint64_t value)
{
	char text[NUMBER_BYTES_MAX];

	http_write_field(w, name, number(value, text));
}

void http_write_request_id(struct http_write *w, struct span id)
{
	http_write_field(w, "x-request-id", id);
	http_write_field(w, "request-id", id);
}

void http_write_limit(struct http_write *w, const struct http_limit *limit)
{
	char limit_text[NUMBER_BYTES_MAX], remaining_text[NUMBER_BYTES_MAX];

	if (limit->limit == 0)
		return;
	struct span most = number(limit->limit, limit_text), remaining = number(limit->remaining, remaining_text);
	http_write_field(w, "x-ratelimit-limit", most);
	http_write_field(w, "x-ratelimit-remaining", remaining);
	http_write_field_u64(w, "x-ratelimit-reset", (limit->reset_ms + 999) / 1000);
	/* as OpenAI's clients know them; the reset is a Go duration there */
	http_write_field(w, "x-ratelimit-limit-requests", most);
	http_write_field(w, "x-ratelimit-remaining-requests", remaining);
	put_str(w, "x-ratelimit-reset-requests: ");
	put_u64(w, limit->reset_ms);
	put_str(w, "ms\r\n");
}

void http_write_retry(struct http_write *w, uint64_t retry_ms)
{
	if (retry_ms == 0) {
		put_str(w, "x-should-retry: false\r\n");
		return;
	}
	http_write_field_u64(w, "retry-after", (retry_ms + 999) / 1000);
	http_write_field_u64(w, "retry-after-ms", retry_ms);
	put_str(w, "x-should-retry: true\r\n");
}

#define ERROR_FORMAT "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}"

int http_write_error(struct buf *to, enum reason reason)
{
	const struct reason_row *row = reason_row(reason);

	return buf_printf(to, ERROR_FORMAT "\n", row->text, row->type, row->code);
}

int http_write_error_event(struct buf *to, enum reason reason)
{
	const struct reason_row *row = reason_row(reason);

	return buf_printf(to, "data: " ERROR_FORMAT "\n\n", row->text, row->type, row->code);
}

int http_write_json_text(struct buf *to, struct span text)
{
	int r = 0;

	for (size_t i = 0; i < text.len && !r; i++) {
		uint8_t c = text.p[i];
		if (c < 0x20 || c == 0x7f)
			r = buf_printf(to, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			r = buf_printf(to, "\\%c", c);
		else
			r = buf_append(to, &c, 1);
	}
	return r;
}
