/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCAN in, VERDICT out, nothing else. The router has validated the text before it sends it: what is not JSON here means
 * that it is not the router it should be, and it is dropped like any peer that breaks the protocol.
 *
 * Texts are read one after the other. One that nobody waits for any more, since others took too long, is not read: else
 * the texts of a few moments, of clients that have been refused long since, would be in everybody's way for minutes.
 */
#include <inttypes.h>
#include <stdio.h>

#include "classifier/body.h"
#include "classifier/service.h"

static int service_answer(struct service *s, struct ipc_conn *conn, uint64_t id, const struct classify_verdict *v)
{
	struct proto_verdict verdict = {.total = v->total, .findings = {.items = v->findings, .count = v->n_findings}};
	int r = ipc_send(conn, PROTO_VERDICT, id, &verdict);

	s->findings += v->n_findings;
	if (r == IPC_E_FULL)
		ipc_drop(conn, "does not read its verdicts");
	return r < 0 ? r : 0;
}

static int handle_scan(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct service *s = ctx;
	const struct proto_scan *scan = msg;
	struct classify_verdict verdict;
	struct body body = BODY_NULL;
	int r = body_open(scan, fd, &body);

	if (r)
		return r == BODY_E_PEER ? IPC_E_VIOLATION : r;
	if (ipc_now_ms(s->daemon.ipc) >= scan->expires_ms) {
		body_close(&body);
		s->late++;
		return 0;
	}
	service_watch(s);
	s->scans++;
	s->bytes += body.json.len;
	r = classify(s->classifier, body.json, scan->classes, &verdict);
	body_close(&body);
	if (r)
		return r == CLASSIFY_E_JSON ? IPC_E_VIOLATION : r;
	return service_answer(s, conn, id, &verdict);
}

static const struct ipc_row router_rows[] = {{PROTO_SCAN, handle_scan}};
static const struct ipc_edge_spec router_spec = {
	.peer = ROLE_ROUTER, .rows = router_rows, .n_rows = ARRAY_LEN(router_rows), .conns_max = 4};
static const struct ipc_edge_spec admin_spec = {.peer = ROLE_CLI};

int service_serve(struct service *s)
{
	int r = ipc_serve(s->daemon.ipc, &router_spec, s, &s->router);

	return r ? r : ipc_serve(s->daemon.ipc, &admin_spec, s, &s->admin);
}

void service_metrics(void *ctx, char *to, size_t cap)
{
	const struct service *s = ctx;

	(void)snprintf(to, cap,
		       "# TYPE bulkhead_classifier_scans_total counter\n"
		       "bulkhead_classifier_scans_total %" PRIu64 "\n"
		       "# TYPE bulkhead_classifier_late_total counter\n"
		       "bulkhead_classifier_late_total %" PRIu64 "\n"
		       "# TYPE bulkhead_classifier_bytes_total counter\n"
		       "bulkhead_classifier_bytes_total %" PRIu64 "\n"
		       "# TYPE bulkhead_classifier_findings_total counter\n"
		       "bulkhead_classifier_findings_total %" PRIu64 "\n",
		       s->scans, s->late, s->bytes, s->findings);
}
