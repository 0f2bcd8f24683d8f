/* SPDX-License-Identifier: Apache-2.0 */
/* A provider that has much to say that is no answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "keyvault/egress/tls.h"

#define HOST      "a.test"
#define TICKETS   300
#define STEPS_MAX 1000

/* Its own authority, in a file for tls_ctx_new(). */
static X509 *certify(EVP_PKEY *key, char path[32])
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:" HOST);

	(void)X509_set_version(x, 2);
	(void)X509_gmtime_adj(X509_getm_notBefore(x), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	(void)X509_set_pubkey(x, key);
	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)HOST, -1, -1, 0);
	(void)X509_set_issuer_name(x, name);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	(void)strcpy(path, "/tmp/tls-XXXXXX");
	FILE *f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, x), 1);
	assert_int_equal(fclose(f), 0);
	return x;
}

static int unread(int fd)
{
	int n = -1;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

/* Nobody else in the lane waits until a provider has sent enough tickets. */
static void a_flood_of_tickets_does_not_hold_the_loop(void **state)
{
	char path[32];
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *x = certify(key, path);
	SSL_CTX *server_ctx = SSL_CTX_new(TLS_server_method());
	struct tls_session session = {0};
	struct tls_ctx *trust;
	struct tls *tls;
	int fds[2], r = TLS_E_READ, turns = 0;
	uint8_t byte = 0;
	size_t n;

	(void)state;
	assert_int_equal(tls_ctx_new(path, &trust), 0);
	assert_int_equal(SSL_CTX_set_num_tickets(server_ctx, TICKETS), 1);
	SSL *server = SSL_new(server_ctx);
	assert_int_equal(SSL_use_certificate(server, x), 1);
	assert_int_equal(SSL_use_PrivateKey(server, key), 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int)), 0);
	(void)SSL_set_fd(server, fds[1]);
	SSL_set_accept_state(server);
	assert_int_equal(tls_new(trust, HOST, SPAN_NULL, fds[0], &session, &tls), 0);
	for (int i = 0; i < STEPS_MAX && r == TLS_E_READ; i++) {
		r = tls_handshake(tls);
		(void)SSL_do_handshake(server);
	}
	assert_int_equal(r, 0);
	assert_int_equal(SSL_write(server, "x", 1), 1); /* behind all of them */
	assert_true(unread(fds[0]) > 49152);            /* more than a buffer */
	while ((r = tls_read(tls, &byte, 1, &n)) == TLS_E_READ && turns < STEPS_MAX) {
		assert_true(unread(fds[0]) > 0); /* which says when to go on */
		turns++;
	}
	assert_int_equal(r, 0);
	assert_int_equal(byte, 'x');
	assert_true(turns > 0);
	tls_free(tls);
	SSL_free(server);
	close(fds[0]);
	close(fds[1]);
	tls_session_deinit(&session);
	tls_ctx_free(trust);
	SSL_CTX_free(server_ctx);
	X509_free(x);
	EVP_PKEY_free(key);
	(void)unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_flood_of_tickets_does_not_hold_the_loop)};

	return tls_setup() ? 1 : cmocka_run_group_tests_name("tls_flood", tests, NULL, NULL);
}
