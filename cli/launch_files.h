/* SPDX-License-Identifier: Apache-2.0 */
/* Files with keys, which the launcher opens or watches for the core: the root key at its start, provider keys. */
#pragma once

#include "cli/launch.h"

/* ---- launch_key.c ---- */
/* Before anything starts: a key file that cannot be used is told in one line. CLI_DONE or CLI_FAILED. */
MUST_USE int launch_check_key(struct launcher *l);
/* For a core that starts; -1: it is to start sealed, or has no key yet. */
int launch_open_key(struct launcher *l);
void launch_forget_seal(struct launcher *l);

/* ---- launch_source.c ---- */
MUST_USE int launch_sources_start(struct launcher *l);
void launch_sources_heard(struct launcher *l, bool vault_open);
void launch_sources_stop(struct launcher *l);
void launch_sources_free(struct launcher *l);
