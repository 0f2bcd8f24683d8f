/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One provider key takes over from another. While two versions of a credential are live, the older one is in use until
 * the provider answers 401; the egress says so, and from then on every egress gets the newer one. The refused version
 * is removed when nobody can use it any more: requests that it had begun need it no longer, and a grant that was made
 * before gets the newer one.
 *
 * Nothing of this is remembered: after a restart the old version is tried again, refused again, and removed then.
 */
#include <assert.h>

#include "common/err.h"
#include "keyvault/core.h"

#define RETIRE_DRAIN_MS 5000 /* every egress has been told by then, and every request that waited has been sent */

static void on_retire(uv_timer_t *timer);

static void core_retire_arm(struct core *c)
{
	struct core_retirements *r = &c->retirements;
	uint64_t now_ms = ipc_now_ms(c->daemon.ipc);

	if (r->n > 0 && !uv_is_active((uv_handle_t *)&r->timer))
		(void)uv_timer_start(&r->timer, on_retire, r->list[0].at_ms > now_ms ? r->list[0].at_ms - now_ms : 0,
				     0);
}

/* An authd that is away is told later: the first is taken off when it was sent. */
static void on_retire(uv_timer_t *timer)
{
	struct core *c = timer->data;
	struct core_retirements *r = &c->retirements;
	const struct core_retirement *first = &r->list[0];

	assert(r->n > 0);
	if (ipc_send(core_authd(c), PROTO_CREDENTIAL_RETIRE, 0,
		     &(struct proto_credential_retire){.credential = span_str(first->id), .version = first->version}) ==
	    0) {
		memmove(r->list, r->list + 1, (r->n - 1) * sizeof(r->list[0]));
		r->n--;
	} else {
		r->list[0].at_ms = ipc_now_ms(c->daemon.ipc) + RETIRE_DRAIN_MS;
	}
	core_retire_arm(c);
}

int core_retire_init(struct core *c)
{
	c->retirements.timer.data = c;
	return uv_timer_init(&c->daemon.loop, &c->retirements.timer) ? err_origin(-EIO) : 0;
}

static void core_retire_later(struct core *c, struct span id, uint32_t version)
{
	struct core_retirements *r = &c->retirements;

	if (r->n == CORE_RETIREMENTS_MAX)
		return; /* the next 401 will say it again, after a restart */
	struct core_retirement *last = &r->list[r->n++];
	*last = (struct core_retirement){.version = version, .at_ms = ipc_now_ms(c->daemon.ipc) + RETIRE_DRAIN_MS};
	memcpy(last->id, id.p, MIN(id.len, (size_t)STORE_ID_BYTES_MAX));
	core_retire_arm(c);
}

int core_rejected(struct core *c, struct ipc_conn *egress, struct span id, uint32_t version)
{
	if (!vault_refuse(&c->vault, id, version))
		return 0; /* known already, or there is no other: the next UNSEAL says which is in use */
	log_event(&c->daemon.log, LOG_VAULT_SWITCHED, LOG_SPAN("credential", id), LOG_U64("refused", version));
	core_record(c, EVENT_CREDENTIAL_SWITCH, "egress", id, "unauthorized");
	core_retire_later(c, id, version);
	return core_drop_credential(c, id, version, egress);
}
