/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit reveal INDEX...`: the client's address of these records, by authd, who keeps the keys of subjects and
 * records that it was asked. The records themselves are auditd's to tell.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "auditd/leaf.h"
#include "cli/admin.h"
#include "cli/output.h"
#include "cli/plain.h"

#define REVEAL_ITEMS_MAX CLI_ARGS_MAX

/* Copies of what the records say: an answer lives until the next call. */
struct reveal {
	struct cli *cli;
	size_t n;
	struct reveal_record {
		uint64_t index;
		char subject[33];
		uint8_t sealed[128];
		size_t sealed_len;
	} records[REVEAL_ITEMS_MAX];
};

static int reveal_read_one(struct reveal *v, struct admin *auditd, uint64_t index)
{
	struct reveal_record *to = &v->records[v->n];
	const union proto_any *answer;
	struct proto_audit_record record;
	struct proto_leaf leaf;
	int r = admin_call(auditd, PROTO_AUDIT_READ, &(struct proto_audit_read){.from = index, .max = 1},
			   PROTO_AUDIT_READ_REP, ADMIN_DEADLINE_MS, &answer);

	if (r)
		return r;
	struct proto_list list = answer->audit_read_rep.records;
	if (answer->audit_read_rep.from > index)
		return cli_fail(v->cli, "retention removed record %" PRIu64 "; see `bulkhead audit retention`", index);
	if (answer->audit_read_rep.from != index || !proto_audit_record_next(&list, &record))
		return cli_fail(v->cli, "there is no record %" PRIu64, index);
	if (leaf_unpack(record.leaf, &leaf))
		return cli_fail(v->cli, "record %" PRIu64 " cannot be read; see `bulkhead audit verify`", index);
	to->index = index;
	(void)snprintf(to->subject, sizeof(to->subject), "%.*s", SPAN_ARG(leaf.subject));
	to->sealed_len = MIN(leaf.sealed.len, sizeof(to->sealed));
	if (to->sealed_len)
		memcpy(to->sealed, leaf.sealed.p, to->sealed_len);
	v->n++;
	return CLI_DONE;
}

static int reveal_read(struct reveal *v)
{
	uint64_t indices[REVEAL_ITEMS_MAX];
	struct admin *auditd = NULL;
	int r = CLI_DONE;

	for (size_t i = 0; !r && i < v->cli->n_args; i++)
		r = cli_arg_u64(v->cli, i, "INDEX", &indices[i]);
	if (!r)
		r = admin_open(v->cli, ROLE_AUDITD, 0, &auditd);
	for (size_t i = 0; !r && i < v->cli->n_args; i++)
		r = reveal_read_one(v, auditd, indices[i]);
	(void)admin_close(auditd);
	return r;
}

static int reveal_print(struct reveal *v, const struct reveal_record *record, const struct proto_revealed_item *item)
{
	if (v->cli->json)
		return cli_print_json(v->cli, json_pack("{s:I,s:o,s:o,s:o}", "index", (json_int_t)record->index,
							"subject", json_span(span_str(record->subject)), "address",
							json_span(item->address), "why", json_span(item->why)));
	plain_line(v->cli->out, "%8" PRIu64 "  %-20s  %.*s", record->index, record->subject,
		   SPAN_ARG(item->address.len ? item->address : item->why));
	return CLI_DONE;
}

/* Those that have nothing sealed are not asked about. */
static int reveal_ask(struct reveal *v, struct admin *authd)
{
	static const struct proto_revealed_item nothing = {.why = {(const uint8_t *)"nothing sealed", 14}};
	struct proto_reveal_item items[REVEAL_ITEMS_MAX];
	const union proto_any *answer = NULL;
	struct proto_revealed_item item;
	struct proto_list list = {0};
	size_t n = 0;
	int r = CLI_DONE;

	for (size_t i = 0; i < v->n; i++) {
		const struct reveal_record *record = &v->records[i];
		if (record->sealed_len > 0 && record->subject[0])
			items[n++] = (struct proto_reveal_item){
				.index = record->index,
				.subject = span_str(record->subject),
				.sealed = span_of(record->sealed, record->sealed_len),
			};
	}
	if (n > 0)
		r = admin_call(authd, PROTO_AUDIT_REVEAL,
			       &(struct proto_audit_reveal){.items = {.items = items, .count = n}},
			       PROTO_AUDIT_REVEALED, ADMIN_DEADLINE_MS, &answer);
	if (!r && answer)
		list = answer->audit_revealed.items;
	for (size_t i = 0; !r && i < v->n; i++) {
		const struct reveal_record *record = &v->records[i];
		bool asked = record->sealed_len > 0 && record->subject[0];
		if (asked && !proto_revealed_item_next(&list, &item))
			return cli_fail(v->cli, "authd's answer is not complete");
		r = reveal_print(v, record, asked ? &item : &nothing);
	}
	return r;
}

int cmd_audit_reveal(struct cli *cli)
{
	struct reveal *v = calloc(1, sizeof(*v));
	struct admin *authd = NULL;

	if (!v)
		return cli_fail(cli, "no memory");
	v->cli = cli;
	int r = reveal_read(v);
	if (!r)
		r = admin_open(cli, ROLE_AUTHD, 0, &authd);
	if (!r)
		r = reveal_ask(v, authd);
	(void)admin_close(authd);
	free(v);
	return r;
}
