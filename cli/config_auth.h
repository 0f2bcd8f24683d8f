/* SPDX-License-Identifier: Apache-2.0 */
/* What `auth` of a provider asks of its other keys: defaults where they follow, checks of the rest. */
#pragma once

#include "cli/config_tree.h"

/* Before the defaults of config.def: the ones that depend on `auth`. 0, CONFIG_TREE_E_INVALID or -ENOMEM. */
MUST_USE int config_auth_complete(struct config_tree *t, size_t provider);
/* Afterwards. 0 or CONFIG_TREE_E_INVALID. */
MUST_USE int config_auth_check(struct config_tree *t, size_t provider);

#define CONFIG_PINS_MAX  8
#define CONFIG_PIN_BYTES 32
/* The public keys' digests of `pins`. False: not a list of at most CONFIG_PINS_MAX base64 SHA-256s. */
MUST_USE bool config_auth_pins(const char *pins, uint8_t to[CONFIG_PINS_MAX * CONFIG_PIN_BYTES], size_t *ret_len);
