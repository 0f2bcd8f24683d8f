/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer of events and nothing else, started by the real launcher in an egress worker's place: the real
 * audit_client over the real edge to the real auditd. What it shall do it reads from a file `order` beside the program:
 *
 *   ID EVENTS RATE EACH DIE
 *
 * A new ID begins a run: EVENTS data-plane events, RATE a second (0: all at once), after each EACH (0: never) one that
 * must be acknowledged, and at the end one more. When all are given it makes `given.WORKER.ID`; when the last one is
 * durable it writes `result.WORKER.ID`, a line of JSON. With DIE it kills itself instead, when so many are given, and
 * `died.WORKER.ID` says how many events it had made in its life. An order is not for who was started after it: from
 * `alive.WORKER.PID` on it can be given.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/audit_client.h"
#include "common/daemon.h"

#define PRODUCER_RING     4096
#define PRODUCER_TICK_MS  1
#define PRODUCER_LOOK     20 /* ticks */
#define PRODUCER_WAITS    (1U << 20)
#define PRODUCER_WAIT_MS  60000
#define PRODUCER_BOOT_HEX 33

struct producer {
	struct daemon daemon;
	struct audit_client *audit;
	uv_timer_t tick;
	char folder[4000];
	uint64_t id, events, rate, each, die; /* the order */
	uint64_t made;                        /* in this life, its start included */
	uint64_t given, tries, refused, began_ns, cpu_us, ticks;
	bool running, last_asked;
	uint32_t *waits_us;
	size_t n_waits;
};

struct wait {
	struct producer *p;
	uint64_t asked_ns;
	bool last;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_us(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000U +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t percentile(const struct producer *p, size_t of_1000)
{
	return p->n_waits > 0 ? p->waits_us[(p->n_waits - 1) * of_1000 / 1000] : 0;
}

static void report(struct producer *p)
{
	char path[4096], tmp[4096], boot[PRODUCER_BOOT_HEX];
	const uint8_t *sequence = p->daemon.tally->sequence;

	for (size_t i = 0; i < sizeof(p->daemon.tally->sequence); i++)
		(void)snprintf(boot + 2 * i, 3, "%02x", sequence[i]);
	qsort(p->waits_us, p->n_waits, sizeof(*p->waits_us), compare);
	(void)snprintf(path, sizeof(path), "%s/result.%u.%" PRIu64, p->folder, p->daemon.worker, p->id);
	(void)snprintf(tmp, sizeof(tmp), "%s/tmp.%u", p->folder, p->daemon.worker);
	FILE *f = fopen(tmp, "w");
	if (!f)
		abort();
	(void)fprintf(
		f,
		"{\"boot\":\"%s\",\"made\":%" PRIu64 ",\"given\":%" PRIu64 ",\"tries\":%" PRIu64 ",\"refused\":%" PRIu64
		",\"seconds\":%.3f,\"waits\":%zu,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"cpu_us\":%" PRIu64 "}\n",
		boot, p->made, p->given, p->tries, p->refused, (double)(now_ns() - p->began_ns) / 1e9, p->n_waits,
		percentile(p, 500), percentile(p, 990), percentile(p, 1000), cpu_us() - p->cpu_us);
	if (fclose(f) || rename(tmp, path))
		abort();
	p->running = false;
}

static void on_durable(void *ctx, bool durable)
{
	struct wait *w = ctx;
	struct producer *p = w->p;
	uint64_t us = (now_ns() - w->asked_ns) / 1000;

	if (!durable)
		p->refused++;
	else if (p->n_waits < PRODUCER_WAITS)
		p->waits_us[p->n_waits++] = (uint32_t)us;
	if (w->last && durable)
		report(p);
	if (w->last)
		p->last_asked = false;
	free(w);
}

/* What a request leaves, of the usual length. */
static struct proto_event event(struct producer *p, char request_id[32])
{
	(void)snprintf(request_id, 32, "req-%u-%" PRIu64 "-%" PRIu64, p->daemon.worker, p->id, p->given);
	return (struct proto_event){
		.code = EVENT_EGRESS_USE,
		.actor = SPAN_LIT("bh_0123456789abcdef"),
		.tenant = SPAN_LIT("acme"),
		.resource = SPAN_LIT("/v1/chat/completions"),
		.request_id = span_str(request_id),
		.status = 200,
		.provider = SPAN_LIT("openai"),
		.credential = SPAN_LIT("openai"),
		.latency_us = 1203405,
		.bytes = 4823,
	};
}

static bool ask(struct producer *p, bool last)
{
	struct wait *w = malloc(sizeof(*w));
	char request_id[32];
	struct proto_event e = event(p, request_id);

	if (!w)
		abort();
	e.code = EVENT_EGRESS_BEGIN; /* of the class that must be acknowledged */
	*w = (struct wait){p, now_ns(), last};
	if (audit_record_wait(p->audit, &e, PRODUCER_WAIT_MS, on_durable, w) == 0) {
		p->made++;
		return true;
	}
	free(w);
	return false;
}

static void say(const struct producer *p, const char *what, uint64_t number)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s.%u.%" PRIu64, p->folder, what, p->daemon.worker, number);
	FILE *f = fopen(path, "w");
	if (!f || fclose(f))
		abort();
}

/* No more, whatever is under way. */
static _Noreturn void die(const struct producer *p)
{
	char path[4096], tmp[4096];

	(void)snprintf(path, sizeof(path), "%s/died.%u.%" PRIu64, p->folder, p->daemon.worker, p->id);
	(void)snprintf(tmp, sizeof(tmp), "%s/tmp.%u", p->folder, p->daemon.worker);
	FILE *f = fopen(tmp, "w");
	if (!f || fprintf(f, "%" PRIu64 "\n", p->made) < 0 || fclose(f) || rename(tmp, path))
		abort();
	(void)kill(getpid(), SIGKILL);
	abort();
}

static void give(struct producer *p, uint64_t until)
{
	char request_id[32];

	while (p->given < until) {
		p->given++;
		if (p->given == p->die)
			die(p);
		if (p->each > 0 && p->given % p->each == 0) {
			p->refused += !ask(p, false);
			continue;
		}
		struct proto_event e = event(p, request_id);
		audit_record(p->audit, &e);
		p->made++;
	}
	if (p->given < p->events || p->last_asked)
		return;
	if (p->tries++ == 0)
		say(p, "given", p->id);
	p->last_asked = ask(p, true);
}

#define ORDER_NUMBERS 5

/* A line of so many. */
static bool read_numbers(FILE *f, uint64_t to[ORDER_NUMBERS])
{
	char line[128], *at = line;
	size_t n = 0;

	for (char *end = fgets(line, sizeof(line), f); end && n < ORDER_NUMBERS; at = end) {
		to[n] = strtoull(at, &end, 10);
		if (end == at)
			break;
		n++;
	}
	return n == ORDER_NUMBERS;
}

static void look(struct producer *p)
{
	char path[4096];
	uint64_t order[ORDER_NUMBERS] = {0};

	(void)snprintf(path, sizeof(path), "%s/order", p->folder);
	FILE *f = fopen(path, "r");
	if (!f)
		return;
	if (read_numbers(f, order) && order[0] != p->id) {
		p->id = order[0];
		p->events = order[1];
		p->rate = order[2];
		p->each = order[3];
		p->die = order[4];
		p->given = p->tries = p->refused = p->n_waits = 0;
		p->began_ns = now_ns();
		p->cpu_us = cpu_us();
		p->running = p->ticks > 0;
	}
	(void)fclose(f);
}

static void on_tick(uv_timer_t *timer)
{
	struct producer *p = timer->data;

	if (!p->running && p->ticks % PRODUCER_LOOK == 0)
		look(p);
	if (p->ticks++ == 0)
		say(p, "alive", (uint64_t)getpid());
	if (!p->running)
		return;
	uint64_t due = p->rate ? (now_ns() - p->began_ns) / 1000 * p->rate / 1000000 : p->events;
	give(p, MIN(due, p->events));
}

static void on_drain(void *ctx)
{
	struct producer *p = ctx;

	uv_close((uv_handle_t *)&p->tick, NULL);
	p->audit = audit_client_free(p->audit);
	daemon_stop(&p->daemon);
}

int main(int argc, char **argv)
{
	static const uint8_t digest[32];
	struct producer *p = calloc(1, sizeof(*p));

	if (!p)
		return EXIT_FAILURE;
	ssize_t n = readlink("/proc/self/exe", p->folder, sizeof(p->folder) - 1);
	char *slash = n > 0 ? strrchr(p->folder, '/') : NULL;
	p->waits_us = malloc(PRODUCER_WAITS * sizeof(*p->waits_us));
	if (!slash || !p->waits_us || daemon_init(&p->daemon, ROLE_EGRESS, argc, argv) ||
	    audit_client_new(p->daemon.ipc, PRODUCER_RING, digest, &p->audit))
		return EXIT_FAILURE;
	*slash = '\0';
	p->made = 1; /* daemon.start */
	p->tick.data = p;
	(void)uv_timer_init(&p->daemon.loop, &p->tick);
	(void)uv_timer_start(&p->tick, on_tick, PRODUCER_TICK_MS, PRODUCER_TICK_MS);
	p->daemon.ctx = p;
	p->daemon.on_drain = on_drain;
	daemon_set_ready(&p->daemon, true, "producing");
	int code = daemon_run(&p->daemon);
	daemon_deinit(&p->daemon);
	free(p->waits_us);
	free(p);
	return code;
}
