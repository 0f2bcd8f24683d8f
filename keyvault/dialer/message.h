/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages (RFC 1035 section 4): one question out, addresses in. Sans I/O. No EDNS: over TCP a message may be as
 * long as it likes, and there is nothing else to negotiate.
 */
#pragma once

#include "common/address.h"

#define MESSAGE_QUERY_BYTES   (12 + 255 + 4)
#define MESSAGE_ADDRESSES_MAX 64 /* in one answer; one that has more is not believed */

enum message_err {
	MESSAGE_E_NOT_OURS = 1, /* answers no question of ours */
	MESSAGE_E_NO_NAME,      /* NXDOMAIN */
	MESSAGE_E_NO_DATA,      /* the name has no address of this family */
	MESSAGE_E_SERVER,       /* SERVFAIL, REFUSED and the like: another server may know */
	MESSAGE_E_INVALID,      /* not to be understood, or too many addresses */
};

/* Asks for the addresses of one family. `host` is what policy_name() takes, at most 253 bytes. The length. */
size_t message_query(const char *host, int family, uint16_t id, uint8_t to[MESSAGE_QUERY_BYTES]);
/*
 * The addresses in the answer to `query`, which message_query() made. Aliases are followed within the message; what it
 * says of other names is not looked at. 0 with 0 < *ret_n <= MESSAGE_ADDRESSES_MAX, or MESSAGE_E_*.
 */
MUST_USE int message_read(struct span query, struct span answer, struct address *to, size_t *ret_n);
/* For operators. */
const char *message_why(int error);
