/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Head and body leave in as few TLS records as can be: an ordinary request is one record and one write. The record's
 * plaintext, which carries the secret, is composed in one piece of the arena that all requests share, and wiped as soon
 * as OpenSSL has taken it; OpenSSL copies it into its own buffer and encrypts it there. A request whose first record
 * meets a full socket gets a piece of its own until the record has left.
 */
#include "keyvault/egress/send.h"

#include "keyvault/egress/egress.h"
#include "keyvault/egress/head.h"

/* The credential's own scheme. */
static int send_auth(const void *ctx, const struct head *h, struct text *to)
{
	const struct exchange *x = ctx;
	struct auth_use use = {.binding = &x->credential->binding,
			       .secret = span_of(x->key->secret.p, x->key->secret.len),
			       .body = x->request.body,
			       .unix_s = ipc_unix_ns(x->eg->daemon.ipc) / 1000000000,
			       .work = x->eg->auth.p};

	return x->credential->scheme->write(&use, h, to);
}

/* Head and as much of the body as fits, in eg->record. */
static enum reason send_compose(struct exchange *x)
{
	const struct proto_binding *b = &x->credential->binding;
	const struct exchange_request *q = &x->request;
	const struct secret *record = &x->eg->record;
	struct head head = {.method = q->method,
			    .path = q->path,
			    .host = b->host,
			    .port = (uint16_t)b->port,
			    .fields = q->fields,
			    .body_bytes = q->body.len,
			    .auth_name = b->header,
			    .auth = send_auth,
			    .auth_ctx = x};

	if (!x->key->secret.p)
		return REASON_NO_CREDENTIAL; /* dropped meanwhile */
	int r = head_write(&head, record->p, record->len, &x->head_len);
	if (r < 0)
		return REASON_INTERNAL;
	if (r)
		return r == HEAD_E_SIZE ? REASON_HEAD_TOO_LARGE : REASON_BAD_REQUEST;
	size_t body = MIN(record->len - x->head_len, q->body.len);
	if (body > 0)
		memcpy(record->p + x->head_len, q->body.p, body);
	x->first_len = x->head_len + body;
	return REASON_NONE;
}

int send_write(struct exchange *x)
{
	const uint8_t *first = x->first.p ? x->first.p : x->eg->record.p;
	size_t total = x->head_len + x->request.body.len;

	egress_record_promise(x);
	while (x->sent < total) {
		size_t n;
		struct span part = x->sent < x->first_len
					   ? span_of(first + x->sent, x->first_len - x->sent)
					   : span_of(x->request.body.p + (x->sent - x->head_len), total - x->sent);
		int r = tls_write(x->upstream->tls, part, &n);
		/* A full socket has taken the record into OpenSSL's hands: from here on it may leave. */
		x->sent_any |= r == 0 || r == TLS_E_WRITE;
		if (r)
			return r;
		x->sent += n;
	}
	return 0;
}

enum reason send_begin(struct exchange *x, int *ret_answer)
{
	struct egress *eg = x->eg;

	secret_open(eg->buffers);
	enum reason why = send_compose(x);
	if (why == REASON_NONE) {
		*ret_answer = send_write(x);
		if (*ret_answer == TLS_E_WRITE && x->sent < x->first_len) {
			if (credential_alloc(&eg->credentials, x->first_len, &x->first))
				why = REASON_OVERLOADED;
			else
				memcpy(x->first.p, eg->record.p, x->first_len);
		}
	}
	secret_wipe(eg->record.p, why == REASON_NONE ? x->first_len : eg->record.len);
	secret_close(eg->buffers);
	return why;
}

void send_drop(struct exchange *x)
{
	if (!x->first.p)
		return;
	secret_open(x->eg->arena);
	secret_free(x->eg->arena, &x->first);
	secret_close(x->eg->arena);
}
