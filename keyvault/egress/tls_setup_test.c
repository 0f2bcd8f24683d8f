/* SPDX-License-Identifier: Apache-2.0 */
/* What TLS takes of the system, and how it gives it back: memory, which is wiped first, and its authorities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>
#include <openssl/crypto.h>

#include "keyvault/egress/tls.h"

static struct {
	const uint8_t *p; /* whose end is awaited */
	size_t len;
	bool ended;
} watched;

void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p)
{
	if (p && p == watched.p) {
		for (size_t i = 0; i < watched.len; i++)
			assert_int_equal(watched.p[i], 0);
		watched.p = NULL;
		watched.ended = true;
	}
	__real_free(p);
}

static uint8_t *watch(uint8_t *p, size_t len)
{
	watched.p = p;
	watched.len = len;
	watched.ended = false;
	return p;
}

static void what_openssl_frees_is_wiped(void **state)
{
	uint8_t *p = watch(OPENSSL_malloc(100), 100);

	(void)state;
	memset(p, 'k', 100);
	OPENSSL_free(p);
	assert_true(watched.ended);
	p = watch(OPENSSL_malloc(100), 100);
	memset(p, 'k', 100);
	assert_ptr_equal(OPENSSL_realloc(p, 50), p);
	uint8_t *q = OPENSSL_realloc(p, 10000); /* it moves */
	assert_true(watched.ended);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(q[i], 'k');
	watch(q, 100);
	assert_null(OPENSSL_realloc(q, 0));
	assert_true(watched.ended);
	p = OPENSSL_realloc(NULL, 10);
	assert_non_null(p);
	OPENSSL_free(p);
}

/* With no file named; where the system has some. */
static void the_systems_authorities_are_found(void **state)
{
	struct tls_ctx *ctx = NULL;

	(void)state;
	if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) && access("/etc/pki/tls/certs/ca-bundle.crt", R_OK)) {
		puts("SKIPPED: this system has no bundle of certificate authorities");
		skip();
	}
	assert_int_equal(tls_ctx_new("", &ctx), 0);
	ctx = tls_ctx_free(ctx);
	assert_int_equal(tls_ctx_new(NULL, &ctx), 0);
	assert_non_null(ctx);
	ctx = tls_ctx_free(ctx);
	assert_null(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_openssl_frees_is_wiped),
		cmocka_unit_test(the_systems_authorities_are_found),
	};

	return tls_setup() ? 1 : cmocka_run_group_tests_name("tls_setup", tests, NULL, NULL);
}
