/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS towards providers: OpenSSL over a connected, non-blocking socket. No other file of the egress sees OpenSSL, but
 * for digest.c.
 *
 * TLS 1.2 or later, chain and name verified, http/1.1 by ALPN, sessions resumed, no renegotiation. OpenSSL's own memory
 * is wiped whenever it is freed, and what it decrypted as soon as it was handed over. Nothing is opened after
 * tls_setup() and tls_ctx_new().
 */
#pragma once

#include "common/base.h"

struct tls;     /* one connection */
struct tls_ctx; /* what to trust */

enum tls_err {
	TLS_E_READ = 1, /* wait until the socket is readable */
	TLS_E_WRITE,    /* wait until the socket is writable */
	TLS_E_CLOSED,   /* the peer closed in order: nothing was cut off */
	TLS_E_BROKEN,   /* the connection is gone, or the peer broke the protocol */
	TLS_E_REFUSED,  /* certificate, name, version or cipher is not acceptable */
};

/* First thing in main, before anything else touches OpenSSL. 0 or negative. */
MUST_USE int tls_setup(void);
/* `ca_file` NULL or empty: the system's bundle. 0 or negative (-ENOENT: no certificate could be read). */
MUST_USE int tls_ctx_new(const char *ca_file, struct tls_ctx **ret_ctx);
struct tls_ctx *tls_ctx_free(struct tls_ctx *c);

/* The last session of an origin, for the next connection to it. Outlives the connections that name it. */
struct tls_session {
	void *session;
};

void tls_session_deinit(struct tls_session *s);

#define TLS_PIN_BYTES 32
/* `host`: name or address, ends with NUL. `pins`: SHA-256 digests end to end, of public keys (RFC 7469 2.4) one of
 * which the verified chain must hold; none: any chain will do. They outlive the connection. fd is not consumed. 0 or
 * negative. */
MUST_USE int tls_new(struct tls_ctx *ctx, const char *host, struct span pins, int fd, struct tls_session *session,
		     struct tls **ret_tls);
/* Tells the peer, as far as it can be told without waiting. NULL is fine; returns NULL. */
struct tls *tls_free(struct tls *t);

/* 0 or TLS_E_*. */
MUST_USE int tls_handshake(struct tls *t);
/* At least one byte on success. 0 or TLS_E_*. */
MUST_USE int tls_read(struct tls *t, uint8_t *to, size_t cap, size_t *ret_len);
/* As many bytes as went out, at least one, on success. After TLS_E_WRITE: call again with the same bytes. 0 or TLS_E_*.
 */
MUST_USE int tls_write(struct tls *t, struct span bytes, size_t *ret_len);
/* More can be read without the socket. */
bool tls_pending(const struct tls *t);
/* No byte and no farewell of the peer lies in OpenSSL's buffers. The socket is not asked. */
bool tls_quiet(const struct tls *t);
/* Reads what is not application data (tickets, key updates). True when the connection is still fit for a request. */
bool tls_still_idle(struct tls *t);
/* Why it was refused, for the log. */
const char *tls_why(const struct tls *t);
