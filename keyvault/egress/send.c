/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Head and body leave in as few TLS records as can be: an ordinary request is one record and one write. The record's
 * plaintext, which carries the secret, is composed in the arena; OpenSSL copies it into its own buffer and encrypts it
 * there.
 */
#include "keyvault/egress/send.h"

#include "keyvault/egress/egress.h"
#include "keyvault/egress/head.h"

#define SEND_RECORD_BYTES 16384

enum reason send_compose(struct exchange *x)
{
	const struct proto_binding *b = &x->credential->binding;
	const struct exchange_request *q = &x->request;
	struct head head = {.method = q->method,
			    .path = q->path,
			    .host = b->host,
			    .port = (uint16_t)b->port,
			    .fields = q->fields,
			    .body_bytes = q->body.len,
			    .auth_name = b->header,
			    .auth_prefix = b->prefix,
			    .secret = span_of(x->credential->secret.p, x->credential->secret.len)};

	if (!x->credential->secret.p)
		return REASON_NO_CREDENTIAL; /* dropped meanwhile */
	int r = head_measure(&head, &x->head_len);
	if (r)
		return r == HEAD_E_SIZE ? REASON_HEAD_TOO_LARGE : REASON_BAD_REQUEST;
	size_t room = x->head_len < SEND_RECORD_BYTES ? SEND_RECORD_BYTES - x->head_len : 0;
	x->first_body = MIN(room, q->body.len);
	if (secret_alloc(x->eg->arena, x->head_len + x->first_body, &x->first))
		return REASON_OVERLOADED;
	head_write(&head, x->first.p, x->head_len);
	if (x->first_body > 0)
		memcpy(x->first.p + x->head_len, q->body.p, x->first_body);
	return REASON_NONE;
}

int send_write(struct exchange *x)
{
	size_t total = x->head_len + x->request.body.len;

	while (x->sent < total) {
		size_t n;
		struct span part = x->sent < x->first.len
					   ? span_of(x->first.p + x->sent, x->first.len - x->sent)
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

void send_drop(struct exchange *x)
{
	if (!x->first.p)
		return;
	secret_open(x->eg->arena);
	secret_free(x->eg->arena, &x->first);
	secret_close(x->eg->arena);
}
