/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * `audit-shipper verify LOG VKEY CONNINFO [PASSWORD_FILE] [--json]`, which `bulkhead audit verify-mirror` calls:
 * compares every row of the mirror, column by column, with the record that the log's signed tree has in its place. VKEY
 * "-": the one beside the log; PASSWORD_FILE "": none. The exit code: 0 the same, 1 not or not known.
 */
int check_main(int argc, char **argv);
