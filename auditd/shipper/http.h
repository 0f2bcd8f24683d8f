/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST over HTTP/1.1, by libcurl on the loop. Names are resolved by our own resolver and given to curl as addresses, so
 * that it starts no thread and asks nobody; no proxy, no redirect, no cookie, no environment. Answers are bounded.
 */
#pragma once

#include <uv.h>

#include "keyvault/dialer/resolve.h"

#define HTTP_ANSWER_BYTES_MAX 65536
#define HTTP_MS               10000
#define HTTP_CA_FILE          "/etc/ssl/certs/ca-certificates.crt" /* of Debian and its like */

struct http;
struct http_exchange;

/* `status` 0: no answer, and `why` says why. Once, from the loop. */
typedef void http_done(void *ctx, long status, struct span body, const char *why);

/* The parts that matter here of http://host[:port]/... and https://... */
struct http_url {
	char host[254];
	uint16_t port;
};

/* False when it is not such. */
bool http_url_parse(const char *url, struct http_url *ret);

/* Certificates of `ca_file`; "": the system's. 0 or negative. Before the sandbox. */
MUST_USE int http_new(uv_loop_t *loop, const char *ca_file, struct resolver *resolver, struct http **ret_http);
/* Exchanges end without `done`. NULL is fine. */
struct http *http_free(struct http *h);
/* `url` is one that http_url_parse() took. Everything is copied. 0 or -ENOMEM. */
MUST_USE int http_post(struct http *h, const char *url, struct span body, http_done *done, void *ctx);
