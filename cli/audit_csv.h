/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV (RFC 4180) that a spreadsheet can open without running it: every text is quoted, and one that a spreadsheet could
 * take for a formula gets an apostrophe before it (OWASP, CSV injection): = + - @ TAB CR LF at its begin, also after
 * blanks, their full-width forms, and | and %, which old ones take for commands.
 */
#pragma once

#include <stdio.h>

#include "common/base.h"

/* Could a spreadsheet take it for a formula? */
bool audit_csv_is_formula(struct span text);
void audit_csv_text(FILE *to, struct span text);
