/* SPDX-License-Identifier: Apache-2.0 */
/* Receipts of a real log, held against what a client may have instead of what the provider sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auditd/receipt.h"
#include "common/head_digest.h"
#include "tests/support/test_log.h"

#define BODY "{\"choices\":[{\"message\":{\"content\":\"hello\"}}]}"
#define HEAD                                                                                                 \
	"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 09:00:00 GMT\r\nX-Request-Id: r-1\r\nrequest-id: r-1\r\n" \
	"X-Upstream-Request-Id: up-7\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

#define FIELDS "X-Upstream-Request-Id: up-7\r\nContent-Type: application/json\r\n"

static struct proto_leaf use;
static uint8_t body_digest[32], head_digest_[32];

/* As an egress records a whole answer. */
static void begin(struct fixture *f)
{
	static const uint8_t boot[16] = {9};
	const struct proto_header fields[] = {
		{SPAN_LIT("content-type"), SPAN_LIT("application/json")},
		{SPAN_LIT("x-upstream-request-id"), SPAN_LIT("up-7")},
	};
	struct span body = SPAN_LIT(BODY);

	f->seq = 0;
	f->signed_size = 0;
	sha256(&body, 1, body_digest);
	head_digest(200, fields, ARRAY_LEN(fields), head_digest_);
	use = (struct proto_leaf){.version = LEAF_VERSION,
				  .role = ROLE_EGRESS,
				  .boot = span_of(boot, sizeof(boot)),
				  .recorded_ns = 1,
				  .last_seq = 1,
				  .seq = 1,
				  .code = EVENT_EGRESS_USE,
				  .actor = SPAN_LIT("key_1"),
				  .tenant = SPAN_LIT("acme"),
				  .resource = SPAN_LIT("api.example.com"),
				  .request_id = SPAN_LIT("r-1"),
				  .status = 200,
				  .bytes = sizeof(BODY) - 1,
				  .digest = span_of(body_digest, 32),
				  .head_digest = span_of(head_digest_, 32)};
}

/* The receipt of `use`, in a new log with others around it. */
static void receipt_of(struct fixture *f, struct buf *to)
{
	f->l = ledger_close(f->l);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	f->seq = f->signed_size = 0;
	assert_int_equal(reopen(f), 0);
	commit(f, 10);
	ledger_batch_clear(&f->batch);
	assert_int_equal(ledger_batch_add(&f->batch, &use), 0);
	assert_int_equal(ledger_append(f->l, &f->batch), 0);
	commit(f, 3);
	sign(f);
	buf_reset(to);
	assert_int_equal(proof_make(f->dir, 10, to), 0);
}

static struct receipt *read_good(struct fixture *f, struct buf *text)
{
	struct receipt *receipt = malloc(sizeof(*receipt));

	receipt_of(f, text);
	assert_int_equal(receipt_read(buf_span(text), &f->key, receipt), 0);
	assert_int_equal(receipt->proof.index, 10);
	assert_true(span_eq_str(receipt->leaf.request_id, "r-1"));
	return receipt;
}

static void test_bodies(void **state)
{
	static const struct {
		const char *body;
		uint64_t found;
	} rows[] = {
		{BODY, 0},
		{BODY "\n", BIT(RECEIPT_APPENDED)},
		{BODY "data: {\"error\":{}}\n\n", BIT(RECEIPT_APPENDED)},
		{" " BODY, BIT(RECEIPT_ALTERED)},
		{"{\"choices\":[{\"message\":{\"content\":\"hello\"}}]", BIT(RECEIPT_TRUNCATED)},
		{"", BIT(RECEIPT_TRUNCATED)},
	};
	struct fixture *f = *state;
	struct buf text;

	buf_init(&text, PROOF_BYTES_MAX);
	begin(f);
	struct receipt *receipt = read_good(f, &text);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(receipt_compare(receipt, &(struct receipt_claim){.body = span_str(rows[i].body)}),
				 rows[i].found);
	char altered[] = BODY;
	for (size_t i = 0; i < sizeof(altered) - 1; i++) {
		altered[i] ^= 1;
		assert_int_equal(receipt_compare(receipt, &(struct receipt_claim){.body = span_str(altered)}),
				 BIT(RECEIPT_ALTERED));
		altered[i] ^= 1;
	}
	free(receipt);
	buf_deinit(&text);
}

static void test_heads(void **state)
{
	static const struct {
		const char *head;
		uint64_t found;
	} rows[] = {
		{HEAD, 0},
		{"HTTP/1.1 100 Continue\r\n\r\n" HEAD, 0},
		{"HTTP/2 200\nx-upstream-request-id:up-7\ncontent-type:\tapplication/json", 0},
		{"HTTP/1.1 201 OK\r\nX-Upstream-Request-Id: up-7\r\nContent-Type: application/json\r\n\r\n",
		 BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 200 OK\r\nX-Upstream-Request-Id: up-8\r\nContent-Type: application/json\r\n\r\n",
		 BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 200 OK\r\nX-Upstream-Request-Id: up-7\r\nContent-Type: application/json\r\n"
		 "Retry-After: 1\r\n\r\n",
		 BIT(RECEIPT_HEAD)},
		{HEAD "HTTP/1.1 200 OK\r\n\r\n", BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 200 OK\r\nX-Request-Id: r-2\r\nX-Upstream-Request-Id: up-7\r\n"
		 "Content-Type: application/json\r\n\r\n",
		 BIT(RECEIPT_REQUEST)},
		{"no head at all", BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 2x0 OK\r\n\r\n", BIT(RECEIPT_HEAD)},
		/* What a client acts on is the first head that is not an interim one, as its lines are cut. */
		{HEAD "Server-Timing: total;dur=1\r\n", 0},
		{"HTTP/1.1 500 No\r\nContent-Type: text/html\r\nHTTP/1.1 200 : \r\n" FIELDS "\r\n", BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 500 No\r\nContent-Type: text/html\r\n\r\n" HEAD, BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 2x0 OK\r\n\r\n" HEAD, BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 100 Continue\r\n" HEAD, BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 200 OK\r\nServer: a\r\n Content-Type: application/json\r\nX-Upstream-Request-Id: "
		 "up-7\r\n\r\n",
		 BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 200 OK\r\n" FIELDS "Content-Type : text/html\r\n\r\n", BIT(RECEIPT_HEAD)},
		{"HTTP/1.1 200 OK\r\nX-Upstream-Request-Id: up-7\r\n\r\nContent-Type: application/json\r\n",
		 BIT(RECEIPT_HEAD)},
		{"", BIT(RECEIPT_HEAD)}, /* a file that nobody filled */
		{"\r\n", BIT(RECEIPT_HEAD)},
	};
	struct fixture *f = *state;
	struct buf text;

	buf_init(&text, PROOF_BYTES_MAX);
	begin(f);
	struct receipt *receipt = read_good(f, &text);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct receipt_claim claim = {.body = SPAN_LIT(BODY), .head = span_str(rows[i].head)};
		if (receipt_compare(receipt, &claim) != rows[i].found)
			fail_msg("row %zu", i);
	}
	free(receipt);
	buf_deinit(&text);
}

/* A provider that names no type: the gateway says application/octet-stream, and that is no change. */
static void test_no_type(void **state)
{
	const struct proto_header fields[] = {{SPAN_LIT("openai-version"), SPAN_LIT("1")}};
	struct receipt_claim claim = {
		.body = SPAN_LIT(BODY),
		.head = SPAN_LIT("HTTP/1.1 200 OK\ncontent-type: application/octet-stream\nopenai-version: 1\n"),
	};
	struct fixture *f = *state;
	struct buf text;

	buf_init(&text, PROOF_BYTES_MAX);
	begin(f);
	head_digest(200, fields, 1, head_digest_);
	struct receipt *receipt = read_good(f, &text);
	assert_int_equal(receipt_compare(receipt, &claim), 0);
	claim.head = SPAN_LIT("HTTP/1.1 200 OK\ncontent-type: text/plain\nopenai-version: 1\n");
	assert_int_equal(receipt_compare(receipt, &claim), BIT(RECEIPT_HEAD));
	free(receipt);
	buf_deinit(&text);
}

static void test_other_findings(void **state)
{
	struct receipt_claim claim = {.body = SPAN_LIT(BODY)};
	struct fixture *f = *state;
	struct buf text;

	buf_init(&text, PROOF_BYTES_MAX);
	begin(f);
	use.scrubbed = 2;
	use.reason = SPAN_LIT("upstream_broken");
	struct receipt *receipt = read_good(f, &text);
	assert_int_equal(receipt_compare(receipt, &claim), BIT(RECEIPT_REPLACED) | BIT(RECEIPT_INCOMPLETE));
	claim.request_id = SPAN_LIT("r-1");
	claim.host = SPAN_LIT("api.example.com");
	assert_int_equal(receipt_compare(receipt, &claim), BIT(RECEIPT_REPLACED) | BIT(RECEIPT_INCOMPLETE));
	claim.request_id = SPAN_LIT("r-11");
	claim.host = SPAN_LIT("api.example.org");
	assert_int_equal(receipt_compare(receipt, &claim),
			 BIT(RECEIPT_REPLACED) | BIT(RECEIPT_INCOMPLETE) | BIT(RECEIPT_REQUEST) | BIT(RECEIPT_HOST));
	free(receipt);

	begin(f);
	use.digest = use.head_digest = SPAN_NULL;
	use.bytes = 0;
	use.reason = SPAN_LIT("upstream_timeout");
	receipt = read_good(f, &text);
	assert_int_equal(receipt_compare(receipt, &(struct receipt_claim){.head = SPAN_LIT(HEAD)}),
			 BIT(RECEIPT_NO_ANSWER) | BIT(RECEIPT_INCOMPLETE));
	free(receipt);
	buf_deinit(&text);
}

/* Whose records count: a router that calls its event egress.use, an egress that says something else. */
static void test_other_records(void **state)
{
	struct fixture *f = *state;
	struct receipt *receipt = malloc(sizeof(*receipt));
	struct buf text;

	buf_init(&text, PROOF_BYTES_MAX);
	begin(f);
	use.role = ROLE_ROUTER;
	receipt_of(f, &text);
	assert_int_equal(receipt_read(buf_span(&text), &f->key, receipt), RECEIPT_E_RECORD);
	begin(f);
	use.code = EVENT_REQUEST_COMPLETE;
	receipt_of(f, &text);
	assert_int_equal(receipt_read(buf_span(&text), &f->key, receipt), RECEIPT_E_RECORD);
	free(receipt);
	buf_deinit(&text);
}

/* Another key under the same name, another name, and every byte changed: what still reads must say the same. */
static void test_forgeries(void **state)
{
	uint8_t public[32], secret[64];
	struct fixture *f = *state;
	struct receipt *receipt = malloc(sizeof(*receipt));
	struct note_key key;
	struct buf text;
	unsigned seen = 0;

	buf_init(&text, PROOF_BYTES_MAX);
	begin(f);
	receipt_of(f, &text);
	crypto_sign_keypair(public, secret);
	assert_int_equal(note_key_init(&key, span_str(f->key.name), public), 0);
	assert_int_equal(receipt_read(buf_span(&text), &key, receipt), RECEIPT_E_ORIGIN);
	assert_int_equal(note_key_init(&key, SPAN_LIT("bulkhead.other/audit"), f->public), 0);
	assert_int_equal(receipt_read(buf_span(&text), &key, receipt), RECEIPT_E_ORIGIN);
	struct span all = buf_span(&text);
	uint8_t *copy = malloc(all.len);
	for (size_t i = 0; i < all.len * 8; i++) {
		memcpy(copy, all.p, all.len);
		copy[i / 8] ^= (uint8_t)(1 << i % 8);
		int r = receipt_read(span_of(copy, all.len), &f->key, receipt);
		assert_int_not_equal(r, 0);
		seen |= 1U << r;
	}
	assert_int_equal(seen, 1U << RECEIPT_E_MALFORMED | 1U << RECEIPT_E_ORIGIN | 1U << RECEIPT_E_SIGNATURE |
				       1U << RECEIPT_E_PROOF);
	free(copy);
	free(receipt);
	buf_deinit(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_heads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_type, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_findings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forgeries, setup, teardown),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
