/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what the tables of proto/ say, so that no page is written by hand:
 *
 *   docgen protocol      PROTOCOL.md: every message, its direction, fields, bounds and class
 *   docgen reasons       REASONS.md: every refusal
 *   docgen events        EVENTS.md: every audit event
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/events.h"
#include "proto/reasons.h"

static const char *const class_names[] = {"public", "private", "secret"};
static const char *const kind_names[] = {"uint", "str", "bin", "list"};

static void print_number(uint64_t v)
{
	if (v == UINT64_MAX)
		printf("2^64-1");
	else
		printf("%" PRIu64, v);
}

static void print_roles(uint64_t mask)
{
	const char *comma = "";

	for (unsigned role = 0; role < N_ROLES; role++)
		if (mask & BIT(role)) {
			printf("%s%s", comma, role_name((enum role)role));
			comma = ", ";
		}
}

static void print_fields(const struct proto_desc *d)
{
	if (d->n_fields == 0) {
		printf("No fields.\n\n");
		return;
	}
	printf("| field | kind | bounds | class | meaning |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < d->n_fields; i++) {
		const struct proto_field *f = &d->fields[i];

		printf("| %s | %s", f->name, kind_names[f->kind]);
		if (f->item)
			printf(" of [%s](#%s)", f->item->name, f->item->name);
		printf(" | ");
		print_number(f->min);
		printf("..");
		print_number(f->max);
		printf(" | %s | %s |\n", class_names[f->class], f->doc);
	}
	printf("\n");
}

static void print_message(const struct proto_desc *d)
{
	printf("### %s\n\nNumber %" PRIu32 ", from ", d->name, d->type);
	print_roles(d->from);
	printf(" to ");
	print_roles(d->to);
	printf(". %s%s\n\n", d->doc,
	       d->flags & PROTO_FLAG_FD         ? " One descriptor travels with it."
	       : d->flags & PROTO_FLAG_FD_MAYBE ? " At most one descriptor travels with it."
						: "");
	print_fields(d);
}

static void print_protocol(void)
{
	size_t n;
	const struct proto_desc *const *descs = proto_descs(&n);

	printf("# Messages between the daemons\n\nGenerated from proto/messages.def by `make docs`.\n\n"
	       "A frame is a u32 big-endian length (at most %d) and one msgpack array `[number, id, field...]` in "
	       "shortest "
	       "encoding; an item of a list is an array `[field...]`. Bounds are of the value for uint, of the length "
	       "for "
	       "str and bin, of the number of items for list. A reader refuses anything else, and a message that the "
	       "sender's role may not send. A field of class secret is wiped after use and shown nowhere.\n\n"
	       "Schema hash of this release: `%016" PRIx64 "`.\n\n## Messages\n\n",
	       PROTO_FRAME_BYTES_MAX, proto_schema_hash());
	for (size_t i = 0; i < n; i++)
		print_message(descs[i]);
	printf("## Items of lists\n\n");
#define M(NAME, name)                \
	printf("### %s\n\n", #name); \
	print_fields(&proto_##name##_desc);
	PROTO_ITEMS(M)
	printf("## Records\n\nPacked alone, as `[field...]`, to be authenticated.\n\n");
	PROTO_RECORDS(M)
#undef M
}

static void print_reasons(void)
{
	printf("# Refusals\n\nGenerated from proto/reasons.def by `make docs`.\n\nA client sees status, type, code and "
	       "text in the dialect of the path; the audit log has "
	       "the code.\n\n| code | status | type | Retry-After | text |\n|---|---|---|---|---|\n");
	for (unsigned i = 1; i < N_REASONS; i++) {
		const struct reason_row *r = reason_row(i);
		printf("| %s | %u | %s | ", r->code, r->status, r->type);
		if (r->retry_ms)
			printf("%u s", (r->retry_ms + 999) / 1000);
		printf(" | %s |\n", r->text);
	}
}

/* Every field that is not in every event. */
static void print_event_fields(uint32_t fields)
{
	static const char *const names[] = {
#define NAME(kind, field, min, max, class, doc) #field,
		MSG_event(NAME, NAME)
#undef NAME
	};
	const char *comma = "";

	for (unsigned i = 0; i < N_EVENT_FIELDS; i++)
		if (fields >> i & 1) {
			printf("%s%s", comma, names[i]);
			comma = ", ";
		}
}

static void print_sensitivity(void)
{
	static const char *const words[] = {"plain", "pseudonym", "digest", "sealed"};

	printf("\n## Fields\n\nplain: says nothing about a person. pseudonym: names one to those who can look the name "
	       "up "
	       "elsewhere. digest: whoever has the bytes can tell that they were it. sealed: personal, under a key of "
	       "its "
	       "subject that can be destroyed; see [audit.md](audit.md).\n\n"
	       "| field | bounds | sensitivity | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < proto_event_desc.n_fields; i++) {
		const struct proto_field *f = &proto_event_desc.fields[i];

		printf("| %s | ", f->name);
		print_number(f->min);
		printf("..");
		print_number(f->max);
		printf(" | %s | %s |\n", words[event_sensitivity((enum event_field)i)], f->doc);
	}
}

static void print_events(void)
{
	size_t n;
	const struct event_row *events = event_rows(&n);

	printf("# Audit events\n\nGenerated from proto/events.def by `make docs`.\n\n"
	       "The effect of a must-ack event waits until its record is durable; a data event never delays a request. "
	       "Only the producers named may record an event, and with no other fields than these (besides seq, "
	       "time_ns "
	       "and code): auditd drops the connection of one that tries.\n\n"
	       "| event | number | class | producers | fields | meaning |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < n; i++) {
		printf("| %s | %d | %s | ", events[i].name, (int)events[i].code,
		       events[i].class == EVENT_CLASS_MUST_ACK ? "must-ack" : "data");
		print_roles(events[i].producers);
		printf(" | ");
		print_event_fields(events[i].fields);
		printf(" | %s |\n", events[i].doc);
	}
	print_sensitivity();
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "protocol") == 0) {
		print_protocol();
	} else if (argc == 2 && strcmp(argv[1], "reasons") == 0) {
		print_reasons();
	} else if (argc == 2 && strcmp(argv[1], "events") == 0) {
		print_events();
	} else {
		(void)fprintf(stderr, "usage: docgen protocol | reasons | events\n");
		return 2;
	}
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
