/* SPDX-License-Identifier: Apache-2.0 */
/* From a provider's configuration: where its secret may go and how, as it is sealed with it. */
#pragma once

#include "cli/cli.h"
#include "cli/config_auth.h"
#include "cli/secret_form.h"
#include "proto/proto.h"

struct binding {
	struct proto_binding proto; /* views the rest and the configuration; the version is the caller's */
	struct secret_form form;
	struct config_url url, token_url;
	char token_path[sizeof(((struct config_url *)NULL)->prefix) + 1];
	char client_id[SECRET_FORM_ID_BYTES + 1];
	uint8_t pins[CONFIG_PINS_MAX * CONFIG_PIN_BYTES], token_pins[CONFIG_PINS_MAX * CONFIG_PIN_BYTES];
};

/* After cli_config(). CLI_DONE or CLI_FAILED. */
MUST_USE int binding_make(struct cli *cli, const char *provider, struct binding *ret_binding);
/* What the secret itself says of it; "" leaves the configuration's. */
void binding_set_client(struct binding *b, const char *client_id);
