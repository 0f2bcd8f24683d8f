/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration as a daemon sees it. The launcher read bulkhead.yaml; what arrives here is a packed CONFIG message in a
 * sealed memfd, with the sections that this role is meant to see and no others. Every value is checked again.
 *
 *   struct config config = CONFIG_NULL;
 *   r = config_read(d->config_fd, d->role, BIT(CONFIG_ROUTER), &config);
 *   ... config.router.workers
 *
 * Strings end with NUL and live as long as the struct config. U64 and WORD are numbers; a WORD is the word's place in
 * its row.
 */
#pragma once

#include "common/base.h"
#include "common/config.def"
#include "proto/proto.h"

#define CONFIG_TYPE_U64          uint64_t
#define CONFIG_TYPE_STR          const char *
#define CONFIG_TYPE_PATH         const char *
#define CONFIG_TYPE_BOOL         bool
#define CONFIG_TYPE_WORD         unsigned
#define CONFIG_F(key, kind, ...) CONFIG_TYPE_##kind key;
#define CONFIG_STRUCT(name, rows)                     \
	struct config_##name {                        \
		CONFIG_##rows(CONFIG_F) char end_[0]; \
	};
#define S(NAME, name, doc)               CONFIG_STRUCT(name, name)
#define L(NAME, name, element, max, doc) CONFIG_STRUCT(element, name)
CONFIG_SECTIONS(S)
CONFIG_LISTS(L)
#undef S
#undef L

enum config_section {
#define S(NAME, name, doc)               CONFIG_##NAME,
#define L(NAME, name, element, max, doc) CONFIG_##NAME,
	CONFIG_SECTIONS(S) CONFIG_LISTS(L)
#undef S
#undef L
		N_CONFIG_SECTIONS,
};

/* The words of WORD rows that code decides by, in their order there. */
enum { CONFIG_UNSEAL_PASSPHRASE, CONFIG_UNSEAL_KEY_FILE, CONFIG_UNSEAL_CREDENTIAL };
enum { CONFIG_MODE_DEFAULT, CONFIG_MODE_STRICT };
enum {
	CONFIG_AUTH_BEARER,
	CONFIG_AUTH_HEADER,
	CONFIG_AUTH_BASIC,
	CONFIG_AUTH_SIGV4,
	CONFIG_AUTH_GOOGLE,
	CONFIG_AUTH_OAUTH_REFRESH,
	CONFIG_AUTH_OAUTH_CLIENT
};
/* How many days a word of keep_personal means; 0: for ever. */
#define CONFIG_KEEP_PERSONAL_DAYS          \
	{                                  \
		90, 1, 7, 30, 365, 2555, 0 \
	}
/* The words of keep_records, and how many days they mean; 0: for ever. */
#define CONFIG_KEEP_RECORDS_WORDS                                \
	{                                                        \
		"forever", "24h", "7d", "30d", "90d", "1y", "7y" \
	}
#define CONFIG_KEEP_RECORDS_DAYS           \
	{                                  \
		0, 1, 7, 30, 90, 365, 2555 \
	}
enum { CONFIG_KEEP_RECORDS_FOREVER };
enum { CONFIG_CLIENT_AUTH_BASIC, CONFIG_CLIENT_AUTH_FORM };
enum { CONFIG_DIALECT_OPENAI };

struct config {
	uint64_t sections; /* BIT(enum config_section) of what was given; the rest is zero */
#define S(NAME, name, doc) struct config_##name name;
	CONFIG_SECTIONS(S)
#undef S
#define L(NAME, name, element, max, doc) \
	struct config_##element *name;   \
	size_t n_##name;
	CONFIG_LISTS(L)
#undef L
	char *text;         /* owns the strings */
	uint8_t digest[32]; /* of the whole configuration, not only of what this daemon was given; zeros: unknown */
};

#define CONFIG_NULL ((struct config){0})

enum config_err {
	CONFIG_E_INVALID =
		1, /* an unknown key, a value out of bounds, a key or section missing, not a CONFIG message */
};

/*
 * Reads and closes `fd`. `sections` must all be there; a section is there with all its keys or not at all. What is
 * wrong is written to standard error. 0, CONFIG_E_INVALID or negative.
 */
MUST_USE int config_read(int fd, enum role role, uint64_t sections, struct config *ret_config);
/* The same from a frame body. */
MUST_USE int config_bind(struct span body, enum role role, uint64_t sections, struct config *ret_config);
void config_deinit(struct config *c);

/* base_url or token_url taken apart. Only https, a lower-case host, no user, query or fragment; port 443 when none; no
 * final slash in `prefix`. */
struct config_url {
	char host[254]; /* IPv6 without brackets */
	uint16_t port;
	char prefix[257]; /* "" or "/v1" */
};
MUST_USE int config_url_parse(const char *base_url, struct config_url *ret_url);

/* The name of a model: [A-Za-z0-9][A-Za-z0-9._:/-]{0,255} and nowhere "..". */
bool config_model_valid(struct span name);
/* Such a name, or the beginning of one and a `*`. */
bool config_pattern_valid(struct span pattern);

/* Takes the next item of a comma-separated list such as config_model.providers; false at the end. */
bool config_list_next(const char **at, struct span *ret_item);
