/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a log folder at random: the same one for the same seed, but for what the ledger itself draws.
 *
 *   make_log FOLDER SEED ENTRIES [SEGMENT_BYTES [prune]]
 *
 * Producers start again, lose events (log.gap) and write records of every kind; commits, checkpoints and restarts of
 * the ledger fall where they will. The last entries may be unsigned, but not if SEED is even; with `prune`, retention
 * has removed some at the beginning. Records are a tenth of a second apart on average, from 2026-01-01 on. Prints one
 * JSON line with what is in it, as a verifier should find it, and the keys of the log and of a witness that cosigned
 * it.
 */
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auditd/prune.h"

#define MAKE_PRODUCERS     9
#define MAKE_AUDITD        7 /* its place among them */
#define MAKE_SEGMENT_BYTES (64U << 20)
#define MAKE_BATCH_MAX     4096
#define MAKE_BATCH_BYTES   (4U << 20)
#define MAKE_BEGIN_NS      UINT64_C(1767225600000000000)

struct producer {
	uint8_t role, worker;
	uint8_t boot[16];
	uint64_t seq;
};

struct make {
	uint64_t random, entries, segment_bytes, now_ns, gaps, lost, restarts, signed_size, first;
	const char *folder;
	struct ledger *ledger;
	struct ledger_batch batch;
	struct producer producers[MAKE_PRODUCERS];
	struct note_key key, witness;
	uint8_t secret[64], witness_secret[64];
};

static void need(int r, const char *what)
{
	if (r == 0)
		return;
	(void)fprintf(stderr, "make_log: %s: %d\n", what, r);
	exit(EXIT_FAILURE);
}

/* splitmix64 */
static uint64_t make_random(struct make *m)
{
	uint64_t z = m->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t make_below(struct make *m, uint64_t n)
{
	return make_random(m) % n;
}

static struct span make_pick(struct make *m, const char *const *words, size_t n)
{
	return span_str(words[make_below(m, n)]);
}

/* ---- records ---- */

static void make_event(struct make *m, struct proto_event *e)
{
	static const char *const tenants[] = {"acme", "globex", "initech"};
	static const char *const actors[] = {"key_aaaaaaaaaaaaaaaa", "key_bbbbbbbbbbbbbbbb", "=cmd|' /C calc'!A0", "+1",
					     "@sum"};
	static const char *const models[] = {"gpt-4o-mini", "claude-sonnet-4", "mistral-large", "-model"};
	static const char *const providers[] = {"openai", "anthropic", "mistral"};
	static const uint64_t statuses[] = {200, 200, 200, 200, 401, 429, 502};
	static const uint8_t digest[32] = {1, 2, 3}, sealed[96] = {9};

	e->tenant = make_pick(m, tenants, ARRAY_LEN(tenants));
	e->actor = make_pick(m, actors, make_below(m, 50) ? 2 : ARRAY_LEN(actors));
	e->model = make_pick(m, models, make_below(m, 50) ? 3 : ARRAY_LEN(models));
	e->provider = make_pick(m, providers, ARRAY_LEN(providers));
	e->credential = e->provider;
	e->address = SPAN_LIT("192.0.2.17");
	e->resource = SPAN_LIT("/v1/chat/completions");
	e->status = statuses[make_below(m, ARRAY_LEN(statuses))];
	e->tokens_in = make_below(m, 4000);
	e->tokens_out = make_below(m, 1000);
	e->latency_us = 1000 + make_below(m, 3000000);
	e->bytes = make_below(m, 50000);
	e->digest = span_of(digest, sizeof digest);
	e->subject = SPAN_LIT("sub_abcdefghijklmnopqrstuvwxyz");
	e->sealed = span_of(sealed, sizeof sealed);
	e->cost_nano = e->tokens_in * 150 + e->tokens_out * 600;
	if (e->status != 200)
		e->reason = SPAN_LIT("some_reason");
	event_trim(event_row(e->code), e);
}

/* What this producer may say: mostly what it says of requests. */
static uint64_t make_code(struct make *m, const struct producer *p)
{
	size_t n;
	const struct event_row *rows = event_rows(&n), *row;

	if (p->role == ROLE_ROUTER && make_below(m, 20) > 0)
		return EVENT_REQUEST_COMPLETE;
	if (p->role == ROLE_EGRESS && make_below(m, 20) > 0)
		return EVENT_EGRESS_USE;
	do
		row = &rows[make_below(m, n)];
	while (!(row->producers & BIT(p->role)) || row->code == EVENT_LOG_GAP || row->code == EVENT_LOG_PRUNE);
	return row->code;
}

static void make_restart(struct make *m, struct producer *p)
{
	for (size_t i = 0; i < sizeof p->boot; i++)
		p->boot[i] = (uint8_t)make_random(m);
	p->seq = 0;
	m->restarts++;
}

static void make_gap(struct make *m, struct proto_leaf *leaf)
{
	leaf->code = EVENT_LOG_GAP;
	leaf->last_seq += make_below(m, 100);
	leaf->actor = SPAN_LIT("auditd");
	leaf->reason = SPAN_LIT("overflow");
	m->gaps++;
	m->lost += leaf->last_seq - leaf->seq + 1;
}

static void make_record(struct make *m)
{
	struct producer *p = &m->producers[make_below(m, MAKE_PRODUCERS)];
	uint64_t dice = make_below(m, 1000);
	struct proto_event e = {.code = make_code(m, p)};
	char request[40];

	if (dice < 5)
		make_restart(m, p);
	(void)snprintf(request, sizeof request, "%016" PRIx64, make_random(m));
	e.request_id = span_str(request);
	make_event(m, &e);
	m->now_ns += make_below(m, 200000000);
	struct proto_leaf leaf = {.role = p->role};
#define COPY(kind, field, min, max, class, meaning) leaf.field = e.field;
	MSG_event(COPY, COPY)
#undef COPY
		leaf.version = LEAF_VERSION;
	leaf.worker = p->worker;
	leaf.boot = span_of(p->boot, sizeof p->boot);
	leaf.recorded_ns = m->now_ns + make_below(m, 5000000);
	leaf.time_ns = m->now_ns;
	leaf.seq = leaf.last_seq = p->seq + 1;
	if (dice >= 5 && dice < 10) {
		leaf = (struct proto_leaf){.version = LEAF_VERSION,
					   .role = p->role,
					   .worker = p->worker,
					   .boot = leaf.boot,
					   .recorded_ns = leaf.recorded_ns,
					   .time_ns = leaf.time_ns,
					   .seq = leaf.seq,
					   .last_seq = leaf.last_seq};
		make_gap(m, &leaf);
	}
	p->seq = leaf.last_seq;
	need(ledger_batch_add(&m->batch, &leaf), "ledger_batch_add");
}

/* ---- the log ---- */

static size_t make_cosign(const struct make *m, struct span text, char *note, size_t cap, size_t len)
{
	uint64_t now = m->now_ns / 1000000000;
	uint8_t sig[NOTE_SIG_BYTES];
	char message[512];
	size_t message_len;

	need(note_cosigned_text(text, now, message, sizeof message, &message_len), "note_cosigned_text");
	crypto_sign_detached(sig, NULL, (const uint8_t *)message, message_len, m->witness_secret);
	need(note_add_cosignature(note, cap, &len, &m->witness, now, sig), "note_add_cosignature");
	return len;
}

static void make_sign(struct make *m)
{
	struct checkpoint cp = {.origin = span_str(m->key.name), .size = ledger_size(m->ledger)};
	struct merkle_proof proof;
	uint8_t sig[NOTE_SIG_BYTES];
	char text[512], note[LEDGER_NOTE_MAX];
	size_t len, note_len;

	need(ledger_prepare(m->ledger, m->signed_size, &cp.root, &proof), "ledger_prepare");
	need(checkpoint_format(&cp, text, sizeof text, &len), "checkpoint_format");
	crypto_sign_detached(sig, NULL, (const uint8_t *)text, len, m->secret);
	need(note_format(span_of(text, len), &m->key, sig, note, sizeof note, &note_len), "note_format");
	note_len = make_cosign(m, span_of(text, len), note, sizeof note, note_len);
	need(ledger_publish(m->ledger, span_of(note, note_len), &m->key, cp.size, &cp.root), "ledger_publish");
	ledger_published(m->ledger, cp.size, &cp.root);
	m->signed_size = cp.size;
}

static void make_commit(struct make *m)
{
	uint64_t left = m->entries - ledger_size(m->ledger);
	uint64_t n = 1 + make_below(m, m->entries > 100000 ? MAKE_BATCH_MAX : 100);

	ledger_batch_clear(&m->batch);
	for (uint64_t i = 0; i < MIN(n, left); i++)
		make_record(m);
	need(ledger_append(m->ledger, &m->batch), "ledger_append");
}

static void make_open(struct make *m)
{
	m->ledger = ledger_close(m->ledger);
	need(ledger_open(m->folder, m->segment_bytes, 0, &m->ledger), "ledger_open");
	need(ledger_write_key(m->ledger, &m->key), "ledger_write_key");
}

static void make_all(struct make *m, bool sign_last)
{
	make_open(m);
	while (ledger_size(m->ledger) < m->entries) {
		make_commit(m);
		uint64_t dice = make_below(m, 10);
		if (dice < 4)
			make_sign(m);
		if (dice == 9 && m->entries <= 100000)
			make_open(m);
	}
	if (sign_last || m->signed_size == 0)
		make_sign(m);
}

/* As retention does it: a record, signed; then segments and bundles are removed. */
static void make_prune(struct make *m)
{
	struct producer *p = &m->producers[MAKE_AUDITD];
	struct ledger *l = m->ledger;
	size_t n = make_below(m, l->n_firsts);
	struct retained what = {.end = l->firsts[n], .index = ledger_size(l), .time_ns = m->now_ns, .keep = "30d"};
	struct merkle_hash root;
	struct prune prune;

	m->first = l->firsts[n];
	if (n == 0)
		return;
	need(merkle_root(&(struct merkle_source){tree_node, &l->tree}, what.end, &root), "merkle_root");
	struct proto_leaf leaf = {
		.version = LEAF_VERSION,
		.role = p->role,
		.worker = p->worker,
		.boot = span_of(p->boot, sizeof p->boot),
		.recorded_ns = m->now_ns,
		.time_ns = m->now_ns,
		.seq = p->seq + 1,
		.last_seq = p->seq + 1,
		.code = EVENT_LOG_PRUNE,
		.actor = SPAN_LIT("auditd"),
		.reason = span_str(what.keep),
		.digest = span_of(root.b, sizeof root.b),
		.bytes = what.end,
	};
	p->seq++;
	ledger_batch_clear(&m->batch);
	need(ledger_batch_add(&m->batch, &leaf), "ledger_batch_add");
	need(ledger_append(l, &m->batch), "ledger_append");
	make_sign(m);
	need(prune_begin(&prune, l->dir, &what, l->firsts, n), "prune_begin");
	while (!what.done)
		need(prune_step(&prune, 1000) % PRUNE_E_DONE, "prune_step");
	ledger_forget(l, what.end);
}

static void make_keys(struct make *m)
{
	static const uint8_t roles[MAKE_PRODUCERS][2] = {{ROLE_ROUTER, 0}, {ROLE_ROUTER, 1}, {ROLE_ROUTER, 2},
							 {ROLE_EGRESS, 0}, {ROLE_EGRESS, 1}, {ROLE_EGRESS, 2},
							 {ROLE_AUTHD, 0},  {ROLE_AUDITD, 0}, {ROLE_KEYVAULT, 0}};
	uint8_t seed[32] = {1}, public[32];

	crypto_sign_seed_keypair(public, m->secret, seed);
	need(note_key_init(&m->key, SPAN_LIT("bulkhead.made/audit"), public), "note_key_init");
	seed[0] = 2;
	crypto_sign_seed_keypair(public, m->witness_secret, seed);
	need(note_cosigner_init(&m->witness, SPAN_LIT("bulkhead.made/witness"), public), "note_cosigner_init");
	for (size_t i = 0; i < MAKE_PRODUCERS; i++)
		m->producers[i] = (struct producer){.role = roles[i][0], .worker = roles[i][1], .boot = {(uint8_t)i}};
}

int main(int argc, char **argv)
{
	static struct make m;
	char vkey[NOTE_VKEY_MAX], witness[NOTE_VKEY_MAX];

	need(argc < 4 || argc > 6 || sodium_init() < 0, "usage: make_log FOLDER SEED ENTRIES [SEGMENT_BYTES [prune]]");
	uint64_t seed = strtoull(argv[2], NULL, 10);
	m = (struct make){.random = seed,
			  .folder = argv[1],
			  .entries = strtoull(argv[3], NULL, 10),
			  .segment_bytes = argc > 4 ? strtoull(argv[4], NULL, 10) : MAKE_SEGMENT_BYTES,
			  .now_ns = MAKE_BEGIN_NS};
	(void)mkdir(m.folder, 0700);
	make_keys(&m);
	need(ledger_batch_init(&m.batch, MAKE_BATCH_MAX, MAKE_BATCH_BYTES), "ledger_batch_init");
	make_all(&m, seed % 2 == 0);
	if (argc > 5)
		make_prune(&m);
	note_key_format(&m.key, vkey);
	note_key_format(&m.witness, witness);
	printf("{\"first\":%" PRIu64 ",\"entries\":%" PRIu64 ",\"signed\":%" PRIu64 ",\"gaps\":%" PRIu64
	       ",\"lost\":%" PRIu64 ",\"restarts\":%" PRIu64 ",\"segments\":%" PRIu64
	       ",\"vkey\":\"%s\",\"witness_vkey\":\"%s\"}\n",
	       m.first, ledger_size(m.ledger), m.signed_size, m.gaps, m.lost, m.restarts, m.ledger->segments, vkey,
	       witness);
	m.ledger = ledger_close(m.ledger);
	ledger_batch_deinit(&m.batch);
	return 0;
}
