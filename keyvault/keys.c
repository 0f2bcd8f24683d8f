/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/keys.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "keyvault/keys_wrap.h"

/* The branches of a root key. */
enum { KEYS_BRANCH_WRAP = 1, KEYS_BRANCH_ID };
#define KEYS_CONTEXT "bh-roots"

void keys_init(struct keys *k, struct secret_arena *arena, struct keyring *keyring, int fd)
{
	*k = (struct keys){.arena = arena, .keyring = keyring, .fd = fd};
}

void keys_close(struct keys *k)
{
	keyring_close(k->keyring);
	free(k->tenants);
	keys_init(k, k->arena, k->keyring, k->fd);
}

void keys_deinit(struct keys *k)
{
	if (k->keyring)
		keys_close(k);
}

/* ---- root keys ---- */

void keys_root_id(struct secret_arena *a, const struct secret *root, uint8_t ret_id[KEYS_ROOT_ID_BYTES])
{
	secret_open(a);
	(void)crypto_kdf_derive_from_key(ret_id, KEYS_ROOT_ID_BYTES, KEYS_BRANCH_ID, KEYS_CONTEXT, root->p);
	secret_close(a);
}

/* The key that wraps the master key; the caller frees. */
static int keys_root_branch(struct keys *k, const struct secret *root, struct secret *ret_key)
{
	if (secret_alloc(k->arena, KEYRING_KEY_BYTES, ret_key))
		return KEYS_E_FULL;
	secret_open(k->arena);
	(void)crypto_kdf_derive_from_key(ret_key->p, KEYRING_KEY_BYTES, KEYS_BRANCH_WRAP, KEYS_CONTEXT, root->p);
	secret_close(k->arena);
	return 0;
}

static int keys_wrap_master(struct keys *k, const struct secret *root, const struct secret *master)
{
	struct keys_root *to = &k->roots[k->n_roots];
	struct secret key = SECRET_NULL;
	int r = keys_root_branch(k, root, &key);

	assert(k->n_roots < KEYS_ROOTS_MAX);
	if (r)
		return r;
	keys_root_id(k->arena, root, to->id);
	keys_wrap(k->arena, &key, span_of(to->id, sizeof(to->id)), master, to->wrapped);
	secret_free(k->arena, &key);
	k->n_roots++;
	return 0;
}

static const struct keys_root *keys_find_root(const struct keys_root *roots, size_t n, const uint8_t *id)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(roots[i].id, id, KEYS_ROOT_ID_BYTES) == 0)
			return &roots[i];
	return NULL;
}

static int keys_unwrap_master(struct keys *k, const struct keys_root *roots, size_t n, const struct secret *root,
			      struct secret *ret_master)
{
	struct secret key = SECRET_NULL;
	uint8_t id[KEYS_ROOT_ID_BYTES];

	keys_root_id(k->arena, root, id);
	const struct keys_root *from = keys_find_root(roots, n, id);
	if (!from)
		return KEYS_E_ROOT;
	int r = keys_root_branch(k, root, &key);
	if (!r) {
		r = keys_unwrap_with(k->arena, &key, span_of(id, sizeof(id)), from->wrapped, ret_master);
		secret_free(k->arena, &key);
	}
	return r;
}

int keys_add_root(struct keys *k, const struct secret *by, const struct secret *root)
{
	struct secret master = SECRET_NULL;

	assert(k->n_roots < KEYS_ROOTS_MAX);
	int r = keys_unwrap_master(k, k->roots, k->n_roots, by, &master);
	if (!r) {
		r = keys_wrap_master(k, root, &master);
		secret_free(k->arena, &master);
	}
	return r;
}

bool keys_keep_root(struct keys *k, const uint8_t id[KEYS_ROOT_ID_BYTES])
{
	const struct keys_root *found = keys_find_root(k->roots, k->n_roots, id);

	if (!found)
		return false;
	k->roots[0] = *found;
	memset(&k->roots[1], 0, sizeof(k->roots[1]));
	k->n_roots = 1;
	return true;
}

/* ---- the file ---- */

/* What lies in a half; the caller frees. NULL: nothing, or no memory. */
static uint8_t *keys_read_half(int fd, unsigned half, size_t *ret_len)
{
	uint8_t *bytes = malloc(KEYS_HALF_EVERY);
	ssize_t n = bytes ? pread(fd, bytes, KEYS_HALF_EVERY, (off_t)half * KEYS_HALF_EVERY) : 0;

	if (n <= 0) {
		free(bytes);
		return NULL;
	}
	*ret_len = (size_t)n;
	return bytes;
}

int keys_exists(int fd, bool *ret_exists)
{
	uint8_t byte;
	ssize_t n = pread(fd, &byte, 1, 0);

	if (n == 0)
		n = pread(fd, &byte, 1, KEYS_HALF_EVERY);
	if (n < 0)
		return err_origin(-errno);
	*ret_exists = n > 0;
	return 0;
}

/* To one half, with zeros over whatever was there and is longer. */
static bool keys_write_half(int fd, uint64_t count, const uint8_t *bytes, size_t len)
{
	unsigned half = (unsigned)(count % 2);
	size_t old_len = 0;
	uint8_t *old = keys_read_half(fd, half, &old_len);
	off_t at = (off_t)half * KEYS_HALF_EVERY;
	bool done = pwrite(fd, bytes, len, at) == (ssize_t)len;

	while (old && old_len > len && old[old_len - 1] == 0)
		old_len--;
	if (done && old && old_len > len) {
		memset(old, 0, old_len - len);
		done = pwrite(fd, old, old_len - len, at + (off_t)len) == (ssize_t)(old_len - len);
	}
	free(old);
	return done && fdatasync(fd) == 0;
}

int keys_save(struct keys *k)
{
	uint64_t count = k->count + 1;
	uint8_t *bytes;
	size_t len;

	if (keys_format(k, count, &bytes, &len))
		return KEYS_E_STORAGE;
	bool done = keys_write_half(k->fd, count, bytes, len);
	free(bytes);
	if (!done)
		return KEYS_E_STORAGE;
	k->count = count;
	return 0;
}

int keys_create(struct keys *k, const struct secret *root)
{
	struct secret master = SECRET_NULL;

	assert(!keyring_is_open(k->keyring) && k->count == 0);
	if (secret_alloc(k->arena, KEYRING_KEY_BYTES, &master))
		return KEYS_E_FULL;
	secret_open(k->arena);
	crypto_kdf_keygen(master.p);
	secret_close(k->arena);
	int r = keys_wrap_master(k, root, &master);
	if (!r && keyring_open(k->keyring, &master))
		r = KEYS_E_FULL;
	secret_free(k->arena, &master);
	k->generation = 1;
	if (!r)
		r = keys_save(k);
	if (r)
		keys_close(k);
	else
		memcpy(k->root_id, k->roots[0].id, sizeof(k->root_id));
	return r;
}

static int keys_open_half(struct keys *k, struct span bytes, const struct secret *root)
{
	struct keys_root roots[KEYS_ROOTS_MAX];
	struct secret master = SECRET_NULL;
	uint64_t count;
	size_t n = keys_parse_roots(bytes, &count, roots);

	int r = keys_unwrap_master(k, roots, n, root, &master);
	if (r)
		return r;
	r = keyring_open(k->keyring, &master) ? KEYS_E_FULL : 0;
	secret_free(k->arena, &master);
	if (!r)
		r = keys_parse(k, bytes);
	if (r)
		keys_close(k);
	return r;
}

/* Both halves, the newer first; the caller frees. A half without a table is NULL. */
struct keys_halves {
	uint8_t *bytes[2];
	size_t len[2];
};

static struct keys_halves keys_read_halves(int fd)
{
	struct keys_root roots[KEYS_ROOTS_MAX];
	struct keys_halves h = {0};
	uint64_t count[2] = {0};

	for (unsigned i = 0; i < 2; i++) {
		h.bytes[i] = keys_read_half(fd, i, &h.len[i]);
		if (h.bytes[i] && !keys_parse_roots(span_of(h.bytes[i], h.len[i]), &count[i], roots)) {
			free(TAKE(h.bytes[i]));
			count[i] = 0;
		}
	}
	if (count[1] > count[0])
		h = (struct keys_halves){{h.bytes[1], h.bytes[0]}, {h.len[1], h.len[0]}};
	return h;
}

/* The first save goes to the second half, and is synced before anybody hears of a key. Where it is cut off and nothing
 * was ever saved after it, nothing hangs on this table. */
static bool keys_first_is_torn(int fd)
{
	size_t len[2] = {0};
	uint8_t *half[2] = {keys_read_half(fd, 0, &len[0]), keys_read_half(fd, 1, &len[1])};
	bool torn = half[0] && half[1] && sodium_is_zero(half[0], len[0]) && keys_is_cut(span_of(half[1], len[1]));

	free(half[0]);
	free(half[1]);
	return torn;
}

int keys_open(struct keys *k, const struct secret *root)
{
	struct keys_halves h = keys_read_halves(k->fd);
	int r = KEYS_E_ROOT;

	assert(!keyring_is_open(k->keyring));
	for (unsigned i = 0; i < 2 && r == KEYS_E_ROOT; i++)
		if (h.bytes[i])
			r = keys_open_half(k, span_of(h.bytes[i], h.len[i]), root);
	free(h.bytes[0]);
	free(h.bytes[1]);
	if (r == KEYS_E_ROOT && keys_first_is_torn(k->fd))
		r = KEYS_E_TORN;
	if (!r)
		keys_root_id(k->arena, root, k->root_id);
	return r;
}

int keys_reload(struct keys *k)
{
	struct keys_halves h = keys_read_halves(k->fd);
	int r = h.bytes[0] ? keys_parse(k, span_of(h.bytes[0], h.len[0])) : KEYS_E_ROOT;

	free(h.bytes[0]);
	free(h.bytes[1]);
	return r;
}
