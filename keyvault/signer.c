/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/signer.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>

#include "common/err.h"

_Static_assert(NOTE_NAME_MAX == WITNESS_ORIGIN_BYTES_MAX, "an origin is a key name");
_Static_assert(sizeof(struct merkle_hash) == WITNESS_ROOT_BYTES, "a root is a hash");

void signer_init(struct signer *s, struct secret_arena *arena, const struct witness *witness)
{
	*s = (struct signer){.arena = arena, .witness = *witness};
}

void signer_close(struct signer *s)
{
	secret_free(s->arena, &s->key);
	secret_free(s->arena, &s->cosigner_key);
}

/* The id comes from the first key, but is kept: it names the log, also when the key is changed some day. */
static int signer_name_log(struct signer *s, const uint8_t public[crypto_sign_PUBLICKEYBYTES])
{
	uint8_t digest[crypto_hash_sha256_BYTES];
	char id[17], name[64];
	struct merkle_hash empty;

	(void)crypto_hash_sha256(digest, public, crypto_sign_PUBLICKEYBYTES);
	(void)sodium_bin2hex(id, sizeof(id), digest, 8);
	(void)snprintf(name, sizeof(name), "bulkhead.%s/audit", id);
	merkle_tree_root(&MERKLE_TREE_NULL, &empty);
	return witness_save(&s->witness, span_str(name), 0, empty.b) ? SIGNER_E_STORAGE : 0;
}

/* "bulkhead.<id>/witness": the origin's id. */
static int signer_name_cosigner(struct signer *s, const uint8_t public[crypto_sign_PUBLICKEYBYTES])
{
	char name[NOTE_NAME_MAX + 1];
	int id_len = (int)strcspn(s->witness.origin, "/");

	(void)snprintf(name, sizeof(name), "%.*s/witness", id_len, s->witness.origin);
	return note_cosigner_init(&s->cosigner, span_str(name), public);
}

static int signer_make_key(struct signer *s, const struct secret *seed, struct secret *ret_key,
			   uint8_t ret_public[crypto_sign_PUBLICKEYBYTES])
{
	assert(seed->len == crypto_sign_SEEDBYTES);
	if (secret_alloc(s->arena, crypto_sign_SECRETKEYBYTES, ret_key))
		return SIGNER_E_FULL;
	secret_open(s->arena);
	(void)crypto_sign_seed_keypair(ret_public, ret_key->p, seed->p);
	secret_close(s->arena);
	return 0;
}

int signer_open(struct signer *s, const struct secret *seed, const struct secret *cosigner_seed)
{
	uint8_t public[crypto_sign_PUBLICKEYBYTES], cosigner[crypto_sign_PUBLICKEYBYTES];

	assert(!s->key.p && !s->cosigner_key.p);
	int r = signer_make_key(s, seed, &s->key, public);
	if (!r)
		r = signer_make_key(s, cosigner_seed, &s->cosigner_key, cosigner);
	if (!r && s->witness.count == 0)
		r = signer_name_log(s, public);
	if (!r && (note_key_init(&s->name, span_str(s->witness.origin), public) || signer_name_cosigner(s, cosigner)))
		r = err_fold(SIGNER_E_ORIGIN); /* we chose the name */
	if (r)
		signer_close(s);
	return r;
}

void signer_vkey(const struct signer *s, char to[NOTE_VKEY_MAX])
{
	to[0] = 0;
	if (s->key.p)
		note_key_format(&s->name, to);
}

void signer_cosigner_vkey(const struct signer *s, char to[NOTE_VKEY_MAX])
{
	to[0] = 0;
	if (s->key.p)
		note_key_format(&s->cosigner, to);
}

/* Does the tree in `m` continue the one that was signed last? */
static int signer_check(const struct signer *s, const struct proto_sign_checkpoint *m)
{
	struct merkle_hash proof[MERKLE_PROOF_MAX], old, new;
	size_t n = m->proof.len / sizeof(proof[0]);

	if (!s->key.p)
		return SIGNER_E_CLOSED;
	if (!span_eq_str(m->origin, s->witness.origin))
		return SIGNER_E_ORIGIN;
	if (m->old_size != s->witness.size || m->size < m->old_size)
		return SIGNER_E_SIZE;
	if (m->proof.len % sizeof(proof[0]) || n > MERKLE_PROOF_MAX)
		return SIGNER_E_FORK;
	memcpy(&old, s->witness.root, sizeof(old));
	memcpy(&new, m->root.p, sizeof(new));
	if (n > 0)
		memcpy(proof, m->proof.p, m->proof.len);
	if (m->size == m->old_size)
		return n == 0 && merkle_hash_eq(&old, &new) ? 0 : SIGNER_E_FORK;
	if (m->old_size == 0)
		return n == 0 ? 0 : SIGNER_E_FORK; /* anything grows from the empty tree */
	return merkle_verify_consistency(m->old_size, &old, m->size, &new, proof, n) ? SIGNER_E_FORK : 0;
}

static void signer_make_signature(const struct signer *s, const struct secret *key, const char *text, size_t len,
				  uint8_t ret_sig[NOTE_SIG_BYTES])
{
	secret_open(s->arena);
	(void)crypto_sign_detached(ret_sig, NULL, (const uint8_t *)text, len, key->p);
	secret_close(s->arena);
}

/* text -> note with both signatures. They have room: every name is bounded. */
static int signer_write_note(const struct signer *s, struct span text, uint64_t now_unix_s, char *note, size_t *ret_len)
{
	char message[SIGNER_NOTE_BYTES_MAX];
	uint8_t sig[NOTE_SIG_BYTES];
	size_t len, message_len;

	signer_make_signature(s, &s->key, (const char *)text.p, text.len, sig);
	int r = note_format(text, &s->name, sig, note, SIGNER_NOTE_BYTES_MAX, &len);
	if (!r)
		r = note_cosigned_text(text, now_unix_s, message, sizeof(message), &message_len);
	if (r)
		return err_fold(r);
	signer_make_signature(s, &s->cosigner_key, message, message_len, sig);
	r = note_add_cosignature(note, SIGNER_NOTE_BYTES_MAX, &len, &s->cosigner, now_unix_s, sig);
	*ret_len = len;
	return err_fold(r);
}

int signer_sign(struct signer *s, const struct proto_sign_checkpoint *m, uint64_t now_unix_s,
		char ret_note[SIGNER_NOTE_BYTES_MAX], size_t *ret_len)
{
	struct checkpoint cp = {.origin = span_str(s->witness.origin), .size = m->size};
	char text[SIGNER_NOTE_BYTES_MAX];
	size_t len;

	int r = signer_check(s, m);
	if (r)
		return r;
	memcpy(cp.root.b, m->root.p, sizeof(cp.root.b));
	if (checkpoint_format(&cp, text, sizeof(text), &len))
		return err_fold(SIGNER_E_ORIGIN);
	if (m->size > s->witness.size && witness_save(&s->witness, m->origin, m->size, cp.root.b))
		return SIGNER_E_STORAGE;
	return signer_write_note(s, span_of(text, len), now_unix_s, ret_note, ret_len);
}

const char *signer_err_text(int e)
{
	static const char *const texts[] = {
		[SIGNER_E_CLOSED] = "the vault is sealed",
		[SIGNER_E_ORIGIN] = "the checkpoint is of another log",
		[SIGNER_E_SIZE] = "the checkpoint does not start at the size signed last, or the log became shorter",
		[SIGNER_E_FORK] = "the log is not a continuation of the one signed last",
		[SIGNER_E_STORAGE] = "the signed size could not be made durable",
		[SIGNER_E_FULL] = "the secret arena is full",
	};

	assert(e > 0 && (size_t)e < ARRAY_LEN(texts));
	return texts[e];
}
