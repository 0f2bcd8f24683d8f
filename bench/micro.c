/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds for the pieces of one request: the fastest of several runs of each, on one core, everything in the cache.
 * What the numbers leave out, the kernel and the wake-ups, is what bench/run measures.
 */
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/micro_rotation.h"
#include "classifier/classify.h"
#include "common/grant.h"
#include "common/json_scan.h"
#include "keyvault/egress/permit.h"
#include "keyvault/egress/scrub.h"
#include "proto/proto.h"
#include "router/http_head.h"

#define RUNS          7
#define RUN_NS        20000000
#define ARENA_BYTES   65536
#define REPLY_BYTES   1536
#define EVENT_BYTES   160
#define STREAM_EVENTS 100
#define SAMPLES       20000

#define BENCH_EPOCH      UINT64_C(1800000000000)
#define BENCH_EXPIRES_MS UINT64_C(7200000)

struct bench {
	char *body; /* a chat request of body_len bytes */
	size_t body_len;
	struct classifier *classifier;
	struct secret_arena *arena;
	struct scrub scrub;
	uint8_t reply[REPLY_BYTES]; /* of a provider */
	uint8_t frame[PROTO_FRAME_BYTES_MAX], out[16384];
	uint8_t grant[GRANT_BYTES_MAX], edge_key[HMAC_SCHEDULE_BYTES];
	size_t frame_len, grant_len;
	struct replay replay;
	struct voids voids;
	uint64_t number; /* of the next use */
	uint64_t sum;    /* keeps results alive */
};

static const struct proto_grant_route bench_routes[] = {{
	.credential = {(const uint8_t *)"openai", 6},
	.host = {(const uint8_t *)"api.openai.com", 14},
	.port = 443,
	.method = PROTO_POST,
	.path = {(const uint8_t *)"/v1/chat/completions", 20},
}};

static struct proto_grant bench_grant(void)
{
	return (struct proto_grant){
		.epoch = BENCH_EPOCH,
		.lane = 1,
		.series = BENCH_EPOCH,
		.number = 100000,
		.request_id = SPAN_LIT("0123456789abcdef0123456789abcdef"),
		.tenant = SPAN_LIT("acme"),
		.principal = SPAN_LIT("key_0123456789ab"),
		.body_bytes_max = 1024,
		.expires_ms = BENCH_EXPIRES_MS,
		.routes = {.items = bench_routes, .count = ARRAY_LEN(bench_routes)},
	};
}

static void bench_pack_authorize(struct bench *b)
{
	struct proto_authorize m = {
		.credential = SPAN_LIT("bh_sk_0123456789abcdefghijklmnopqrstuvwxyz0123456789"),
		.address = SPAN_LIT("127.0.0.1"),
		.model = SPAN_LIT("gpt-4o-mini"),
		.request_id = SPAN_LIT("0123456789abcdef0123456789abcdef"),
		.body_bytes = 1024,
		.call = 7,
	};

	if (proto_pack(&proto_authorize_desc, 7, &m, b->frame, sizeof(b->frame), &b->frame_len))
		abort();
}

static void bench_unpack_authorize(struct bench *b)
{
	const struct proto_desc *desc;
	union proto_any m;
	uint64_t id;

	if (proto_unpack(span_of(b->frame, b->frame_len), ROLE_ROUTER, ROLE_AUTHD, &id, &desc, &m))
		abort();
	b->sum += m.authorize.body_bytes;
}

static void bench_mint(struct bench *b)
{
	struct proto_grant g = bench_grant();

	if (grant_mint(b->edge_key, &g, b->grant, sizeof(b->grant), &b->grant_len))
		abort();
}

static void bench_open(struct bench *b)
{
	struct proto_grant g;

	if (grant_open(b->edge_key, span_of(b->grant, b->grant_len), &g))
		abort();
	b->sum += g.lane;
}

/* All that the egress checks before an exchange. The grant that bench_mint() left is good once and used ever after,
 * which is found out last. */
static void bench_permit(struct bench *b)
{
	const struct proto_open open = {.grant = span_of(b->grant, b->grant_len),
					.method = PROTO_POST,
					.path = bench_routes[0].path,
					.body_bytes = 1024};
	const struct permit_env env = {.key = b->edge_key,
				       .epoch = BENCH_EPOCH,
				       .lane = 1,
				       .now_ms = BENCH_EXPIRES_MS - 30000,
				       .replay = &b->replay,
				       .voids = &b->voids};
	struct proto_grant g;
	struct proto_grant_route route;
	bool authentic;

	enum reason why = permit_open(&env, &open, &authentic, &g, &route);
	if (why != REASON_NONE && why != REASON_GRANT_USED)
		abort();
	b->sum += why;
}

/* As they come in: nearly in order. */
static void bench_replay(struct bench *b)
{
	uint64_t number = b->number++ ^ 5;

	if (replay_use(&b->replay, false, BENCH_EPOCH + 1, number))
		abort();
}

static void bench_json_scan(struct bench *b)
{
	struct json_body body;

	if (json_scan(span_of(b->body, b->body_len), NULL, NULL, &body))
		abort();
	b->sum += body.fields[JSON_FIELD_MODEL].raw.len;
}

static void bench_classify(struct bench *b)
{
	struct classify_verdict v;

	if (classify(b->classifier, span_of(b->body, b->body_len), UINT64_MAX, &v))
		abort();
	b->sum += v.total;
}

static void bench_scrub_bytes(struct bench *b, size_t len)
{
	struct scrub_pass pass;

	secret_open(b->arena);
	scrub_begin(&pass, &b->scrub);
	b->sum += scrub_feed(&pass, span_of(b->reply, len), b->out);
	b->sum += scrub_end(&pass, b->out);
	secret_close(b->arena);
}

static void bench_scrub(struct bench *b)
{
	bench_scrub_bytes(b, sizeof(b->reply));
}

/* As it is streamed: an event at a time, of one pass. */
static void bench_scrub_stream(struct bench *b)
{
	struct scrub_pass pass;

	secret_open(b->arena);
	scrub_begin(&pass, &b->scrub);
	for (size_t i = 0; i < STREAM_EVENTS; i++)
		b->sum += scrub_feed(&pass, span_of(b->reply + i % 8 * EVENT_BYTES, EVENT_BYTES), b->out);
	b->sum += scrub_end(&pass, b->out);
	secret_close(b->arena);
}

static void bench_scrub_event(struct bench *b)
{
	bench_scrub_bytes(b, EVENT_BYTES);
}

static void bench_http_head(struct bench *b)
{
	static const struct span text = SPAN_LIT("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
						 "Authorization: Bearer bh_sk_0123456789abcdefghijklmnopqrstuvwxyz\r\n"
						 "Content-Type: application/json\r\nAccept: application/json\r\n"
						 "User-Agent: OpenAI/JS 4.104.0\r\nX-Stainless-Lang: js\r\n"
						 "X-Stainless-Runtime: node\r\nContent-Length: 1024\r\n\r\n");
	struct http_scan scan = {0};
	struct http_head head;
	size_t bytes;

	if (http_scan(&scan, text, &bytes) || http_head_parse(span_of(text.p, bytes), &head))
		abort();
	b->sum += head.n_fields;
}

static const struct {
	const char *name;
	void (*run)(struct bench *b);
	bool per_kb; /* the time is for body_len bytes */
} benches[] = {
	{"proto: pack AUTHORIZE", bench_pack_authorize, false},
	{"proto: unpack AUTHORIZE", bench_unpack_authorize, false},
	{"grant: mint", bench_mint, false},
	{"grant: open", bench_open, false},
	{"grant: check", bench_permit, false},
	{"grant: window", bench_replay, false},
	{"http_head: scan and parse, 8 fields", bench_http_head, false},
	{"json_scan", bench_json_scan, true},
	{"scrub: a reply of 1.5 KB", bench_scrub, false},
	{"scrub: an event of 160 bytes", bench_scrub_event, false},
	{"classify", bench_classify, true},
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The fastest of RUNS runs of RUN_NS each. */
static double time_ns(struct bench *b, void (*run)(struct bench *b))
{
	double best = 0;

	for (unsigned i = 0; i < RUNS; i++) {
		uint64_t begin = now_ns(), n = 0, took;

		do {
			for (unsigned k = 0; k < 64; k++)
				run(b);
			n += 64;
			took = now_ns() - begin;
		} while (took < RUN_NS);
		if (i == 0 || (double)took / (double)n < best)
			best = (double)took / (double)n;
	}
	return best;
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* One call at a time, as between two requests; what a clock costs is in it. */
static double p99_us(struct bench *b, void (*run)(struct bench *b))
{
	static uint64_t took[SAMPLES];

	for (size_t i = 0; i < SAMPLES; i++) {
		uint64_t begin = now_ns();
		run(b);
		took[i] = now_ns() - begin;
	}
	qsort(took, SAMPLES, sizeof(took[0]), compare_ns);
	uint64_t p99_ns = took[SAMPLES * 99 / 100];
	return (double)p99_ns / 1000;
}

static char *make_body(size_t *ret_len)
{
	static const char sentence[] = "Please summarise the minutes of the last meeting in three sentences.\\n";
	char *body, *p;

	p = body = malloc(4096);
	assert(body);
	p += sprintf(p, "{\"model\":\"gpt-4o-mini\",\"stream\":true,\"max_tokens\":64,\"messages\":["
			"{\"role\":\"system\",\"content\":\"You are terse.\"},{\"role\":\"user\",\"content\":\"");
	for (unsigned i = 0; i < 12; i++)
		p += sprintf(p, "%s", sentence);
	p += sprintf(p, "\"}]}");
	*ret_len = (size_t)(p - body);
	return body;
}

int main(void)
{
	static struct bench b;

	b.body = make_body(&b.body_len);
	if (sodium_init() < 0 || classifier_new(&b.classifier) || replay_init(&b.replay) ||
	    secret_arena_new(ARENA_BYTES, &b.arena))
		return EXIT_FAILURE;
	for (size_t i = 0; i < sizeof(b.reply); i++)
		b.reply[i] = (uint8_t)b.body[i % b.body_len];
	secret_open(b.arena); /* as for the caller of scrub_init(), whose secret lies there */
	if (scrub_init(&b.scrub, b.arena, &SPAN_LIT("sk-proj-0123456789abcdefghijklmnopqrstuvwxyz"), 1))
		return EXIT_FAILURE;
	secret_close(b.arena);
	hmac_prepare(SPAN_LIT("an edge key"), b.edge_key);
	for (size_t i = 0; i < ARRAY_LEN(benches); i++) {
		double ns = time_ns(&b, benches[i].run);

		if (benches[i].per_kb)
			printf("%-40s %8.0f ns/KB\n", benches[i].name, ns * 1024 / (double)b.body_len);
		else
			printf("%-40s %8.0f ns\n", benches[i].name, ns);
	}
	printf("%-40s %8.1f us\n", "scrub: a reply of 1.5 KB, p99", p99_us(&b, bench_scrub));
	printf("%-40s %8.1f us\n", "scrub: a stream of 100 events, p99", p99_us(&b, bench_scrub_stream));
	printf("%-40s %8.0f credentials/s\n", "rotation: rewrap, with SQLite", micro_rotation());
	scrub_deinit(&b.scrub);
	replay_deinit(&b.replay);
	b.arena = secret_arena_free(b.arena);
	b.classifier = classifier_free(b.classifier);
	free(b.body);
	return b.sum == 0;
}
