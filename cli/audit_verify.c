/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit verify|proof|check-proof`: offline, on the log's folder or a copy of it. The verifier key that lies
 * beside the log was written by whoever owns the folder: good enough to find damage, not for evidence. For that the
 * operator pins the key with --vkey, as `bulkhead vault status` showed it.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditd/leaf.h"
#include "auditd/proof.h"
#include "auditd/verify.h"
#include "cli/output.h"

#define AUDIT_BAR_WIDTH 40

/* The folder of --log, else of the configuration. CLI_DONE or CLI_FAILED. */
static int audit_folder(struct cli *cli, char *to, size_t cap)
{
	const char *given = cli_option(cli, "--log");

	if (given)
		return snprintf(to, cap, "%s", given) < (int)cap ? CLI_DONE
								 : cli_fail(cli, "--log: the name is too long");
	int r = cli_config(cli);
	if (!r && snprintf(to, cap, "%s/auditd", cli_value(cli, "bulkhead.state_dir")) >= (int)cap)
		r = cli_fail(cli, "bulkhead.state_dir: the name is too long");
	return r;
}

static int audit_unreadable(const struct cli *cli, const char *folder, int r)
{
	return cli_fail(cli, "%s: %s; name the log's folder with --log, or run as its owner", folder,
			strerrordesc_np(-r));
}

/* --vkey; *ret_key is NULL when it is not there. CLI_DONE or CLI_USAGE. */
static int audit_key(const struct cli *cli, struct note_key *key, const struct note_key **ret_key)
{
	const char *text = cli_option(cli, "--vkey");

	*ret_key = text ? key : NULL;
	if (text && note_key_parse(key, span_str(text)))
		return cli_misuse(cli, "--vkey: not a verifier key; `bulkhead vault status` shows it as name+id+key");
	return CLI_DONE;
}

/* ---- verify ---- */

static void audit_progress(void *ctx, uint64_t done, uint64_t all)
{
	const struct cli *cli = ctx;
	int filled = all ? (int)(done * AUDIT_BAR_WIDTH / all) : 0;

	fprintf(cli->err, "\r[%-*.*s] %3d %%", AUDIT_BAR_WIDTH, filled, "########################################",
		all ? (int)(done * 100 / all) : 0);
	fflush(cli->err);
}

static int audit_report_json(struct cli *cli, const struct verify_report *report, bool pinned)
{
	char vkey[NOTE_VKEY_MAX], root[2 * MERKLE_HASH_BYTES + 1];

	note_key_format(&report->key, vkey);
	sodium_bin2hex(root, sizeof(root), report->root.b, sizeof(report->root.b));
	int r = cli_print_json(cli, json_pack("{s:b,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:b}", "good", report->good, "why",
					      report->why, "entries", (json_int_t)report->entries, "signed",
					      (json_int_t)report->signed_size, "segments", (json_int_t)report->segments,
					      "gaps", (json_int_t)report->gaps, "lost", (json_int_t)report->lost,
					      "root", root, "vkey", vkey, "pinned", pinned));
	return report->good ? r : CLI_FAILED;
}

static int audit_report(struct cli *cli, const char *folder, const struct verify_report *report, bool pinned)
{
	char vkey[NOTE_VKEY_MAX];

	if (cli->json)
		return audit_report_json(cli, report, pinned);
	if (!report->good)
		return cli_fail(cli, "%s: NOT good: %s", folder, report->why);
	note_key_format(&report->key, vkey);
	fprintf(cli->out, "good: %" PRIu64 " entries, %" PRIu64 " of them signed, %" PRIu64 " segments\n",
		report->entries, report->signed_size, report->segments);
	if (report->gaps > 0)
		fprintf(cli->out, "gaps: %" PRIu64 " events are missing, in %" PRIu64 " recorded gaps\n", report->lost,
			report->gaps);
	else
		fprintf(cli->out, "gaps: none\n");
	fprintf(cli->out, "signed by: %s\n", vkey);
	if (!pinned)
		fprintf(cli->err, "This key lies beside the log. For evidence, give the one you kept: --vkey '%s'\n",
			vkey);
	return CLI_DONE;
}

int cmd_audit_verify(struct cli *cli)
{
	struct verify_options options = {.in_use = true};
	struct verify_report report;
	struct note_key key;
	char folder[4096];
	bool bar = !cli->json && isatty(fileno(cli->err));

	int r = audit_key(cli, &key, &options.key);
	if (!r)
		r = audit_folder(cli, folder, sizeof(folder));
	if (r)
		return r;
	if (bar) {
		options.progress = audit_progress;
		options.ctx = cli;
	}
	r = verify_log(folder, &options, &report);
	if (bar)
		fprintf(cli->err, "\r%*s\r", AUDIT_BAR_WIDTH + 8, "");
	return r < 0 ? audit_unreadable(cli, folder, r) : audit_report(cli, folder, &report, options.key != NULL);
}

/* ---- proofs ---- */

int cmd_audit_proof(struct cli *cli)
{
	char folder[4096], *end;
	struct buf text = BUF_NULL;

	uint64_t index = strtoull(cli->args[0], &end, 10);
	if (cli->args[0][0] < '0' || cli->args[0][0] > '9' || *end)
		return cli_misuse(cli, "INDEX is a number, as `bulkhead audit tail` shows it");
	int r = audit_folder(cli, folder, sizeof(folder));
	if (r)
		return r;
	buf_init(&text, PROOF_BYTES_MAX);
	r = proof_make(folder, index, &text);
	struct span all = buf_span(&text);
	if (r < 0)
		r = audit_unreadable(cli, folder, r);
	else if (r == PROOF_E_MISSING)
		r = cli_fail(cli,
			     "entry %" PRIu64
			     " is in no signed checkpoint; is the vault open, and is there such an entry?",
			     index);
	else if (r)
		r = cli_fail(cli, "the log cannot be read; see `bulkhead audit verify`");
	else if (fwrite(all.p, 1, all.len, cli->out) != all.len || fflush(cli->out))
		r = cli_fail(cli, "the proof could not be written");
	buf_deinit(&text);
	return r;
}

static int audit_print_proof(struct cli *cli, const struct proof *proof)
{
	struct proto_leaf leaf;
	const struct event_row *row;

	if (leaf_unpack(span_of(proof->leaf, proof->leaf_len), &leaf) || !(row = event_row(leaf.code)))
		return cli_fail(cli, "it is proven, but it is not a record of this version of bulkhead");
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:b,s:I,s:I,s:s,s:o,s:o}", "good", true, "index",
						     (json_int_t)proof->index, "signed", (json_int_t)proof->size,
						     "event", row->name, "request_id", json_span(leaf.request_id),
						     "actor", json_span(leaf.actor)));
	fprintf(cli->out, "good: entry %" PRIu64 " of %" PRIu64 " is %s", proof->index, proof->size, row->name);
	if (leaf.request_id.len)
		fprintf(cli->out, ", request %.*s", SPAN_ARG(leaf.request_id));
	fputc('\n', cli->out);
	return CLI_DONE;
}

static int audit_check(struct cli *cli, const char *text, size_t len, const struct note_key *key)
{
	struct proof *proof = malloc(sizeof(*proof));

	if (!proof)
		return cli_fail(cli, "out of memory");
	int r = proof_check(span_of(text, len), key, proof);
	if (r == PROOF_E_MALFORMED)
		r = cli_fail(cli, "%s is not a tlog-proof of ours", cli->args[0]);
	else if (r)
		r = cli_fail(cli, "NOT good: %s does not prove its entry with this key", cli->args[0]);
	else
		r = audit_print_proof(cli, proof);
	free(proof);
	return r;
}

static int audit_check_file(struct cli *cli, FILE *f, const struct note_key *key)
{
	char *text = malloc(PROOF_BYTES_MAX);
	size_t len = text ? fread(text, 1, PROOF_BYTES_MAX, f) : 0;

	int r = !text || ferror(f) || len == PROOF_BYTES_MAX ? cli_fail(cli, "%s cannot be read", cli->args[0])
							     : audit_check(cli, text, len, key);
	free(text);
	return r;
}

int cmd_audit_check_proof(struct cli *cli)
{
	const struct note_key *pinned;
	struct note_key key;

	int r = audit_key(cli, &key, &pinned);
	if (!r && !pinned)
		r = cli_misuse(cli, "--vkey is needed: a proof is worth what its key is");
	if (r)
		return r;
	FILE *f = fopen(cli->args[0], "re");
	if (!f)
		return cli_fail(cli, "%s cannot be opened", cli->args[0]);
	r = audit_check_file(cli, f, &key);
	(void)fclose(f);
	return r;
}
