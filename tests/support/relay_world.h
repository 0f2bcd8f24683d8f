/* SPDX-License-Identifier: Apache-2.0 */
/* Three streams of a lane, of which a test is the providers, TLS, the scrubber and the router. */
#pragma once

#include "keyvault/egress/egress.h"
#include "keyvault/egress/relay.h"

/* A connection. The streams of a test have one each. */
struct tls {
	const char *says;
	char name;
	int then;     /* TLS_E_READ unless the test says otherwise */
	bool at_once; /* what is then is known with the last that it says */
};

/* The fakes have no context to be given. */
extern struct relay_fake {
	unsigned feeds, heads, refused;
	char head[64 << 10];             /* its values, each with a | behind it */
	char body[128 << 10], calls[16]; /* of the connections, by name: read in lower case, passed on in upper */
	const struct secret *arenas;     /* the scrubber looks into the arena */
	bool watched, paused;
	int watch;
	size_t queued; /* in the lane */
	size_t tail;   /* let out at the end: the scrubber had held it */
	enum reason broken;
	struct exchange *ends; /* with the next that is passed on */
} fake;

struct stream {
	struct exchange x;
	struct upstream upstream;
	struct tls tls;
};

struct world {
	struct egress eg;
	struct lane lane;
	struct credential_key key;
	struct stream a, b, c;
	struct secret secret;
};

#define REPLY_OF(c) "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" c

/* For cmocka; the second proves that nothing is left, neither in memory nor to be done. */
int relay_setup(void **state);
int relay_teardown(void **state);
/* A provider says more, which the loop tells of twice. */
void says(struct stream *s, const char *text);
