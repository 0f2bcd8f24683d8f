/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialer against a name server that lies, and against listeners on loopback that are permitted by `connect_to`. The
 * server answers from the first label of the name: what it says the second time it is asked is different from the
 * first.
 */
#include "keyvault/dialer/dial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <cmocka.h>

#define WAIT_MS 5000

struct fixture {
	uv_loop_t loop;
	struct dialer dialer;
	struct config_provider providers[8];
	char urls[8][128];
	int dns, listener;
	uint16_t dns_port, port;
	uv_poll_t dns_poll;
	unsigned asked;
	uv_timer_t limit;
	/* the last answer */
	bool answered;
	int fd;
	char address[64];
	enum reason why;
};

static const struct name {
	const char *label;
	const char *v4[3]; /* A records */
	const char *v6;    /* AAAA record */
} names[] = {
	{"public", {"203.0.114.1"}, NULL},         {"private", {"10.0.0.1"}, NULL},
	{"mixed", {"8.8.8.8", "127.0.0.1"}, NULL}, {"six", {"8.8.8.8"}, "::ffff:127.0.0.1"},
	{"metadata", {"169.254.169.254"}, NULL},   {"nothing", {NULL}, NULL},
};

static int bound_socket(int type, uint16_t *ret_port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);

	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

static size_t put_answer(uint8_t *to, uint16_t type, const void *data, uint8_t len)
{
	const uint8_t head[] = {0xc0, 12, (uint8_t)(type >> 8), (uint8_t)type, 0, 1, 0, 0, 0, 1, 0, len};

	memcpy(to, head, sizeof(head));
	memcpy(to + sizeof(head), data, len);
	return sizeof(head) + len;
}

/* One question in, one answer out (RFC 1035 4.1). */
static void on_query(uv_poll_t *poll, int status, int events)
{
	struct fixture *f = poll->data;
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	uint8_t m[1024], address[16];

	(void)status;
	(void)events;
	ssize_t n = recvfrom(f->dns, m, 512, 0, (struct sockaddr *)&from, &from_len);
	if (n < 17)
		return;
	f->asked++;
	size_t end = 12;
	while (m[end])
		end += m[end] + 1u;
	uint16_t type = (uint16_t)(m[end + 1] << 8 | m[end + 2]);
	size_t len = end + 5;
	uint8_t count = 0;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strlen(names[i].label) != m[12] || memcmp(names[i].label, m + 13, m[12]) != 0)
			continue;
		for (size_t k = 0; type == 1 && k < 3 && names[i].v4[k]; k++, count++) {
			assert_int_equal(inet_pton(AF_INET, names[i].v4[k], address), 1);
			len += put_answer(m + len, 1, address, 4);
		}
		if (type == 28 && names[i].v6) {
			assert_int_equal(inet_pton(AF_INET6, names[i].v6, address), 1);
			len += put_answer(m + len, 28, address, 16);
			count++;
		}
	}
	m[2] = 0x81;
	m[3] = 0x80;
	m[7] = count;
	m[11] = 0; /* no additional records */
	memset(m + 8, 0, 3);
	(void)!sendto(f->dns, m, len, 0, (struct sockaddr *)&from, from_len);
}

static void on_done(void *ctx, uint64_t id, int fd, const char *address, enum reason why)
{
	struct fixture *f = ctx;

	assert_int_equal(id, 42);
	assert_false(f->answered);
	f->answered = true;
	f->fd = fd;
	f->why = why;
	(void)snprintf(f->address, sizeof(f->address), "%s", address ? address : "");
	uv_stop(&f->loop);
}

static void on_limit(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static enum reason dial(struct fixture *f, const char *host, uint64_t port)
{
	f->answered = false;
	assert_int_equal(dial_start(&f->dialer, span_str(host), port, on_done, f, 42), 0);
	assert_false(f->answered); /* never from within */
	assert_int_equal(uv_timer_start(&f->limit, on_limit, WAIT_MS, 0), 0);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	if (!f->answered)
		fail_msg("%s: no answer in %d ms", host, WAIT_MS);
	return f->why;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct config config = {.providers = f->providers};
	char servers[32];
	const char *who;

	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->dns = bound_socket(SOCK_DGRAM, &f->dns_port);
	f->listener = bound_socket(SOCK_STREAM, &f->port);
	assert_int_equal(listen(f->listener, 8), 0);
	assert_int_equal(uv_poll_init(&f->loop, &f->dns_poll, f->dns), 0);
	f->dns_poll.data = f;
	assert_int_equal(uv_poll_start(&f->dns_poll, UV_READABLE, on_query), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(f->urls[i], sizeof(f->urls[i]), "https://%s.example.com/v1", names[i].label);
		f->providers[i] =
			(struct config_provider){.name = names[i].label, .base_url = f->urls[i], .connect_to = ""};
	}
	(void)snprintf(f->urls[6], sizeof(f->urls[6]), "https://pinned.test:%u", f->port);
	f->providers[6] = (struct config_provider){.name = "pinned", .base_url = f->urls[6], .connect_to = "127.0.0.1"};
	(void)snprintf(f->urls[7], sizeof(f->urls[7]), "https://closed.test:%u", f->dns_port);
	f->providers[7] = (struct config_provider){.name = "closed", .base_url = f->urls[7], .connect_to = "127.0.0.1"};
	config.n_providers = ARRAY_LEN(f->providers);
	assert_int_equal(policy_init(&f->dialer.policy, &config, &who), 0);
	f->dialer.loop = &f->loop;
	list_init(&f->dialer.dials);
	(void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", f->dns_port);
	assert_int_equal(resolver_new(&f->loop, 1000, servers, &f->dialer.resolver), 0);
	assert_int_equal(uv_timer_init(&f->loop, &f->limit), 0);
	*state = f;
	return 0;
}

/* The loop must run dry: nothing is leaked. */
static int tear_down(void **state)
{
	struct fixture *f = *state;

	dial_cancel(&f->dialer, NULL);
	resolver_close(f->dialer.resolver);
	uv_close((uv_handle_t *)&f->dns_poll, NULL);
	uv_close((uv_handle_t *)&f->limit, NULL);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	policy_deinit(&f->dialer.policy);
	(void)close(f->dns);
	(void)close(f->listener);
	free(f);
	return 0;
}

static void a_permitted_address_is_connected(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial(f, "pinned.test", f->port), REASON_NONE);
	assert_string_equal(f->address, "127.0.0.1");
	assert_int_equal(f->asked, 0); /* no name was resolved */
	int peer = accept(f->listener, NULL, NULL);
	assert_true(peer >= 0);
	assert_int_equal(write(f->fd, "x", 1), 1);
	(void)close(peer);
	(void)close(f->fd);
}

static void a_closed_port_fails(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial(f, "closed.test", f->dns_port), REASON_DIAL_CONNECT);
	assert_int_equal(f->fd, -1);
}

static void only_configured_origins(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial(f, "pinned.test", f->dns_port), REASON_DIAL_DENIED);
	assert_int_equal(dial(f, "127.0.0.1", f->port), REASON_DIAL_DENIED);
	assert_int_equal(dial(f, "evil.example.com", 443), REASON_DIAL_DENIED);
	assert_int_equal(dial(f, "private.example.com", 8443), REASON_DIAL_DENIED);
	assert_int_equal(f->asked, 0);
}

static void lying_names_are_denied(void **state)
{
	static const char *const hosts[] = {"private.example.com", "mixed.example.com", "six.example.com",
					    "metadata.example.com"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		if (dial(f, hosts[i], 443) != REASON_DIAL_DENIED)
			fail_msg("%s: %s", hosts[i], reason_row(f->why)->code);
	assert_true(f->asked >= ARRAY_LEN(hosts));
	assert_int_equal(f->dialer.denied, ARRAY_LEN(hosts));
}

static void no_address_is_no_connection(void **state)
{
	assert_int_equal(dial(*state, "nothing.example.com", 443), REASON_DIAL_RESOLVE);
}

/* A server that never answers: the limit holds. */
static void silence_ends(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(uv_poll_stop(&f->dns_poll), 0);
	assert_int_equal(dial(f, "public.example.com", 443), REASON_DIAL_RESOLVE);
}

static void cancelled_says_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial_start(&f->dialer, SPAN_LIT("public.example.com"), 443, on_done, f, 42), 0);
	(void)uv_run(&f->loop, UV_RUN_NOWAIT); /* the question is out */
	assert_int_equal(dial_start(&f->dialer, SPAN_LIT("pinned.test"), f->port, on_done, f, 42), 0);
	dial_cancel(&f->dialer, f);
	assert_int_equal(f->dialer.n, 0);
	assert_int_equal(uv_timer_start(&f->limit, on_limit, 50, 0), 0);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_false(f->answered);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_permitted_address_is_connected), T(a_closed_port_fails),         T(only_configured_origins),
		T(lying_names_are_denied),           T(no_address_is_no_connection), T(silence_ends),
		T(cancelled_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
