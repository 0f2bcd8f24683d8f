/* SPDX-License-Identifier: Apache-2.0 */
/* How a secret may look when somebody else prints it: one row for each spelling that a widespread encoder gives it. */
#pragma once

#include "common/base.h"

#define SCRUB_FORMS 35
/* A form is at most so many times as long as the secret. */
#define SCRUB_FORM_TIMES_MAX 6

/* Writes form `i` < SCRUB_FORMS of `secret` to `to`, which has room for SCRUB_FORM_TIMES_MAX * secret.len bytes;
 * returns its length. Form 0 is the secret itself. Forms may be alike. */
size_t scrub_form_write(size_t i, struct span secret, uint8_t *to);
