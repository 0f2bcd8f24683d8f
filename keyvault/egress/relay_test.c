/* SPDX-License-Identifier: Apache-2.0 */
/* From the connection to the lane: how often the scrubber is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "keyvault/egress/egress.h"
#include "keyvault/egress/relay.h"

/* ---- who else there is ---- */

static struct {
	const char *says;
	unsigned feeds, heads;
	char body[16];
} fake;

int tls_read(struct tls *t, uint8_t *to, size_t cap, size_t *ret_len)
{
	(void)t;
	*ret_len = strlen(fake.says);
	assert_true(*ret_len <= cap);
	memcpy(to, fake.says, *ret_len);
	fake.says = "";
	return *ret_len > 0 ? 0 : TLS_E_READ;
}

bool tls_pending(const struct tls *t)
{
	(void)t;
	return false;
}

void upstream_pause(struct upstream *u)
{
	(void)u;
	fail();
}

void credential_refuse(struct credential *c, const struct credential_key *key)
{
	(void)c;
	(void)key;
	fail();
}

size_t ipc_queued(const struct ipc_conn *conn)
{
	(void)conn;
	return 0;
}

int ipc_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	const struct proto_data *data = msg;

	(void)conn;
	(void)id;
	fake.heads += type == PROTO_REPLY_HEAD;
	if (type != PROTO_DATA)
		return 0;
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
	(void)pass;
	fake.feeds += in.len > 0;
	span_copy(out, in);
	return in.len;
}

size_t scrub_end(struct scrub_pass *pass, uint8_t *out)
{
	(void)pass;
	(void)out;
	return 0;
}

/* ---- the relay ---- */

static void a_body_in_many_chunks_is_looked_at_once(void **state)
{
	struct egress *eg = calloc(1, sizeof(*eg));
	struct credential_key key = {.scrub = {.len_min = 8}};
	struct lane lane = {.eg = eg};
	struct upstream u = {0};
	struct exchange x = {.eg = eg, .lane = &lane, .key = &key, .upstream = &u, .credit = EGRESS_CREDIT_BYTES};

	(void)state;
	assert_int_equal(secret_arena_new(4096, &eg->arena), 0);
	eg->config.router.stream_bytes_max = 1 << 20;
	x.request.method = PROTO_POST;
	relay_begin(&x);
	fake.says = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n2\r\ncd\r\n1";
	assert_int_equal(relay_pump(&x), REASON_NONE);
	assert_string_equal(fake.body, "abcd");
	assert_int_equal(fake.feeds, 1);
	fake.says = "\r\ne\r\n1\r\nf\r\n0\r\n\r\n";
	assert_int_equal(relay_pump(&x), REASON_NONE);
	assert_true(x.reply_over && !x.unclean);
	assert_string_equal(fake.body, "abcdef");
	assert_int_equal(fake.feeds, 2);
	assert_int_equal(fake.heads, 1);
	assert_int_equal(x.body_bytes, 6);
	reply_deinit(&x.reply);
	secret_arena_free(eg->arena);
	free(eg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_body_in_many_chunks_is_looked_at_once)};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
