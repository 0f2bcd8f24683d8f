/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLOSED -> RESOLVING -> CONNECTING -> IDLE <-> BUSY, and from anywhere back to CLOSED with a reason.
 *
 * While libpq connects it may close its socket and open another, which can have the same number: the poll handle is
 * made anew for each step, since epoll forgets a descriptor that was closed. Errors that are known at once are told
 * from the timer, so that no callback runs inside the call that caused it.
 */
#include "auditd/shipper/pg.h"

#include <assert.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditd/shipper/pg_error.h"
#include "common/err.h"

#define PG_OPTIONS_MAX    64
#define PG_PASSWORD_BYTES 1024
#define PG_LIST_BYTES     4096
#define PG_ROOTS          "/etc/ssl/certs/ca-certificates.crt"

enum pg_state { PG_CLOSED, PG_RESOLVING, PG_CONNECTING, PG_IDLE, PG_BUSY };

struct pg_result {
	PGresult *res;
};

struct pg {
	uv_timer_t timer; /* closed last; p is freed with it */
	struct pg_spec spec;
	uv_loop_t *loop;
	struct resolver *resolver;
	struct resolve *question;
	PQconninfoOption *options;
	const char *host;
	enum pg_state state;
	PGconn *conn;
	uv_poll_t *poll;
	struct pg_result result; /* of the statement that runs */
	char why[PG_WHY_BYTES];
};

int pg_warm_up(void)
{
	return OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1 ? 0 : err_origin(-EIO);
}

/* ---- what the configuration says ---- */

static const char *pg_option(const struct pg *p, const char *keyword)
{
	for (const PQconninfoOption *o = p->options; o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val && o->val[0] ? o->val : NULL;
	return NULL;
}

static const char *pg_problem(const struct pg *p)
{
	const char *host = pg_option(p, "host"), *address = pg_option(p, "hostaddr"), *port = pg_option(p, "port");
	struct address a;

	if (pg_option(p, "password") || pg_option(p, "sslpassword"))
		return "it holds a password: use shipper.password_file, or passfile=";
	if (pg_option(p, "service"))
		return "service= is not read here: write out what it stands for";
	if (!pg_option(p, "user") || !pg_option(p, "dbname"))
		return "user= and dbname= must be there";
	if (!host && !address)
		return "host= must be there";
	if (host && (strpbrk(host, "/@,") || strlen(host) > 253))
		return "host= is one name or address, reached over TCP; a Unix socket is not used (docs/audit.md)";
	if (address && !address_parse(span_str(address), &a))
		return "hostaddr= is not an address";
	if (port && (strspn(port, "0123456789") != strlen(port) || strtoul(port, NULL, 10) - 1 >= UINT16_MAX))
		return "port= is not a port";
	return NULL;
}

void pg_reach(const struct pg *p, struct pg_reach *ret)
{
	static const char *const files[] = {"passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl"};
	const char *port = pg_option(p, "port"), *mode = pg_option(p, "sslmode");

	*ret = (struct pg_reach){.port = (uint16_t)(port ? strtoul(port, NULL, 10) : 5432)};
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (pg_option(p, files[i]))
			ret->files[ret->n_files++] = pg_option(p, files[i]);
	if (mode && strncmp(mode, "verify", 6) == 0 && !pg_option(p, "sslrootcert"))
		ret->files[ret->n_files++] = PG_ROOTS;
	if (p->spec.password_file[0] && ret->n_files < PG_FILES_MAX)
		ret->files[ret->n_files++] = p->spec.password_file;
}

int pg_new(uv_loop_t *loop, const struct pg_spec *spec, struct resolver *resolver, struct pg **ret_pg,
	   char ret_why[PG_WHY_BYTES])
{
	struct pg *p = calloc(1, sizeof(*p));
	char *said = NULL;

	if (!p)
		return -ENOMEM;
	*p = (struct pg){.spec = *spec, .loop = loop, .resolver = resolver};
	p->options = PQconninfoParse(spec->conninfo, &said);
	const char *problem = p->options ? pg_problem(p) : said ? said : "out of memory";
	if (problem)
		(void)snprintf(ret_why, PG_WHY_BYTES, "shipper.postgres: %.*s", (int)strcspn(problem, "\n"), problem);
	PQfreemem(said);
	int r = problem ? PG_E_INVALID : uv_timer_init(loop, &p->timer);
	if (r) {
		PQconninfoFree(p->options);
		free(p);
		return r;
	}
	p->timer.data = p;
	p->host = pg_option(p, "host") ? pg_option(p, "host") : pg_option(p, "hostaddr");
	*ret_pg = p;
	return 0;
}

/* ---- the end of a connection ---- */

static void pg_on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void pg_unwatch(struct pg *p)
{
	uv_poll_t *poll = TAKE(p->poll);

	if (poll)
		uv_close((uv_handle_t *)poll, pg_on_poll_closed);
}

static void pg_close(struct pg *p)
{
	(void)uv_timer_stop(&p->timer);
	resolve_forget(TAKE(p->question));
	pg_unwatch(p); /* before libpq closes the descriptor */
	PQclear(TAKE(p->result.res));
	PQfinish(TAKE(p->conn));
	p->state = PG_CLOSED;
}

static void pg_on_late_failure(uv_timer_t *timer)
{
	struct pg *p = timer->data;

	pg_close(p);
	p->spec.on_closed(p->spec.ctx, p->why);
}

/* The one way to fail; on_closed is called from the loop. */
static void pg_fail(struct pg *p, const char *sqlstate, const char *said)
{
	pg_error_text(sqlstate, said, p->why, sizeof(p->why));
	pg_unwatch(p);
	(void)uv_timer_start(&p->timer, pg_on_late_failure, 0, 0);
}

static void pg_on_deadline(uv_timer_t *timer)
{
	static const char *const late[] = {
		[PG_RESOLVING] = "the name server does not answer",
		[PG_CONNECTING] = "Postgres does not answer: check host= and port=, and what is between",
		[PG_BUSY] = "Postgres did not finish a statement in time",
	};
	struct pg *p = timer->data;

	pg_fail(p, NULL, late[p->state] ? late[p->state] : "late");
}

static void pg_on_timer_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct pg, timer));
}

struct pg *pg_free(struct pg *p)
{
	if (!p)
		return NULL;
	pg_close(p);
	PQconninfoFree(p->options);
	uv_close((uv_handle_t *)&p->timer, pg_on_timer_closed);
	return NULL;
}

/* ---- watching the socket ---- */

static bool pg_watch(struct pg *p, int events, uv_poll_cb callback)
{
	if (!p->poll) {
		p->poll = calloc(1, sizeof(*p->poll));
		if (p->poll && uv_poll_init(p->loop, p->poll, PQsocket(p->conn))) {
			free(p->poll);
			p->poll = NULL;
		}
		if (!p->poll) {
			pg_fail(p, NULL, "the socket of Postgres cannot be watched");
			return false;
		}
		p->poll->data = p;
	}
	(void)uv_poll_start(p->poll, events, callback);
	return true;
}

/* ---- statements ---- */

static void pg_on_idle(uv_poll_t *poll, int status, int events)
{
	struct pg *p = poll->data;

	(void)events;
	if (status < 0 || !PQconsumeInput(p->conn))
		pg_fail(p, NULL, PQerrorMessage(p->conn)[0] ? PQerrorMessage(p->conn) : "Postgres went away");
}

static void pg_idle(struct pg *p)
{
	(void)uv_timer_stop(&p->timer);
	p->state = PG_IDLE;
	(void)pg_watch(p, UV_READABLE, pg_on_idle);
}

/* The answer is complete. */
static void pg_answer(struct pg *p)
{
	struct pg_result result = {TAKE(p->result.res)};

	pg_idle(p);
	p->spec.on_result(p->spec.ctx, &result);
	PQclear(result.res);
}

/* False when it failed, or when the answer is complete. */
static bool pg_take_result(struct pg *p, PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);

	if (!res) {
		pg_answer(p);
		return false;
	}
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		pg_fail(p, PQresultErrorField(res, PG_DIAG_SQLSTATE), PQresultErrorMessage(res));
		PQclear(res);
		return false;
	}
	PQclear(p->result.res);
	p->result.res = res;
	return true;
}

static void pg_on_busy(uv_poll_t *poll, int status, int events)
{
	struct pg *p = poll->data;
	int unsent = 0;

	if (status < 0 || ((events & UV_READABLE) && !PQconsumeInput(p->conn)) || (unsent = PQflush(p->conn)) < 0) {
		pg_fail(p, NULL, PQerrorMessage(p->conn)[0] ? PQerrorMessage(p->conn) : "Postgres went away");
		return;
	}
	if (unsent == 0)
		(void)pg_watch(p, UV_READABLE, pg_on_busy);
	while (!PQisBusy(p->conn))
		if (!pg_take_result(p, PQgetResult(p->conn)))
			return;
}

void pg_send(struct pg *p, const char *sql, size_t n, const char *const *parameters)
{
	assert(p->state == PG_IDLE);
	p->state = PG_BUSY;
	(void)uv_timer_start(&p->timer, pg_on_deadline, PG_STATEMENT_MS, 0);
	if (!PQsendQueryParams(p->conn, sql, (int)n, NULL, parameters, NULL, NULL, 0))
		pg_fail(p, NULL, PQerrorMessage(p->conn));
	else
		(void)pg_watch(p, UV_READABLE | UV_WRITABLE, pg_on_busy);
}

const char *pg_cell(const struct pg_result *result, int column)
{
	return PQntuples(result->res) > 0 && !PQgetisnull(result->res, 0, column) ? PQgetvalue(result->res, 0, column)
										  : NULL;
}

uint64_t pg_affected(const struct pg_result *result)
{
	return strtoull(PQcmdTuples(result->res), NULL, 10);
}

/* ---- connecting ---- */

static void pg_on_connecting(uv_poll_t *poll, int status, int events);

static void pg_step(struct pg *p, PostgresPollingStatusType next)
{
	pg_unwatch(p);
	if (next == PGRES_POLLING_OK && PQsetnonblocking(p->conn, 1) == 0) {
		pg_idle(p);
		if (p->state == PG_IDLE && p->poll)
			p->spec.on_open(p->spec.ctx);
	} else if (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
		(void)pg_watch(p, next == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE, pg_on_connecting);
	} else {
		pg_fail(p, NULL, PQerrorMessage(p->conn));
	}
}

static void pg_on_connecting(uv_poll_t *poll, int status, int events)
{
	struct pg *p = poll->data;

	(void)status; /* libpq asks the socket itself */
	(void)events;
	pg_step(p, PQconnectPoll(p->conn));
}

static void pg_on_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

/* The file's first line. "" when there is none to be read: then Postgres says what it thinks of that. */
static void pg_password(const struct pg *p, char to[PG_PASSWORD_BYTES])
{
	int fd = p->spec.password_file[0] ? open(p->spec.password_file, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = fd < 0 ? 0 : read(fd, to, PG_PASSWORD_BYTES - 1);

	to[MAX(n, (ssize_t)0)] = 0;
	to[strcspn(to, "\r\n")] = 0;
	if (fd >= 0)
		(void)close(fd);
}

struct pg_parameters {
	const char *keywords[PG_OPTIONS_MAX], *values[PG_OPTIONS_MAX];
	size_t n;
};

static void pg_set(struct pg_parameters *q, const char *keyword, const char *value)
{
	size_t i = 0;

	while (i < q->n && strcmp(q->keywords[i], keyword) != 0)
		i++;
	assert(i < PG_OPTIONS_MAX - 1); /* libpq knows fewer than fifty */
	q->keywords[i] = keyword;
	q->values[i] = value;
	q->n = MAX(q->n, i + 1);
}

/* What is configured, with defaults for an unattended daemon before and what is not to be configured behind. */
static void pg_parameters(const struct pg *p, const char *hosts, const char *addresses, const char *password,
			  struct pg_parameters *q)
{
	struct pg_reach reach;

	pg_reach(p, &reach);
	pg_set(q, "gssencmode", "disable");
	pg_set(q, "fallback_application_name", "audit-shipper");
	pg_set(q, "tcp_user_timeout", "15000");
	for (size_t i = 0; i < reach.n_files; i++)
		if (strcmp(reach.files[i], PG_ROOTS) == 0)
			pg_set(q, "sslrootcert", PG_ROOTS);
	for (const PQconninfoOption *o = p->options; o->keyword; o++)
		if (o->val && o->val[0])
			pg_set(q, o->keyword, o->val);
	pg_set(q, "host", hosts);
	pg_set(q, "hostaddr", addresses);
	pg_set(q, "client_encoding", "UTF8");
	if (password[0])
		pg_set(q, "password", password);
}

static void pg_dial(struct pg *p, const char *hosts, const char *addresses)
{
	char password[PG_PASSWORD_BYTES];
	struct pg_parameters q = {0};

	pg_password(p, password);
	pg_parameters(p, hosts, addresses, password, &q);
	p->state = PG_CONNECTING;
	p->conn = PQconnectStartParams(q.keywords, q.values, 0);
	explicit_bzero(password, sizeof(password));
	(void)uv_timer_start(&p->timer, pg_on_deadline, PG_CONNECT_MS, 0);
	if (!p->conn) {
		pg_fail(p, NULL, "out of memory");
		return;
	}
	(void)PQsetErrorVerbosity(p->conn, PQERRORS_VERBOSE);
	(void)PQsetNoticeProcessor(p->conn, pg_on_notice, NULL);
	pg_step(p, PQstatus(p->conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING);
}

/* All addresses of one name are the same host to libpq, tried in turn. */
static void pg_on_resolved(void *ctx, const struct address *addresses, size_t n, const char *why)
{
	char hosts[PG_LIST_BYTES] = "", texts[PG_LIST_BYTES] = "", text[ADDRESS_TEXT_BYTES];
	struct pg *p = ctx;

	p->question = NULL;
	if (n == 0) {
		char said[PG_WHY_BYTES];
		(void)snprintf(said, sizeof(said), "host=%.100s: %s", p->host, why);
		pg_fail(p, NULL, said);
		return;
	}
	for (size_t i = 0; i < MIN(n, (size_t)8); i++) {
		address_print(&addresses[i], text);
		(void)snprintf(hosts + strlen(hosts), sizeof(hosts) - strlen(hosts), "%s%s", i ? "," : "", p->host);
		(void)snprintf(texts + strlen(texts), sizeof(texts) - strlen(texts), "%s%s", i ? "," : "", text);
	}
	pg_dial(p, hosts, texts);
}

void pg_connect(struct pg *p)
{
	const char *address = pg_option(p, "hostaddr");
	struct address a;

	assert(p->state == PG_CLOSED);
	if (!address && address_parse(span_str(p->host), &a))
		address = p->host;
	if (address)
		pg_dial(p, p->host, address);
	else if (strcmp(p->host, "localhost") == 0) /* RFC 6761: no name server is asked */
		pg_dial(p, "localhost,localhost", "127.0.0.1,::1");
	else if (!p->resolver || resolve_ask(p->resolver, p->host, pg_on_resolved, p, &p->question))
		pg_fail(p, NULL, "there is no name server to ask: give host= or hostaddr= an address");
	else
		p->state = PG_RESOLVING;
}
