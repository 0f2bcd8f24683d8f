/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of the audit log: configuration -> ledger (recovered) -> worker thread -> edges -> sandbox -> loop. It has
 * no network and no key; what it can do to the log afterwards is to append, and the signer in the vault sees to that,
 * and to remove from its beginning what a signed record says is over.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "auditd/auditd.h"
#include "common/err.h"
#include "common/sandbox.h"

void auditd_die(struct auditd *a, int r)
{
	log_event(&a->daemon.log, LOG_FATAL,
		  LOG_STR("what", "the log could not be written; it is read again at the next start"),
		  LOG_STR("why", strerrordesc_np(-r)));
	exit(EXIT_FAILURE);
}

void auditd_again(struct auditd *a, const char *why)
{
	log_event(&a->daemon.log, LOG_STOP, LOG_STR("why", why));
	exit(EXIT_FAILURE);
}

void auditd_fail(struct auditd *a, const char *why)
{
	if (a->failed)
		return;
	a->failed = true;
	log_event(&a->daemon.log, LOG_AUDIT_FAILED, LOG_STR("why", why));
	daemon_set_ready(&a->daemon, false, why);
	producers_drop_all(a, "the log is not the one that was signed");
}

/* ---- what the writer says ---- */

static void on_recorded(void *ctx, const struct ledger_batch *batch)
{
	struct auditd *a = ctx;

	a->checkpointer.urgent |= batch->urgent;
	producers_recorded(a, batch);
	pruner_recorded(a, batch);
}

static void on_idle(void *ctx)
{
	struct auditd *a = ctx;

	readers_answer(a);
	receipts_answer(a);
	checkpoint_consider(a);
	pruner_consider(a);
	if (a->daemon.draining && writer_quiet(&a->writer) && !a->checkpointer.working && !a->receipts.job.running &&
	    !a->pruner.running)
		daemon_stop(&a->daemon);
}

static void on_failed(void *ctx, int r)
{
	auditd_die(ctx, r);
}

static void on_no_room(void *ctx, int r)
{
	struct auditd *a = ctx;

	log_event(&a->daemon.log, LOG_AUDIT_DISK, LOG_STR("why", strerrordesc_np(-r)));
	pruner_hurry(a);
}

/* SIGTERM: whatever was accepted becomes durable first. */
static void on_drain(void *ctx)
{
	struct auditd *a = ctx;
	uint64_t seq;

	if (a->ledger->unwritable) {
		readonly_drain(a);
		return;
	}
	if (!a->failed &&
	    producers_record_own(a, &(struct proto_leaf){.code = EVENT_DAEMON_STOP, .resource = SPAN_LIT("auditd")},
				 &seq) < 0)
		daemon_stop(&a->daemon);
	writer_hurry(&a->writer);
}

static void on_metrics(void *ctx, char *to, size_t cap)
{
	const struct auditd *a = ctx;

	(void)snprintf(to, cap,
		       "# TYPE bulkhead_audit_entries_total counter\nbulkhead_audit_entries_total %" PRIu64
		       "\n# TYPE bulkhead_audit_commits_total counter\nbulkhead_audit_commits_total %" PRIu64
		       "\n# TYPE bulkhead_audit_gaps_total counter\nbulkhead_audit_gaps_total %" PRIu64
		       "\n# TYPE bulkhead_audit_overruns_total counter\nbulkhead_audit_overruns_total %" PRIu64
		       "\n# TYPE bulkhead_audit_signed_size gauge\nbulkhead_audit_signed_size %" PRIu64
		       "\n# TYPE bulkhead_audit_pruned_total counter\nbulkhead_audit_pruned_total %" PRIu64
		       "\n# TYPE bulkhead_audit_failed gauge\nbulkhead_audit_failed %d\n",
		       a->writer.entries, a->writer.commits, a->gaps, a->overruns, a->checkpointer.signed_size,
		       a->pruner.pruned_total, a->failed);
}

/* ---- start ---- */

/* Whether it can be written is known when auditd's own first words are durable in it, and its tiles have room. */
static int auditd_open_ledger(struct auditd *a, const char *folder)
{
	uint64_t segment_bytes = a->config.auditd.segment_bytes;
	int r = ledger_open(folder, segment_bytes, 0, &a->ledger);

	if (r == LEDGER_E_DAMAGED) {
		a->readonly.damaged = true;
		log_event(
			&a->daemon.log, LOG_FATAL, LOG_STR("what", folder), LOG_STR("why", a->ledger->why),
			LOG_STR("do", "nothing was changed; keep a copy as evidence and see `bulkhead audit verify`"));
		return 0;
	}
	if (r || a->ledger->unwritable)
		return r;
	int why = producers_record_start(a);
	if (why == 0)
		why = tree_flush(&a->ledger->tree);
	if (why == 0)
		return 0;
	a->ledger = ledger_close(a->ledger);
	return err_fold(ledger_open(folder, segment_bytes, why, &a->ledger));
}

static int auditd_start_writer(struct auditd *a)
{
	struct segment *s = &a->ledger->segment;
	bool keeps = a->config.auditd.keep_records != CONFIG_KEEP_RECORDS_FOREVER;

	s->spare_bytes = keeps ? SEGMENT_SPARE_BYTES(s->bytes_max) : 0;
	struct writer_spec spec = {
		.commit_records = a->config.auditd.commit_records,
		.commit_ms = (a->config.auditd.commit_us + 999) / 1000,
		.on_recorded = on_recorded,
		.on_idle = on_idle,
		.on_failed = on_failed,
		.on_no_room = on_no_room,
		.lean = keeps && !a->config.auditd.legal_hold && !segment_has_spare(s),
		.ctx = a,
	};

	return writer_init(&a->writer, &a->daemon.loop, a->ledger, &spec);
}

static int auditd_start(struct auditd *a, int argc, char **argv)
{
	struct daemon *d = &a->daemon;
	char folder[4096];
	int r = daemon_init(d, ROLE_AUDITD, argc, argv);

	if (!r && sodium_init() < 0)
		r = err_origin(-EIO);
	if (!r)
		r = err_fold(
			config_read(d->config_fd, ROLE_AUDITD, BIT(CONFIG_BULKHEAD) | BIT(CONFIG_AUDITD), &a->config));
	if (r)
		return r;
	(void)snprintf(folder, sizeof(folder), "%s/auditd", a->config.bulkhead.state_dir);
	r = auditd_open_ledger(a, folder);
	if (!r)
		r = auditd_start_writer(a);
	if (!r)
		r = producers_serve(a);
	if (!r)
		r = readers_serve(a);
	if (!r)
		r = receipts_init(a);
	if (!r)
		r = checkpoint_connect(a);
	if (!r && a->ledger->unwritable)
		r = readonly_serve(a);
	if (!r)
		r = pruner_init(a);
	if (!r)
		r = sandbox_enter(ROLE_AUDITD,
				  &(struct sandbox_path){.path = folder, .write = true, .remove_folders = true}, 1,
				  d->confinement, sizeof(d->confinement));
	return r;
}

int main(int argc, char **argv)
{
	struct auditd *a = calloc(1, sizeof(*a)); /* its tables are too large for a stack */

	if (!a || auditd_start(a, argc, argv))
		return EXIT_FAILURE;
	a->daemon.on_drain = on_drain;
	a->daemon.metrics = on_metrics;
	a->daemon.ctx = a;
	if (!a->failed)
		daemon_set_ready(&a->daemon, true, "recording; checkpoints wait for the vault");
	int code = daemon_run(&a->daemon);
	checkpoint_close(a);
	readers_close(a);
	readonly_close(a);
	receipts_close(a);
	pruner_close(a);
	writer_close(&a->writer);
	daemon_deinit(&a->daemon);
	writer_deinit(&a->writer);
	receipts_deinit(a);
	pruner_deinit(a);
	a->ledger = ledger_close(a->ledger);
	config_deinit(&a->config);
	free(a);
	return code;
}
