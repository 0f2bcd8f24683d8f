/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit consistency A B`: that the tree of B has everything that the tree of A had, in its place, and more
 * behind it. A and B are checkpoints that were kept, or sizes. A size says nothing about a root: what the folder's
 * tiles give for it is believed because the next link of the chain A, B, the folder's own checkpoint leads to a root
 * that is signed.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

#include "auditd/proof.h"
#include "cli/audit.h"
#include "cli/audit_reader.h"
#include "cli/audit_trust.h"
#include "cli/output.h"

#define CONSISTENCY_NOTE_MAX 65536

/* One end of the proof. */
struct point {
	uint64_t size;
	struct merkle_hash root;
	bool is_signed; /* the root was; else only the size is known */
};

/* A signed checkpoint. CLI_DONE or CLI_FAILED with the line. */
static int point_of_note(struct cli *cli, const char *path, const struct note_key *key, struct point *ret)
{
	struct tlog_policy_result result;
	char *note;
	size_t len;

	int r = audit_read_file(cli, path, CONSISTENCY_NOTE_MAX, &note, &len);
	if (r)
		return r;
	r = tlog_policy_check(NULL, key, span_of(note, len), &result);
	free(note);
	if (r)
		return cli_fail(cli,
				r == TLOG_POLICY_E_MALFORMED ? "%s is not a checkpoint"
							     : "NOT good: %s is not signed by %s",
				path, key->name);
	*ret = (struct point){.size = result.checkpoint.size, .root = result.checkpoint.root, .is_signed = true};
	return CLI_DONE;
}

static int point_of_argument(struct cli *cli, size_t which, const struct note_key *key, struct point *ret)
{
	const char *text = cli->args[which];

	if (text[strspn(text, "0123456789")] != 0)
		return point_of_note(cli, text, key, ret);
	*ret = (struct point){.is_signed = false};
	return cli_arg_u64(cli, which, "a size", &ret->size);
}

/* Fills in what the tiles know, and compares it with what was signed. */
static int point_agree(struct cli *cli, const char *name, struct point *p, const struct merkle_hash *root)
{
	if (p->is_signed && !merkle_hash_eq(&p->root, root))
		return cli_fail(cli,
				"NOT good: the signed root of %s (size %" PRIu64
				") is not the one of this log: it was changed or "
				"forked since, or the folder is another log's",
				name, p->size);
	p->root = *root;
	return CLI_DONE;
}

static int consistency_between(struct cli *cli, const char *folder, struct point *a, struct point *b,
			       struct consistency *ret)
{
	int r = proof_consistency(folder, a->size, b->size, ret);

	if (r < 0)
		return audit_unreadable(cli, folder, r);
	if (r == PROOF_E_MISSING)
		return cli_fail(cli,
				"%s has no checkpoint that covers %" PRIu64 " entries; give a newer copy of the log",
				folder, b->size);
	if (r)
		return cli_fail(cli, "NOT good: the tiles in %s do not give a tree; see `%s verify`", folder,
				cli_program.audit);
	r = point_agree(cli, cli->args[0], a, &ret->old_root);
	return r ? r : point_agree(cli, cli->args[1], b, &ret->root);
}

/* ---- output ---- */

static int consistency_print(struct cli *cli, const struct consistency *c)
{
	char old_root[2 * MERKLE_HASH_BYTES + 1], root[sizeof(old_root)], hash[sizeof(old_root)];

	sodium_bin2hex(old_root, sizeof(old_root), c->old_root.b, MERKLE_HASH_BYTES);
	sodium_bin2hex(root, sizeof(root), c->root.b, MERKLE_HASH_BYTES);
	if (!cli->json) {
		fprintf(cli->out, "good: the %" PRIu64 " entries of A are the first of the %" PRIu64 " of B\n",
			c->old_size, c->size);
		return CLI_DONE;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < c->proof.n; i++) {
		sodium_bin2hex(hash, sizeof(hash), c->proof.hashes[i].b, MERKLE_HASH_BYTES);
		(void)json_array_append_new(list, json_string(hash));
	}
	return cli_print_json(cli, json_pack("{s:b,s:I,s:I,s:s,s:s,s:o}", "good", true, "old_size",
					     (json_int_t)c->old_size, "size", (json_int_t)c->size, "old_root", old_root,
					     "root", root, "proof", list));
}

/* ---- the command ---- */

/* The key that signed: given, or the one beside the log. */
static int consistency_key(struct cli *cli, const char *folder, struct audit_trust *trust)
{
	char path[AUDIT_FOLDER_BYTES_MAX + 8], *text;
	size_t len;

	if (trust->key)
		return CLI_DONE;
	(void)snprintf(path, sizeof(path), "%s/vkey", folder);
	int r = audit_read_file(cli, path, NOTE_VKEY_MAX + 1, &text, &len);
	if (r)
		return r;
	len -= len > 0 && text[len - 1] == '\n';
	if (note_key_parse(&trust->key_memory, span_of(text, len)))
		r = cli_fail(cli, "%s is not a verifier key; give one with --vkey", path);
	trust->key = &trust->key_memory;
	free(text);
	return r;
}

static int consistency_run(struct cli *cli, const char *folder, const struct note_key *key)
{
	char checkpoint[AUDIT_FOLDER_BYTES_MAX + 16];
	struct point a, b, now;
	struct consistency c, rest;

	int r = point_of_argument(cli, 0, key, &a);
	if (!r)
		r = point_of_argument(cli, 1, key, &b);
	if (r)
		return r;
	if (a.size > b.size)
		return cli_misuse(cli, "A has %" PRIu64 " entries and B %" PRIu64 ": the older one comes first", a.size,
				  b.size);
	r = consistency_between(cli, folder, &a, &b, &c);
	if (r || b.is_signed)
		return r ? r : consistency_print(cli, &c);
	(void)snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint", folder);
	r = point_of_note(cli, checkpoint, key, &now);
	if (!r)
		r = consistency_between(cli, folder, &b, &now, &rest);
	return r ? r : consistency_print(cli, &c);
}

int cmd_audit_consistency(struct cli *cli)
{
	char folder[AUDIT_FOLDER_BYTES_MAX];
	struct audit_trust trust;

	int r = audit_trust_init(cli, false, &trust);
	if (!r)
		r = audit_folder(cli, folder);
	if (!r)
		r = consistency_key(cli, folder, &trust);
	if (!r)
		r = consistency_run(cli, folder, trust.key);
	if (!r && !trust.pinned)
		fprintf(cli->err, "The key lies beside the log. For evidence, give the one you kept with --vkey.\n");
	audit_trust_deinit(&trust);
	return r;
}
