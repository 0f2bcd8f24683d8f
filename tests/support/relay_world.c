/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/relay_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

struct relay_fake fake;

/* ---- the fakes ---- */

static void called(char c)
{
	assert_true(strlen(fake.calls) + 1 < sizeof(fake.calls));
	fake.calls[strlen(fake.calls)] = c;
}

int tls_read(struct tls *t, uint8_t *to, size_t cap, size_t *ret_len)
{
	called(t->name);
	*ret_len = MIN(strlen(t->says), cap);
	memcpy(to, t->says, *ret_len);
	t->says += *ret_len;
	return *ret_len > 0 ? 0 : t->then;
}

bool tls_pending(const struct tls *t)
{
	return *t->says != '\0' || t->at_once;
}

void upstream_pause(struct upstream *u)
{
	(void)u;
	fake.paused = true;
}

int upstream_watch(struct upstream *u, int events)
{
	(void)u;
	fake.watched = events == UV_READABLE;
	return fake.watch;
}

void exchange_break(struct exchange *x, enum reason why)
{
	(void)x;
	fake.broken = why;
}

void exchange_read(struct exchange *x)
{
	called((char)(x->upstream->tls->name - 'a' + 'A'));
	if (fake.ends)
		list_unlink(&fake.ends->in_readable);
	x->why = relay_take(x);
}

void credential_refuse(struct credential *c, const struct credential_key *key)
{
	(void)c;
	(void)key;
	fake.refused++;
}

size_t ipc_queued(const struct ipc_conn *conn)
{
	(void)conn;
	return fake.queued;
}

static void note_head(const struct proto_reply_head *head)
{
	const struct proto_header *fields = head->headers.items;

	fake.heads++;
	for (size_t i = 0; i < head->headers.count; i++) {
		assert_true(strlen(fake.head) + fields[i].value.len + 1 < sizeof(fake.head));
		if (fields[i].value.len > 0)
			memcpy(fake.head + strlen(fake.head), fields[i].value.p, fields[i].value.len);
		(void)strcat(fake.head, "|");
	}
}

int ipc_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	const struct proto_data *data = msg;

	(void)conn;
	(void)id;
	if (type == PROTO_REPLY_HEAD)
		note_head(msg);
	if (type != PROTO_DATA)
		return 0;
	assert_true(data->bytes.len <= EGRESS_DATA_BYTES);
	assert_true(strlen(fake.body) + data->bytes.len < sizeof(fake.body));
	memcpy(fake.body + strlen(fake.body), data->bytes.p, data->bytes.len);
	return 0;
}

void ipc_drop(struct ipc_conn *conn, const char *why)
{
	(void)conn;
	(void)why;
	fail();
}

void scrub_begin(struct scrub_pass *pass, const struct scrub *s)
{
	*pass = (struct scrub_pass){.scrub = s};
}

size_t scrub_feed(struct scrub_pass *pass, struct span in, uint8_t *out)
{
	assert_int_equal(fake.arenas->p[0], 0);
	fake.feeds += in.len > 0;
	pass->found += in.len > 0 && in.p[0] == 'K';
	span_copy(out, in);
	return in.len;
}

size_t scrub_end(struct scrub_pass *pass, uint8_t *out)
{
	(void)pass;
	assert_int_equal(fake.arenas->p[0], 0);
	memset(out, 't', fake.tail);
	return fake.tail;
}

/* ---- the relay ---- */

static void stream_begin(struct world *w, struct stream *s, char name)
{
	s->tls = (struct tls){.says = "", .name = name, .then = TLS_E_READ};
	s->upstream.tls = &s->tls;
	s->x = (struct exchange){.eg = &w->eg,
				 .lane = &w->lane,
				 .key = &w->key,
				 .upstream = &s->upstream,
				 .credit = EGRESS_CREDIT_BYTES,
				 .request.method = PROTO_POST};
	list_init(&s->x.in_readable);
	list_init(&s->x.in_stalled);
	relay_begin(&s->x);
}

int relay_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	memset(&fake, 0, sizeof(fake));
	assert_int_equal(secret_arena_new(4096, &w->eg.arena), 0);
	assert_int_equal(secret_alloc(w->eg.arena, 1, &w->secret), 0);
	fake.arenas = &w->secret;
	w->eg.config.router.stream_bytes_max = 1 << 20;
	w->key.scrub.len_min = 8;
	list_init(&w->eg.readable);
	list_init(&w->eg.stalled);
	stream_begin(w, &w->a, 'a');
	stream_begin(w, &w->b, 'b');
	stream_begin(w, &w->c, 'c');
	*state = w;
	return 0;
}

/* The kernel does not read for us what is closed. */
static bool is_closed(const struct secret *s)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	bool closed = write(ends[1], s->p, s->len) < 0;
	(void)close(ends[0]);
	(void)close(ends[1]);
	return closed;
}

int relay_teardown(void **state)
{
	struct world *w = *state;

	assert_true(list_empty(&w->eg.readable));
	assert_true(is_closed(&w->secret));
	for (size_t i = 0; i < sizeof(w->eg.in); i++)
		assert_int_equal(w->eg.in[i], 0); /* whatever was read */
	reply_deinit(&w->a.x.reply);
	reply_deinit(&w->b.x.reply);
	reply_deinit(&w->c.x.reply);
	secret_free(w->eg.arena, &w->secret);
	secret_arena_free(w->eg.arena);
	free(w);
	return 0;
}

void says(struct stream *s, const char *text)
{
	s->tls.says = text;
	relay_later(&s->x);
	relay_later(&s->x); /* twice is once */
}
