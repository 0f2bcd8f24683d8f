/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditd alone under load: this program is its launcher, its producers and its signer, and keeps the ledger of what was
 * acknowledged.
 *
 *   audit_load AUDITD FOLDER PRODUCERS EVENTS KILLS [SEGMENT_BYTES]
 *
 * Each producer sends EVENTS events, a window ahead of RECORDED; auditd is killed (SIGKILL) KILLS times meanwhile and
 * started again. After each reconnect RESUME must not be behind what was RECORDED before: that would be an acknowledged
 * event lost. At the end the signer must have signed everything. Prints one JSON line; the log in FOLDER is left for a
 * verifier.
 *
 * With SEGMENT_BYTES it is the ack ledger of a fault matrix (tests/support/fault_tracer.c): few events at a time, so
 * that there are many commits; and auditd may die by itself, or say that it does not record, and is started again. It
 * may not stand still.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/note.h"
#include "proto/frame.h"
#include "proto/proto.h"
#include "tests/support/audit_launch.h"

#define LOAD_PRODUCERS_MAX 16
#define LOAD_WINDOW        1024
#define LOAD_RX_BYTES      (PROTO_FRAME_BYTES_MAX + FRAME_HEAD_BYTES)
#define LOAD_TX_BYTES      (1U << 20)
#define LOAD_STALL_MS      20000
#define LOAD_FAULT_WINDOW  16
#define LOAD_LIVES_MAX     20
#define EVENT_CODE         1

struct peer {
	int fd; /* -1: not connected */
	enum role role;
	unsigned worker;
	uint8_t boot[16];
	bool resumed;
	uint8_t rx[LOAD_RX_BYTES], tx[LOAD_TX_BYTES];
	size_t rx_len, tx_len;
	uint64_t sent, acked; /* sequence numbers */
	uint64_t sent_ns[LOAD_WINDOW];
};

struct load {
	const char *program, *folder;
	uint64_t events;
	size_t n;
	int listeners[LOAD_PRODUCERS_MAX];
	struct peer producers[LOAD_PRODUCERS_MAX], control, signer;
	pid_t pid;
	uint8_t secret[64];
	struct note_key key;
	uint64_t signed_size;
	struct merkle_hash signed_root;
	uint64_t latencies[64]; /* by power of two, in microseconds */
	uint64_t kills;
	uint64_t segment_bytes, window; /* segment_bytes 0: no fault is expected */
	unsigned lives;
	bool refuses, ending; /* auditd said that it does not record */
	bool signs;           /* this life of it has had something signed */
};

static void need(bool held, const char *what)
{
	if (held)
		return;
	(void)fprintf(stderr, "audit_load: %s (%s)\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* ---- frames ---- */

static void put(struct peer *p, const struct proto_desc *desc, uint64_t id, const void *msg)
{
	size_t len;

	need(proto_pack(desc, id, msg, p->tx + p->tx_len + FRAME_HEAD_BYTES,
			LOAD_TX_BYTES - p->tx_len - FRAME_HEAD_BYTES, &len) == 0,
	     "a message does not fit");
	frame_put_head(p->tx + p->tx_len, len);
	p->tx_len += FRAME_HEAD_BYTES + len;
}

static void peer_down(struct peer *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
	p->rx_len = p->tx_len = 0;
	p->resumed = false;
}

static void flush(struct peer *p)
{
	while (p->fd >= 0 && p->tx_len > 0) {
		ssize_t n = send(p->fd, p->tx, p->tx_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			peer_down(p);
			return;
		}
		memmove(p->tx, p->tx + n, p->tx_len - (size_t)n);
		p->tx_len -= (size_t)n;
	}
}

static void hello(struct peer *p)
{
	put(p, &proto_hello_desc, 0,
	    &(struct proto_hello){.role = p->role,
				  .worker = p->worker,
				  .boot = span_of(p->boot, sizeof(p->boot)),
				  .build = SPAN_LIT("load"),
				  .schema = proto_schema_hash()});
}

/* ---- auditd ---- */

static void start(struct load *l)
{
	struct audit_launch spec = {
		.program = l->program,
		.folder = l->folder,
		.segment_bytes = l->segment_bytes,
		.life = l->lives++,
		.listeners = l->listeners,
		.n = l->n,
	};

	l->refuses = l->signs = false;
	need(l->lives <= LOAD_LIVES_MAX, "auditd dies again and again");
	need(audit_launch(&spec, &l->pid, &l->control.fd) == 0, "auditd cannot be started");
}

static void listen_all(struct load *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct sockaddr_un at = {.sun_family = AF_UNIX};
		(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/r%zu", l->folder, i);
		l->listeners[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		need(l->listeners[i] >= 0 && bind(l->listeners[i], (struct sockaddr *)&at, sizeof(at)) == 0 &&
			     listen(l->listeners[i], 16) == 0,
		     "listen");
	}
}

/* ---- what auditd says to its launcher and to its signer ---- */

static void give_signer(struct load *l, const struct proto_link *m)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} space = {0};
	uint8_t frame[256];
	size_t len;
	int pair[2];

	need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	need(proto_pack(&proto_linked_desc, 0, &(struct proto_linked){.edge = m->edge}, frame + FRAME_HEAD_BYTES,
			sizeof(frame) - FRAME_HEAD_BYTES, &len) == 0,
	     "LINKED");
	frame_put_head(frame, len);
	struct iovec iov = {frame, len + FRAME_HEAD_BYTES};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof(space.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pair[1], sizeof(int));
	(void)fcntl(pair[1], F_SETFL, O_NONBLOCK);
	if (sendmsg(l->control.fd, &msg, MSG_NOSIGNAL) < 0)
		(void)close(pair[0]);
	else
		l->signer.fd = pair[0];
	(void)close(pair[1]);
	hello(&l->signer);
}

static void sign(struct load *l, uint64_t id, const struct proto_sign_checkpoint *m)
{
	struct checkpoint cp = {.origin = m->origin, .size = m->size};
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	char text[512], note[1024];
	uint8_t sig[NOTE_SIG_BYTES];
	size_t len, note_len, n = m->proof.len / sizeof(proof[0]);

	memcpy(cp.root.b, m->root.p, sizeof(cp.root.b));
	need(n <= MERKLE_PROOF_MAX && m->old_size == l->signed_size, "out of step with auditd");
	memcpy(proof, m->proof.p, m->proof.len);
	need(l->signed_size == 0 ||
		     merkle_verify_consistency(l->signed_size, &l->signed_root, m->size, &cp.root, proof, n) == 0,
	     "auditd's tree is not a continuation");
	need(checkpoint_format(&cp, text, sizeof(text), &len) == 0, "checkpoint");
	crypto_sign_detached(sig, NULL, (const uint8_t *)text, len, l->secret);
	need(note_format(span_of(text, len), &l->key, sig, note, sizeof(note), &note_len) == 0, "note");
	l->signs = true;
	l->signed_size = m->size;
	l->signed_root = cp.root;
	put(&l->signer, &proto_checkpoint_signed_desc, id,
	    &(struct proto_checkpoint_signed){.note = span_of(note, note_len)});
}

/* ---- producers ---- */

static void produce(struct load *l, struct peer *p)
{
	static const uint8_t sealed[96];
	char request[40];

	while (p->resumed && p->sent < l->events && p->sent - p->acked < l->window && p->tx_len < LOAD_TX_BYTES / 2) {
		p->sent++;
		p->sent_ns[p->sent % LOAD_WINDOW] = now_ns();
		(void)snprintf(request, sizeof(request), "request-%u-%llu", p->worker, (unsigned long long)p->sent);
		put(p, &proto_event_desc, 0,
		    &(struct proto_event){.seq = p->sent,
					  .time_ns = 1,
					  .code = EVENT_CODE,
					  .actor = SPAN_LIT("key_0123456789abcdef"),
					  .tenant = SPAN_LIT("acme"),
					  .resource = SPAN_LIT("/v1/chat/completions"),
					  .request_id = span_str(request),
					  .status = 200,
					  .model = SPAN_LIT("gpt-4o-mini"),
					  .provider = SPAN_LIT("openai"),
					  .credential = SPAN_LIT("openai"),
					  .tokens_in = 231,
					  .tokens_out = 1023,
					  .latency_us = 1203405,
					  .bytes = 4823,
					  .subject = SPAN_LIT("sub_abcdefghijklmnopqrstuvwxyz"),
					  .sealed = span_of(sealed, sizeof(sealed)),
					  .cost_nano = 648450});
	}
	flush(p);
}

static void recorded(struct load *l, struct peer *p, uint64_t last_seq)
{
	uint64_t now = now_ns();

	need(last_seq > p->acked && last_seq <= l->events, "RECORDED for what was not sent");
	for (uint64_t seq = p->acked + 1; seq <= MIN(last_seq, p->sent); seq++) {
		uint64_t us = (now - p->sent_ns[seq % LOAD_WINDOW]) / 1000;
		l->latencies[us ? 63 - __builtin_clzll(us) : 0]++;
	}
	p->acked = last_seq;
	p->sent = MAX(p->sent, last_seq);
}

static void connect_producer(struct load *l, struct peer *p)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/r%u", l->folder, p->worker);
	p->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	need(p->fd >= 0 && connect(p->fd, (struct sockaddr *)&at, sizeof(at)) == 0, "connect");
	hello(p);
}

static void handle(struct load *l, struct peer *p, uint64_t id, const struct proto_desc *desc, const union proto_any *m)
{
	switch (desc->type) {
	case PROTO_LINK:
		give_signer(l, &m->link);
		break;
	case PROTO_HELLO:
		if (p == &l->signer) {
			char vkey[NOTE_VKEY_MAX];
			note_key_format(&l->key, vkey);
			put(p, &proto_signed_size_desc, 0,
			    &(struct proto_signed_size){.size = l->signed_size, .vkey = span_str(vkey)});
		}
		break;
	case PROTO_SIGN_CHECKPOINT:
		sign(l, id, &m->sign_checkpoint);
		break;
	case PROTO_RESUME:
		need(m->resume.last_seq >= p->acked, "an acknowledged event is LOST");
		p->sent = p->acked = m->resume.last_seq;
		p->resumed = true;
		break;
	case PROTO_READY:
		l->refuses = !m->ready.ready;
		break;
	case PROTO_RECORDED:
		recorded(l, p, m->recorded.last_seq);
		break;
	default:
		break;
	}
}

static void receive(struct load *l, struct peer *p)
{
	ssize_t n = recv(p->fd, p->rx + p->rx_len, sizeof(p->rx) - p->rx_len, MSG_DONTWAIT);

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			peer_down(p);
		return;
	}
	p->rx_len += (size_t)n;
	for (;;) {
		const struct proto_desc *desc = NULL;
		union proto_any msg;
		struct span body;
		uint64_t id = 0;
		size_t used;
		int r = frame_next(span_of(p->rx, p->rx_len), &body, &used);
		if (r == FRAME_E_MORE)
			return;
		enum role me = p == &l->control ? ROLE_LAUNCHER : p->role;
		need(r == 0 && proto_unpack(body, ROLE_AUDITD, me, &id, &desc, &msg) == 0,
		     "auditd said something it may not");
		handle(l, p, id, desc, &msg);
		memmove(p->rx, p->rx + used, p->rx_len - used);
		p->rx_len -= used;
	}
}

/* ---- the run ---- */

static uint64_t total_acked(const struct load *l)
{
	uint64_t total = 0;

	for (size_t i = 0; i < l->n; i++)
		total += l->producers[i].acked;
	return total;
}

static void restart(struct load *l);

static void turn(struct load *l)
{
	struct peer *peers[LOAD_PRODUCERS_MAX + 2];
	struct pollfd polls[LOAD_PRODUCERS_MAX + 2];
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		peers[n++] = &l->producers[i];
	peers[n++] = &l->control;
	peers[n++] = &l->signer;
	for (size_t i = 0; i < n; i++) {
		if (i < l->n && peers[i]->fd < 0)
			connect_producer(l, peers[i]);
		if (i < l->n)
			produce(l, peers[i]);
		flush(peers[i]);
		polls[i] = (struct pollfd){.fd = peers[i]->fd, .events = peers[i]->tx_len ? POLLIN | POLLOUT : POLLIN};
	}
	need(poll(polls, n, LOAD_STALL_MS) > 0, "nothing happens any more");
	for (size_t i = 0; i < n; i++)
		if (peers[i]->fd >= 0 && polls[i].revents & (POLLIN | POLLHUP | POLLERR))
			receive(l, peers[i]);
	if (l->segment_bytes && !l->ending && (l->control.fd < 0 || l->refuses))
		restart(l);
}

static void last_words(struct load *l, struct peer *p)
{
	uint8_t byte;

	while (p->fd >= 0 && recv(p->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		receive(l, p);
	peer_down(p);
}

/* auditd, its tracer where there is one, and what that left behind. What auditd ended with. */
static int bury(struct load *l)
{
	int status, other;

	need(waitpid(l->pid, &status, 0) == l->pid, "waitpid");
	while (waitpid(-1, &other, 0) > 0)
		;
	for (size_t i = 0; i < l->n; i++) /* what it still said counts: it was said */
		last_words(l, &l->producers[i]);
	last_words(l, &l->signer);
	peer_down(&l->control);
	return status;
}

static void restart(struct load *l)
{
	if (l->control.fd >= 0) /* else it ends by itself */
		(void)kill(l->pid, SIGKILL);
	int status = bury(l);
	need(l->segment_bytes || WIFSIGNALED(status), "auditd had ended by itself");
	start(l);
}

static uint64_t percentile_us(const struct load *l, double part)
{
	uint64_t all = 0, seen = 0;

	for (size_t i = 0; i < ARRAY_LEN(l->latencies); i++)
		all += l->latencies[i];
	for (size_t i = 0; i < ARRAY_LEN(l->latencies); i++) {
		seen += l->latencies[i];
		if ((double)seen >= part * (double)all)
			return BIT(i + 1);
	}
	return 0;
}

/* In order; false when a fault came between. */
static bool end(struct load *l)
{
	for (size_t i = 0; i < l->n; i++) /* it is up, or up again, */
		while (!l->producers[i].resumed)
			turn(l);
	while (!l->signs) /* and its signer is with it: a log ends unsigned that has none */
		turn(l);
	l->ending = true;
	(void)kill(l->pid, SIGTERM);
	while (l->control.fd >= 0) /* it signs what it recorded last, and hangs up */
		turn(l);
	l->ending = false;
	int status = bury(l);
	bool in_order = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	need(l->segment_bytes || in_order, "auditd did not end in order");
	return in_order;
}

int main(int argc, char **argv)
{
	static struct load l;
	uint8_t public[32];
	char folder[4096];

	need((argc == 6 || argc == 7) && sodium_init() >= 0,
	     "usage: audit_load AUDITD FOLDER PRODUCERS EVENTS KILLS [SEGMENT_BYTES]");
	l.program = argv[1];
	l.folder = argv[2];
	l.n = strtoul(argv[3], NULL, 10);
	l.events = strtoull(argv[4], NULL, 10);
	uint64_t kills = strtoull(argv[5], NULL, 10);
	l.segment_bytes = argc > 6 ? strtoull(argv[6], NULL, 10) : 0;
	l.window = l.segment_bytes ? LOAD_FAULT_WINDOW : LOAD_WINDOW;
	need(l.n > 0 && l.n <= LOAD_PRODUCERS_MAX, "PRODUCERS");
	need(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "prctl"); /* who is traced outlives a tracer that is killed */
	(void)snprintf(folder, sizeof(folder), "%s/auditd", l.folder);
	need(mkdir(folder, 0700) == 0 || errno == EEXIST, folder);
	crypto_sign_keypair(public, l.secret);
	need(note_key_init(&l.key, SPAN_LIT("bulkhead.load/audit"), public) == 0, "key");
	for (size_t i = 0; i < l.n; i++) {
		l.producers[i] = (struct peer){.fd = -1, .role = ROLE_ROUTER, .worker = (unsigned)i};
		randombytes_buf(l.producers[i].boot, sizeof(l.producers[i].boot));
	}
	l.control = (struct peer){.fd = -1, .role = ROLE_LAUNCHER};
	l.signer = (struct peer){.fd = -1, .role = ROLE_KEYVAULT};
	listen_all(&l);
	start(&l);

	uint64_t all = l.events * l.n, began = now_ns();
	while (total_acked(&l) < all) {
		turn(&l);
		if (l.kills < kills && total_acked(&l) > all * (l.kills + 1) / (kills + 1)) {
			restart(&l);
			l.kills++;
		}
	}
	double seconds = (double)(now_ns() - began) / 1e9;
	while (l.signed_size < all)
		turn(&l);
	while (!end(&l))
		start(&l);
	printf("{\"events\":%llu,\"kills\":%llu,\"seconds\":%.3f,\"events_per_second\":%.0f,\"p50_us\":%llu,\"p99_us\":"
	       "%llu}\n",
	       (unsigned long long)all, (unsigned long long)l.kills, seconds, (double)all / seconds,
	       (unsigned long long)percentile_us(&l, 0.5), (unsigned long long)percentile_us(&l, 0.99));
	return 0;
}
