/* SPDX-License-Identifier: Apache-2.0 */
/* A row of cli_commands that `bulkhead` and the auditor's program share. */
#pragma once

#include "cli/cli.h"

int cmd_receipt_get(struct cli *cli);
int cmd_receipt_verify(struct cli *cli);

/* clang-format off */
#define RECEIPT_VERIFY \
	{ "receipt verify", "ANSWER RECEIPT", 2, 2, "Are these the bytes that the provider sent? Needs neither daemon nor log.", cmd_receipt_verify, { \
		{ "--vkey", "VKEY", "The verifier key to trust; the one kept beside the log if not given." }, \
		{ "--log", "DIR", "The log beside which it is kept; the configuration's if not given." }, \
		{ "--head", "FILE", "The answer's head, as `curl -D FILE` keeps it; is looked at too." }, \
		{ "--request-id", "ID", "The request that was answered, if --head does not say it." }, \
		{ "--host", "NAME", "The provider that must have answered." } } }
/* clang-format on */
