/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/vault.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "keyvault/rotate.h"

const struct vault_refusal *vault_refusal(int e)
{
	static const struct vault_refusal rows[N_VAULT_ERRS] = {
		[VAULT_E_INITIALISED] = {"already_initialised",
					 "the vault has a root key already; nothing was changed"},
		[VAULT_E_UNINITIALISED] = {"uninitialised", "run `bulkhead vault init` first"},
		[VAULT_E_SEALED] = {"sealed", "run `bulkhead vault unseal` first"},
		[VAULT_E_OPEN] = {"already_unsealed", "the vault is open"},
		[VAULT_E_PASSPHRASE] = {"wrong_passphrase", "that is not the passphrase"},
		[VAULT_E_WAIT] = {"too_many_tries", "the passphrase was wrong; wait before trying again"},
		[VAULT_E_SHORT] = {"weak_passphrase", "a passphrase has 8 to 1024 bytes"},
		[VAULT_E_MEMORY] = {"no_memory", "Argon2id needs 128 MiB for a moment"},
		[VAULT_E_DAMAGED] = {"damaged", "root.sealed is damaged; restore it from a backup"},
		[VAULT_E_KEY_FILE] = {"key_file", "the key file cannot be used; the core's log says why"},
		[VAULT_E_OTHER_KEY] = {"other_key", "that is not the root key that the vault was opened with"},
		[VAULT_E_NO_KEY] = {"no_key_file", "this vault opens with a key file, which was not given"},
		[VAULT_E_ELSEWHERE] = {"key_file_is_yours",
				       "keyvault.unseal names a file of yours: put the root key there yourself, "
				       "or change to unseal: passphrase"},
		[VAULT_E_STORAGE] = {"storage", "the state folder could not be written; see the log of the core"},
		[VAULT_E_FULL] = {"arena_full", "raise keyvault.arena_bytes"},
		[VAULT_E_BINDING] = {"bad_binding",
				     "a credential needs an https destination, a path prefix and a lower-case "
				     "header"},
		[VAULT_E_SECRET] = {"bad_secret",
				    "a provider key is printable ASCII without spaces, at most 4096 bytes"},
		[VAULT_E_UNKNOWN] = {"not_found", "no such credential is stored"},
		[VAULT_E_FORGED] = {"not_authentic",
				    "the sealed credential was altered, or sealed under another root key"},
		[VAULT_E_OLD] = {"rollback", "the sealed credential is older than one that was in use"},
		[VAULT_E_FERNET_KEY] = {"bad_fernet_key", "a Fernet key is 32 bytes in base64url, 44 characters"},
		[VAULT_E_TOKEN] = {"bad_token", "that is not a Fernet token"},
		[VAULT_E_TOKEN_KEY] = {"wrong_fernet_key",
				       "none of the keys opens this token: another key made it, or it was altered"},
		[VAULT_E_TOKEN_AGE] = {"token_age", "the token is older than allowed, or from the future"},
		[VAULT_E_UNCONFIRMED] = {"unconfirmed",
					 "the release of a key must be confirmed by the provider's name"},
		[VAULT_E_EXPORT_OFF] = {"export_off",
					"set keyvault.fernet_export: yes and restart to allow the release of keys"},
		[VAULT_E_EXPIRED] = {"expired", "the provider key is bound to another time than now"},
		[VAULT_E_ROOT] =
			{"other_root",
			 "keyvault/keys is missing, damaged, or of another root key; restore both from one backup, "
			 "the root key by `bulkhead vault restore`"},
		[VAULT_E_MARKS] = {"marks_damaged", "keyvault/marks is damaged; restore it from a backup"},
		[VAULT_E_PLACES] = {"marks_full", "keyvault/marks has no place for another provider key, and those of "
						  "removed ones stay; docs/vault.md says how it is begun anew"},
		[VAULT_E_BUSY] = {"busy", "a rotation is under way; see `bulkhead vault rotate`"},
		[VAULT_E_NOTHING] = {"nothing", "there is no such key to rotate"},
		[VAULT_E_ROTATED] = {"rotated",
				     "the vault's keys were replaced just now; nothing was stored, do it again"},
		[VAULT_E_SAME] = {"same_key", "the new root key is the one that there is; nothing was done"},
		[VAULT_E_TORN] = {"keys_torn", "`vault init` was cut off while it wrote keyvault/keys, so nothing "
					       "hangs on that file: stop the gateway, remove it, start and unseal"},
	};

	assert(e > 0 && e < N_VAULT_ERRS && rows[e].reason);
	return &rows[e];
}

bool vault_is_open(const struct vault *v)
{
	return keyring_is_open(&v->keyring);
}

const char *vault_state(const struct vault *v)
{
	return vault_is_open(v) ? "unsealed" : v->files.initialised ? "sealed" : "uninitialised";
}

/* ---- opening and closing ---- */

void vault_seal(struct vault *v)
{
	lanes_close(&v->lanes);
	signer_close(&v->signer);
	marks_close(&v->marks);
	keys_close(&v->keys);
}

static int vault_keys_err(int e)
{
	switch (e) {
	case 0:
		return 0;
	case KEYS_E_FULL:
		return VAULT_E_FULL;
	case KEYS_E_STORAGE:
		return VAULT_E_STORAGE;
	case KEYS_E_TORN:
		return VAULT_E_TORN;
	default:
		return e < 0 ? e : VAULT_E_ROOT;
	}
}

/* A vault that has signed a checkpoint had a key table. */
static int vault_open_keys(struct vault *v, const struct secret *root)
{
	bool exists;
	int r = keys_exists(v->files.keys_fd, &exists);

	if (r)
		return r;
	if (exists)
		return vault_keys_err(keys_open(&v->keys, root));
	return v->signer.witness.count ? VAULT_E_ROOT : vault_keys_err(keys_create(&v->keys, root));
}

static int vault_open_marks(struct vault *v)
{
	int r = marks_open(&v->marks);

	return r > 0 ? VAULT_E_MARKS : r;
}

static int vault_open_signer(struct vault *v)
{
	int r = signer_open(&v->signer, keyring_purpose(&v->keyring, PURPOSE_CHECKPOINTS),
			    keyring_purpose(&v->keyring, PURPOSE_WITNESS));

	return r == SIGNER_E_STORAGE ? VAULT_E_STORAGE : r > 0 ? VAULT_E_FULL : r;
}

static int vault_open(struct vault *v, const struct secret *root)
{
	int r = vault_open_keys(v, root);

	if (!r && v->keys.rotation.what != ROTATE_ROOT && files_drop_next(&v->files))
		r = VAULT_E_STORAGE; /* of a rotation that never began */
	if (!r)
		r = vault_open_marks(v);
	if (!r)
		r = vault_open_signer(v);
	if (r)
		vault_seal(v);
	return r;
}

static int vault_read_key(struct vault *v, int key_fd, struct secret *ret_root)
{
	int r = files_read_key(&v->files, key_fd, v->arena, ret_root);

	return r <= 0 ? r : r == FILES_E_FULL ? VAULT_E_FULL : VAULT_E_KEY_FILE;
}

static int vault_open_from_key_file(struct vault *v, int key_fd)
{
	struct secret root = SECRET_NULL;
	int r = vault_read_key(v, key_fd, &root);

	if (!r)
		r = vault_open(v, &root);
	secret_free(v->arena, &root);
	return r;
}

static int vault_start_files(struct vault *v, const struct config *config, struct secret_arena *arena)
{
	struct witness witness;

	*v = (struct vault){.arena = arena, .store = STORE_NULL, .may_export = config->keyvault.fernet_export};
	keyring_init(&v->keyring, arena);
	keys_init(&v->keys, arena, &v->keyring, -1);
	lanes_init(&v->lanes, arena);
	v->signer = SIGNER_NULL;
	int r = files_open(&v->files, config);
	if (r)
		return r < 0 ? r : r == FILES_E_FULL ? VAULT_E_FULL : VAULT_E_KEY_FILE;
	r = witness_load(v->files.witness_fd, &witness);
	if (r) {
		(void)snprintf(v->files.why, sizeof(v->files.why),
			       "%s/keyvault/witness: damaged; restore it from a backup", config->bulkhead.state_dir);
		return r < 0 ? r : VAULT_E_DAMAGED;
	}
	signer_init(&v->signer, arena, &witness);
	keys_init(&v->keys, arena, &v->keyring, v->files.keys_fd);
	marks_init(&v->marks, arena, &v->keyring, v->files.marks_fd);
	return 0;
}

int vault_start(struct vault *v, const struct config *config, struct secret_arena *arena, int key_fd)
{
	int r = vault_start_files(v, config, arena);

	if (!r && key_fd >= 0 && !v->files.by_passphrase && v->files.initialised)
		return vault_open_from_key_file(v, key_fd);
	if (key_fd >= 0)
		(void)close(key_fd);
	return r;
}

void vault_deinit(struct vault *v)
{
	vault_seal(v);
	store_deinit(&v->store);
	files_close(&v->files);
}

static int vault_root_err(int e)
{
	switch (e) {
	case 0:
		return 0;
	case ROOT_E_SHORT:
		return VAULT_E_SHORT;
	case ROOT_E_PASSPHRASE:
		return VAULT_E_PASSPHRASE;
	case ROOT_E_MEMORY:
		return VAULT_E_MEMORY;
	case ROOT_E_FULL:
		return VAULT_E_FULL;
	default:
		return VAULT_E_DAMAGED;
	}
}

/* The bytes of the root file, where it is not the root key itself. */
static int vault_wrap_root(struct vault *v, const struct secret *root, struct span passphrase,
			   uint8_t ret_sealed[ROOT_SEALED_BYTES])
{
	return v->files.by_passphrase ? vault_root_err(root_seal(v->arena, root, passphrase, ret_sealed)) : 0;
}

static int vault_write_root(struct vault *v, const struct secret *root, const uint8_t sealed[ROOT_SEALED_BYTES])
{
	struct span bytes = v->files.by_passphrase ? span_of(sealed, ROOT_SEALED_BYTES) : span_of(root->p, root->len);

	secret_open(v->arena);
	int r = files_write_root(&v->files, bytes) ? VAULT_E_STORAGE : 0;
	secret_close(v->arena);
	return r;
}

/* A key table whose root key was lost waits for that one to be restored, and opens with no other. */
static int vault_check_bare(const struct vault *v)
{
	bool has_keys;
	int r = keys_exists(v->files.keys_fd, &has_keys);

	return r ? r : has_keys || v->signer.witness.count ? VAULT_E_ROOT : 0;
}

int vault_init(struct vault *v, struct span passphrase)
{
	struct secret root = SECRET_NULL;
	uint8_t sealed[ROOT_SEALED_BYTES];

	if (v->files.initialised)
		return VAULT_E_INITIALISED;
	int r = vault_check_bare(v);
	if (!r && root_generate(v->arena, &root))
		r = VAULT_E_FULL;
	if (!r)
		r = vault_wrap_root(v, &root, passphrase, sealed);
	if (!r)
		r = vault_write_root(v, &root, sealed);
	if (!r)
		r = vault_open(v, &root);
	secret_free(v->arena, &root);
	return r;
}

/* Written last: a root key that does not open what else is here must not be kept. */
int vault_restore(struct vault *v, const struct secret *root, struct span passphrase)
{
	uint8_t sealed[ROOT_SEALED_BYTES];

	if (v->files.configured_key)
		return VAULT_E_ELSEWHERE;
	if (v->files.initialised)
		return VAULT_E_INITIALISED;
	bool has_keys;
	int r = keys_exists(v->files.keys_fd, &has_keys);
	if (!r && !has_keys)
		return VAULT_E_ROOT; /* a root key alone opens nothing */
	if (!r)
		r = vault_wrap_root(v, root, passphrase, sealed);
	if (!r)
		r = vault_open(v, root);
	if (!r)
		r = rotate_restored(v);
	if (!r)
		r = vault_write_root(v, root, sealed);
	if (r)
		vault_seal(v);
	return r;
}

static void vault_count_wrong_try(struct vault *v, uint64_t now_ms)
{
	uint64_t wait_ms = 0;

	v->wrong_tries++;
	if (v->wrong_tries >= VAULT_TRIES_FREE) {
		unsigned doublings = MIN(v->wrong_tries - VAULT_TRIES_FREE, 6U);
		wait_ms = MIN(UINT64_C(1000) << doublings, (uint64_t)VAULT_WAIT_MS_MAX);
	}
	v->retry_at_ms = now_ms + wait_ms;
}

static int vault_root_by_passphrase(struct vault *v, struct span passphrase, uint64_t now_ms, struct secret *ret_root)
{
	if (now_ms < v->retry_at_ms)
		return VAULT_E_WAIT;
	int r = vault_root_err(
		root_unseal(v->arena, span_of(v->files.sealed, sizeof(v->files.sealed)), passphrase, ret_root));
	if (r == VAULT_E_PASSPHRASE)
		vault_count_wrong_try(v, now_ms);
	if (r)
		return r;
	v->wrong_tries = 0;
	v->retry_at_ms = 0;
	return 0;
}

static int vault_root(struct vault *v, struct span passphrase, int key_fd, uint64_t now_ms, struct secret *ret_root)
{
	if (v->files.initialised && key_fd >= 0 && !v->files.by_passphrase)
		return vault_read_key(v, key_fd, ret_root);
	if (key_fd >= 0)
		(void)close(key_fd);
	if (!v->files.initialised)
		return VAULT_E_UNINITIALISED;
	return v->files.by_passphrase ? vault_root_by_passphrase(v, passphrase, now_ms, ret_root) : VAULT_E_NO_KEY;
}

/* Did this root key open the vault? A key file may have been exchanged since. */
static int vault_check_root(struct vault *v, const struct secret *root)
{
	uint8_t id[KEYS_ROOT_ID_BYTES];

	keys_root_id(v->arena, root, id);
	return memcmp(id, v->keys.root_id, sizeof(id)) == 0 ? 0 : VAULT_E_OTHER_KEY;
}

int vault_current_root(struct vault *v, struct span passphrase, int key_fd, uint64_t now_ms, struct secret *ret_root)
{
	struct secret root = SECRET_NULL;

	if (!vault_is_open(v)) {
		if (key_fd >= 0)
			(void)close(key_fd);
		return v->files.initialised ? VAULT_E_SEALED : VAULT_E_UNINITIALISED;
	}
	int r = vault_root(v, passphrase, key_fd, now_ms, &root);
	if (!r)
		r = vault_check_root(v, &root);
	if (r)
		secret_free(v->arena, &root);
	else
		*ret_root = root;
	return r;
}

int vault_unseal(struct vault *v, struct span passphrase, int key_fd, uint64_t now_ms)
{
	struct secret root = SECRET_NULL;

	if (vault_is_open(v)) {
		if (key_fd >= 0)
			(void)close(key_fd);
		return VAULT_E_OPEN;
	}
	int r = vault_root(v, passphrase, key_fd, now_ms, &root);
	if (!r)
		r = vault_open(v, &root);
	secret_free(v->arena, &root);
	return r;
}
