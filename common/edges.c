/* SPDX-License-Identifier: Apache-2.0 */
#include "common/edges.h"

#include <stdio.h>
#include <stdlib.h>

#define EDGE_WORKERS_MAX 256

static const struct edge_row rows[] = {
#define EDGE(SERVER, CLIENT, PAIRING, SECRECY, why) {ROLE_##SERVER, ROLE_##CLIENT, EDGE_##PAIRING, EDGE_##SECRECY, why},
#include "proto/edges.def"
#undef EDGE
};

const struct edge_row *edge_rows(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(rows);
	return rows;
}

const struct edge_row *edge_row(enum role server, enum role client)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].server == server && rows[i].client == client)
			return &rows[i];
	return NULL;
}

bool role_is_daemon(enum role role)
{
	return role < N_ROLES && role != ROLE_CLI && role != ROLE_LAUNCHER;
}

bool role_has_workers(enum role role)
{
	return role == ROLE_ROUTER || role == ROLE_EGRESS || role == ROLE_CLASSIFIER;
}

void instance_name(enum role role, unsigned worker, char ret[EDGE_NAME_BYTES])
{
	const char *name = role == ROLE_CLI ? "admin" : role_name(role);

	if (role_has_workers(role))
		(void)snprintf(ret, EDGE_NAME_BYTES, "%s%u", name, worker);
	else
		(void)snprintf(ret, EDGE_NAME_BYTES, "%s", name);
}

void edge_name(enum role server, unsigned server_worker, enum role client, unsigned client_worker,
	       char ret[EDGE_NAME_BYTES])
{
	char from[EDGE_NAME_BYTES], to[EDGE_NAME_BYTES];

	instance_name(server, server_worker, to);
	instance_name(client, client_worker, from);
	(void)snprintf(ret, EDGE_NAME_BYTES, "%.31s.%.31s", to, from);
}

/* Takes an instance's name off the front of *at: the role's text, and digits exactly where the role has workers. */
static bool edge_parse_instance(const char **at, enum role *ret_role, unsigned *ret_worker)
{
	for (unsigned role = 0; role < N_ROLES; role++) {
		const char *text = role == ROLE_CLI ? "admin" : role_name((enum role)role);
		size_t len = strlen(text);
		unsigned long worker = 0;

		if (strncmp(*at, text, len) != 0)
			continue;
		const char *rest = *at + len;
		if (role_has_workers((enum role)role)) {
			char *end;
			if (*rest < '0' || *rest > '9' || (*rest == '0' && rest[1] >= '0' && rest[1] <= '9'))
				continue;
			worker = strtoul(rest, &end, 10);
			rest = end;
		}
		if ((*rest != '.' && *rest != 0) || worker >= EDGE_WORKERS_MAX)
			continue;
		*at = rest;
		*ret_role = (enum role)role;
		*ret_worker = (unsigned)worker;
		return true;
	}
	return false;
}

bool edge_parse(const char *name, enum role *ret_server, unsigned *ret_server_worker, enum role *ret_client,
		unsigned *ret_client_worker)
{
	if (!edge_parse_instance(&name, ret_server, ret_server_worker) || *name++ != '.' ||
	    !edge_parse_instance(&name, ret_client, ret_client_worker) || *name != 0)
		return false;
	const struct edge_row *row = edge_row(*ret_server, *ret_client);
	return row && (row->pairing == EDGE_ALL || *ret_server_worker == *ret_client_worker);
}
