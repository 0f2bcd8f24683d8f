/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deployment's configuration as text: one value for each row of config.def, with the line that it came from.
 *
 *   bulkhead.yaml --config_yaml--> what the file says --config_env--> overrides --config_complete--> catalogue,
 * defaults, checks
 *
 * Whatever finds a mistake writes it once into the tree's `problem`, as "FILE:LINE: what, and what to do".
 */
#pragma once

#include <stdio.h>

#include "common/buf.h"
#include "common/config_rows.h"

#define CONFIG_TREE_ROWS_MAX  16
#define CONFIG_FILE_BYTES_MAX (1024 * 1024)
#define CONFIG_ENV_BYTES      64

struct config_slot {
	char *value;   /* NULL: not given */
	unsigned line; /* 0: from the environment or a default */
};

struct config_element {
	unsigned line;
	struct config_slot slots[CONFIG_TREE_ROWS_MAX]; /* in the order of the section's rows */
};

struct config_tree {
	char *file;   /* as named by the operator */
	char *folder; /* absolute, for relative paths */
	struct {
		struct config_element *elements; /* one, unless a list */
		size_t n;
	} sections[N_CONFIG_SECTIONS];
	char problem[512];
};

enum config_tree_err {
	CONFIG_TREE_E_INVALID = 1, /* see `problem` */
};

/* `file` and `folder` are copied. 0 or -ENOMEM. */
MUST_USE int config_tree_new(const char *file, const char *folder, struct config_tree **ret_tree);
struct config_tree *config_tree_free(struct config_tree *t);

/* The file and the environment, completed and checked. 0, CONFIG_TREE_E_INVALID (also when it cannot be read),
 * negative. */
MUST_USE int config_tree_load(const char *path, char **environ, struct config_tree **ret_tree);
/* The three steps; sans I/O. */
MUST_USE int config_yaml(struct config_tree *t, struct span text);
MUST_USE int config_env(struct config_tree *t, char **environ);
MUST_USE int config_complete(struct config_tree *t);
/* The next variable from here on that begins like an override, is none and is nobody else's; NULL: no more. Of its name
 * the bytes are the variable's; *ret_nearest: an override that is like it, or "". */
char **config_env_stray(char **environ, struct span *ret_name, char ret_nearest[CONFIG_ENV_BYTES]);

/* Keeps a copy of `value` after config_value() approved of it. `what` names the key in a message. As above. */
MUST_USE int config_tree_set(struct config_tree *t, const struct config_place *place, struct span value, unsigned line,
			     const char *what);
/* Makes an empty element at the end of a list, or the one of a section. 0, CONFIG_TREE_E_INVALID (too many), -ENOMEM.
 */
MUST_USE int config_tree_add(struct config_tree *t, enum config_section section, unsigned line);
/* NULL when not given. */
const char *config_tree_get(const struct config_tree *t, enum config_section section, size_t element, const char *key);
unsigned config_tree_line(const struct config_tree *t, enum config_section section, size_t element, const char *key);
/* Writes the problem, unless there is one already. Returns CONFIG_TREE_E_INVALID. line 0: no line. */
int config_tree_wrong(struct config_tree *t, unsigned line, const char *format, ...) PRINTF_LIKE(3, 4);

/* The CONFIG message of these sections (bits). 0, CONFIG_TREE_E_INVALID (does not fit a frame: not after
 * config_complete()), -ENOMEM. */
MUST_USE int config_tree_pack(struct config_tree *t, uint64_t sections, uint8_t *to, size_t cap, size_t *ret_len);
/* As `bulkhead config show` prints it: what is in effect, the same for the same effect. */
void config_tree_print(FILE *to, const struct config_tree *t);
/* SHA-256 of that text. 0 or -ENOMEM. */
MUST_USE int config_tree_digest(const struct config_tree *t, uint8_t ret[32]);

/* The candidate that is most like `word`, NULL when none is. Candidates end with NULL. */
const char *config_nearest(struct span word, const char *const *candidates);
