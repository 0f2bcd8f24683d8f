/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit verify`: offline, on the log's folder or a copy of it. The verifier key that lies beside the log was
 * written by whoever owns the folder: good enough to find damage, not for evidence. For that the operator pins the key
 * with --vkey, as `bulkhead vault status` showed it, or with a policy.
 *
 * Exit status 3: good as far as it was signed, but what follows is not whole. A copy of a log in use ends so.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

#include "auditd/verify.h"
#include "cli/audit.h"
#include "cli/audit_progress.h"
#include "cli/audit_reader.h"
#include "cli/audit_record.h"
#include "cli/audit_trust.h"
#include "cli/output.h"
#include "cli/plain.h"

#define VERIFY_UNCOVERED 3

static bool verify_is_whole(const struct verify_report *report)
{
	return report->uncovered.bytes == 0 && report->uncovered.segments == 0;
}

static int verify_status(const struct verify_report *report)
{
	return !report->good ? CLI_FAILED : verify_is_whole(report) ? CLI_DONE : VERIFY_UNCOVERED;
}

static void on_verify_progress(void *ctx, uint64_t done, uint64_t all)
{
	audit_progress_show(ctx, done, all);
}

static json_t *verify_pruned_json(const struct verify_report *report)
{
	char time[AUDIT_TIME_BYTES];

	audit_format_time(report->pruned.time_ns, time);
	return json_pack("{s:I,s:s,s:o}", "record", (json_int_t)report->pruned.index, "time", time, "keep_records",
			 json_span(span_str(report->pruned.keep)));
}

static int verify_print_json(struct cli *cli, const struct verify_report *report, const struct audit_trust *trust)
{
	char vkey[NOTE_VKEY_MAX] = "", root[2 * MERKLE_HASH_BYTES + 1];

	if (report->key.name[0])
		note_key_format(&report->key, vkey);
	sodium_bin2hex(root, sizeof(root), report->root.b, sizeof(report->root.b));
	json_t *pruned = json_null();
	if (report->first > 0 && report->good)
		pruned = verify_pruned_json(report);
	json_t *uncovered = json_null();
	if (report->good && !verify_is_whole(report))
		uncovered = json_pack("{s:I,s:I,s:I}", "from", (json_int_t)report->entries, "bytes",
				      (json_int_t)report->uncovered.bytes, "segments",
				      (json_int_t)report->uncovered.segments);
	int r = cli_print_json(
		cli, json_pack("{s:b,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:o,s:b,s:I,s:I,s:o,s:o}", "good", report->good,
			       "why", json_span(span_str(report->why)), "first", (json_int_t)report->first, "entries",
			       (json_int_t)report->entries, "signed", (json_int_t)report->signed_size, "segments",
			       (json_int_t)report->segments, "gaps", (json_int_t)report->gaps, "lost",
			       json_count(report->lost), "root", root, "vkey", json_span(span_str(vkey)), "pinned",
			       trust->pinned, "cosigned", (json_int_t)report->cosigned, "witnesses",
			       (json_int_t)report->witnesses, "pruned", pruned, "uncovered", uncovered));
	return r ? r : verify_status(report);
}

static void verify_print_witnesses(struct cli *cli, const struct verify_report *report)
{
	char text[32] = "-";
	time_t at = (time_t)report->cosigned_s;
	struct tm tm;

	if (report->witnesses == 0)
		return;
	if (report->cosigned > 0 && gmtime_r(&at, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	fprintf(cli->out, "cosigned by: %u of %u witnesses, since %s\n", report->cosigned, report->witnesses, text);
}

static int verify_print(struct cli *cli, const char *folder, const struct verify_report *report,
			const struct audit_trust *trust)
{
	char vkey[NOTE_VKEY_MAX], time[AUDIT_TIME_BYTES];

	if (cli->json)
		return verify_print_json(cli, report, trust);
	if (!report->good)
		return cli_fail(cli, "%s: NOT good: %s", folder, report->why);
	note_key_format(&report->key, vkey);
	fprintf(cli->out, "good: %" PRIu64 " entries, %" PRIu64 " of them signed, in %" PRIu64 " segment%s\n",
		report->entries, report->signed_size, report->segments, report->segments == 1 ? "" : "s");
	if (report->first > 0) {
		audit_format_time(report->pruned.time_ns, time);
		plain_line(cli->out,
			   "pruned: entries 0 to %" PRIu64 ", on %s by retention of %s, as entry %" PRIu64
			   " says; of them the hashes are left",
			   report->first - 1, time, report->pruned.keep, report->pruned.index);
	}
	if (!verify_is_whole(report))
		fprintf(cli->out,
			"not covered: what follows entry %" PRIu64 " is torn, %" PRIu64 " bytes and %" PRIu64
			" segments; no checkpoint speaks of it (was this copied while auditd wrote?)\n",
			report->entries - 1, report->uncovered.bytes, report->uncovered.segments);
	if (report->gaps > 0)
		fprintf(cli->out, "gaps: %" PRIu64 " recorded, for %" PRIu64 " missing event%s\n", report->gaps,
			report->lost, report->lost == 1 ? "" : "s");
	else
		fprintf(cli->out, "gaps: none\n");
	plain_line(cli->out, "signed by: %s", vkey);
	verify_print_witnesses(cli, report);
	if (!trust->pinned)
		plain_line(cli->err, "This key lies beside the log. For evidence, give the one you kept: --vkey '%s'",
			   vkey);
	return verify_status(report);
}

static int verify_run(struct cli *cli, const struct audit_trust *trust)
{
	struct verify_options options = {.key = trust->key, .policy = trust->policy, .in_use = true, .copied = true};
	struct audit_progress progress;
	struct verify_report report;
	char folder[AUDIT_FOLDER_BYTES_MAX];

	int r = audit_folder(cli, folder);
	if (r)
		return r;
	audit_progress_init(&progress, cli, !cli->json);
	if (progress.on) {
		options.progress = on_verify_progress;
		options.ctx = &progress;
	}
	r = verify_log(folder, &options, &report);
	audit_progress_end(&progress);
	if (r >= 0 && report.good && report.first > 0 && cli_option(cli, "--unpruned")) {
		report.good = false;
		(void)snprintf(report.why, sizeof(report.why),
			       "entries 0 to %" PRIu64 " were pruned, as entry %" PRIu64 " says", report.first - 1,
			       report.pruned.index);
	}
	return r < 0 ? audit_unreadable(cli, folder, r) : verify_print(cli, folder, &report, trust);
}

int cmd_audit_verify(struct cli *cli)
{
	struct audit_trust trust;
	int r = audit_trust_init(cli, true, &trust);

	if (!r)
		r = verify_run(cli, &trust);
	audit_trust_deinit(&trust);
	return r;
}
