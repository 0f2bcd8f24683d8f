/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's log: JSON lines on standard error, one event each, from the catalogue in log.def; where standard error
 * is a terminal, warnings and errors alone, in words. It is not the audit log. There is no way to log a `struct
 * secret`, and callers never log a PRIVATE span's contents. Values are escaped.
 *
 *   log_event(&d->log, LOG_PEER_DROPPED, LOG_STR("peer", name), LOG_STR("why", why));
 */
#pragma once

#include "common/base.h"

enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

enum log_id {
#define LOG(NAME, level, text) LOG_##NAME,
#include "common/log.def"
#undef LOG
	N_LOG_IDS,
};

struct log {
	const char *daemon;
	const char *instance; /* with its number where there are several */
	unsigned worker;
	enum log_level level;
	bool words; /* somebody watches */
};

struct log_field {
	const char *key;
	enum { LOG_KIND_STR, LOG_KIND_SPAN, LOG_KIND_U64 } kind;
	const char *str;
	struct span span;
	uint64_t u64;
};

#define LOG_STR(k, v)  ((struct log_field){.key = (k), .kind = LOG_KIND_STR, .str = (v)})
#define LOG_SPAN(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_SPAN, .span = (v)})
#define LOG_U64(k, v)  ((struct log_field){.key = (k), .kind = LOG_KIND_U64, .u64 = (v)})

#define log_event(log, id, ...)                                                     \
	log_event_fields((log), (id), (const struct log_field[]){{0}, __VA_ARGS__}, \
			 ARRAY_LEN(((const struct log_field[]){{0}, __VA_ARGS__})))

/* Looks at standard error; `daemon` is borrowed. */
void log_init(struct log *log, const char *daemon);

/* fields[0] is a placeholder. One write(2); a line is cut at 2 KiB. Never fails visibly. */
COLD void log_event_fields(const struct log *log, enum log_id id, const struct log_field *fields, size_t n);
