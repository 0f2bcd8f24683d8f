/* SPDX-License-Identifier: Apache-2.0 */
/* edges.def as a table, and the names that instances and sockets have: "authd", "router0", "authd.router0". */
#pragma once

#include "proto/proto.h"

#define EDGE_NAME_BYTES 64

enum edge_pairing { EDGE_ALL, EDGE_PAIRED };
enum edge_secrecy { EDGE_PLAIN, EDGE_SECRET };

struct edge_row {
	enum role server, client;
	enum edge_pairing pairing;
	enum edge_secrecy secrecy;
	const char *why;
};

const struct edge_row *edge_rows(size_t *ret_n);
/* NULL when these two do not talk. */
const struct edge_row *edge_row(enum role server, enum role client);
/* The CLI and the launcher are none. */
bool role_is_daemon(enum role role);
/* Router, egress and classifier run as workers, and their instances carry numbers. */
bool role_has_workers(enum role role);

/* "router0", "authd". */
void instance_name(enum role role, unsigned worker, char ret[EDGE_NAME_BYTES]);
/* "authd.router0"; "keyvault.admin" for the CLI. */
void edge_name(enum role server, unsigned server_worker, enum role client, unsigned client_worker,
	       char ret[EDGE_NAME_BYTES]);
/* The reverse: false when it is not the name of an edge in the table, or pairs the wrong workers. */
bool edge_parse(const char *name, enum role *ret_server, unsigned *ret_server_worker, enum role *ret_client,
		unsigned *ret_client_worker);
