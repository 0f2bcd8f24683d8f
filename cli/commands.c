/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, in the order of `bulkhead help`. docs/bulkhead.1 and packaging/bulkhead.bash are checked against this
 * table. */
#include "cli/audit.h"
#include "cli/receipt.h"

/* clang-format off */
const struct cli_command cli_commands[] = {
	{ "up", "", 0, 0, "Start all daemons and watch over them; Ctrl-C drains. Each event is a JSON line on standard error; on a terminal "
	  "warnings and errors, in words.", cmd_up, { { 0 } } },
	{ "run", "DAEMON", 1, 1, "Start and watch one daemon, for a container of its own.", cmd_run, {
		{ "--worker", "N", "Which worker of router, egress or classifier; 0 if not given." } } },
	{ "status", "", 0, 0, "What every daemon says of itself; fails when one is not ready.", cmd_status, { { 0 } } },
	{ "metrics", "", 0, 0, "Every daemon's counters, in the text format of Prometheus.", cmd_metrics, { { 0 } } },
	{ "vault init", "", 0, 0, "Make the root key; once.", cmd_vault_init, {
		{ "--passphrase-file", "FILE", "Read the passphrase from here instead of the terminal or standard input." } } },
	{ "vault unseal", "", 0, 0, "Open the vault after a start.", cmd_vault_unseal, {
		{ "--passphrase-file", "FILE", "Read the passphrase from here instead of the terminal or standard input." },
		{ "--key-file", "FILE", "Read the root key from here instead of where keyvault.unseal says." } } },
	{ "vault seal", "", 0, 0, "Wipe every key from memory; requests get 503 until it is unsealed.", cmd_vault_seal, { { 0 } } },
	{ "vault backup", "", 0, 0, "Copy the root key: into an age file, or in shares for several keepers.", cmd_vault_backup, {
		{ "--to", "RECIPIENT...", "age1...: who can read the copy; may be repeated." },
		{ "--shares", "N", "Make so many shares, 2 to 16, instead." },
		{ "--threshold", "K", "So many of them bring the key back; fewer tell nothing." },
		{ "--out", "PATH", "The age file, or the folder for a file for each share; else standard output, or the terminal." },
		{ "--passphrase-file", "FILE", "Read the passphrase from here instead of the terminal or standard input." },
		{ "--key-file", "FILE", "Read the root key from here instead of where keyvault.unseal says." } } },
	{ "vault restore", "[FILE...]", 0, 16, "Bring a root key back into a vault that has none.", cmd_vault_restore, {
		{ "--shares", NULL, "From shares: each in a FILE, or typed." },
		{ "--age", "IDENTITY", "From the age file FILE; IDENTITY is the file with AGE-SECRET-KEY-1..." },
		{ "--key-file", "KEY", "From a file with the root key, such as `age -d` makes." },
		{ "--passphrase-file", "NEW", "Read the new passphrase from here instead of the terminal or standard input." } } },
	{ "vault status", "", 0, 0, "Whether the vault is open, and how its memory is protected.", cmd_vault_status, { { 0 } } },
	{ "vault add", "PROVIDER", 1, 1, "Seal a provider's key, read from standard input; replaces the one before.", cmd_vault_add, {
		{ "--file", "FILE", "Read the key from here." },
		{ "--tenant", "NAME", "Only for this tenant, instead of the one for all." },
		{ "--overlap", NULL, "Keep the key in force beside it until the provider refuses that." },
		{ "--valid-from", "TIME", "Not to be used before: 12h or 2027-01-31." },
		{ "--valid-until", "TIME", "Not to be used after: 90d, 12h or 2027-01-31." } } },
	{ "vault sync", "[PROVIDER...]", 0, 16, "Seal the new keys in providers' key_files; `up` does so by itself.", cmd_vault_sync, {
		{ "--watch", NULL, "Go on, and seal each that changes, until SIGTERM or Ctrl-C." } } },
	{ "vault list", "", 0, 0, "Sealed provider keys, without the keys.", cmd_vault_list, { { 0 } } },
	{ "vault rm", "PROVIDER", 1, 1, "Remove a provider's key everywhere.", cmd_vault_rm, {
		{ "--tenant", "NAME", "Only this tenant's own." } } },
	{ "vault rotate", "", 0, 0, "Replace the keys that seal provider keys; without --what, watch.", cmd_vault_rotate, {
		{ "--what", "KIND", "root, tenant or credential keys." },
		{ "--tenant", "NAME", "Only this tenant's." },
		{ "--rate", "N", "Credentials a second at most." },
		{ "--no-wait", NULL, "Begin, and do not watch." },
		{ "--passphrase-file", "FILE", "For the root key: read the passphrase from here." },
		{ "--key-file", "FILE", "For the root key: the one in force, if not the configured file." },
		{ "--new-key-file", "FILE", "For the root key, where its file is yours: the new one." } } },
	{ "vault grants", "", 0, 0, "Grants that were used and refused, by lane, and the last refusals.", cmd_vault_grants, {
		{ "-n|--lines", "N", "So many of the last refusals; 20 if not given." } } },
	{ "vault revoke-grants", "", 0, 0, "The kill switch: what was permitted and has not begun is refused from now on.", cmd_vault_revoke_grants, {
		{ "--all", NULL, "All of it; grants are made with new keys from then on." },
		{ "--tenant", "NAME", "Only this tenant's." },
		{ "--key", "ID", "Only this gateway key's." },
		{ "--credential", "ID", "Only with this provider key, as in `vault list`." },
		{ "--cut", NULL, "End what is under way, too." } } },
	{ "vault import-fernet", "[PROVIDER]", 0, 1, "Seal what is in a Fernet token; without a name: in lines `PROVIDER TOKEN`.", cmd_vault_import_fernet, {
		{ "--keys-file", "FILE", "Fernet keys, one a line, each is tried; the terminal is asked for one if not given." },
		{ "--max-age", "SECONDS", "Refuse older tokens, and those from the future; any age if not given." } } },
	{ "vault export-fernet", "PROVIDER", 1, 1, "Release a provider's key as a Fernet token, if configured.", cmd_vault_export_fernet, {
		{ "--keys-file", "FILE", "Fernet keys, of which the first encrypts; the terminal is asked for one if not given." },
		{ "--yes", NULL, "Do not ask for confirmation." } } },
	{ "vault rotate-fernet", "", 0, 0, "Copy Fernet tokens, encrypted anew under the first key.", cmd_vault_rotate_fernet, {
		{ "--keys-file", "FILE", "Fernet keys, one a line: the new one, then those of old tokens." } } },
	{ "key create", "", 0, 0, "Make a gateway key; it is shown once.", cmd_key_create, {
		{ "--tenant", "NAME", "Whose it is; 'default' if not given." },
		{ "--name", "TEXT", "For people." },
		{ "--models", "LIST", "Model patterns, comma-separated; '*' if not given." },
		{ "--rpm", "N", "Requests a minute; the configuration's default if not given." },
		{ "--concurrent", "N", "Requests under way at a time; the configuration's default if not given." },
		{ "--expires", "TIME", "90d, 12h or 2027-01-31; never if not given." },
		{ "--subject", "SUBJECT", "Whose records it makes, when that is somebody who has a key already." } } },
	{ "key list", "", 0, 0, "Gateway keys, without the keys.", cmd_key_list, { { 0 } } },
	{ "key revoke", "ID", 1, 1, "End a gateway key now; its running requests are cut.", cmd_key_revoke, { { 0 } } },
	{ "audit tail", "", 0, 0, "The last records of the log.", cmd_audit_tail, {
		{ "-f|--follow", NULL, "Go on with new ones until Ctrl-C." },
		{ "--from", "INDEX", "Begin at this record." },
		{ "-n|--lines", "N", "So many of the last; 20 if not given." } } },
#define AUDIT(words, ...) { "audit " words, __VA_ARGS__ },
#include "cli/audit.def"
#undef AUDIT
	{ "audit mirror-schema", "", 0, 0, "The tables of the mirror in Postgres, as SQL for psql.", cmd_audit_mirror_schema, { { 0 } } },
	{ "audit verify-mirror", "", 0, 0, "Compare every row of the mirror in Postgres with the log.", cmd_audit_verify_mirror, {
		{ "--postgres", "CONNINFO", "Where, as a role in bulkhead_auditor; the configuration's if not given." },
		{ "--password-file", "FILE", "File with that role's password; else as libpq finds one." },
		{ "--log", "DIR", "The log's folder; the configuration's if not given." },
		{ "--vkey", "VKEY", "The verifier key to trust; the one kept beside the log if not given." } } },
	{ "audit reveal", "INDEX...", 1, 16, "The client's address of these records; who asks is recorded.", cmd_audit_reveal, { { 0 } } },
	{ "audit retention", "", 0, 0, "How long records are kept; what was removed, what goes next; and personal fields.", cmd_audit_retention, {
		{ "--now", NULL, "What is over goes at once; it is looked for every hour." } } },
	{ "audit erase", "", 0, 0, "Destroy a subject's key: nobody can read its personal fields again.", cmd_audit_erase, {
		{ "--subject", "SUBJECT", "sub_..., as records and `key list --json` have it." } } },
	{ "receipt get", "REQUEST", 1, 1, "The receipt of an answer, whoever's; clients ask /v1/receipts/REQUEST.", cmd_receipt_get, { { 0 } } },
	RECEIPT_VERIFY,
	{ "config check", "", 0, 0, "Read the configuration and say what is wrong with it.", cmd_config_check, { { 0 } } },
	{ "config show", "", 0, 0, "The configuration in effect, defaults and overrides included.", cmd_config_show, {
		{ "--providers", NULL, "The providers that need no more than a name." },
		{ "--example", NULL, "An example file." },
		{ "--markdown", NULL, "Every key with its meaning: docs/CONFIG.md." } } },
	{ "version", "", 0, 0, "Version and schema.", cmd_version, { { 0 } } },
	{ "help", "[COMMAND]", 0, 2, "This text, or a command's options.", cmd_help, {
		{ "--completion", NULL, "Completion for bash: packaging/bulkhead.bash." },
		{ "--man", NULL, "The manual page: docs/bulkhead.1." } } },
};
/* clang-format on */

const size_t cli_n_commands = ARRAY_LEN(cli_commands);
