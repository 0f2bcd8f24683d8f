/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of the root key, and back. The core does not keep the root key, so a copy takes the same proof as unsealing:
 * the passphrase, or the key file. Whoever only holds an admin connection to an open vault cannot have one.
 *
 * While the root key is being replaced there is none: it would be of a key that is void in a moment.
 *
 * A copy leaves when the log has its record. As an age file it is ciphertext for its recipients; shares are what the
 * operator is going to see. Both hold the key as 64 hex digits and a line end, which is a key file.
 */
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "keyvault/age.h"
#include "keyvault/core.h"
#include "keyvault/share.h"

#define BACKUP_TEXT_BYTES (2 * ROOT_KEY_BYTES + 1)

_Static_assert(AGE_FILE_MAX <= SEAL_BYTES_MAX, "an answer has room for an age file");

/* The loop's time is from before Argon2, which may take as long as the wait: that begins with the answer. */
static void core_wait_from_now(struct core *c)
{
	uint64_t before_ms = ipc_now_ms(c->daemon.ipc);

	uv_update_time(&c->daemon.loop);
	if (c->vault.retry_at_ms > before_ms)
		c->vault.retry_at_ms += ipc_now_ms(c->daemon.ipc) - before_ms;
}

int core_refuse_proof(struct core *c, struct ipc_conn *conn, uint64_t id, int e)
{
	char actor[CORE_ACTOR_BYTES], text[64];

	if (e == VAULT_E_WAIT) {
		uint64_t wait_ms = c->vault.retry_at_ms - ipc_now_ms(c->daemon.ipc);

		(void)snprintf(text, sizeof(text), "the passphrase was wrong; try again in %u s",
			       (unsigned)(wait_ms / 1000 + 1));
		return core_refuse(conn, id, vault_refusal(e)->reason, text);
	}
	core_actor(conn, actor);
	if (e == VAULT_E_PASSPHRASE) {
		core_wait_from_now(c);
		core_record(c, EVENT_VAULT_UNSEAL_FAIL, actor, SPAN_NULL, vault_refusal(e)->reason);
	}
	if (e == VAULT_E_KEY_FILE)
		log_event(&c->daemon.log, LOG_VAULT_REFUSED, LOG_STR("why", c->vault.files.why));
	return core_refuse_vault(conn, id, e);
}

/* ---- copies ---- */

/* What to tell the operator; NULL when all is well. Positive answers only. */
static const char *backup_to_age(struct core *c, const struct secret *root, struct proto_list recipients,
				 struct core_answer *a)
{
	struct age_recipient to[AGE_RECIPIENTS_MAX];
	struct secret text = SECRET_NULL;
	struct proto_recipient item;
	size_t n = 0;
	int e = 0;

	while (!e && proto_recipient_next(&recipients, &item))
		e = age_parse_recipient(item.text, &to[n++]);
	if (!e && secret_alloc(c->arena, BACKUP_TEXT_BYTES + 1, &text))
		e = AGE_E_FULL;
	if (e)
		return age_err_text(e);
	secret_open(c->arena);
	(void)sodium_bin2hex((char *)text.p, text.len, root->p, root->len);
	text.p[BACKUP_TEXT_BYTES - 1] = '\n';
	e = age_encrypt(c->arena, to, n, span_of(text.p, BACKUP_TEXT_BYTES), a->bytes, &a->len);
	secret_close(c->arena);
	secret_free(c->arena, &text);
	return e ? age_err_text(e) : NULL;
}

static const char *backup_to_shares(struct core *c, const struct secret *root, const struct proto_vault_backup *m,
				    struct core_answer *a)
{
	int e = share_split(c->arena, root, (unsigned)m->shares, (unsigned)m->threshold, &a->shares);

	return e ? share_err_text(e) : NULL;
}

int core_backup_send(const struct core_answer *a)
{
	struct proto_share items[SHAMIR_SHARES_MAX];
	size_t n = a->shares.len / SHARE_TEXT_BYTES;

	for (size_t i = 0; i < n; i++)
		items[i].text = span_of(a->shares.p + i * SHARE_TEXT_BYTES, SHARE_TEXT_BYTES);
	secret_open(a->arena);
	int r = core_send(a->conn, PROTO_VAULT_BACKED_UP, a->id,
			  &(struct proto_vault_backed_up){.file = span_of(a->bytes, a->len),
							  .shares = {.items = items, .count = n}});
	secret_close(a->arena);
	return r;
}

static int backup_record(struct core *c, struct core_answer *a, const struct proto_vault_backup *m)
{
	char actor[CORE_ACTOR_BYTES], what[64];

	core_actor(a->conn, actor);
	if (m->recipients.count)
		(void)snprintf(what, sizeof(what), "age recipients: %zu", (size_t)m->recipients.count);
	else
		(void)snprintf(what, sizeof(what), "shares: %u of %u", (unsigned)m->threshold, (unsigned)m->shares);
	return core_answer_when(c, a,
				&(struct proto_event){.code = EVENT_VAULT_BACKUP,
						      .actor = span_str(actor),
						      .resource = span_str("root key"),
						      .reason = span_str(what)});
}

int core_backup(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_backup *m = msg;
	struct secret root = SECRET_NULL;
	struct core *c = ctx;
	struct core_answer *a;

	int r = vault_current_root(&c->vault, m->passphrase, fd, ipc_now_ms(c->daemon.ipc), &root);
	/* Half way the file has the new one already, and it was the old one that opened the vault. */
	if ((!r || r == VAULT_E_OTHER_KEY) && c->vault.keys.rotation.what == ROTATE_ROOT)
		r = VAULT_E_BUSY;
	if (r) {
		secret_free(c->arena, &root);
		return r < 0 ? r : core_refuse_proof(c, conn, id, r);
	}
	r = core_answer_new(conn, id, PROTO_VAULT_BACKED_UP, &a);
	if (r) {
		secret_free(c->arena, &root);
		return r;
	}
	a->arena = c->arena;
	const char *why =
		m->recipients.count ? backup_to_age(c, &root, m->recipients, a) : backup_to_shares(c, &root, m, a);
	secret_free(c->arena, &root);
	if (!why)
		return backup_record(c, a, m);
	(void)core_answer_free(a);
	return core_refuse(conn, id, "bad_backup", why);
}

/* ---- and back ---- */

/* The arena is open in what follows: the message lies in it. The text for the operator, NULL when all is well. */
static const char *restore_from_shares(struct core *c, struct proto_list shares, struct secret *ret_root, char text[96])
{
	struct span texts[SHAMIR_SHARES_MAX];
	struct proto_share item;
	size_t n = 0, which;

	while (n < SHAMIR_SHARES_MAX && proto_share_next(&shares, &item))
		texts[n++] = item.text;
	int e = share_join(c->arena, texts, n, ret_root, &which);
	if (e == SHARE_E_FORM || e == SHARE_E_MIXED || e == SHARE_E_TWICE) {
		(void)snprintf(text, 96, "share %zu: %s", which + 1, share_err_text(e));
		return text;
	}
	return e ? share_err_text(e) : NULL;
}

static const char *restore_from_age(struct core *c, const struct proto_vault_restore *m, struct secret *ret_root)
{
	struct secret identity = SECRET_NULL, content = SECRET_NULL;
	int e = age_parse_identity(c->arena, m->identity, &identity);

	if (!e)
		e = age_decrypt(c->arena, &identity, m->backup, &content);
	secret_free(c->arena, &identity);
	if (e)
		return age_err_text(e);
	e = root_parse_file(c->arena, span_of(content.p, content.len), ret_root);
	secret_free(c->arena, &content);
	return e ? root_err_text(e) : NULL;
}

static const char *restore_from_file(struct core *c, int fd, struct secret *ret_root)
{
	int e = files_read_key(&c->vault.files, fd, c->arena, ret_root);

	return e == FILES_E_FULL ? root_err_text(ROOT_E_FULL) : e ? "the key file is no root key" : NULL;
}

int core_restore(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_restore *m = msg;
	struct secret root = SECRET_NULL;
	struct core *c = ctx;
	char actor[CORE_ACTOR_BYTES], text[96];

	const char *from = fd >= 0 ? "key file" : m->shares.count ? "shares" : "age";
	const char *why = fd >= 0           ? restore_from_file(c, fd, &root)
			  : m->shares.count ? restore_from_shares(c, m->shares, &root, text)
					    : restore_from_age(c, m, &root);
	if (why)
		return core_refuse(conn, id, "bad_copy", why);
	int r = vault_restore(&c->vault, &root, m->passphrase);
	secret_free(c->arena, &root);
	if (r)
		return r < 0 ? r : core_refuse_vault(conn, id, r);
	core_actor(conn, actor);
	core_record(c, EVENT_VAULT_RESTORE, actor, SPAN_NULL, from);
	r = core_opened(c, actor);
	return r ? r : core_done(conn, id, "the root key is back; the vault is open");
}
