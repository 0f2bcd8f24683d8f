/* SPDX-License-Identifier: Apache-2.0 */
/* What the scrubber must make of a text, the slow way: from the left, the shortest form that lies there. */
#pragma once

#include "keyvault/egress/scrub.h"

struct scrub_oracle {
	uint8_t *forms; /* SCRUB_FORMS slots of `slot` bytes for each secret */
	size_t slot, n, len[SCRUB_PATTERNS_MAX];
};

/* `forms` has room for n_secrets * SCRUB_FORMS * SCRUB_FORM_TIMES_MAX times the longest secret. */
static inline void scrub_oracle_init(struct scrub_oracle *o, const struct span *secrets, size_t n_secrets,
				     uint8_t *forms)
{
	*o = (struct scrub_oracle){.forms = forms};
	for (size_t k = 0; k < n_secrets; k++)
		o->slot = MAX(o->slot, SCRUB_FORM_TIMES_MAX * secrets[k].len);
	for (size_t k = 0; k < n_secrets; k++)
		for (size_t i = 0; i < (secrets[k].len < SCRUB_ENCODED_BYTES_MIN ? 1 : SCRUB_FORMS); i++, o->n++)
			o->len[o->n] = scrub_form_write(i, secrets[k], o->forms + o->n * o->slot);
}

static inline struct span scrub_oracle_form(const struct scrub_oracle *o, size_t i)
{
	return span_of(o->forms + i * o->slot, o->len[i]);
}

static inline void scrub_oracle_run(const struct scrub_oracle *o, uint8_t mark, uint8_t *text, size_t len)
{
	for (size_t at = 0; at < len; at++) {
		size_t match = 0;
		for (size_t i = 0; i < o->n; i++) {
			struct span form = scrub_oracle_form(o, i);
			if (form.len <= len - at && memcmp(text + at, form.p, form.len) == 0 &&
			    (match == 0 || form.len < match))
				match = form.len;
		}
		memset(text + at, mark, match);
		at += match > 0 ? match - 1 : 0;
	}
}
