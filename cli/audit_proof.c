/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead audit prove|check-proof`: that a record is in the log, as a file that stands alone. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditd/proof.h"
#include "cli/audit.h"
#include "cli/audit_removed.h"
#include "cli/audit_trust.h"
#include "cli/output.h"
#include "cli/plain.h"

/* ---- prove ---- */

static int proof_write_file(struct cli *cli, struct span text)
{
	const char *path = cli_option(cli, "--output");
	FILE *to = path ? fopen(path, "wxe") : cli->out;

	if (!to)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	bool bad = fwrite(text.p, 1, text.len, to) != text.len || fflush(to) != 0;
	if (path && fclose(to) != 0)
		bad = true;
	if (bad && path)
		(void)unlink(path);
	return bad ? cli_fail(cli, "%s: the proof could not be written", path ? path : "standard output") : CLI_DONE;
}

/* The entry is not there, though its hash is. */
static int prove_removed(struct cli *cli, const char *folder, uint64_t index)
{
	struct audit_reader reader = {.cli = cli, .folder = {.dir = -1}};
	char text[AUDIT_REMOVED_BYTES] = "retention removed it, or the copy is not whole";
	struct retained what;

	if (entries_open(folder, &reader.folder) == 0) {
		bool known = audit_removed_read(&reader, &what);
		if (reader.folder.first > index)
			audit_removed_text(&what, known, reader.folder.first, text);
		entries_close(&reader.folder);
	}
	return cli_fail(cli, "the bundle of entry %" PRIu64 " is not in this folder: %s", index, text);
}

int cmd_audit_prove(struct cli *cli)
{
	char folder[AUDIT_FOLDER_BYTES_MAX];
	struct buf text = BUF_NULL;
	uint64_t index;

	int r = cli_arg_u64(cli, 0, "INDEX", &index);
	if (!r)
		r = audit_folder(cli, folder);
	if (r)
		return r;
	buf_init(&text, PROOF_BYTES_MAX);
	r = proof_make(folder, index, &text);
	if (r < 0)
		r = audit_unreadable(cli, folder, r);
	else if (r == PROOF_E_MISSING)
		r = cli_fail(cli,
			     "entry %" PRIu64
			     " is in no signed checkpoint; is the vault open, and is there such an entry?",
			     index);
	else if (r == PROOF_E_PRUNED)
		r = prove_removed(cli, folder, index);
	else if (r)
		r = cli_fail(cli, "the log cannot be read; see `%s verify`", cli_program.audit);
	else
		r = proof_write_file(cli, buf_span(&text));
	buf_deinit(&text);
	return r;
}

/* ---- check-proof ---- */

static int proof_print(struct cli *cli, const struct proof *proof)
{
	struct audit_record record;
	const char *event;

	if (leaf_unpack(span_of(proof->leaf, proof->leaf_len), &record.leaf) || !event_row(record.leaf.code))
		return cli_fail(cli, "it is proven, but it is not a record of this version of bulkhead");
	record.index = proof->index;
	event = audit_event_name(record.leaf.code);
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:b,s:I,s:I,s:s,s:o,s:o,s:o}", "good", true, "index",
						     (json_int_t)proof->index, "signed", (json_int_t)proof->size,
						     "event", event, "request_id", json_span(record.leaf.request_id),
						     "actor", json_span(record.leaf.actor), "record",
						     audit_record_json(&record, false)));
	plain_line(cli->out, "good: entry %" PRIu64 " of %" PRIu64 " is %s%s%.*s", proof->index, proof->size, event,
		   record.leaf.request_id.len ? ", request " : "", SPAN_ARG(record.leaf.request_id));
	return CLI_DONE;
}

static int proof_check_file(struct cli *cli, const struct audit_trust *trust, struct proof *proof)
{
	const char *path = cli->args[0];
	char *text;
	size_t len;

	int r = audit_read_file(cli, path, PROOF_BYTES_MAX, &text, &len);
	if (r)
		return r;
	r = proof_check_policy(span_of(text, len), trust->policy, trust->key, proof);
	free(text);
	switch (r) {
	case 0:
		return proof_print(cli, proof);
	case PROOF_E_MALFORMED:
		return cli_fail(cli, "%s is not a tlog-proof of ours", path);
	case PROOF_E_QUORUM:
		return cli_fail(cli,
				"NOT good: %s proves its entry, but the policy's quorum of witnesses is not under it",
				path);
	default:
		return cli_fail(cli, "NOT good: %s does not prove its entry with this key", path);
	}
}

int cmd_audit_check_proof(struct cli *cli)
{
	struct proof *proof = malloc(sizeof(*proof));
	struct audit_trust trust;

	int r = audit_trust_init(cli, true, &trust);
	if (!r && !trust.pinned)
		r = cli_misuse(cli, "--vkey, or --policy with a log, is needed: a proof is worth what its key is");
	if (!r)
		r = proof ? proof_check_file(cli, &trust, proof) : cli_fail(cli, "out of memory");
	audit_trust_deinit(&trust);
	free(proof);
	return r;
}
