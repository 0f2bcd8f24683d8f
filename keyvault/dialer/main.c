/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyvault-dialer: DIAL{host, port} from an egress -> DIALED with a connected socket, or DIAL_FAILED. The only program
 * of the vault that can open a socket, and one that holds nothing worth sending through it.
 *
 * System calls beyond every daemon's: socket (TCP, for providers and name servers), connect, getpeername, recvfrom,
 * getsockopt(SO_ERROR). Where the kernel's Landlock knows ports, TCP goes to those of the configured providers and name
 * servers alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/sandbox.h"
#include "keyvault/dialer/dial.h"

struct process {
	struct daemon daemon;
	struct config config;
	struct dialer dialer;
	struct ipc_edge *egress;
};

static void on_dialed(void *ctx, uint64_t id, const struct dial_end *end)
{
	struct ipc_conn *conn = ctx;
	struct proto_dialed dialed = {.address = span_str(end->address)};
	struct proto_dial_failed failed = {.reason = end->fd >= 0 ? REASON_DIAL_CONNECT : end->reason,
					   .address = span_str(end->address),
					   .why = span_str(end->why)};

	if (end->fd >= 0 && ipc_send_fd(conn, PROTO_DIALED, id, &dialed, end->fd) == 0)
		return;
	/* Not connected, or more descriptors at once than the edge can hold. */
	if (ipc_send(conn, PROTO_DIAL_FAILED, id, &failed))
		ipc_drop(conn, "egress does not read its answers");
}

static int handle_dial(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct process *p = ctx;
	const struct proto_dial *dial = msg;

	(void)fd;
	return dial_start(&p->dialer, dial->host, dial->port, on_dialed, conn, id);
}

static void on_egress_close(void *ctx, struct ipc_conn *conn)
{
	struct process *p = ctx;

	dial_cancel(&p->dialer, conn);
}

static const struct ipc_row rows[] = {
	{PROTO_DIAL, handle_dial},
};

static const struct ipc_edge_spec spec = {
	.peer = ROLE_EGRESS,
	.rows = rows,
	.n_rows = ARRAY_LEN(rows),
	.on_close = on_egress_close,
};

static void metrics(void *ctx, char *to, size_t cap)
{
	const struct dialer *d = &((const struct process *)ctx)->dialer;
	size_t len = strlen(to);

	(void)snprintf(to + len, cap - len,
		       "# TYPE bulkhead_dialer_dials_total counter\n"
		       "bulkhead_dialer_dials_total{end=\"connected\"} %llu\n"
		       "bulkhead_dialer_dials_total{end=\"denied\"} %llu\n"
		       "bulkhead_dialer_dials_total{end=\"failed\"} %llu\n",
		       (unsigned long long)d->connected, (unsigned long long)d->denied, (unsigned long long)d->failed);
}

static int read_policy(struct process *p)
{
	const char *provider;
	int r = err_fold(
		config_read(p->daemon.config_fd, ROLE_DIALER, BIT(CONFIG_DIALER) | BIT(CONFIG_PROVIDERS), &p->config));

	if (r)
		return r;
	r = policy_init(&p->dialer.policy, &p->config, &provider);
	if (r == POLICY_E_CONFIG)
		log_event(&p->daemon.log, LOG_FATAL,
			  LOG_STR("what", "base_url, connect_to or connect_within of this provider"),
			  LOG_STR("provider", provider));
	return err_fold(r);
}

static int make_resolver(struct process *p, struct resolve_server *servers, size_t *ret_n)
{
	struct daemon *d = &p->daemon;

	if (!resolve_servers(p->config.dialer.resolvers, servers, ret_n)) {
		log_event(&d->log, LOG_FATAL, LOG_STR("what", "dialer.resolvers: ADDRESS or ADDRESS:PORT, at most 4"));
		return err_fold(CONFIG_E_INVALID);
	}
	int r = *ret_n == 0 ? resolve_system_servers(servers, ret_n) : 0;
	if (!r)
		r = resolver_new(&d->loop, p->config.dialer.resolve_timeout_ms, servers, *ret_n, &p->dialer.resolver);
	return r;
}

/* Ports of providers and name servers, and no others. */
static int confine(struct process *p, const struct resolve_server *servers, size_t n_servers)
{
	struct daemon *d = &p->daemon;
	size_t n = p->dialer.policy.n, n_ports = 0;
	uint16_t *ports = calloc(n + n_servers, sizeof(*ports));

	if (!ports)
		return err_origin(-ENOMEM);
	for (size_t i = 0; i < n; i++)
		ports[n_ports++] = p->dialer.policy.origins[i].url.port;
	for (size_t i = 0; i < n_servers; i++)
		ports[n_ports++] = servers[i].port;
	int r = sandbox_enter_dialing(ports, n_ports, d->confinement, sizeof(d->confinement));
	free(ports);
	return r;
}

static int start(struct process *p, int argc, char **argv)
{
	struct resolve_server servers[RESOLVE_SERVERS_MAX];
	struct daemon *d = &p->daemon;
	size_t n_servers = 0;

	int r = daemon_init(d, ROLE_DIALER, argc, argv);
	if (!r)
		r = read_policy(p);
	p->dialer.loop = &d->loop;
	list_init(&p->dialer.dials);
	if (!r)
		r = make_resolver(p, servers, &n_servers);
	if (!r)
		r = ipc_serve(d->ipc, &spec, p, &p->egress);
	if (!r)
		r = confine(p, servers, n_servers);
	return r;
}

int main(int argc, char **argv)
{
	static const struct process null;
	struct process p = null;

	if (start(&p, argc, argv))
		return EXIT_FAILURE;
	p.daemon.metrics = metrics;
	p.daemon.ctx = &p;
	daemon_set_ready(&p.daemon, true, "");
	int code = daemon_run(&p.daemon);
	dial_cancel(&p.dialer, NULL);
	p.dialer.resolver = resolver_free(p.dialer.resolver);
	daemon_deinit(&p.daemon);
	policy_deinit(&p.dialer.policy);
	config_deinit(&p.config);
	return code;
}
