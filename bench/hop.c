/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the vault's hop costs: one process sends the same requests to the same TLS upstream, once with TLS of its own,
 * as a router without a vault would, and once by way of an egress worker, over the edge that routers use. Both keep as
 * many requests under way, in one thread and one write a turn.
 *
 *   hop direct PORT CA REQUESTS CONCURRENCY
 *   hop vault AUTHD_FD EGRESS_FD KEY REQUESTS CONCURRENCY     connected sockets of router0
 *
 * By way of the egress each request needs a grant. All are fetched before the clock starts: what authd does is done for
 * the router, with a vault or without. Prints one JSON line: requests, microseconds, CPU microseconds of this process.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base.h"
#include "proto/frame.h"
#include "proto/proto.h"

#define CONCURRENCY_MAX 256
#define REQUESTS_MAX    60000
#define GRANT_BYTES     1024
#define BUFFER_BYTES    (4U << 20)
#define WINDOW          64 /* AUTHORIZE under way */
#define BODY_BYTES      1024
#define ANSWER_BYTES    65536

static const char hop_path[] = "/v1/chat/completions", hop_fields[] = "application/json";

static void need(bool held, const char *what)
{
	if (held)
		return;
	(void)fprintf(stderr, "hop: %s (%s)\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static uint64_t clock_us(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void make_body(char body[BODY_BYTES + 1])
{
	static const char begin[] = "{\"model\":\"gpt-bench\",\"messages\":[{\"role\":\"user\",\"content\":\"",
			  end[] = "\"}]}";

	memset(body, 'x', BODY_BYTES);
	memcpy(body, begin, sizeof(begin) - 1);
	memcpy(body + BODY_BYTES - (sizeof(end) - 1), end, sizeof(end));
}

static void report(uint64_t requests, uint64_t us, uint64_t cpu_us)
{
	(void)printf("{\"requests\":%llu,\"us\":%llu,\"cpu_us\":%llu}\n", (unsigned long long)requests,
		     (unsigned long long)us, (unsigned long long)cpu_us);
}

/* ---- by way of the egress ---- */

struct edge {
	int fd;
	enum role peer;
	uint8_t *rx, *tx;
	size_t rx_len, tx_len;
};

struct hop {
	struct edge authd, egress;
	uint8_t (*grants)[GRANT_BYTES];
	size_t *grant_len;
	uint64_t requests, asked, granted, opened, done;
	const char *key;
	char body[BODY_BYTES + 1];
};

static void edge_put(struct edge *e, const struct proto_desc *desc, uint64_t id, const void *msg)
{
	uint8_t *to = e->tx + e->tx_len;
	size_t len;

	need(proto_pack(desc, id, msg, to + FRAME_HEAD_BYTES, BUFFER_BYTES - e->tx_len - FRAME_HEAD_BYTES, &len) == 0,
	     "a message does not fit");
	frame_put_head(to, len);
	e->tx_len += FRAME_HEAD_BYTES + len;
}

static void edge_open(struct edge *e, int fd, enum role peer)
{
	static const uint8_t boot[16] = "bench";

	*e = (struct edge){.fd = fd, .peer = peer, .rx = malloc(BUFFER_BYTES), .tx = malloc(BUFFER_BYTES)};
	need(e->rx && e->tx, "memory");
	edge_put(e, &proto_hello_desc, 0,
		 &(struct proto_hello){.role = ROLE_ROUTER,
				       .boot = span_of(boot, sizeof(boot)),
				       .build = SPAN_LIT("bench"),
				       .schema = proto_schema_hash()});
}

static void hop_handle(struct hop *h, const struct proto_desc *desc, uint64_t id, const union proto_any *m)
{
	switch (desc->type) {
	case PROTO_PERMIT:
		need(id > 0 && id <= h->requests && m->permit.grant.len <= GRANT_BYTES, "a grant");
		memcpy(h->grants[id - 1], m->permit.grant.p, m->permit.grant.len);
		h->grant_len[id - 1] = m->permit.grant.len;
		h->granted++;
		break;
	case PROTO_REPLY_HEAD:
		need(m->reply_head.status == 200, "a good answer");
		break;
	case PROTO_END:
		need(m->end.bytes > 0, "a body");
		h->done++;
		break;
	case PROTO_DENY:
		need(false, "authd denies");
		break;
	case PROTO_BROKEN:
		(void)fprintf(stderr, "hop: reason %llu\n", (unsigned long long)m->broken.reason);
		need(false, "the egress breaks off");
		break;
	default:
		break; /* HELLO, DATA, what routers are told */
	}
}

static void edge_turn(struct hop *h, struct edge *e)
{
	struct span body;
	size_t used, at = 0;
	uint64_t id;

	while (e->tx_len > 0) {
		ssize_t n = send(e->fd, e->tx, e->tx_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			break;
		need(n > 0, "send");
		memmove(e->tx, e->tx + n, e->tx_len - (size_t)n);
		e->tx_len -= (size_t)n;
	}
	struct pollfd p = {.fd = e->fd, .events = (short)(POLLIN | (e->tx_len ? POLLOUT : 0))};
	need(poll(&p, 1, 20000) > 0, "an answer in time");
	if (!(p.revents & POLLIN))
		return;
	ssize_t n = recv(e->fd, e->rx + e->rx_len, BUFFER_BYTES - e->rx_len, MSG_DONTWAIT);
	need(n > 0, "the peer is gone");
	e->rx_len += (size_t)n;
	while (frame_next(span_of(e->rx + at, e->rx_len - at), &body, &used) == 0) {
		const struct proto_desc *desc;
		union proto_any m;
		need(proto_unpack(body, e->peer, ROLE_ROUTER, &id, &desc, &m) == 0, "a message of this build");
		hop_handle(h, desc, id, &m);
		at += used;
	}
	memmove(e->rx, e->rx + at, e->rx_len - at);
	e->rx_len -= at;
}

static void hop_fetch_grants(struct hop *h)
{
	char request_id[40];

	while (h->granted < h->requests) {
		for (; h->asked < h->requests && h->asked < h->granted + WINDOW; h->asked++) {
			(void)snprintf(request_id, sizeof(request_id), "hop-%llu", (unsigned long long)h->asked);
			edge_put(&h->authd, &proto_authorize_desc, h->asked + 1,
				 &(struct proto_authorize){.credential = span_str(h->key),
							   .address = SPAN_LIT("127.0.0.1"),
							   .model = SPAN_LIT("gpt-bench"),
							   .request_id = span_str(request_id),
							   .body_bytes = BODY_BYTES,
							   .call = h->asked + 1});
		}
		edge_turn(h, &h->authd);
	}
}

static void hop_open(struct hop *h)
{
	static const struct proto_header fields[] = {{SPAN_LIT("content-type"), SPAN_LIT(hop_fields)}};
	uint64_t k = h->opened++;

	edge_put(&h->egress, &proto_open_desc, k + 1,
		 &(struct proto_open){.grant = span_of(h->grants[k], h->grant_len[k]),
				      .method = PROTO_POST,
				      .path = SPAN_LIT(hop_path),
				      .body_bytes = BODY_BYTES,
				      .body = span_of((const uint8_t *)h->body, BODY_BYTES),
				      .headers = {.items = fields, .count = ARRAY_LEN(fields)}});
}

/* Until `to` are done. */
static void hop_run(struct hop *h, uint64_t to, uint64_t concurrency)
{
	while (h->done < to) {
		while (h->opened < to && h->opened < h->done + concurrency)
			hop_open(h);
		edge_turn(h, &h->egress);
	}
}

static void run_vault(int authd, int egress, const char *key, uint64_t requests, uint64_t concurrency)
{
	static struct hop h;

	h.requests = requests + concurrency;
	h.key = key;
	h.grants = calloc(h.requests, sizeof(*h.grants));
	h.grant_len = calloc(h.requests, sizeof(*h.grant_len));
	need(h.grants && h.grant_len, "memory");
	make_body(h.body);
	edge_open(&h.authd, authd, ROLE_AUTHD);
	edge_open(&h.egress, egress, ROLE_EGRESS);
	hop_fetch_grants(&h);
	hop_run(&h, concurrency, concurrency); /* connections are there then */
	(void)puts("ready");
	(void)fflush(stdout);
	uint64_t begin = clock_us(CLOCK_MONOTONIC), cpu = clock_us(CLOCK_PROCESS_CPUTIME_ID);
	hop_run(&h, h.requests, concurrency);
	report(requests, clock_us(CLOCK_MONOTONIC) - begin, clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

/* ---- with TLS of its own ---- */

struct conn {
	SSL *ssl;
	size_t len, total; /* of the answer; total 0: its head is not complete */
	char in[ANSWER_BYTES];
};

struct direct {
	struct conn *conns;
	struct pollfd polls[CONCURRENCY_MAX];
	char request[BODY_BYTES + 1024];
	size_t request_len;
	uint64_t sent, done;
};

static SSL_CTX *direct_context(const char *ca)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	need(ctx && SSL_CTX_load_verify_locations(ctx, ca, NULL) == 1, "certificates");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

static void conn_open(struct conn *c, SSL_CTX *ctx, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	need(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0, "connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->ssl = SSL_new(ctx);
	need(c->ssl && SSL_set_fd(c->ssl, fd) && SSL_set_tlsext_host_name(c->ssl, "upstream.test") &&
		     SSL_set1_host(c->ssl, "upstream.test") && SSL_connect(c->ssl) == 1,
	     "handshake");
}

static void conn_send(struct direct *d, struct conn *c)
{
	c->len = c->total = 0;
	d->sent++;
	need(SSL_write(c->ssl, d->request, (int)d->request_len) == (int)d->request_len, "write");
}

/* True: the answer is complete. */
static bool conn_read(struct conn *c)
{
	do { /* sockets block: only what poll() or OpenSSL has announced is read */
		int n = SSL_read(c->ssl, c->in + c->len, (int)(sizeof(c->in) - 1 - c->len));
		need(n > 0, "read");
		c->len += (size_t)n;
		c->in[c->len] = 0;
		char *end = c->total ? NULL : strstr(c->in, "\r\n\r\n");
		if (end) {
			const char *length = strcasestr(c->in, "content-length: ");
			need(strncmp(c->in, "HTTP/1.1 200", 12) == 0 && length && length < end, "a good answer");
			c->total = (size_t)(end + 4 - c->in) + strtoul(length + 16, NULL, 10);
		}
	} while (SSL_pending(c->ssl) > 0);
	return c->total > 0 && c->len >= c->total;
}

static void direct_run(struct direct *d, uint64_t to, uint64_t concurrency)
{
	for (uint64_t i = 0; i < concurrency; i++)
		conn_send(d, &d->conns[i]);
	while (d->done < to) {
		need(poll(d->polls, concurrency, 20000) > 0, "an answer in time");
		for (uint64_t i = 0; i < concurrency; i++) {
			if (!d->polls[i].revents || !conn_read(&d->conns[i]))
				continue;
			d->done++;
			if (d->sent < to)
				conn_send(d, &d->conns[i]);
		}
	}
}

static void run_direct(uint16_t port, const char *ca, uint64_t requests, uint64_t concurrency)
{
	static struct direct d;
	char body[BODY_BYTES + 1];
	SSL_CTX *ctx = direct_context(ca);

	make_body(body);
	d.request_len =
		(size_t)snprintf(d.request, sizeof(d.request),
				 "POST %s HTTP/1.1\r\nhost: upstream.test:%u\r\ncontent-type: %s\r\n"
				 "authorization: Bearer sk-bench-0123456789abcdef\r\ncontent-length: %u\r\n\r\n%s",
				 hop_path, port, hop_fields, (unsigned)BODY_BYTES, body);
	d.conns = calloc(concurrency, sizeof(*d.conns));
	need(d.conns != NULL, "memory");
	for (uint64_t i = 0; i < concurrency; i++) {
		conn_open(&d.conns[i], ctx, port);
		d.polls[i] = (struct pollfd){.fd = SSL_get_fd(d.conns[i].ssl), .events = POLLIN};
	}
	direct_run(&d, concurrency, concurrency); /* TLS tickets are read then */
	(void)puts("ready");
	(void)fflush(stdout);
	uint64_t begin = clock_us(CLOCK_MONOTONIC), cpu = clock_us(CLOCK_PROCESS_CPUTIME_ID);
	direct_run(&d, concurrency + requests, concurrency);
	report(requests, clock_us(CLOCK_MONOTONIC) - begin, clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static int number(const char *text)
{
	return (int)strtol(text, NULL, 10);
}

int main(int argc, char **argv)
{
	need(argc == 6 || argc == 7, "see the top of bench/hop.c");
	uint64_t requests = strtoull(argv[argc - 2], NULL, 10), concurrency = strtoull(argv[argc - 1], NULL, 10);
	need(requests >= concurrency && requests <= REQUESTS_MAX && concurrency > 0 && concurrency <= CONCURRENCY_MAX,
	     "numbers");
	if (strcmp(argv[1], "direct") == 0 && argc == 6)
		run_direct((uint16_t)number(argv[2]), argv[3], requests, concurrency);
	else if (strcmp(argv[1], "vault") == 0 && argc == 7)
		run_vault(number(argv[2]), number(argv[3]), argv[4], requests, concurrency);
	else
		need(false, "see the top of bench/hop.c");
	return EXIT_SUCCESS;
}
