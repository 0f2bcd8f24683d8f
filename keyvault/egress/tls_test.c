/* SPDX-License-Identifier: Apache-2.0 */
/* TLS with a provider that a test plays, over a pair of sockets: whom it accepts, and what it says of a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "keyvault/egress/tls.h"

#define STEPS_MAX 100
#define HOST      "a.test"
#define DAY_S     86400

struct certificate {
	EVP_PKEY *key;
	X509 *x509;
};

struct world {
	char ca_file[32], other_file[32];
	struct certificate ca, other, good, named, old, addressed;
	struct tls_ctx *trust;
	struct tls_session session;
	SSL_CTX *server_ctx;
	/* one connection */
	struct tls *tls;
	SSL *server;
	int fds[2];
};

/* ---- certificates ---- */

static void extend(X509 *x, X509 *by, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, by, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* `by` NULL: by itself, an authority. `names`: as in a subjectAltName. */
static struct certificate certify_key(EVP_PKEY *key, const struct certificate *by, const char *names, long from_s,
				      long to_s)
{
	static long serial = 1;
	struct certificate c = {key, X509_new()};

	assert_non_null(c.key);
	assert_int_equal(X509_set_version(c.x509, 2), 1);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(c.x509), serial++);
	(void)X509_gmtime_adj(X509_getm_notBefore(c.x509), from_s);
	(void)X509_gmtime_adj(X509_getm_notAfter(c.x509), to_s);
	(void)X509_set_pubkey(c.x509, c.key);
	X509_NAME *name = X509_get_subject_name(c.x509);
	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)(by ? "leaf" : names), -1, -1, 0);
	(void)X509_set_issuer_name(c.x509, X509_get_subject_name(by ? by->x509 : c.x509));
	extend(c.x509, by ? by->x509 : c.x509, NID_basic_constraints, by ? "CA:FALSE" : "critical,CA:TRUE");
	if (by)
		extend(c.x509, by->x509, NID_subject_alt_name, names);
	assert_true(X509_sign(c.x509, by ? by->key : c.key, EVP_sha256()) > 0);
	return c;
}

static struct certificate certify(const struct certificate *by, const char *names, long from_s, long to_s)
{
	return certify_key(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), by, names, from_s, to_s);
}

static void discard(struct certificate *c)
{
	EVP_PKEY_free(c->key);
	X509_free(c->x509);
}

static void pin_of(const struct certificate *c, uint8_t pin[TLS_PIN_BYTES])
{
	uint8_t *spki = NULL;
	int len = i2d_PUBKEY(c->key, &spki);

	assert_true(len > 0);
	assert_int_equal(EVP_Digest(spki, (size_t)len, pin, NULL, EVP_sha256(), NULL), 1);
	OPENSSL_free(spki);
}

static void save(const struct certificate *c, char path[32])
{
	(void)strcpy(path, "/tmp/tls-XXXXXX");
	FILE *f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, c->x509), 1);
	assert_int_equal(fclose(f), 0);
}

/* ---- the world ---- */

/* The provider speaks http/1.1 if it is asked to, and nothing else. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		   unsigned in_len, void *ctx)
{
	(void)ssl;
	(void)ctx;
	assert_int_equal(in_len, 9);
	assert_memory_equal(in, "\x08http/1.1", 9); /* all that is offered */
	*out = in + 1;
	*out_len = 8;
	return SSL_TLSEXT_ERR_OK;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->fds[0] = w->fds[1] = -1;
	w->ca = certify(NULL, "ca", -DAY_S, DAY_S);
	w->other = certify(NULL, "other ca", -DAY_S, DAY_S);
	w->good = certify(&w->ca, "DNS:" HOST, -DAY_S, DAY_S);
	w->named = certify(&w->ca, "DNS:b.test", -DAY_S, DAY_S);
	w->old = certify(&w->ca, "DNS:" HOST, -2 * DAY_S, -DAY_S);
	w->addressed = certify(&w->ca, "IP:127.0.0.1", -DAY_S, DAY_S);
	save(&w->ca, w->ca_file);
	save(&w->other, w->other_file);
	assert_int_equal(tls_ctx_new(w->ca_file, &w->trust), 0);
	w->server_ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_alpn_select_cb(w->server_ctx, on_alpn, NULL);
	*state = w;
	return 0;
}

static void hang_up(struct world *w)
{
	w->tls = tls_free(w->tls);
	SSL_free(w->server);
	w->server = NULL;
	for (size_t i = 0; i < 2; i++)
		if (w->fds[i] >= 0)
			close(w->fds[i]);
	w->fds[0] = w->fds[1] = -1;
	assert_int_equal(ERR_peek_error(), 0); /* the queue is left empty */
}

static int teardown(void **state)
{
	struct world *w = *state;
	struct certificate *all[] = {&w->ca, &w->other, &w->good, &w->named, &w->old, &w->addressed};

	hang_up(w);
	tls_session_deinit(&w->session);
	w->trust = tls_ctx_free(w->trust);
	SSL_CTX_free(w->server_ctx);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		discard(all[i]);
	(void)unlink(w->ca_file);
	(void)unlink(w->other_file);
	free(w);
	return 0;
}

/* Both sides, in turns, until the egress has an answer. */
static int shake(struct world *w, const char *host, const struct certificate *shown, struct span pins)
{
	int r = TLS_E_READ;

	hang_up(w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, w->fds), 0);
	w->server = SSL_new(w->server_ctx);
	assert_int_equal(SSL_use_certificate(w->server, shown->x509), 1);
	assert_int_equal(SSL_use_PrivateKey(w->server, shown->key), 1);
	(void)SSL_set_fd(w->server, w->fds[1]);
	SSL_set_accept_state(w->server);
	assert_int_equal(tls_new(w->trust, host, pins, w->fds[0], &w->session, &w->tls), 0);
	for (int i = 0; i < STEPS_MAX && r == TLS_E_READ; i++) {
		r = tls_handshake(w->tls);
		(void)SSL_do_handshake(w->server);
		ERR_clear_error();
	}
	return r;
}

static void connect_to(struct world *w)
{
	assert_int_equal(shake(w, HOST, &w->good, SPAN_NULL), 0);
}

static void provider_says(struct world *w, const char *text)
{
	assert_int_equal(SSL_write(w->server, text, (int)strlen(text)), strlen(text));
}

static void expect_read(struct world *w, const char *text)
{
	uint8_t got[64];
	size_t n = 0;

	assert_int_equal(tls_read(w->tls, got, sizeof(got), &n), 0);
	assert_true(span_eq_str(span_of(got, n), text));
}

/* The tickets that come after a handshake. */
static void take_tickets(struct world *w)
{
	uint8_t byte;
	size_t n;

	assert_int_equal(tls_read(w->tls, &byte, 1, &n), TLS_E_READ);
	assert_non_null(w->session.session);
}

/* ---- who is accepted ---- */

static void the_right_one_is(void **state)
{
	struct world *w = *state;
	size_t n = 0;
	char got[8];

	connect_to(w);
	assert_string_equal(SSL_get_servername(w->server, TLSEXT_NAMETYPE_host_name), HOST);
	assert_int_equal(tls_write(w->tls, SPAN_LIT("hello"), &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(SSL_read(w->server, got, sizeof(got)), 5);
	provider_says(w, "world");
	expect_read(w, "world");
	assert_int_equal(tls_read(w->tls, (uint8_t *)got, 1, &n), TLS_E_READ);
}

static void the_wrong_ones_are_not(void **state)
{
	struct world *w = *state;
	struct certificate strange = certify(&w->other, "DNS:" HOST, -DAY_S, DAY_S),
			   early = certify(&w->ca, "DNS:" HOST, DAY_S, 2 * DAY_S),
			   wild = certify(&w->ca, "DNS:*.test", -DAY_S, DAY_S),
			   partial = certify(&w->ca, "DNS:a*.b.test", -DAY_S, DAY_S),
			   weak = certify_key(EVP_RSA_gen(1024), &w->ca, "DNS:" HOST, -DAY_S, DAY_S);
	const struct {
		const char *host;
		const struct certificate *shown;
		const char *why; /* NULL: accepted */
	} rows[] = {
		{HOST, &strange, "unable to get local issuer certificate"},
		{HOST, &w->named, "hostname mismatch"},
		{HOST, &w->old, "certificate has expired"},
		{HOST, &early, "certificate is not yet valid"},
		{HOST, &w->addressed, "hostname mismatch"},
		{"127.0.0.1", &w->good, "IP address mismatch"},
		{"127.0.0.2", &w->addressed, "IP address mismatch"},
		{"127.0.0.1", &w->addressed, NULL},
		{"b.test", &w->named, NULL},
		{"deep.a.test", &wild, "hostname mismatch"},
		{"ab.b.test", &partial, "hostname mismatch"},
		{HOST, &w->ca, "hostname mismatch"},
		{HOST, &weak, "EE certificate key too weak"},
	};

	SSL_CTX_set_security_level(w->server_ctx, 0); /* it shows anything */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = shake(w, rows[i].host, rows[i].shown, SPAN_NULL);
		assert_int_equal(r, rows[i].why ? TLS_E_REFUSED : 0);
		if (rows[i].why) /* newer versions of OpenSSL go on in their words */
			assert_int_equal(strncmp(tls_why(w->tls), rows[i].why, strlen(rows[i].why)), 0);
		assert_true(!rows[i].why || !w->session.session);
		tls_session_deinit(&w->session);
	}
	discard(&strange);
	discard(&early);
	discard(&wild);
	discard(&partial);
	discard(&weak);
}

static void an_address_is_not_sent_as_a_name(void **state)
{
	struct world *w = *state;

	assert_int_equal(shake(w, "127.0.0.1", &w->addressed, SPAN_NULL), 0);
	assert_null(SSL_get_servername(w->server, TLSEXT_NAMETYPE_host_name));
}

static void old_versions_are_not_spoken(void **state)
{
	struct world *w = *state;

	SSL_CTX_set_security_level(w->server_ctx, 0);
	SSL_CTX_set_max_proto_version(w->server_ctx, TLS1_2_VERSION);
	connect_to(w);
	assert_string_equal(SSL_get_version(w->server), "TLSv1.2");
	SSL_CTX_set_min_proto_version(w->server_ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(w->server_ctx, TLS1_1_VERSION);
	tls_session_deinit(&w->session);
	assert_int_equal(shake(w, HOST, &w->good, SPAN_NULL), TLS_E_REFUSED);
}

static void one_of_the_pins_must_be_there(void **state)
{
	struct world *w = *state;
	uint8_t pins[2 * TLS_PIN_BYTES] = {0};

	pin_of(&w->good, pins + TLS_PIN_BYTES);
	assert_int_equal(shake(w, HOST, &w->good, span_of(pins, sizeof(pins))), 0);
	tls_session_deinit(&w->session);
	assert_int_equal(shake(w, HOST, &w->good, span_of(pins, TLS_PIN_BYTES)), TLS_E_REFUSED);
	assert_string_equal(tls_why(w->tls), "none of the pinned public keys");
	assert_null(w->session.session);
	pin_of(&w->ca, pins); /* any of the chain */
	assert_int_equal(shake(w, HOST, &w->good, span_of(pins, TLS_PIN_BYTES)), 0);
	tls_session_deinit(&w->session);
	pin_of(&w->other, pins); /* trusted or not, it is not in the chain */
	/* In TLS 1.2 the ticket comes with the handshake, so before the pins are looked at; and a resumed one has no
	 * chain. */
	SSL_CTX_set_max_proto_version(w->server_ctx, TLS1_2_VERSION);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(shake(w, HOST, &w->good, span_of(pins, TLS_PIN_BYTES)), TLS_E_REFUSED);
		assert_null(w->session.session);
	}
}

static void a_session_is_resumed(void **state)
{
	struct world *w = *state;

	connect_to(w);
	assert_false(SSL_session_reused(w->server));
	take_tickets(w);
	connect_to(w);
	assert_true(SSL_session_reused(w->server));
	take_tickets(w);
	tls_session_deinit(&w->session);
	connect_to(w);
	assert_false(SSL_session_reused(w->server));
}

static void without_roots_there_is_no_trust(void **state)
{
	struct world *w = *state;
	struct tls_ctx *other = NULL;

	assert_int_equal(tls_ctx_new("/nonexistent", &other), -ENOENT);
	assert_null(other);
	assert_int_equal(tls_ctx_new(w->other_file, &other), 0);
	struct tls_ctx *trust = w->trust;
	w->trust = other;
	assert_int_equal(shake(w, HOST, &w->good, SPAN_NULL), TLS_E_REFUSED);
	hang_up(w);
	w->trust = trust;
	other = tls_ctx_free(other);
	assert_null(other);
}

/* ---- what it says of a connection ---- */

static void an_end_in_order_is_told_from_a_cut(void **state)
{
	struct world *w = *state;
	uint8_t byte;
	size_t n;

	connect_to(w);
	provider_says(w, "x");
	(void)SSL_shutdown(w->server);
	expect_read(w, "x");
	assert_int_equal(tls_read(w->tls, &byte, 1, &n), TLS_E_CLOSED);
	connect_to(w);
	take_tickets(w);
	close(w->fds[1]);
	w->fds[1] = -1;
	assert_int_equal(tls_read(w->tls, &byte, 1, &n), TLS_E_BROKEN);
	assert_true(tls_why(w->tls)[0]);
	connect_to(w);
	take_tickets(w);
	assert_int_equal(send(w->fds[1], "HTTP/1.1 200 OK\r\n\r\n", 19, 0), 19); /* not TLS */
	assert_int_equal(tls_read(w->tls, &byte, 1, &n), TLS_E_BROKEN);
}

static void one_that_goes_away_is_not_refused(void **state)
{
	struct world *w = *state;

	connect_to(w);
	take_tickets(w);
	hang_up(w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, w->fds), 0);
	assert_int_equal(tls_new(w->trust, HOST, SPAN_NULL, w->fds[0], &w->session, &w->tls), 0);
	assert_int_equal(tls_handshake(w->tls), TLS_E_READ);
	close(w->fds[1]);
	w->fds[1] = -1;
	assert_int_equal(tls_handshake(w->tls), TLS_E_BROKEN);
	hang_up(w);
	assert_null(w->session.session); /* the next is tried without it */
}

static void what_does_not_fit_is_written_later(void **state)
{
	static uint8_t big[1 << 20];
	struct world *w = *state;
	size_t n, sent = 0, got = 0;
	int r;

	connect_to(w);
	while ((r = tls_write(w->tls, span_of(big + sent, sizeof(big) - sent), &n)) == 0)
		sent += n;
	assert_int_equal(r, TLS_E_WRITE);
	assert_true(sent > 0 && sent < sizeof(big));
	for (int i = 0; i < 10000 && sent < sizeof(big); i++) {
		uint8_t part[16384];
		int k = SSL_read(w->server, part, sizeof(part));
		got += k > 0 ? (size_t)k : 0;
		r = tls_write(w->tls, span_of(big + sent, sizeof(big) - sent), &n);
		sent += r == 0 ? n : 0;
		assert_true(r == 0 || r == TLS_E_WRITE);
	}
	assert_int_equal(sent, sizeof(big));
	assert_true(got > 0);
}

static void what_was_read_already_is_pending(void **state)
{
	struct world *w = *state;
	uint8_t byte;
	size_t n;

	connect_to(w);
	take_tickets(w);
	assert_false(tls_pending(w->tls));
	provider_says(w, "ab");
	provider_says(w, "c");
	assert_int_equal(tls_read(w->tls, &byte, 1, &n), 0);
	assert_true(tls_pending(w->tls)); /* the rest of a record, and one more */
	assert_false(tls_quiet(w->tls));
	expect_read(w, "b");
	expect_read(w, "c");
	assert_false(tls_pending(w->tls));
	assert_true(tls_quiet(w->tls));
}

static void only_a_silent_one_is_fit_for_a_request(void **state)
{
	struct world *w = *state;
	uint8_t got[8];
	size_t n;

	connect_to(w);
	assert_true(tls_still_idle(w->tls)); /* tickets are no word */
	assert_true(tls_still_idle(w->tls));
	provider_says(w, "HTTP/1.1 408\r\n");
	assert_false(tls_still_idle(w->tls));

	connect_to(w);
	provider_says(w, "bye");
	(void)SSL_shutdown(w->server);
	assert_int_equal(tls_read(w->tls, got, sizeof(got), &n), 0); /* and the farewell with it */
	assert_false(tls_still_idle(w->tls));

	connect_to(w);
	take_tickets(w);
	(void)SSL_shutdown(w->server);
	assert_false(tls_still_idle(w->tls));
	assert_false(tls_quiet(w->tls));
	assert_false(tls_still_idle(w->tls));

	connect_to(w);
	take_tickets(w);
	close(w->fds[1]);
	w->fds[1] = -1;
	assert_false(tls_still_idle(w->tls));
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_right_one_is),
		TEST(the_wrong_ones_are_not),
		TEST(an_address_is_not_sent_as_a_name),
		TEST(old_versions_are_not_spoken),
		TEST(one_of_the_pins_must_be_there),
		TEST(a_session_is_resumed),
		TEST(without_roots_there_is_no_trust),
		TEST(an_end_in_order_is_told_from_a_cut),
		TEST(one_that_goes_away_is_not_refused),
		TEST(what_does_not_fit_is_written_later),
		TEST(what_was_read_already_is_pending),
		TEST(only_a_silent_one_is_fit_for_a_request),
	};
	/* clang-format on */
	(void)signal(SIGPIPE, SIG_IGN); /* as daemon_init() */
	return tls_setup() ? 1 : cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
