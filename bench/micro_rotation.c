/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/micro_rotation.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "keyvault/rotate.h"
#include "tests/support/rows.h"

#define CREDENTIALS 2048
#define BATCH       64 /* as keyvault/rotation.c */

static bool rotation_add(struct vault *v, struct rows *rows, unsigned i)
{
	char id[32];
	uint8_t packed[SEAL_BINDING_BYTES_MAX], blob[SEAL_BYTES_MAX];
	size_t packed_len, len;
	bool changed;

	(void)snprintf(id, sizeof(id), "openai@tenant-%u", i);
	const struct proto_binding b = {.tenant = SPAN_LIT("acme"),
					.credential = span_str(id),
					.version = 1,
					.since = 1,
					.provider = SPAN_LIT("openai"),
					.scheme = SPAN_LIT("https"),
					.host = SPAN_LIT("api.openai.com"),
					.port = 443,
					.path_prefix = SPAN_LIT("/v1"),
					.methods = 2,
					.header = SPAN_LIT("authorization"),
					.prefix = SPAN_LIT("Bearer ")};
	return proto_pack_record(&proto_binding_desc, &b, packed, sizeof(packed), &packed_len) == 0 &&
	       vault_add(v, span_of(packed, packed_len),
			 SPAN_LIT("sk-proj-0123456789abcdefghijklmnopqrstuvwxyz0123456789"), blob, &len) == 0 &&
	       rows_put(rows, id, 1, span_of(blob, len)) == 0 &&
	       vault_load(v, span_str(id), span_of(blob, len), &changed) == 0;
}

/* One batch, from entry *at on. How many, or -1. */
static int rotation_batch(struct vault *v, struct rows *rows, size_t *at)
{
	static uint8_t blobs[BATCH][SEAL_BYTES_MAX];
	struct rotate_swap swaps[BATCH];
	struct rows_swap items[BATCH];
	uint8_t done[BATCH];
	int n = 0;

	for (; n < BATCH; n++) {
		struct rotate_swap *s = &swaps[n];
		s->blob = blobs[n];
		if (!rotate_pick(v, at, s))
			break;
		items[n] = (struct rows_swap){s->id, s->version, s->old, s->at, span_of(s->blob + s->at, s->len)};
	}
	if (rows_swap(rows, items, (size_t)n, done))
		return -1;
	for (int i = 0; i < n; i++)
		if (!done[i] || rotate_swapped(v, &swaps[i]))
			return -1;
	return n;
}

static double rotation_time(struct vault *v, struct rows *rows)
{
	struct timespec begin, end;
	size_t at = 0;
	int n;

	if (rotate_begin(v, ROTATE_TENANT, SPAN_NULL, 0) || rotate_advance(v) || rotate_advance(v))
		return -1;
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	while ((n = rotation_batch(v, rows, &at)) > 0)
		;
	bool failed = n < 0 || rows_sync(rows) || rotate_left(v) > 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	return failed ? -1
		      : CREDENTIALS / ((double)(end.tv_sec - begin.tv_sec) +
				       (double)(end.tv_nsec - begin.tv_nsec) / 1000000000);
}

double micro_rotation(void)
{
	char dir[] = "/tmp/bulkhead-bench-XXXXXX", path[64], command[64];
	struct config config = CONFIG_NULL;
	struct secret_arena *arena = NULL;
	struct vault vault;
	double rate = -1;

	if (!mkdtemp(dir) || secret_arena_new(65536, &arena))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/keyvault", dir);
	config.bulkhead.state_dir = dir;
	config.keyvault.unseal = CONFIG_UNSEAL_KEY_FILE;
	config.keyvault.key_file = "";
	struct rows *rows = rows_open(dir);
	if (rows && mkdir(path, 0700) == 0 && vault_start(&vault, &config, arena, -1) == 0) {
		bool ready = vault_init(&vault, SPAN_NULL) == 0;
		for (unsigned i = 0; ready && i < CREDENTIALS; i++)
			ready = rotation_add(&vault, rows, i);
		rate = ready ? rotation_time(&vault, rows) : -1;
		vault_deinit(&vault);
	}
	rows = rows_close(rows);
	arena = secret_arena_free(arena);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) ? -1 : rate;
}
