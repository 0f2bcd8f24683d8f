/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchanges as they begin. Their memory is kept for the next ones: malloc(3) would sort and merge it each time. The
 * last used is taken first: it is still in the cache.
 */
#include <stdlib.h>

#include "keyvault/egress/egress.h"

static struct exchange *spare_take(struct egress *eg)
{
	struct list *spare = eg->spare.prev;

	if (list_empty(&eg->spare))
		return malloc(sizeof(struct exchange));
	list_unlink(spare);
	eg->n_spare--;
	return container_of(spare, struct exchange, in_state);
}

void spare_keep(struct egress *eg, struct exchange *x)
{
	if (eg->n_spare >= EGRESS_SPARE_MAX) {
		free(x);
		return;
	}
	list_push(&eg->spare, &x->in_state);
	eg->n_spare++;
}

void spare_free(struct egress *eg)
{
	while (eg->n_spare > 0)
		free(spare_take(eg));
}

struct exchange *spare_begin(struct egress *eg, struct lane *lane, uint64_t id, const struct proto_open *open)
{
	struct exchange *x = spare_take(eg);

	if (!x)
		return NULL;
	memset(x, 0, sizeof(*x));
	x->eg = eg;
	x->lane = lane;
	x->id = id;
	x->credit = EGRESS_CREDIT_BYTES;
	x->began_us = ipc_now_us(eg->daemon.ipc);
	x->request = (struct exchange_request){.grant = open->grant,
					       .route = open->route,
					       .method = (enum proto_method)open->method,
					       .path = open->path,
					       .body = open->body,
					       .fields = open->headers};
	list_init(&x->in_state);
	list_init(&x->in_lane);
	list_init(&x->in_stalled);
	list_init(&x->in_readable);
	return x;
}
