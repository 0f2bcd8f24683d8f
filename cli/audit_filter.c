/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"
#include "cli/audit_filter.h"

#include <stdlib.h>
#include <time.h>

#define FILTER_NS       UINT64_C(1000000000)
#define FILTER_AGO_MAX  UINT64_C(100000000) /* of any unit: three years of seconds */
#define FILTER_STATUSES 999

/* ---- values ---- */

bool audit_glob(const char *pattern, struct span text)
{
	const char *star = NULL;
	size_t at = 0, star_at = 0;

	while (at < text.len) {
		if (*pattern == '*') {
			star = ++pattern;
			star_at = at;
		} else if (*pattern && (*pattern == '?' || (uint8_t)*pattern == text.p[at])) {
			pattern++;
			at++;
		} else if (star) { /* the last star takes one more */
			pattern = star;
			at = ++star_at;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == 0;
}

/* "90m": so long before now. */
static bool filter_ago(const char *text, uint64_t now_s, uint64_t *ret_ns)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	unsigned long long n = strtoull(text, &end, 10);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (end[0] == units[i].unit && end[1] == 0 && n <= FILTER_AGO_MAX) {
			uint64_t seconds = MIN((uint64_t)n * units[i].seconds, now_s);
			*ret_ns = (now_s - seconds) * FILTER_NS;
			return true;
		}
	return false;
}

bool audit_time_parse(const char *text, uint64_t now_s, bool end_of_day, uint64_t *ret_ns)
{
	static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

	if (strcmp(text, "now") == 0) {
		*ret_ns = now_s * FILTER_NS;
		return true;
	}
	if (filter_ago(text, now_s, ret_ns))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		uint64_t seconds;
		const char *end = args_calendar(text, forms[i], &seconds);
		bool day = i + 1 == ARRAY_LEN(forms);
		if (!end || (strcmp(end, "") != 0 && (day || strcmp(end, "Z") != 0)))
			continue;
		seconds += day && end_of_day ? 86400 : 0;
		*ret_ns = seconds > UINT64_MAX / FILTER_NS ? UINT64_MAX : seconds * FILTER_NS;
		return true;
	}
	return false;
}

static bool filter_digits(const char *text, size_t n, uint64_t *ret)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	*ret = value;
	return n > 0 && n <= 3;
}

bool audit_status_parse(const char *text, uint64_t *ret_min, uint64_t *ret_max)
{
	size_t len = strlen(text), dash = strcspn(text, "-");

	if (len == 3 && strcmp(text + 1, "xx") == 0 && filter_digits(text, 1, ret_min)) {
		*ret_min *= 100;
		*ret_max = *ret_min + 99;
		return true;
	}
	if (!filter_digits(text, dash, ret_min))
		return false;
	*ret_max = *ret_min;
	return dash == len || (filter_digits(text + dash + 1, len - dash - 1, ret_max) && *ret_min <= *ret_max);
}

/* ---- options ---- */

static int filter_time(struct cli *cli, const char *name, uint64_t now_s, bool end_of_day, uint64_t *ret)
{
	const char *text = cli_option(cli, name);

	if (text && !audit_time_parse(text, now_s, end_of_day, ret))
		return cli_misuse(cli, "%s is a time such as 90m, 24h, 7d (ago), 2026-01-31 or 2026-01-31T12:00 (UTC)",
				  name);
	return CLI_DONE;
}

static int filter_actions(struct cli *cli, struct audit_filter *f)
{
	const char *pattern = cli_option(cli, "--action");
	bool found = false;

	if (!pattern)
		return CLI_DONE;
	f->by_action = true;
	for (uint64_t code = 0; code < AUDIT_CODES_MAX; code++) {
		const struct event_row *row = event_row(code);
		f->actions[code] = row && audit_glob(pattern, span_str(row->name));
		found |= f->actions[code];
	}
	return found ? CLI_DONE
		     : cli_misuse(cli,
				  "--action: nothing is called '%s'; a name such as key.create, or a pattern such as "
				  "'key.*'",
				  pattern);
}

int audit_filter_init(struct cli *cli, uint64_t now_s, struct audit_filter *ret)
{
	const char *status = cli_option(cli, "--status");
	struct audit_filter f = {
		.until_ns = UINT64_MAX,
		.status_max = FILTER_STATUSES,
		.actor = cli_option(cli, "--actor"),
		.tenant = cli_option(cli, "--tenant"),
		.model = cli_option(cli, "--model"),
		.request_id = cli_option(cli, "--request-id"),
	};

	int r = filter_time(cli, "--since", now_s, false, &f.since_ns);
	if (!r)
		r = filter_time(cli, "--until", now_s, true, &f.until_ns);
	if (!r && cli_option(cli, "--until") && f.since_ns >= f.until_ns)
		r = cli_misuse(cli, "--since is not before --until: nothing can be found between them");
	if (!r && status && !audit_status_parse(status, &f.status_min, &f.status_max))
		r = cli_misuse(cli, "--status is a number such as 429, or 4xx, or 400-499");
	if (!r)
		r = filter_actions(cli, &f);
	if (!r)
		*ret = f;
	return r;
}

static bool filter_glob(const char *pattern, struct span text)
{
	return !pattern || audit_glob(pattern, text);
}

bool audit_filter_match(const struct audit_filter *f, const struct proto_leaf *leaf)
{
	return leaf->time_ns >= f->since_ns && leaf->time_ns < f->until_ns && leaf->status >= f->status_min &&
	       leaf->status <= f->status_max &&
	       (!f->by_action || (leaf->code < AUDIT_CODES_MAX && f->actions[leaf->code])) &&
	       (!f->request_id || span_eq_str(leaf->request_id, f->request_id)) && filter_glob(f->actor, leaf->actor) &&
	       filter_glob(f->tenant, leaf->tenant) && filter_glob(f->model, leaf->model);
}
