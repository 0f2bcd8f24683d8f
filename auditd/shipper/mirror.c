/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/shipper/mirror.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"

#define MIRROR_OPEN_SQL "SELECT log, next, size, encode(root, 'hex') FROM bulkhead.mirror_open($1, $2)"
#define MIRROR_CHECKPOINT_SQL                                                                                 \
	"INSERT INTO bulkhead.checkpoints (log, size, root, consistent, note) VALUES ($1::int, $2::numeric, " \
	"decode($3, 'hex'), $4::boolean, $5) ON CONFLICT DO NOTHING"

#define MIRROR_BEYOND "the mirror has records that this log does not have: `bulkhead audit verify-mirror` names them"

/* ---- what status says ---- */

/* Rows that are signed and not yet mirrored. */
static uint64_t mirror_lag(const struct mirror *m)
{
	return m->folder->size > m->next ? m->folder->size - m->next : 0;
}

static const char *mirror_said(const struct mirror *m, bool ready)
{
	if (m->why[0])
		return m->why;
	if (m->beyond)
		return MIRROR_BEYOND;
	if (m->complaint[0])
		return m->complaint;
	if (!ready)
		return "connecting to Postgres";
	if (m->off)
		return "no mirror; witnesses are asked";
	return m->doing == MIRROR_NAMELESS ? "nothing is signed yet: is the vault open?" : "mirroring";
}

/* Readiness and its cause are logged when they change; the numbers behind them are not. */
static void mirror_tell(struct mirror *m)
{
	bool ready = (m->doing > MIRROR_OPENING || m->off) && m->why[0] == 0 && m->complaint[0] == 0 && !m->beyond;
	const char *said = mirror_said(m, ready);
	char detail[sizeof(m->daemon->detail)];

	if (ready != m->daemon->ready || strcmp(said, m->told) != 0) {
		(void)snprintf(m->told, sizeof(m->told), "%s", said);
		daemon_set_ready(m->daemon, ready, said);
	}
	if (m->opened_once && ready)
		(void)snprintf(detail, sizeof(detail), "%.120s, %" PRIu64 " of %" PRIu64 " records%s", said,
			       MIN(m->next, m->folder->size), m->folder->size,
			       m->pruned_total ? "; retention removed some before they were mirrored" : "");
	else if (m->opened_once)
		(void)snprintf(detail, sizeof(detail), "%" PRIu64 " records wait: %.200s", mirror_lag(m), said);
	else
		(void)snprintf(detail, sizeof(detail), "%s", said);
	daemon_set_detail(m->daemon, detail);
}

static void mirror_note_lag(struct mirror *m)
{
	if (mirror_lag(m) == 0)
		m->behind_ms = 0;
	else if (m->behind_ms == 0)
		m->behind_ms = MAX(uv_now(&m->daemon->loop), UINT64_C(1));
}

/* ---- checkpoints that wait ---- */

/* The folder's checkpoint, unless it was the one before, too. 0 or -ENOMEM. */
static int mirror_wait(struct mirror *m, bool consistent)
{
	struct mirror_checkpoint c = {.size = m->folder->size, .root = m->folder->root, .consistent = consistent};

	if (m->queued.size == c.size && m->queued.consistent == consistent && merkle_hash_eq(&m->queued.root, &c.root))
		return 0;
	c.note = strndup(m->folder->note, m->folder->note_len);
	if (!c.note)
		return -ENOMEM;
	if (m->n_waiting == MIRROR_WAITING_MAX) /* the newest proves those that it replaces */
		free(m->waiting[--m->n_waiting].note);
	m->waiting[m->n_waiting++] = m->queued = c;
	m->queued.note = NULL;
	return 0;
}

static void mirror_waited(struct mirror *m)
{
	free(m->waiting[0].note);
	memmove(&m->waiting[0], &m->waiting[1], --m->n_waiting * sizeof(m->waiting[0]));
}

/* ---- judging the log ---- */

static void mirror_on_retry(uv_timer_t *timer);

static void mirror_again(struct mirror *m)
{
	(void)uv_timer_start(&m->retry, mirror_on_retry, m->retry_ms, 0);
	m->retry_ms = MIN(2 * m->retry_ms, (uint64_t)MIRROR_RETRY_MS_MAX);
}

static void mirror_fail(struct mirror *m, const char *why)
{
	if (strcmp(m->why, why) != 0)
		log_event(&m->daemon->log, LOG_MIRROR_FAILED, LOG_STR("why", why));
	(void)snprintf(m->why, sizeof(m->why), "%s", why);
	m->errors_total++;
	mirror_again(m);
}

static void mirror_halt(struct mirror *m, const char *why)
{
	if (!m->halted)
		log_event(&m->daemon->log, LOG_MIRROR_HALTED, LOG_STR("why", why));
	m->halted = true;
	(void)snprintf(m->why, sizeof(m->why), "%.*s", (int)sizeof(m->why) - 1, why);
}

/* Our own defects and the machine's end the process; it is started again. */
static void mirror_die(struct mirror *m, int r)
{
	log_event(&m->daemon->log, LOG_FATAL, LOG_STR("what", "audit-shipper"), LOG_STR("why", strerrordesc_np(-r)));
	exit(EXIT_FAILURE);
}

/* The present checkpoint against the last that was good, and against the one that the database remembers. */
static int mirror_compare(struct mirror *m)
{
	int r = folder_grew(m->folder, m->last_size, &m->last_root);

	return r ? r : folder_grew(m->folder, m->remembered_size, &m->remembered_root);
}

static void mirror_judge(struct mirror *m)
{
	if (m->judged || m->folder->size == 0)
		return;
	int r = mirror_compare(m);
	if (r == FOLDER_E_BAD) {
		mirror_fail(m, m->folder->why);
		return;
	}
	bool forked = r == FOLDER_E_FORKED;
	r = forked ? 0 : r;
	if (forked)
		mirror_halt(m, m->folder->why);
	if (!r)
		r = mirror_wait(m, !forked);
	if (r)
		mirror_die(m, r);
	m->judged = true;
	if (forked)
		return;
	if (m->doing > MIRROR_OPENING || m->off) /* whatever was wrong with the folder is mended */
		m->why[0] = 0;
	m->halted = false;
	m->last_size = m->folder->size;
	m->last_root = m->folder->root;
	m->remembered_size = 0;
}

/* ---- one statement after the other ---- */

static void mirror_send_checkpoint(struct mirror *m)
{
	const struct mirror_checkpoint *c = &m->waiting[0];
	char size[24], root[2 * MERKLE_HASH_BYTES + 1];

	(void)snprintf(size, sizeof(size), "%" PRIu64, c->size);
	for (size_t i = 0; i < MERKLE_HASH_BYTES; i++)
		(void)snprintf(root + 2 * i, 3, "%02x", c->root.b[i]);
	const char *parameters[] = {m->log, size, root, c->consistent ? "t" : "f", c->note};
	m->doing = MIRROR_CHECKPOINT;
	pg_send(m->pg, MIRROR_CHECKPOINT_SQL, ARRAY_LEN(parameters), parameters);
}

static void mirror_send_rows(struct mirror *m)
{
	const char *parameters[1 + ROW_COLUMNS_MAX] = {m->log};

	batch_parameters(&m->batch, parameters + 1);
	m->why[0] = 0;
	m->retry_ms = MIRROR_RETRY_MS;
	m->doing = MIRROR_RECORDS;
	pg_send(m->pg, (const char *)buf_span(&m->batch.sql).p, 1 + m->batch.n_columns, parameters);
}

/* Retention was faster than we, since there was no database for so long: what is gone cannot be mirrored any more. */
static void mirror_missed(struct mirror *m, uint64_t n)
{
	if (m->missed_end != m->next)
		m->missed_first = m->next;
	m->missed_end = m->next + n;
	m->pruned_total += n;
	m->next += n;
}

/* Said once for a range, where records begin again. */
static void mirror_tell_missed(struct mirror *m)
{
	char records[48];

	if (m->missed_end == 0)
		return;
	(void)snprintf(records, sizeof(records), "%" PRIu64 "-%" PRIu64, m->missed_first, m->missed_end - 1);
	log_event(&m->daemon->log, LOG_MIRROR_MISSED, LOG_STR("records", records));
	m->missed_first = m->missed_end = 0;
}

/* Reads the next batch and sends it. */
static void mirror_continue(struct mirror *m)
{
	int r = folder_read(m->folder, m->next, m->batch_rows, &m->rows);

	if (r == FOLDER_E_PRUNED) {
		mirror_missed(m, m->rows.n);
		(void)uv_timer_start(&m->retry, mirror_on_retry, 0, 0);
		return;
	}
	if (r == FOLDER_E_BAD) {
		mirror_fail(m, m->folder->why);
		return;
	}
	mirror_tell_missed(m);
	if (!r)
		r = batch_set(&m->batch, m->rows.rows, m->rows.n);
	if (r)
		mirror_die(m, err_fold(r));
	mirror_send_rows(m);
}

static void mirror_pump(struct mirror *m)
{
	mirror_judge(m);
	if (m->doing == MIRROR_IDLE && m->n_waiting > 0)
		mirror_send_checkpoint(m);
	else if (m->doing == MIRROR_IDLE && m->judged && !m->halted && !m->beyond && mirror_lag(m) > 0)
		mirror_continue(m);
	mirror_note_lag(m);
	mirror_tell(m);
}

/* ---- what Postgres says ---- */

static void mirror_ask(struct mirror *m)
{
	char vkey[NOTE_VKEY_MAX];

	note_key_format(&m->folder->key, vkey);
	const char *parameters[] = {m->folder->key.name, vkey};
	m->doing = MIRROR_OPENING;
	pg_send(m->pg, MIRROR_OPEN_SQL, ARRAY_LEN(parameters), parameters);
}

static void mirror_on_retry(uv_timer_t *timer)
{
	struct mirror *m = timer->data;

	if (m->doing == MIRROR_DOWN && m->pg) {
		m->doing = MIRROR_CONNECTING;
		pg_connect(m->pg);
	} else if (m->doing == MIRROR_IDLE && m->beyond) {
		mirror_ask(m);
	}
	mirror_pump(m);
}

static void mirror_on_open(void *ctx)
{
	struct mirror *m = ctx;

	m->doing = MIRROR_NAMELESS;
	if (m->folder->pinned)
		mirror_ask(m);
	else /* who signs is not known yet, so neither is which log this is; mirror_looked() comes back to it */
		m->why[0] = 0;
	mirror_tell(m);
}

/*
 * What is signed is all that can have been mirrored. Who would go on behind a row that is further on would pass over
 * all before it, though the log should grow that far: it is asked again until somebody has removed that row.
 */
static void mirror_goes_on_at(struct mirror *m, uint64_t next)
{
	bool before = m->beyond;

	/* another shipper may have been ahead of our last look */
	if (next > m->folder->size && folder_refresh(m->folder) == 0)
		m->judged = false;
	m->could = before ? m->could : m->folder->size;
	m->beyond = next > m->could;
	m->next = m->beyond ? m->could : next;
	if (m->beyond && !before)
		log_event(&m->daemon->log, LOG_MIRROR_FAILED, LOG_STR("why", MIRROR_BEYOND));
	if (m->beyond)
		mirror_again(m);
	else
		m->retry_ms = MIRROR_RETRY_MS;
}

/* The checkpoint that the database remembers: what we see must have grown from it, and from it we go on. */
static void mirror_opened(struct mirror *m, const struct pg_result *result)
{
	const char *log = pg_cell(result, 0), *next = pg_cell(result, 1), *size = pg_cell(result, 2),
		   *root = pg_cell(result, 3);
	uint64_t remembered = size ? strtoull(size, NULL, 10) : 0;
	struct merkle_hash hash;

	if (!log || !next || (size && (!root || !row_unhex(root, &hash)))) {
		mirror_fail(m, "bulkhead.mirror_open() answers nonsense: apply `bulkhead audit mirror-schema` again");
		return;
	}
	(void)snprintf(m->log, sizeof(m->log), "%s", log);
	mirror_goes_on_at(m, strtoull(next, NULL, 10));
	m->opened_once = true;
	if (!m->halted)
		m->why[0] = 0;
	if (remembered > 0) {
		m->remembered_size = remembered;
		m->remembered_root = hash;
		m->judged = false;
	}
}

static void mirror_on_result(void *ctx, const struct pg_result *result)
{
	struct mirror *m = ctx;
	enum mirror_doing did = m->doing;

	m->doing = MIRROR_IDLE;
	if (did == MIRROR_OPENING) {
		mirror_opened(m, result);
	} else if (did == MIRROR_CHECKPOINT) {
		m->checkpoints_total += pg_affected(result);
		mirror_waited(m);
	} else {
		m->rows_total += pg_affected(result);
		m->next += m->batch.n;
	}
	mirror_pump(m);
}

static void mirror_on_closed(void *ctx, const char *why)
{
	struct mirror *m = ctx;

	m->doing = MIRROR_DOWN;
	mirror_fail(m, why);
	mirror_tell(m);
}

/* ---- life ---- */

int mirror_init(struct mirror *m, struct daemon *daemon, struct folder *folder, const struct pg_spec *spec,
		struct resolver *resolver, uint64_t batch_rows)
{
	struct pg_spec mine = *spec;

	*m = (struct mirror){.daemon = daemon, .folder = folder, .batch_rows = batch_rows, .retry_ms = MIRROR_RETRY_MS};
	mine.on_open = mirror_on_open;
	mine.on_result = mirror_on_result;
	mine.on_closed = mirror_on_closed;
	mine.ctx = m;
	m->retry.data = m;
	int r = uv_timer_init(&daemon->loop, &m->retry);
	if (!r)
		r = batch_init(&m->batch);
	m->off = spec->conninfo[0] == 0;
	return r || m->off ? r : pg_new(&daemon->loop, &mine, resolver, &m->pg, m->why);
}

void mirror_start(struct mirror *m)
{
	mirror_on_retry(&m->retry);
}

void mirror_looked(struct mirror *m, int said)
{
	if (said == FOLDER_E_BAD) {
		m->unreadable = true;
		mirror_fail(m, m->folder->why);
	} else if (m->unreadable) {
		m->unreadable = m->judged = false; /* what it was before is said again if it still is */
		m->why[0] = 0;
	}
	if (said == 0) {
		m->judged = false;
		if (m->doing == MIRROR_NAMELESS)
			mirror_ask(m);
	}
	mirror_pump(m);
}

void mirror_complain(struct mirror *m, const char *why)
{
	(void)snprintf(m->complaint, sizeof(m->complaint), "%s", why);
}

void mirror_metrics(const struct mirror *m, char *to, size_t cap)
{
	uint64_t now = uv_now(&m->daemon->loop);

	(void)snprintf(
		to, cap,
		"# TYPE bulkhead_shipper_rows_total counter\nbulkhead_shipper_rows_total %" PRIu64
		"\n# TYPE bulkhead_shipper_checkpoints_total counter\nbulkhead_shipper_checkpoints_total %" PRIu64
		"\n# TYPE bulkhead_shipper_errors_total counter\nbulkhead_shipper_errors_total %" PRIu64
		"\n# TYPE bulkhead_shipper_pruned_total counter\nbulkhead_shipper_pruned_total %" PRIu64
		"\n# TYPE bulkhead_shipper_lag_rows gauge\nbulkhead_shipper_lag_rows %" PRIu64
		"\n# TYPE bulkhead_shipper_lag_seconds gauge\nbulkhead_shipper_lag_seconds %" PRIu64
		"\n# TYPE bulkhead_shipper_forked gauge\nbulkhead_shipper_forked %d\n",
		m->rows_total, m->checkpoints_total, m->errors_total, m->pruned_total, mirror_lag(m),
		m->behind_ms ? (now - m->behind_ms) / 1000 : 0, m->halted);
}

void mirror_deinit(struct mirror *m)
{
	m->pg = pg_free(m->pg);
	while (m->n_waiting > 0)
		free(m->waiting[--m->n_waiting].note);
	folder_rows_free(&m->rows);
	batch_deinit(&m->batch);
	uv_close((uv_handle_t *)&m->retry, NULL);
}
