/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead receipt verify`: offline, with nothing but the answer, its receipt and the key that the log is signed with.
 * On the gateway's own machine the key may be left out: then it is the one beside the log, which serves to try it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "auditd/receipt.h"
#include "cli/audit_reader.h"
#include "cli/audit_trust.h"
#include "cli/output.h"
#include "cli/plain.h"
#include "cli/receipt.h"

#define RECEIPT_ANSWER_BYTES_MAX ((size_t)1 << 30)
#define RECEIPT_HEAD_BYTES_MAX   ((size_t)1 << 20)
#define RECEIPT_VKEY_BYTES_MAX   1024

/* The whole of a file ("-": standard input), in memory that is the caller's to free. CLI_DONE or CLI_FAILED. */
static int receipt_slurp(const struct cli *cli, const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_len)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	size_t cap = 65536, len = 0, n;
	uint8_t *bytes = malloc(cap);

	if (!f)
		free(TAKE(bytes));
	while (bytes && (n = fread(bytes + len, 1, cap - len, f)) > 0) {
		len += n;
		if (len < cap)
			continue;
		uint8_t *more = cap < max ? realloc(bytes, cap * 2) : NULL;
		if (!more) {
			free(bytes);
			errno = cap < max ? ENOMEM : EFBIG;
		}
		bytes = more;
		cap *= 2;
	}
	if (bytes && ferror(f))
		free(TAKE(bytes));
	int why = errno;
	if (f && f != stdin)
		(void)fclose(f);
	*ret_bytes = bytes;
	*ret_len = len;
	return bytes ? CLI_DONE : cli_fail(cli, "%s: %s", path, strerror(why));
}

/* --vkey, or the key beside a log. CLI_DONE, CLI_USAGE or CLI_FAILED. */
static int receipt_key(struct cli *cli, struct note_key *key)
{
	const char *given = cli_option(cli, "--vkey");
	char path[AUDIT_FOLDER_BYTES_MAX + 8], *text;
	size_t len;

	if (given)
		return note_key_parse(key, span_str(given))
			       ? cli_misuse(cli, "--vkey: not a verifier key; it looks like name+id+key")
			       : CLI_DONE;
	int r = audit_folder(cli, path);
	if (!r) {
		memcpy(path + strlen(path), "/vkey", sizeof("/vkey"));
		r = audit_read_file(cli, path, RECEIPT_VKEY_BYTES_MAX, &text, &len);
	}
	if (r)
		return cli_fail(cli, "without --vkey, that is where a key is looked for");
	while (len > 0 && text[len - 1] == '\n')
		len--;
	if (note_key_parse(key, span_of(text, len)))
		r = cli_fail(cli, "%s: not a verifier key", path);
	else
		plain_line(cli->err, "This key lies beside the log. For evidence, give the one you kept: --vkey '%.*s'",
			   (int)len, text);
	free(text);
	return r;
}

/* ---- what came of it ---- */

static const char *receipt_err_text(int e)
{
	switch (e) {
	case RECEIPT_E_MALFORMED:
		return "this is no receipt";
	case RECEIPT_E_ORIGIN:
		return "the receipt is not signed by this key: another gateway's, or nobody's";
	case RECEIPT_E_SIGNATURE:
		return "the receipt's signature does not hold";
	case RECEIPT_E_PROOF:
		return "the signed log does not have the receipt's record";
	default:
		return "the receipt proves a record, but not one that the vault made of an answer";
	}
}

static const char *receipt_err_word(int e)
{
	static const char *const words[] = {
		[RECEIPT_E_MALFORMED] = "malformed",     [RECEIPT_E_ORIGIN] = "other_key",
		[RECEIPT_E_SIGNATURE] = "bad_signature", [RECEIPT_E_PROOF] = "bad_proof",
		[RECEIPT_E_RECORD] = "other_record",
	};

	return words[e];
}

static int receipt_refuse(struct cli *cli, int e)
{
	if (!cli->json)
		return cli_fail(cli, "NOT good: %s", receipt_err_text(e));
	int r = cli_print_json(cli, json_pack("{s:b,s:[s]}", "good", false, "findings", receipt_err_word(e)));
	return r ? r : CLI_FAILED;
}

/* "2026-01-02T03:04:05Z" */
static void receipt_time(uint64_t ns, char to[24])
{
	time_t seconds = (time_t)(ns / 1000000000U);
	struct tm tm = {0};

	(void)gmtime_r(&seconds, &tm);
	(void)strftime(to, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static int receipt_report_json(struct cli *cli, const struct receipt *receipt, uint64_t found)
{
	const struct proto_leaf *leaf = &receipt->leaf;
	json_t *findings = json_array();
	char time[24];

	for (size_t i = 0; i < N_RECEIPT_FINDINGS; i++)
		if (found & BIT(i))
			(void)json_array_append_new(findings, json_string(receipt_finding_rows[i].word));
	receipt_time(leaf->time_ns, time);
	int r = cli_print_json(cli,
			       json_pack("{s:b,s:o,s:o,s:s,s:o,s:o,s:o,s:I,s:I,s:I,s:o,s:I,s:I}", "good", found == 0,
					 "findings", findings, "request_id", json_span(leaf->request_id), "time", time,
					 "host", json_span(leaf->resource), "provider", json_span(leaf->provider),
					 "credential", json_span(leaf->credential), "status", (json_int_t)leaf->status,
					 "bytes", (json_int_t)leaf->bytes, "replaced", (json_int_t)leaf->scrubbed,
					 "reason", json_span(leaf->reason), "index", (json_int_t)receipt->proof.index,
					 "signed", (json_int_t)receipt->proof.size));
	return r ? r : found ? CLI_FAILED : CLI_DONE;
}

static int receipt_report(struct cli *cli, const struct receipt *receipt, uint64_t found, bool with_head)
{
	const struct proto_leaf *leaf = &receipt->leaf;
	char time[24];

	if (cli->json)
		return receipt_report_json(cli, receipt, found);
	for (size_t i = 0; i < N_RECEIPT_FINDINGS; i++)
		if (found & BIT(i))
			(void)cli_fail(cli, "NOT the provider's own: %s", receipt_finding_rows[i].meaning);
	if ((found & BIT(RECEIPT_REPLACED)) && !(found & (BIT(RECEIPT_ALTERED) | BIT(RECEIPT_TRUNCATED))))
		(void)cli_fail(cli, "but nothing else was changed: %" PRIu64 " times, and the rest is as it came",
			       leaf->scrubbed);
	receipt_time(leaf->time_ns, time);
	plain_line(cli->out, "%s: request %.*s, answered by %.*s (%.*s) with status %" PRIu64 ", %" PRIu64 " bytes, %s",
		   found       ? "the receipt"
		   : with_head ? "good, body and head"
			       : "good",
		   SPAN_ARG(leaf->request_id), SPAN_ARG(leaf->resource), SPAN_ARG(leaf->provider), leaf->status,
		   leaf->bytes, time);
	fprintf(cli->out, "record %" PRIu64 " of %" PRIu64 " signed ones\n", receipt->proof.index, receipt->proof.size);
	return found ? CLI_FAILED : CLI_DONE;
}

/* ---- the command ---- */

struct receipt_files {
	uint8_t *answer, *text, *head;
	size_t answer_len, text_len, head_len;
};

static int receipt_read_files(struct cli *cli, struct receipt_files *f)
{
	const char *head = cli_option(cli, "--head");
	int r = receipt_slurp(cli, cli->args[0], RECEIPT_ANSWER_BYTES_MAX, &f->answer, &f->answer_len);

	if (!r)
		r = receipt_slurp(cli, cli->args[1], PROOF_BYTES_MAX, &f->text, &f->text_len);
	if (!r && head)
		r = receipt_slurp(cli, head, RECEIPT_HEAD_BYTES_MAX, &f->head, &f->head_len);
	return r;
}

static struct span receipt_option(const struct cli *cli, const char *name)
{
	const char *value = cli_option(cli, name);

	return value ? span_str(value) : SPAN_NULL;
}

static int receipt_verify(struct cli *cli, const struct receipt_files *f, const struct note_key *key)
{
	const struct receipt_claim claim = {
		.body = span_of(f->answer, f->answer_len),
		.head = span_of(f->head, f->head_len),
		.request_id = receipt_option(cli, "--request-id"),
		.host = receipt_option(cli, "--host"),
	};
	struct receipt *receipt = malloc(sizeof(*receipt));

	if (!receipt)
		return cli_fail(cli, "out of memory");
	int e = receipt_read(span_of(f->text, f->text_len), key, receipt);
	int r = e ? receipt_refuse(cli, e)
		  : receipt_report(cli, receipt, receipt_compare(receipt, &claim), f->head != NULL);
	free(receipt);
	return r;
}

int cmd_receipt_verify(struct cli *cli)
{
	struct receipt_files f = {0};
	struct note_key key;
	int r = receipt_read_files(cli, &f);

	if (!r)
		r = receipt_key(cli, &key);
	if (!r)
		r = receipt_verify(cli, &f, &key);
	free(f.answer);
	free(f.text);
	free(f.head);
	return r;
}
