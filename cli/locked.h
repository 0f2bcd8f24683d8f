/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets that pass through the command line tool: read from a file, a pipe or a terminal without echo, kept in locked
 * pages that no core dump shows, wiped when done. They are never arguments and never environment variables.
 */
#pragma once

#include <termios.h>

#include "cli/cli.h"

#define LOCKED_CTRL(c) ((c)&0x1f)

struct locked {
	uint8_t *p;
	size_t len, cap;
};

#define LOCKED_NULL ((struct locked){0})

/* Zeroed pages. CLI_DONE or CLI_FAILED with the line printed. */
MUST_USE int locked_new(const struct cli *cli, size_t cap, struct locked *ret_locked);
void locked_wipe(struct locked *l);

/* Reads until the end of what may be a pipe, or as far as there is room. 0 or negative. */
MUST_USE int locked_fill(int fd, struct locked *l);

/*
 * Reads a secret of 1 to `max` bytes: from `file`, else from standard input; on a terminal after `prompt`, without
 * echo. One line end is dropped; a control character, nothing at all or more than `max` is refused. As above.
 */
MUST_USE int locked_read(const struct cli *cli, const char *what, const char *prompt, const char *file, size_t max,
			 struct locked *ret_locked);
/* The same, of several lines; a terminal is asked for one. */
MUST_USE int locked_read_lines(const struct cli *cli, const char *what, const char *prompt, const char *file,
			       size_t max, struct locked *ret_locked);
/* Keys are read one by one and not shown, Ctrl-C is one of them; what was typed before is forgotten, so a prompt comes
 * afterwards. `ret_before` is for tcsetattr(). 0 or negative. */
MUST_USE int locked_quiet(int fd, struct termios *ret_before);
/* Standard input is a terminal: a person is asked. */
bool locked_asks(void);
