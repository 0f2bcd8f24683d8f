/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/subjects.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#define SUBJECTS_BATCH    64
#define SUBJECTS_RETRY_MS 5000 /* after which something that could not be sealed is tried again */

/* An address that was sealed; `id` empty: none. `len` 0: it cannot be sealed, for there is no key. */
struct subjects_sealed {
	char id[STORE_SUBJECT_BYTES];
	char address[FIELDS_ADDRESS_BYTES];
	uint32_t day;
	uint64_t expires_ms;
	size_t len;
	uint8_t bytes[FIELDS_SEALED_BYTES];
};

/* Whose seal key lies in the same place of `keys`. */
struct subjects_key {
	char id[STORE_SUBJECT_BYTES];
	char tenant[STORE_ID_BYTES];
	uint32_t day;
};

struct subjects {
	struct store *store;
	struct secret_arena *arena;
	struct secret purpose; /* SECRET_NULL: the vault is closed */
	struct secret keys;
	struct secret chain; /* for the computation at hand */
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
	struct subjects_key whose[SUBJECTS_KEYS];
	struct subjects_sealed seals[SUBJECTS_SEALS];
};

int subjects_new(struct store *store, struct secret_arena *arena, struct subjects **ret_subjects)
{
	struct subjects *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->store = store;
	s->arena = arena;
	crypto_shorthash_keygen(s->hash_key);
	*ret_subjects = s;
	return 0;
}

struct subjects *subjects_free(struct subjects *s)
{
	if (s)
		subjects_close(s);
	free(s);
	return NULL;
}

int subjects_open(struct subjects *s, struct span key)
{
	int r = s->purpose.p ? 0 : secret_alloc(s->arena, FIELDS_KEY_BYTES, &s->purpose);

	if (!r && !s->keys.p)
		r = secret_alloc(s->arena, SUBJECTS_KEYS * FIELDS_KEY_BYTES, &s->keys);
	if (!r && !s->chain.p)
		r = secret_alloc(s->arena, FIELDS_KEY_BYTES, &s->chain);
	if (r) {
		subjects_close(s);
		return r;
	}
	secret_open(s->arena);
	memcpy(s->purpose.p, key.p, FIELDS_KEY_BYTES);
	secret_close(s->arena);
	memset(s->seals, 0, sizeof(s->seals)); /* what could not be sealed now can */
	return 0;
}

void subjects_close(struct subjects *s)
{
	secret_free(s->arena, &s->purpose);
	secret_free(s->arena, &s->keys);
	secret_free(s->arena, &s->chain);
	memset(s->whose, 0, sizeof(s->whose));
	memset(s->seals, 0, sizeof(s->seals));
}

static uint64_t subjects_hash(const struct subjects *s, struct span a, struct span b)
{
	uint8_t text[STORE_SUBJECT_BYTES + FIELDS_ADDRESS_BYTES], hash[crypto_shorthash_BYTES];
	uint64_t n;

	memcpy(text, a.p, a.len);
	text[a.len] = 0;
	if (b.len)
		memcpy(text + a.len + 1, b.p, b.len);
	crypto_shorthash(hash, text, a.len + 1 + b.len, s->hash_key);
	memcpy(&n, hash, sizeof(n));
	return n;
}

static void subjects_copy(char *to, struct span from)
{
	memcpy(to, from.p, from.len);
	to[from.len] = 0;
}

/* ---- keys ---- */

/* The subject gets its first link, today's, and keeps it. */
static int subjects_begin(struct subjects *s, struct store_subject *row, uint32_t day)
{
	const struct fields_owner owner = {span_str(row->tenant), span_str(row->id)};

	row->day = day;
	row->has_chain = true;
	secret_open(s->arena);
	randombytes_buf(s->chain.p, FIELDS_KEY_BYTES);
	fields_wrap(s->purpose.p, &owner, day, s->chain.p, row->chain);
	secret_close(s->arena);
	switch (store_subject_put(s->store, row)) {
	case 0:
		return 0;
	case STORE_E_NOT_FOUND:
		return SUBJECTS_E_ERASED;
	default:
		return SUBJECTS_E_STORE;
	}
}

/* s->chain becomes the link of `day`. The arena is open. */
static int subjects_unwrap(struct subjects *s, const struct store_subject *row, uint32_t day)
{
	const struct fields_owner owner = {span_str(row->tenant), span_str(row->id)};

	if (!row->has_chain || row->day > day)
		return SUBJECTS_E_EXPIRED;
	if (fields_unwrap(s->purpose.p, &owner, row->day, span_of(row->chain, sizeof(row->chain)), s->chain.p))
		return SUBJECTS_E_FORGED;
	fields_advance(s->chain.p, day - row->day);
	return 0;
}

static int subjects_row(struct subjects *s, struct span id, struct store_subject *ret_row)
{
	if (!s->purpose.p)
		return SUBJECTS_E_CLOSED;
	switch (store_subject_find(s->store, id, ret_row)) {
	case 0:
		return ret_row->erased_s ? SUBJECTS_E_ERASED : 0;
	case STORE_E_NOT_FOUND:
		return SUBJECTS_E_UNKNOWN;
	default:
		return SUBJECTS_E_STORE;
	}
}

/* From the store into its place. */
static int subjects_load_key(struct subjects *s, struct span id, uint32_t day, size_t place)
{
	struct subjects_key *k = &s->whose[place];
	struct store_subject row;
	int r = subjects_row(s, id, &row);

	if (!r && !row.has_chain)
		r = subjects_begin(s, &row, day);
	if (r)
		return r;
	k->id[0] = 0;
	secret_open(s->arena);
	r = subjects_unwrap(s, &row, day);
	if (!r)
		fields_seal_key(s->chain.p, s->keys.p + place * FIELDS_KEY_BYTES);
	secret_close(s->arena);
	if (r)
		return r;
	subjects_copy(k->id, id);
	memcpy(k->tenant, row.tenant, sizeof(k->tenant));
	k->day = day;
	return 0;
}

/* ---- sealing ---- */

static size_t subjects_seal_now(struct subjects *s, struct span id, struct span address, uint32_t day,
				uint8_t ret[FIELDS_SEALED_BYTES])
{
	size_t place = subjects_hash(s, id, SPAN_NULL) % SUBJECTS_KEYS;
	const struct subjects_key *k = &s->whose[place];

	if ((k->day != day || !span_eq_str(id, k->id)) && subjects_load_key(s, id, day, place))
		return 0;
	const struct fields_owner owner = {span_str(k->tenant), id};
	secret_open(s->arena);
	int r = fields_seal(s->keys.p + place * FIELDS_KEY_BYTES, &owner, day, address, ret);
	secret_close(s->arena);
	return r ? 0 : FIELDS_SEALED_BYTES;
}

struct span subjects_seal(struct subjects *s, struct span subject, struct span address, struct subjects_now now)
{
	if (!s->purpose.p || subject.len == 0 || subject.len >= STORE_SUBJECT_BYTES || address.len == 0 ||
	    address.len >= FIELDS_ADDRESS_BYTES)
		return SPAN_NULL;
	struct subjects_sealed *e = &s->seals[subjects_hash(s, subject, address) % SUBJECTS_SEALS];
	if (e->day != now.day || e->expires_ms <= now.monotonic_ms || !span_eq_str(subject, e->id) ||
	    !span_eq_str(address, e->address)) {
		subjects_copy(e->id, subject);
		subjects_copy(e->address, address);
		e->day = now.day;
		e->len = subjects_seal_now(s, subject, address, now.day, e->bytes);
		e->expires_ms = now.monotonic_ms + (e->len ? SUBJECTS_SEAL_MS : SUBJECTS_RETRY_MS);
	}
	return span_of(e->bytes, e->len);
}

/* ---- what an operator asks for ---- */

int subjects_reveal(struct subjects *s, struct span subject, struct span sealed, char ret_address[FIELDS_ADDRESS_BYTES])
{
	uint8_t key[FIELDS_KEY_BYTES];
	struct store_subject row;
	uint32_t day;
	int r = subjects_row(s, subject, &row);

	if (!r && fields_day(sealed, &day))
		r = SUBJECTS_E_FORGED;
	if (r)
		return r;
	const struct fields_owner owner = {span_str(row.tenant), subject};
	secret_open(s->arena);
	r = subjects_unwrap(s, &row, day);
	if (!r) {
		fields_seal_key(s->chain.p, key);
		r = fields_open(key, &owner, sealed, ret_address) ? SUBJECTS_E_FORGED : 0;
	}
	secret_wipe(key, sizeof(key));
	secret_close(s->arena);
	return r;
}

const char *subjects_err_text(int e)
{
	static const char *const texts[] = {
		[0] = "",
		[SUBJECTS_E_CLOSED] = "vault sealed",
		[SUBJECTS_E_UNKNOWN] = "unknown subject",
		[SUBJECTS_E_ERASED] = "erased",
		[SUBJECTS_E_EXPIRED] = "expired",
		[SUBJECTS_E_FORGED] = "forged",
		[SUBJECTS_E_STORE] = "store gone",
	};

	return e >= 0 && (size_t)e < ARRAY_LEN(texts) ? texts[e] : "";
}

int subjects_erase(struct subjects *s, struct span subject, uint64_t now_s)
{
	int r = store_subject_erase(s->store, subject, now_s);

	/* Also when it failed: then it may have happened. */
	memset(s->whose, 0, sizeof(s->whose));
	memset(s->seals, 0, sizeof(s->seals));
	if (s->keys.p) {
		secret_open(s->arena);
		memset(s->keys.p, 0, s->keys.len);
		memset(s->chain.p, 0, s->chain.len);
		secret_close(s->arena);
	}
	return r;
}

/* The row moves on to `day`. The arena is open. */
static bool subjects_move(struct subjects *s, struct store_subject *row, uint32_t day)
{
	const struct fields_owner owner = {span_str(row->tenant), span_str(row->id)};

	if (subjects_unwrap(s, row, day))
		return false;
	fields_wrap(s->purpose.p, &owner, day, s->chain.p, row->chain);
	row->day = day;
	return true;
}

/* What the tables have of days before `day`: the keys, and addresses in clear. The arena is open. */
static void subjects_forget_days(struct subjects *s, uint32_t day)
{
	for (size_t i = 0; i < SUBJECTS_KEYS; i++)
		if (s->whose[i].day < day) {
			memset(&s->whose[i], 0, sizeof(s->whose[i]));
			memset(s->keys.p + i * FIELDS_KEY_BYTES, 0, FIELDS_KEY_BYTES);
		}
	for (size_t i = 0; i < SUBJECTS_SEALS; i++)
		if (s->seals[i].day < day)
			memset(&s->seals[i], 0, sizeof(s->seals[i]));
	memset(s->chain.p, 0, s->chain.len);
}

int subjects_expire(struct subjects *s, uint32_t day, char cursor[STORE_SUBJECT_BYTES], size_t *ret_n, bool *ret_done)
{
	struct store_subject rows[SUBJECTS_BATCH];
	size_t n = 0, moved = 0;

	if (!s->purpose.p)
		return SUBJECTS_E_CLOSED;
	if (store_subjects_before(s->store, day, span_str(cursor), rows, ARRAY_LEN(rows), &n))
		return SUBJECTS_E_STORE;
	secret_open(s->arena);
	if (cursor[0] == 0)
		subjects_forget_days(s, day);
	for (size_t i = 0; i < n; i++)
		if (subjects_move(s, &rows[i], day))
			rows[moved++] = rows[i];
	secret_close(s->arena);
	if (n > 0)
		memcpy(cursor, rows[n - 1].id, STORE_SUBJECT_BYTES);
	if (moved > 0 && store_subjects_put(s->store, rows, moved))
		return SUBJECTS_E_STORE;
	*ret_n = moved;
	*ret_done = n < ARRAY_LEN(rows);
	return *ret_done && store_credential_sync(s->store) ? SUBJECTS_E_STORE : 0;
}
