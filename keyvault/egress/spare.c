/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of exchanges is kept for the next ones: malloc(3) would sort and merge it each time. */
#include <stdlib.h>

#include "keyvault/egress/egress.h"

struct exchange *spare_take(struct egress *eg)
{
	struct list *spare = list_first(&eg->spare);

	if (!spare)
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
