/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where plaintext could stay behind, and why it does not:
 *
 *   writing    SSL_write copies up to one record into OpenSSL's buffer and encrypts it there, in place: what stays in
 *              the buffer is ciphertext.
 *   reading    a record is decrypted in place; SSL_OP_CLEANSE_PLAINTEXT wipes it when it has been copied out.
 *   the rest   handshake keys and so on: every free of OpenSSL's goes through tls_mem_free().
 *
 * A connection keeps its two buffers (SSL_MODE_RELEASE_BUFFERS is off): to take and wipe 80 KiB for each request was a
 * tenth of all the CPU that a request took.
 *
 * What OpenSSL would open lazily: its configuration (not loaded), certificates by hash from a folder (a bundle is
 * loaded whole instead), the time zone (read at set-up), random numbers (getrandom).
 */
#include "keyvault/egress/tls.h"

#include <malloc.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/err.h"
#include "common/secret.h"

/* One read(2) takes several records: streams come in small ones. */
#define TLS_READ_AHEAD_BYTES 32768
#define TLS_WHY_BYTES        128
/* OpenSSL goes on by itself behind what is no data: a peer that sends tickets or key updates without end has so much of
 * a turn, and not all of it. */
#define TLS_CALL_BYTES 65536

/* Of TLS 1.3, in the order that browsers ask for them: a record under AES-128 takes a third less time. */
static const char tls_suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

struct tls_ctx {
	SSL_CTX *ctx;
};

struct tls {
	SSL *ssl;
	struct tls_session *session;
	struct span pins;
	size_t budget; /* bytes that this call may yet read */
	char why[TLS_WHY_BYTES];
};

static const char *const tls_bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt", /* Debian, Ubuntu, Alpine */
	"/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
	"/etc/ssl/ca-bundle.pem",             /* SUSE */
	"/etc/ssl/cert.pem",
};

static void *tls_mem_new(size_t len, const char *file, int line)
{
	(void)file;
	(void)line;
	return malloc(len);
}

static void tls_mem_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (p)
		secret_wipe(p, malloc_usable_size(p));
	free(p);
}

/* Never moves bytes without wiping where they were. */
static void *tls_mem_resize(void *p, size_t len, const char *file, int line)
{
	size_t had = p ? malloc_usable_size(p) : 0;

	if (len == 0) {
		tls_mem_free(p, file, line);
		return NULL;
	}
	if (len <= had)
		return p;
	void *q = malloc(len);
	if (!q)
		return NULL;
	if (had > 0)
		memcpy(q, p, had);
	tls_mem_free(p, file, line);
	return q;
}

int tls_setup(void)
{
	const OPENSSL_INIT_SETTINGS *settings = NULL;
	unsigned char byte;

	tzset();
	if (!CRYPTO_set_mem_functions(tls_mem_new, tls_mem_resize, tls_mem_free))
		return err_origin(-EALREADY);
	if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS |
				      OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
			      settings) ||
	    RAND_bytes(&byte, 1) != 1)
		return err_origin(-ENOTSUP);
	return 0;
}

/* Keeps the newest session of an origin. 1: the reference is ours. */
static int tls_on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *t = SSL_get_app_data(ssl);

	if (!SSL_SESSION_is_resumable(session))
		return 0;
	tls_session_deinit(t->session);
	t->session->session = session;
	return 1;
}

void tls_session_deinit(struct tls_session *s)
{
	SSL_SESSION_free(s->session);
	s->session = NULL;
}

static int tls_load_roots(SSL_CTX *ctx, const char *ca_file)
{
	if (ca_file && *ca_file)
		return SSL_CTX_load_verify_file(ctx, ca_file) == 1 ? 0 : err_origin(-ENOENT);
	for (size_t i = 0; i < ARRAY_LEN(tls_bundles); i++)
		if (access(tls_bundles[i], R_OK) == 0 && SSL_CTX_load_verify_file(ctx, tls_bundles[i]) == 1)
			return 0;
	return err_origin(-ENOENT);
}

int tls_ctx_new(const char *ca_file, struct tls_ctx **ret_ctx)
{
	static const unsigned char alpn[] = "\x08http/1.1";
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return err_origin(-ENOMEM);
	int r = tls_load_roots(ctx, ca_file);
	ERR_clear_error();
	struct tls_ctx *c = r ? NULL : malloc(sizeof(*c));
	if (!c || !SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) || !SSL_CTX_set_ciphersuites(ctx, tls_suites) ||
	    SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) != 0) {
		free(c);
		SSL_CTX_free(ctx);
		return r ? r : err_origin(-ENOMEM);
	}
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, TLS_READ_AHEAD_BYTES);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, tls_on_session);
	c->ctx = ctx;
	*ret_ctx = c;
	return 0;
}

struct tls_ctx *tls_ctx_free(struct tls_ctx *c)
{
	if (c)
		SSL_CTX_free(c->ctx);
	free(c);
	return NULL;
}

/* An address is checked against the certificate's addresses and is not sent as SNI (RFC 6066 3). */
static bool tls_set_name(SSL *ssl, const char *host)
{
	struct in6_addr any;

	if (inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	/* SSL_set_tlsext_host_name() as a call: the macro's cast drops a const that OpenSSL keeps. */
	return SSL_set1_host(ssl, host) == 1 &&
	       SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host) == 1;
}

/* Before a read and after it. Where the budget is used up the socket seems to be empty, and will be readable at once.
 */
static long tls_on_bio(BIO *bio, int what, const char *p, size_t len, int argi, long argl, int r, size_t *n)
{
	struct tls *t = (struct tls *)(void *)BIO_get_callback_arg(bio);

	(void)p;
	(void)len;
	(void)argi;
	(void)argl;
	if (what == (BIO_CB_READ | BIO_CB_RETURN) && r > 0)
		t->budget -= MIN(*n, t->budget);
	if (what != BIO_CB_READ || t->budget > 0)
		return r;
	BIO_clear_retry_flags(bio);
	BIO_set_retry_read(bio);
	return -1;
}

/* One for each direction: the callback is called for whatever OpenSSL asks a BIO, which of the one it writes to is
 * much. */
static int tls_set_fd(struct tls *t, int fd)
{
	BIO *in = BIO_new_socket(fd, BIO_NOCLOSE), *out = BIO_new_socket(fd, BIO_NOCLOSE);

	if (!in || !out) {
		BIO_free(in);
		BIO_free(out);
		return -1;
	}
	BIO_set_callback_arg(in, (char *)t);
	BIO_set_callback_ex(in, tls_on_bio);
	SSL_set_bio(t->ssl, in, out);
	return 0;
}

int tls_new(struct tls_ctx *ctx, const char *host, struct span pins, int fd, struct tls_session *session,
	    struct tls **ret_tls)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		return err_origin(-ENOMEM);
	t->session = session;
	t->pins = pins;
	t->ssl = SSL_new(ctx->ctx);
	if (!t->ssl || tls_set_fd(t, fd) || !SSL_set_app_data(t->ssl, t) || !tls_set_name(t->ssl, host)) {
		ERR_clear_error();
		tls_free(t);
		return err_origin(-ENOMEM);
	}
	if (session->session)
		(void)SSL_set_session(t->ssl, session->session);
	SSL_set_connect_state(t->ssl);
	*ret_tls = t;
	return 0;
}

/* Where the handshake came to no end it may have been the session that the provider does not bear: the next one is
 * tried without. */
struct tls *tls_free(struct tls *t)
{
	if (t && t->ssl) {
		if (SSL_is_init_finished(t->ssl))
			(void)SSL_shutdown(t->ssl);
		else
			tls_session_deinit(t->session);
		SSL_free(t->ssl);
		ERR_clear_error();
	}
	free(t);
	return NULL;
}

static void tls_note_why(struct tls *t)
{
	long verify = SSL_get_verify_result(t->ssl);
	const char *text = verify != X509_V_OK ? X509_verify_cert_error_string(verify)
					       : ERR_reason_error_string(ERR_peek_last_error());

	(void)snprintf(t->why, sizeof(t->why), "%s", text ? text : "connection closed");
}

/* The error queue is empty before every call of OpenSSL's and after every answer of ours. */
static int tls_answer(struct tls *t, int r)
{
	int e = SSL_get_error(t->ssl, r);

	switch (e) {
	case SSL_ERROR_WANT_READ:
		return TLS_E_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_E_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_E_CLOSED;
	default:
		tls_note_why(t);
		ERR_clear_error();
		return TLS_E_BROKEN;
	}
}

static bool tls_is_pinned(X509 *certificate, struct span pins)
{
	unsigned char *spki = NULL;
	uint8_t digest[TLS_PIN_BYTES];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &spki);
	bool ok = len > 0 && EVP_Digest(spki, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1;
	bool found = false;

	OPENSSL_free(spki);
	for (size_t at = 0; ok && at < pins.len; at += TLS_PIN_BYTES)
		found |= span_eq(span_of(digest, sizeof(digest)), span_of(pins.p + at, TLS_PIN_BYTES));
	return found;
}

/* After chain and name were verified. A resumed session is of a connection of the same pool, which was looked at. One
 * that is refused leaves no session behind. */
static bool tls_pins_ok(struct tls *t)
{
	const STACK_OF(X509) *chain = SSL_get0_verified_chain(t->ssl);

	if (t->pins.len == 0 || SSL_session_reused(t->ssl))
		return true;
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (tls_is_pinned(sk_X509_value(chain, i), t->pins))
			return true;
	tls_session_deinit(t->session);
	(void)snprintf(t->why, sizeof(t->why), "none of the pinned public keys");
	return false;
}

int tls_handshake(struct tls *t)
{
	t->budget = TLS_CALL_BYTES;
	int r = SSL_do_handshake(t->ssl);

	if (r == 1)
		return tls_pins_ok(t) ? 0 : TLS_E_REFUSED;
	/* A peer that merely goes away is another thing than one that is not accepted. */
	bool refused = SSL_get_error(t->ssl, r) == SSL_ERROR_SSL;
	int answer = tls_answer(t, r);
	return answer == TLS_E_BROKEN && refused ? TLS_E_REFUSED : answer;
}

int tls_read(struct tls *t, uint8_t *to, size_t cap, size_t *ret_len)
{
	t->budget = TLS_CALL_BYTES;
	int r = SSL_read_ex(t->ssl, to, cap, ret_len);

	return r == 1 ? 0 : tls_answer(t, r);
}

int tls_write(struct tls *t, struct span bytes, size_t *ret_len)
{
	int r = SSL_write_ex(t->ssl, bytes.p, bytes.len, ret_len);

	return r == 1 ? 0 : tls_answer(t, r);
}

bool tls_pending(const struct tls *t)
{
	return SSL_has_pending(t->ssl) == 1;
}

/* A farewell may have been read together with the end of an answer: then the socket has nothing more to say. */
bool tls_quiet(const struct tls *t)
{
	return !SSL_has_pending(t->ssl) && SSL_get_shutdown(t->ssl) == 0;
}

bool tls_still_idle(struct tls *t)
{
	uint8_t byte;
	size_t n;

	/* Mostly nothing has come, and to ask the socket is far cheaper than to ask OpenSSL. */
	if (tls_quiet(t) && recv(SSL_get_fd(t->ssl), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
		return errno == EAGAIN;
	if (SSL_get_shutdown(t->ssl))
		return false;
	t->budget = TLS_CALL_BYTES;
	int r = SSL_peek_ex(t->ssl, &byte, 1, &n);

	return r != 1 && tls_answer(t, r) == TLS_E_READ && t->budget > 0;
}

const char *tls_why(const struct tls *t)
{
	return t->why;
}
