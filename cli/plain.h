/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from elsewhere (a log, a daemon, a file's name), for a terminal: control characters, those of the second
 * set (U+0080 to U+009F) too, what turns the direction of writing, and bytes that are no UTF-8 become '?'.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "common/base.h"

void plain_text(char *text); /* in place */
/* Nothing in it would become another; ends of lines may be there: for what must not be changed. */
bool plain_is_text(struct span text);
/* One line; its end is added. */
void plain_line(FILE *to, const char *format, ...) PRINTF_LIKE(2, 3);
void plain_vline(FILE *to, const char *format, va_list args) PRINTF_LIKE(2, 0);
/* One word: spaces become '?' as well. */
void plain_word(FILE *to, struct span text);
