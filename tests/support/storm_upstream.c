/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider that cannot keep a secret, fast enough for a hundred thousand requests: a thread for each connection, TLS
 * by OpenSSL.
 *
 *   storm_upstream SERVER.pem      prints its port; ends when standard input does
 *
 * The model's name, "test:MODE", says what becomes of a request. Whatever can carry a text carries the key that came
 * with it.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base.h"

#define REQUEST_BYTES_MAX 65536
#define ANSWER_BYTES_MAX  65536
#define KEY_BYTES_MAX     256
#define HANG_MS           30000

struct conn {
	SSL *ssl;
	int fd;
	char in[REQUEST_BYTES_MAX];
	size_t len;
	char key[KEY_BYTES_MAX], mode[32];
	char out[ANSWER_BYTES_MAX];
	size_t out_len;
	bool over; /* the connection ends with this answer */
};

static void need(bool held, const char *what)
{
	if (held)
		return;
	(void)fprintf(stderr, "storm_upstream: %s (%s)\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

/* ---- the request ---- */

static bool conn_read(struct conn *c)
{
	int n = SSL_read(c->ssl, c->in + c->len, (int)(sizeof(c->in) - 1 - c->len));

	if (n <= 0)
		return false;
	c->len += (size_t)n;
	c->in[c->len] = 0;
	return true;
}

static void copy_until(char *to, size_t cap, const char *from, const char *stop)
{
	size_t n = from ? strcspn(from, stop) : 0;

	n = MIN(n, cap - 1);
	memcpy(to, from ? from : "", n);
	to[n] = 0;
}

/* One request: key and mode are set. The bytes of the next one, if any came early, are lost: nobody sends them. */
static bool conn_take_request(struct conn *c)
{
	char *end, *field;
	size_t body = 0;

	c->len = 0;
	do {
		if (c->len == sizeof(c->in) - 1 || !conn_read(c))
			return false;
	} while (!(end = strstr(c->in, "\r\n\r\n")));
	if ((field = strstr(c->in, "content-length: ")) && field < end)
		body = strtoul(field + 16, NULL, 10);
	size_t need_bytes = (size_t)(end + 4 - c->in) + body;
	while (c->len < need_bytes && need_bytes < sizeof(c->in))
		if (!conn_read(c))
			return false;
	field = strstr(c->in, "authorization: Bearer ");
	copy_until(c->key, sizeof(c->key), field ? field + 22 : NULL, "\r\n");
	field = strstr(c->in, "\"test:");
	copy_until(c->mode, sizeof(c->mode), field ? field + 6 : NULL, "\"");
	return true;
}

/* ---- the answer ---- */

__attribute__((format(printf, 2, 3))) static void put(struct conn *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(c->out + c->out_len, sizeof(c->out) - c->out_len, format, args);
	va_end(args);
	need(n >= 0 && (size_t)n < sizeof(c->out) - c->out_len, "room for an answer");
	c->out_len += (size_t)n;
}

static bool flush(struct conn *c)
{
	int n = c->out_len ? SSL_write(c->ssl, c->out, (int)c->out_len) : 1;

	c->out_len = 0;
	return n > 0;
}

static void put_chunk(struct conn *c, const char *bytes, size_t len)
{
	put(c, "%zx\r\n%.*s\r\n", len, (int)len, bytes);
}

static void put_json_text(struct conn *c, const char *text)
{
	for (; *text; text++)
		put(c, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

/* Every disguise of the key, a line each. */
static size_t make_leaks(const char *key, char *to, size_t cap)
{
	char encoded[KEY_BYTES_MAX * 2], padded[KEY_BYTES_MAX + 8];
	size_t len = strlen(key), n = (size_t)snprintf(to, cap, "data: %s\n\ndata: ", key);

	for (size_t i = 0; i < len; i++)
		n += (size_t)snprintf(to + n, cap - n, "%%%02X", (unsigned char)key[i]);
	n += (size_t)snprintf(to + n, cap - n, "\n\ndata: ");
	for (size_t i = 0; i < len; i++)
		n += (size_t)snprintf(to + n, cap - n, "\\u%04x", (unsigned char)key[i]);
	n += (size_t)snprintf(to + n, cap - n, "\n\ndata: ");
	for (size_t i = 0; i < len; i++)
		n += (size_t)snprintf(to + n, cap - n, "%02x", (unsigned char)key[i]);
	for (size_t lead = 0; lead < 3; lead++) {
		int bytes = snprintf(padded, sizeof(padded), "%.*s%s", (int)lead, "##", key);
		(void)EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)padded, bytes);
		n += (size_t)snprintf(to + n, cap - n, "\n\ndata: %s", encoded);
	}
	return n + (size_t)snprintf(to + n, cap - n, "\n\ndata: [DONE]\n\n");
}

static const char answer_json[] =
	"{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{"
	"\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":"
	"\"Three decisions and two open questions.\"}}]}";

#define EVENT                                                                                                  \
	"data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[" \
	"{\"index\":0,\"delta\":{\"content\":\"word \"},\"finish_reason\":null}]}\n\n"

static bool mode_polite(struct conn *c)
{
	put(c, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
	    sizeof(answer_json) - 1, answer_json);
	return flush(c);
}

static bool mode_stream(struct conn *c)
{
	put(c, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
	for (unsigned i = 0; i < 4; i++) {
		put_chunk(c, EVENT, sizeof(EVENT) - 1);
		if (!flush(c))
			return false;
	}
	put_chunk(c, "data: [DONE]\n\n", 14);
	put(c, "0\r\n\r\n");
	return flush(c);
}

/* 401 with the key in fields and body. */
static bool mode_unauthorized(struct conn *c)
{
	char text[1024];
	size_t n = (size_t)snprintf(text, sizeof(text), "{\"error\":{\"message\":\"Incorrect API key provided: ");

	put(c, "%s", text);
	put_json_text(c, c->key);
	put(c, "\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}");
	n = MIN(c->out_len, sizeof(text) - 1);
	memcpy(text, c->out, n);
	text[n] = 0;
	c->out_len = 0;
	put(c,
	    "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nx-request-id: %s\r\nwww-authenticate: "
	    "Bearer %s\r\n"
	    "openai-organization: org %s\r\ncontent-length: %zu\r\n\r\n%s",
	    c->key, c->key, c->key, n, text);
	return flush(c);
}

static bool mode_leak(struct conn *c)
{
	char text[8192];
	size_t n = make_leaks(c->key, text, sizeof(text));

	put(c,
	    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nrequest-id: "
	    "%s\r\n\r\n",
	    c->key);
	for (size_t at = 0, k = 0; at < n; at += 37, k++) {
		put_chunk(c, text + at, MIN((size_t)37, n - at));
		if (k % 8 == 7 && !flush(c))
			return false;
	}
	put(c, "0\r\n\r\n");
	return flush(c);
}

/* The head in three pieces, the cuts within the key. */
static bool mode_pieces(struct conn *c)
{
	put(c, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: %.9s", c->key);
	if (!flush(c))
		return false;
	put(c, "%s\r\nx-other: %.5s", c->key + MIN(strlen(c->key), (size_t)9), c->key);
	if (!flush(c))
		return false;
	put(c, "%s\r\ncontent-length: %zu\r\n\r\n%s", c->key + MIN(strlen(c->key), (size_t)5), sizeof(answer_json) - 1,
	    answer_json);
	return flush(c);
}

static bool mode_trailers(struct conn *c)
{
	put(c,
	    "HTTP/1.1 200 %s\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: "
	    "x-echo\r\n\r\n",
	    c->key);
	put_chunk(c, answer_json, sizeof(answer_json) - 1);
	put(c, "0\r\nx-echo: %s\r\n\r\n", c->key);
	return flush(c);
}

static bool mode_extension(struct conn *c)
{
	put(c,
	    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: "
	    "chunked\r\n\r\n2;k=\"%s\"\r\n{}\r\n0\r\n\r\n",
	    c->key);
	c->over = true;
	return flush(c);
}

static bool mode_malformed(struct conn *c)
{
	put(c, "HTTP/1.1 200 OK\r\nx-request-id: %s\r\n%s\r\ncontent-length: 2\r\n\r\n{}", c->key, c->key);
	c->over = true;
	return flush(c);
}

static bool mode_redirect(struct conn *c)
{
	put(c, "HTTP/1.1 307 Moved\r\nlocation: https://elsewhere.test/%s\r\ncontent-length: 0\r\n\r\n", c->key);
	return flush(c);
}

/* Fewer bytes than were promised, the key among them. */
static bool mode_cut(struct conn *c)
{
	put(c, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n{\"key\":\"%s %s",
	    c->key, c->key);
	c->over = true;
	return flush(c);
}

/* A head that stops behind the key. */
static bool mode_cuthead(struct conn *c)
{
	put(c, "HTTP/1.1 200 OK\r\nx-request-id: %s", c->key);
	c->over = true;
	return flush(c);
}

static bool mode_reset(struct conn *c)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};

	put(c, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
	put_chunk(c, EVENT, sizeof(EVENT) - 1);
	put_chunk(c, c->key, strlen(c->key));
	(void)flush(c);
	(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	return false;
}

static bool mode_silent(struct conn *c)
{
	(void)c;
	return false;
}

/* Until the other side has had enough. */
static bool mode_hang(struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	(void)poll(&p, 1, HANG_MS);
	return false;
}

/* Events, the key among them, and then nothing more. */
static bool mode_stall(struct conn *c)
{
	put(c, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
	put_chunk(c, EVENT, sizeof(EVENT) - 1);
	put_chunk(c, c->key, strlen(c->key) - 1);
	return flush(c) && mode_hang(c);
}

static const struct {
	const char *name;
	bool (*answer)(struct conn *c); /* false: the connection is over */
} modes[] = {
	{"polite", mode_polite},
	{"stream", mode_stream},
	{"unauthorized", mode_unauthorized},
	{"leak", mode_leak},
	{"pieces", mode_pieces},
	{"trailers", mode_trailers},
	{"extension", mode_extension},
	{"malformed", mode_malformed},
	{"redirect", mode_redirect},
	{"cut", mode_cut},
	{"cuthead", mode_cuthead},
	{"reset", mode_reset},
	{"silent", mode_silent},
	{"hang", mode_hang},
	{"stall", mode_stall},
};

static bool conn_answer(struct conn *c)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (strcmp(c->mode, modes[i].name) == 0)
			return modes[i].answer(c);
	return mode_polite(c);
}

static void *conn_run(void *arg)
{
	struct conn *c = arg;

	if (SSL_accept(c->ssl) == 1)
		while (!c->over && conn_take_request(c) && conn_answer(c))
			;
	if (c->over)
		(void)SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	(void)close(c->fd);
	free(c);
	return NULL;
}

static SSL_CTX *make_context(const char *pem)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	need(ctx && SSL_CTX_use_certificate_chain_file(ctx, pem) == 1 &&
		     SSL_CTX_use_PrivateKey_file(ctx, pem, SSL_FILETYPE_PEM) == 1,
	     "a certificate");
	return ctx;
}

static int make_listener(uint16_t *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	need(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 4096) == 0 &&
		     getsockname(fd, (struct sockaddr *)&a, &len) == 0,
	     "a listener");
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void serve(SSL_CTX *ctx, int fd)
{
	const int one = 1;
	pthread_attr_t attributes;
	pthread_t thread;
	struct conn *c = calloc(1, sizeof(*c));

	need(c && (c->ssl = SSL_new(ctx)) && SSL_set_fd(c->ssl, fd), "memory");
	c->fd = fd;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attributes, 256 * 1024);
	need(pthread_create(&thread, &attributes, conn_run, c) == 0, "a thread");
}

int main(int argc, char **argv)
{
	uint16_t port;

	need(argc == 2, "usage: storm_upstream SERVER.pem");
	(void)signal(SIGPIPE, SIG_IGN);
	SSL_CTX *ctx = make_context(argv[1]);
	int listener = make_listener(&port);
	(void)dprintf(STDOUT_FILENO, "%u\n", port);
	for (;;) {
		struct pollfd p[] = {{.fd = listener, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
		if (poll(p, ARRAY_LEN(p), -1) < 0 || p[1].revents)
			_exit(0); /* threads and all */
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			serve(ctx, fd);
	}
}
