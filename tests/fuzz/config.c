/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead.yaml from an enemy, and CONFIG frames from one. A file that is accepted must pack, and what was packed must
 * bind, with as many providers and models as the file had: launcher and daemon agree about every value.
 */
#include <stdlib.h>

#include "cli/config_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t frame[PROTO_FRAME_BYTES_MAX];

static void check_agreement(struct config_tree *t)
{
	struct config config = CONFIG_NULL;
	uint64_t all = BIT(N_CONFIG_SECTIONS) - 1;
	size_t len;
	int r = config_tree_pack(t, all, frame, sizeof(frame), &len);

	if (r || config_bind(span_of(frame, len), ROLE_AUTHD, all, &config) ||
	    config.n_providers != t->sections[CONFIG_PROVIDERS].n || config.n_models != t->sections[CONFIG_MODELS].n)
		abort();
	config_deinit(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config = CONFIG_NULL;
	struct config_tree *t = NULL;
	int r = config_tree_new("fuzz.yaml", "/", &t);

	if (!r)
		r = config_yaml(t, span_of(data, size));
	if (!r)
		r = config_complete(t);
	if (!r)
		check_agreement(t);
	config_tree_free(t);
	if (config_bind(span_of(data, size), ROLE_AUTHD, 0, &config) == 0)
		config_deinit(&config);
	return 0;
}
