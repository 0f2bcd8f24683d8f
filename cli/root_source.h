/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the root key is, when it is in a file: keyvault.unseal and what belongs to it. The launcher opens it for a core
 * that starts, `vault unseal` for one that was sealed; the core itself never can, so that whoever runs code in a sealed
 * core has nothing to open the vault with.
 *
 * `vault seal` also leaves a mark in run_dir, where no daemon can write or remove: a launcher that sees it starts the
 * core without the key, so that a sealed core that dies comes back sealed. The mark goes with `vault unseal` (or
 * what else opens the vault: `init`, `restore`) and with the launcher.
 */
#pragma once

#include "cli/cli.h"
#include "cli/key_file.h"

#define ROOT_SOURCE_FILE_BYTES_MAX 128 /* as the core's ROOT_FILE_BYTES_MAX */

/* keyvault.unseal is passphrase: there is no file. After cli_config(). */
bool root_source_is_passphrase(const struct cli *cli);
/* Opens it. 0; or as key_file_open(): then -ENOENT and -ENODATA are no fault where `vault init` makes the file. */
MUST_USE int root_source_open(const struct cli *cli, int *ret_fd, char why[KEY_FILE_WHY_BYTES]);
/* root.key in the state folder, which the core makes at `vault init`. */
bool root_source_is_made_by_us(const struct cli *cli);

/* 0 or negative; unmarking what is not marked is 0. */
MUST_USE int root_source_mark(const struct cli *cli);
MUST_USE int root_source_unmark(const struct cli *cli);
bool root_source_is_marked(const struct cli *cli);
