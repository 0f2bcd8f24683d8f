/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialer against a name server that lies, and against listeners on loopback that the configuration permits. The
 * server speaks TCP alone and answers from the first label of the name; tests/integration/test_dialer.py has a far
 * worse one, and the real process.
 */
#include "keyvault/dialer/dial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <cmocka.h>

#define WAIT_MS       5000
#define RESOLVE_MS    1000
#define TRIES_MAX     5 /* for a machine that stands still now and then */
#define QUERY_BYTES   512
#define PROVIDERS_MAX 32

struct fixture {
	uv_loop_t loop;
	struct dialer dialer;
	struct config_provider providers[PROVIDERS_MAX];
	char urls[PROVIDERS_MAX][128];
	size_t n_providers;
	int dns, listener, closed;
	uint16_t dns_port, port, closed_port;
	uv_poll_t dns_poll;
	unsigned asked;
	uv_timer_t limit;
	/* the last answer */
	bool answered;
	int fd;
	char address[64], why[256];
	enum reason reason;
};

static const struct name {
	const char *label;
	const char *v4[3]; /* A records */
	const char *v6;    /* AAAA record */
	const char *within;
	unsigned more; /* A records before those: 8.8.0.x */
	bool no_v6;    /* AAAA is never answered */
} names[] = {
	{.label = "private", .v4 = {"10.0.0.1"}},
	{.label = "mixed", .v4 = {"8.8.8.8", "127.0.0.1"}},
	{.label = "six", .v4 = {"8.8.8.8"}, .v6 = "::ffff:127.0.0.1"},
	{.label = "metadata", .v4 = {"169.254.169.254"}},
	{.label = "last", .v4 = {"10.0.0.1"}, .more = MESSAGE_ADDRESSES_MAX - 1},
	{.label = "toomany", .v4 = {"8.8.8.8"}, .more = MESSAGE_ADDRESSES_MAX},
	{.label = "nothing"},
	{.label = "silent", .v4 = {"8.8.8.8"}},
	{.label = "within", .v4 = {"127.0.0.1"}, .within = "127.0.0.0/8"},
	{.label = "withinsix", .v4 = {"127.0.0.1"}, .within = "127.0.0.0/8", .no_v6 = true},
	{.label = "withintwo", .v4 = {"127.0.0.2", "127.0.0.1"}, .within = "127.0.0.0/8"},
	{.label = "outside", .v4 = {"127.0.0.1", "127.1.0.1"}, .within = "127.0.0.0/16"},
};

/* Not listening yet: whoever connects is refused, and nobody else is given the port. */
static int bind_on(uint16_t *ret_port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);

	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

static int listen_on(uint16_t *ret_port)
{
	int fd = bind_on(ret_port);

	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* ---- the name server ---- */

struct client {
	struct fixture *f;
	uv_poll_t poll;
	int fd;
	uint8_t in[4096];
	size_t len;
};

static size_t put_answer(uint8_t *to, uint16_t type, const char *text)
{
	uint8_t len = type == 1 ? 4 : 16;
	const uint8_t head[] = {0xc0, 12, (uint8_t)(type >> 8), (uint8_t)type, 0, 1, 0, 0, 0, 1, 0, len};

	memcpy(to, head, sizeof(head));
	assert_int_equal(inet_pton(type == 1 ? AF_INET : AF_INET6, text, to + sizeof(head)), 1);
	return sizeof(head) + len;
}

static const struct name *name_of(const uint8_t *label)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i].label) == label[0] && memcmp(names[i].label, label + 1, label[0]) == 0)
			return &names[i];
	return NULL;
}

/* The records that answer (RFC 1035 section 4.1), behind the question in `m`. */
static size_t put_records(const struct name *name, uint16_t type, uint8_t *m, size_t len)
{
	unsigned count = 0;
	char text[32];

	for (; name && type == 1 && count < name->more; count++) {
		(void)snprintf(text, sizeof(text), "8.8.0.%u", count);
		len += put_answer(m + len, 1, text);
	}
	for (size_t k = 0; name && type == 1 && k < 3 && name->v4[k]; k++, count++)
		len += put_answer(m + len, 1, name->v4[k]);
	if (name && type == 28 && name->v6) {
		len += put_answer(m + len, 28, name->v6);
		count++;
	}
	m[2] = 0x81;
	m[3] = 0x80;
	m[6] = 0;
	m[7] = (uint8_t)count;
	memset(m + 8, 0, 4);
	return len;
}

static void answer(struct client *c, const uint8_t *query, size_t query_len)
{
	uint8_t out[2 + 4096], *m = out + 2;

	assert_true(query_len < QUERY_BYTES);
	memcpy(m, query, query_len);
	size_t end = 12;
	while (m[end])
		end += m[end] + 1u;
	assert_int_equal(end + 5, query_len); /* the question and nothing else: no EDNS */
	uint16_t type = (uint16_t)(m[end + 1] << 8 | m[end + 2]);
	const struct name *name = name_of(m + 12);
	c->f->asked++;
	if (name && (strcmp(name->label, "silent") == 0 || (type == 28 && name->no_v6)))
		return;
	size_t len = put_records(name, type, m, query_len);
	out[0] = (uint8_t)(len >> 8);
	out[1] = (uint8_t)len;
	assert_int_equal(write(c->fd, out, len + 2), len + 2);
}

static void on_client_closed(uv_handle_t *handle)
{
	struct client *c = container_of((uv_poll_t *)handle, struct client, poll);

	(void)close(c->fd);
	free(c);
}

static void on_client(uv_poll_t *poll, int status, int events)
{
	struct client *c = container_of(poll, struct client, poll);

	(void)events;
	ssize_t n = status < 0 ? 0 : read(c->fd, c->in + c->len, sizeof(c->in) - c->len);
	if (n <= 0) {
		uv_close((uv_handle_t *)poll, on_client_closed);
		return;
	}
	c->len += (size_t)n;
	for (size_t len; c->len >= 2 && c->len >= 2 + (len = (size_t)c->in[0] << 8 | c->in[1]);) {
		answer(c, c->in + 2, len);
		c->len -= 2 + len;
		memmove(c->in, c->in + 2 + len, c->len);
	}
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
	struct fixture *f = poll->data;
	struct client *c = calloc(1, sizeof(*c));

	(void)status;
	(void)events;
	c->f = f;
	c->fd = accept(f->dns, NULL, NULL);
	assert_true(c->fd >= 0);
	assert_int_equal(uv_poll_init(&f->loop, &c->poll, c->fd), 0);
	assert_int_equal(uv_poll_start(&c->poll, UV_READABLE, on_client), 0);
}

/* ---- one dial ---- */

static void on_done(void *ctx, uint64_t id, const struct dial_end *end)
{
	struct fixture *f = ctx;

	assert_int_equal(id, 42);
	assert_false(f->answered);
	f->answered = true;
	f->fd = end->fd;
	f->reason = end->reason;
	(void)snprintf(f->address, sizeof(f->address), "%s", end->address);
	(void)snprintf(f->why, sizeof(f->why), "%s", end->why);
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
	return f->reason;
}

static void add_provider(struct fixture *f, const char *host, uint16_t port, const char *to, const char *within)
{
	size_t i = f->n_providers++;

	assert_true(i < PROVIDERS_MAX);
	(void)snprintf(f->urls[i], sizeof(f->urls[i]), "https://%s:%u/v1", host, port);
	f->providers[i] = (struct config_provider){.name = host,
						   .base_url = f->urls[i],
						   .connect_to = to,
						   .token_url = "",
						   .connect_within = within ? within : ""};
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct config config = {.providers = f->providers};
	struct resolve_server server = {.address = {.family = AF_INET, .v4 = {127, 0, 0, 1}}};
	char host[64];
	const char *who;

	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->dns = listen_on(&f->dns_port);
	f->listener = listen_on(&f->port);
	f->fd = -1;
	f->closed = bind_on(&f->closed_port);
	assert_int_equal(uv_poll_init(&f->loop, &f->dns_poll, f->dns), 0);
	f->dns_poll.data = f;
	assert_int_equal(uv_poll_start(&f->dns_poll, UV_READABLE, on_accept), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(host, sizeof(host), "%s.example.com", names[i].label);
		add_provider(f, host, names[i].within ? f->port : 443, "", names[i].within);
	}
	add_provider(f, "pinned.test", f->port, "127.0.0.1", "");
	add_provider(f, "closed.test", f->closed_port, "127.0.0.1", "");
	add_provider(f, "pinnedmetadata.test", 443, "169.254.169.254", "");
	add_provider(f, "127.0.0.1", 443, "", "");
	add_provider(f, "localhost", f->port, "", "127.0.0.0/8");
	config.n_providers = f->n_providers;
	assert_int_equal(policy_init(&f->dialer.policy, &config, &who), 0);
	f->dialer.loop = &f->loop;
	list_init(&f->dialer.dials);
	server.port = f->dns_port;
	assert_int_equal(resolver_new(&f->loop, RESOLVE_MS, &server, 1, &f->dialer.resolver), 0);
	assert_int_equal(uv_timer_init(&f->loop, &f->limit), 0);
	*state = f;
	return 0;
}

/* The loop must run dry: nothing is leaked. */
static int tear_down(void **state)
{
	struct fixture *f = *state;

	dial_cancel(&f->dialer, NULL);
	f->dialer.resolver = resolver_free(f->dialer.resolver);
	uv_close((uv_handle_t *)&f->dns_poll, NULL);
	uv_close((uv_handle_t *)&f->limit, NULL);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	policy_deinit(&f->dialer.policy);
	(void)close(f->dns);
	(void)close(f->listener);
	(void)close(f->closed);
	free(f);
	return 0;
}

static void assert_connected(struct fixture *f)
{
	int peer = accept(f->listener, NULL, NULL);

	assert_string_equal(f->address, "127.0.0.1");
	assert_true(peer >= 0);
	assert_int_equal(write(f->fd, "x", 1), 1);
	(void)close(peer);
	(void)close(f->fd);
}

static void a_permitted_address_is_connected(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial(f, "pinned.test", f->port), REASON_NONE);
	assert_connected(f);
	assert_int_equal(f->asked, 0); /* no name was resolved */
}

static void a_permitted_answer_is_connected(void **state)
{
	static const char *const hosts[] = {"within.example.com", "withintwo.example.com"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		assert_int_equal(dial(f, hosts[i], f->port), REASON_NONE);
		assert_connected(f);
	}
	assert_int_equal(f->asked, 4); /* both families, once each */
	assert_int_equal(f->dialer.connected, 2);
}

/* A server that drops questions for AAAA costs a moment and not the name. */
static void the_other_family_is_not_waited_for_long(void **state)
{
	struct fixture *f = *state;
	unsigned tries = 0;
	uint64_t took_ms;

	do {
		(void)close(f->fd); /* that of the try before */
		uv_update_time(&f->loop);
		uint64_t began_ms = uv_now(&f->loop);
		(void)dial(f, "withinsix.example.com", f->port);
		took_ms = uv_now(&f->loop) - began_ms;
	} while (took_ms >= RESOLVE_MS && ++tries < TRIES_MAX);
	assert_int_equal(f->reason, REASON_NONE);
	assert_connected(f);
	assert_true(took_ms >= RESOLVE_SECOND_MS && took_ms < RESOLVE_MS);
}

static void a_closed_port_fails(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial(f, "closed.test", f->closed_port), REASON_DIAL_CONNECT);
	assert_int_equal(f->fd, -1);
	assert_string_equal(f->address, "127.0.0.1");
	assert_string_equal(f->why, "connection refused");
}

static void only_configured_origins(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial(f, "pinned.test", f->closed_port), REASON_DIAL_DENIED);
	assert_int_equal(dial(f, "127.0.0.1", f->port), REASON_DIAL_DENIED);
	assert_int_equal(dial(f, "evil.example.com", 443), REASON_DIAL_DENIED);
	assert_int_equal(dial(f, "private.example.com", 8443), REASON_DIAL_DENIED);
	/* configured, and refused all the same */
	assert_int_equal(dial(f, "127.0.0.1", 443), REASON_DIAL_DENIED);
	assert_string_equal(f->address, "127.0.0.1");
	assert_int_equal(dial(f, "localhost", f->port), REASON_DIAL_DENIED);
	assert_int_equal(dial(f, "pinnedmetadata.test", 443), REASON_DIAL_DENIED);
	assert_string_equal(f->address, "169.254.169.254");
	assert_int_equal(f->asked, 0);
}

static void lying_names_are_denied(void **state)
{
	static const char *const lies[][2] = {{"private", "10.0.0.1"},     {"mixed", "127.0.0.1"},
					      {"six", "::ffff:127.0.0.1"}, {"metadata", "169.254.169.254"},
					      {"last", "10.0.0.1"},        {"outside", "127.1.0.1"}};
	struct fixture *f = *state;
	char host[64];

	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		(void)snprintf(host, sizeof(host), "%s.example.com", lies[i][0]);
		if (dial(f, host, strcmp(lies[i][0], "outside") == 0 ? f->port : 443) != REASON_DIAL_DENIED)
			fail_msg("%s: %s", host, reason_row(f->reason)->code);
		assert_string_equal(f->address, lies[i][1]);
	}
	assert_int_equal(f->dialer.denied, ARRAY_LEN(lies));
	assert_int_equal(accept(f->listener, NULL, NULL), -1); /* and nobody came */
}

static void no_address_is_no_connection(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial(f, "nothing.example.com", 443), REASON_DIAL_RESOLVE);
	assert_string_not_equal(f->why, "");
	assert_int_equal(dial(f, "toomany.example.com", 443), REASON_DIAL_RESOLVE);
}

/* A server that never answers: the limit holds. */
static void silence_ends(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial(f, "silent.example.com", 443), REASON_DIAL_RESOLVE);
	assert_string_equal(f->why, "no answer in time");
}

static void cancelled_says_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dial_start(&f->dialer, SPAN_LIT("silent.example.com"), 443, on_done, f, 42), 0);
	(void)uv_run(&f->loop, UV_RUN_NOWAIT); /* the question is out */
	assert_int_equal(dial_start(&f->dialer, SPAN_LIT("pinned.test"), f->port, on_done, f, 42), 0);
	dial_cancel(&f->dialer, f);
	assert_int_equal(f->dialer.n, 0);
	assert_int_equal(uv_timer_start(&f->limit, on_limit, 50, 0), 0);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_false(f->answered);
}

static void no_more_dials_than_the_limit(void **state)
{
	struct fixture *f = *state;
	struct fixture *other = calloc(1, sizeof(*other));
	struct rlimit files;

	/* as the launcher gives it: a shell's 1,024 are too few for these and both ends of what they ask */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (size_t i = 0; i < DIALS_MAX; i++)
		assert_int_equal(dial_start(&f->dialer, SPAN_LIT("silent.example.com"), 443, on_done, other, 42), 0);
	assert_int_equal(dial(f, "pinned.test", f->port), REASON_OVERLOADED);
	dial_cancel(&f->dialer, other);
	assert_false(other->answered);
	free(other);
	assert_int_equal(f->dialer.n, 0);
	assert_int_equal(dial(f, "pinned.test", f->port), REASON_NONE);
	assert_connected(f);
}

static void server_lists(void **state)
{
	struct resolve_server servers[RESOLVE_SERVERS_MAX];
	size_t n;

	(void)state;
	assert_true(resolve_servers("", servers, &n));
	assert_int_equal(n, 0);
	assert_true(resolve_servers("9.9.9.9,[::1]:5353", servers, &n));
	assert_int_equal(n, 2);
	assert_int_equal(servers[0].port, 53);
	assert_int_equal(servers[1].port, 5353);
	assert_false(resolve_servers("1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1", servers, &n));
	assert_false(resolve_servers("dns.google", servers, &n));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_permitted_address_is_connected),
		T(a_permitted_answer_is_connected),
		T(the_other_family_is_not_waited_for_long),
		T(a_closed_port_fails),
		T(only_configured_origins),
		T(lying_names_are_denied),
		T(no_address_is_no_connection),
		T(silence_ends),
		T(cancelled_says_nothing),
		T(no_more_dials_than_the_limit),
		cmocka_unit_test(server_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
