/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses, by DNS over TCP alone (RFC 7766) on the loop, one connection for each name.
 *
 * Over TCP nobody who is not on the path can answer in the server's place, no answer is truncated, and the dialer needs
 * no UDP socket at all. With a connection of its own, no question waits for another's answer. Nothing but the name as
 * it stands is asked: no search domains, no aliases, no /etc/hosts (an operator says `connect_to`). The servers are the
 * configuration's or, read once at start, /etc/resolv.conf's.
 */
#pragma once

#include <uv.h>

#include "keyvault/dialer/message.h"

#define RESOLVE_SERVERS_MAX 4    /* are asked, one after the other */
#define RESOLVE_PORT        53   /* unless the configuration names another */
#define RESOLVE_SERVER_MS   2500 /* for each but the last, which has what is left of the limit */
#define RESOLVE_SECOND_MS   250  /* for the other family's answer when one is in (RFC 8305 section 3) */
#define RESOLVE_BYTES_MAX   4096 /* of an answer: many times what MESSAGE_ADDRESSES_MAX take */

#define RESOLVE_ADDRESSES_MAX (2 * MESSAGE_ADDRESSES_MAX)

struct resolver;
struct resolve; /* one question */

struct resolve_server {
	struct address address;
	uint16_t port;
};

/* `addresses`: all `n` of the answers, IPv6 and IPv4 in turn; or `n` is 0 and `why` says why. Once, not from within
 * resolve_ask(). */
typedef void resolve_done(void *ctx, const struct address *addresses, size_t n, const char *why);

/* A comma-separated list of ADDRESS or ADDRESS:PORT, at most RESOLVE_SERVERS_MAX. False when it is not. */
bool resolve_servers(const char *list, struct resolve_server *to, size_t *ret_n);
/* The first of the system's. 0 or negative. */
MUST_USE int resolve_system_servers(struct resolve_server *to, size_t *ret_n);

/* `n` > 0 servers are copied. 0 or -ENOMEM. */
MUST_USE int resolver_new(uv_loop_t *loop, uint64_t timeout_ms, const struct resolve_server *servers, size_t n,
			  struct resolver **ret_resolver);
/* No question may be open. Returns NULL. */
struct resolver *resolver_free(struct resolver *r);

/* `host` is what policy_name() takes. 0 or -ENOMEM. *ret_question serves resolve_forget() until `done` is called. */
MUST_USE int resolve_ask(struct resolver *r, const char *host, resolve_done *done, void *ctx,
			 struct resolve **ret_question);
/* `done` will not be called. NULL is fine. */
void resolve_forget(struct resolve *q);
