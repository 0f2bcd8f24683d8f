/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of a gateway, fast enough for a hundred thousand requests: a thread each, kept connections.
 *
 *   storm_clients PORT GATEWAY-KEY REQUESTS THREADS NEEDLES MODES
 *
 * MODES is `mode=weight,...`, NEEDLES a file with a hexadecimal text a line: none of them may be in an answer. Asks for
 * "test:MODE" by weight, in an order that is always the same; a mode that begins with ! is left by the client in the
 * middle. Prints one JSON line: how many answers had which status (0: none), and how often a needle was found.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/base.h"

#define THREADS_MAX      64
#define NEEDLES_MAX      64
#define NEEDLE_BYTES_MAX 2048
#define MODES_MAX        32
#define ANSWER_BYTES_MAX (1u << 20)
#define ANSWER_SECONDS   30

struct storm {
	uint16_t port;
	const char *key;
	unsigned long requests, n_threads, weights;
	struct {
		uint8_t bytes[NEEDLE_BYTES_MAX];
		size_t len;
	} needles[NEEDLES_MAX];
	size_t n_needles, n_modes;
	struct {
		char name[32];
		unsigned long weight;
	} modes[MODES_MAX];
};

struct client {
	const struct storm *storm;
	unsigned long number, done, found, late, status[600];
	int fd;
	char *answer;
	size_t len;
};

static void need(bool held, const char *what)
{
	if (held)
		return;
	(void)fprintf(stderr, "storm_clients: %s (%s)\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void client_leave(struct client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

static void client_connect(struct client *c)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(c->storm->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	const int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&a, sizeof(a)) == 0, "connect");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static const char *client_choose(const struct client *c, unsigned long n)
{
	const struct storm *s = c->storm;
	/* Knuth's multiplier: the modes alternate instead of coming in runs. */
	unsigned long at = (unsigned long)((uint32_t)(n * s->n_threads + c->number) * 2654435761u >> 8) % s->weights;

	for (size_t i = 0;; i++) {
		if (at < s->modes[i].weight)
			return s->modes[i].name;
		at -= s->modes[i].weight;
	}
}

static bool client_send(struct client *c, const char *mode)
{
	char body[256], text[1024];
	int body_len =
		snprintf(body, sizeof(body),
			 "{\"model\":\"test:%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
			 mode, strchr("sl", mode[0]) ? "true" : "false");
	int len = snprintf(text, sizeof(text),
			   "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
			   "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			   c->storm->key, body_len, body);

	return write(c->fd, text, (size_t)len) == len;
}

/* 1: whole, 0: not yet. */
static bool client_is_whole(const struct client *c)
{
	const char *end = memmem(c->answer, c->len, "\r\n\r\n", 4);

	if (!end)
		return false;
	size_t head = (size_t)(end - c->answer) + 4;
	const char *length = memmem(c->answer, head, "content-length: ", 16);
	if (length)
		return c->len >= head + strtoul(length + 16, NULL, 10);
	return c->len >= head + 5 && memcmp(c->answer + c->len - 5, "0\r\n\r\n", 5) == 0;
}

static void client_receive(struct client *c, bool leaves)
{
	c->len = 0;
	while (c->len < ANSWER_BYTES_MAX - 1) {
		ssize_t n = read(c->fd, c->answer + c->len, ANSWER_BYTES_MAX - 1 - c->len);
		c->late += n < 0 && errno == EAGAIN;
		if (n <= 0)
			break;
		c->len += (size_t)n;
		c->answer[c->len] = 0;
		if (leaves)
			break;
		if (client_is_whole(c) && !memmem(c->answer, c->len, "connection: close", 17))
			return;
	}
	client_leave(c);
}

static void client_note(struct client *c)
{
	unsigned long status = c->len > 12 ? strtoul(c->answer + 9, NULL, 10) : 0;

	c->status[status < ARRAY_LEN(c->status) ? status : 0]++;
	for (size_t i = 0; i < c->storm->n_needles; i++)
		c->found += memmem(c->answer, c->len, c->storm->needles[i].bytes, c->storm->needles[i].len) != NULL;
}

static void *client_run(void *arg)
{
	struct client *c = arg;
	const struct storm *s = c->storm;

	for (unsigned long n = 0; n * s->n_threads + c->number < s->requests; n++) {
		const char *mode = client_choose(c, n);
		bool leaves = mode[0] == '!';
		if (c->fd < 0)
			client_connect(c);
		c->len = 0;
		if (client_send(c, mode + leaves))
			client_receive(c, leaves);
		else
			client_leave(c);
		client_note(c);
		c->done++;
	}
	client_leave(c);
	return NULL;
}

static void storm_read_needles(struct storm *s, const char *path)
{
	char line[2 * NEEDLE_BYTES_MAX + 2];
	FILE *f = fopen(path, "re");

	need(f != NULL, path);
	for (; fgets(line, sizeof(line), f); s->n_needles++) {
		size_t len = strcspn(line, "\n") / 2;
		need(s->n_needles < NEEDLES_MAX && len > 0, "needles");
		for (size_t i = 0; i < len; i++) {
			const char two[3] = {line[2 * i], line[2 * i + 1], 0};
			s->needles[s->n_needles].bytes[i] = (uint8_t)strtoul(two, NULL, 16);
		}
		s->needles[s->n_needles].len = len;
	}
	(void)fclose(f);
}

static void storm_read_modes(struct storm *s, char *text)
{
	for (char *next; (next = strsep(&text, ","));) {
		char *weight = strchr(next, '=');
		need(s->n_modes < MODES_MAX && weight, "modes");
		*weight = 0;
		(void)snprintf(s->modes[s->n_modes].name, sizeof(s->modes[0].name), "%s", next);
		s->weights += s->modes[s->n_modes++].weight = strtoul(weight + 1, NULL, 10);
	}
	need(s->weights > 0, "modes");
}

static void report(const struct client *clients, size_t n)
{
	unsigned long done = 0, found = 0, late = 0;

	for (size_t i = 0; i < n; i++) {
		done += clients[i].done;
		found += clients[i].found;
		late += clients[i].late;
	}
	(void)dprintf(STDOUT_FILENO, "{\"done\":%lu,\"found\":%lu,\"late\":%lu,\"status\":{", done, found, late);
	const char *comma = "";
	for (size_t code = 0; code < ARRAY_LEN(clients[0].status); code++) {
		unsigned long count = 0;
		for (size_t i = 0; i < n; i++)
			count += clients[i].status[code];
		if (count == 0)
			continue;
		(void)dprintf(STDOUT_FILENO, "%s\"%zu\":%lu", comma, code, count);
		comma = ",";
	}
	(void)dprintf(STDOUT_FILENO, "}}\n");
}

int main(int argc, char **argv)
{
	static struct client clients[THREADS_MAX];
	static struct storm s;
	pthread_t threads[THREADS_MAX];

	need(argc == 7, "usage: storm_clients PORT GATEWAY-KEY REQUESTS THREADS NEEDLES MODES");
	(void)signal(SIGPIPE, SIG_IGN);
	s.port = (uint16_t)strtoul(argv[1], NULL, 10);
	s.key = argv[2];
	s.requests = strtoul(argv[3], NULL, 10);
	s.n_threads = strtoul(argv[4], NULL, 10);
	storm_read_needles(&s, argv[5]);
	storm_read_modes(&s, argv[6]);
	need(s.n_threads > 0 && s.n_threads <= THREADS_MAX, "threads");
	for (size_t i = 0; i < s.n_threads; i++) {
		clients[i] = (struct client){.storm = &s, .number = i, .fd = -1, .answer = malloc(ANSWER_BYTES_MAX)};
		need(clients[i].answer && pthread_create(&threads[i], NULL, client_run, &clients[i]) == 0, "a thread");
	}
	for (size_t i = 0; i < s.n_threads; i++)
		(void)pthread_join(threads[i], NULL);
	report(clients, s.n_threads);
	return 0;
}
