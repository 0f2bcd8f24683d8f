/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead vault rotate`. The core does the work, whether anybody watches or not; this asks it to begin and then how
 * far it is, ten times a second: a bar on a terminal, a line for each step elsewhere, an object for each with --json.
 * Who runs it again while a rotation of the same kind is under way watches that one.
 */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/output.h"
#include "cli/plain.h"
#include "cli/vault.h"

#define ROTATE_POLL_MS  100
#define ROTATE_BAR      30
#define ROTATE_RATE_MAX 1000000
#define ROTATE_ROOT_MAX 128 /* as in VAULT_ROTATE */
#define ROTATE_WAITS    ", waits for "

static const char *const rotate_names[] = {"", "root", "tenant", "credential"};

/* What was said last, so that it is not said again. */
struct rotate_view {
	bool bar;
	char step[33], waits[65];
	uint64_t done;
};

/* ---- what is seen ---- */

static void rotate_bar(struct cli *cli, const struct proto_vault_rotation_rep *s)
{
	char bar[ROTATE_BAR + 1] = "", text[128];
	unsigned full = s->total ? (unsigned)(s->done * ROTATE_BAR / s->total) : ROTATE_BAR;

	for (unsigned i = 0; i < ROTATE_BAR; i++)
		bar[i] = i < full ? '#' : '.';
	(void)snprintf(text, sizeof(text), "%.*s%s%.*s", SPAN_ARG(s->step), s->waits.len ? ROTATE_WAITS : "",
		       SPAN_ARG(s->waits));
	plain_text(text);
	fprintf(cli->out, "\r\033[K[%s] %llu of %llu  %s", bar, (unsigned long long)s->done,
		(unsigned long long)s->total, text);
	fflush(cli->out);
}

static int rotate_line(struct cli *cli, const struct proto_vault_rotation_rep *s)
{
	if (cli->json) {
		int r = cli_print_json(cli, json_pack("{s:s,s:o,s:o,s:I,s:I,s:o}", "what", rotate_names[s->what],
						      "tenant", json_span(s->tenant), "step", json_span(s->step),
						      "done", (json_int_t)s->done, "total", (json_int_t)s->total,
						      "waits", json_span(s->waits)));
		fflush(cli->out);
		return r;
	}
	plain_line(cli->out, "%s keys: %.*s, %llu of %llu%s%.*s", rotate_names[s->what], SPAN_ARG(s->step),
		   (unsigned long long)s->done, (unsigned long long)s->total, s->waits.len ? ROTATE_WAITS : "",
		   SPAN_ARG(s->waits));
	fflush(cli->out);
	return CLI_DONE;
}

static int rotate_show(struct cli *cli, struct rotate_view *v, const struct proto_vault_rotation_rep *s)
{
	bool same = span_eq_str(s->step, v->step) && span_eq_str(s->waits, v->waits);

	if (v->bar) {
		rotate_bar(cli, s);
		return CLI_DONE;
	}
	if (same && s->done == v->done)
		return CLI_DONE;
	(void)snprintf(v->step, sizeof(v->step), "%.*s", SPAN_ARG(s->step));
	(void)snprintf(v->waits, sizeof(v->waits), "%.*s", SPAN_ARG(s->waits));
	v->done = s->done;
	return rotate_line(cli, s);
}

static int rotate_over(struct cli *cli, const struct rotate_view *v, bool any)
{
	if (v->bar && any)
		fputs("\r\033[K", cli->out);
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:s}", "step", any ? "retired" : "none"));
	fprintf(cli->out, any ? "Done: the old keys are wiped.\n" : "No rotation is under way.\n");
	return CLI_DONE;
}

/* ---- asking ---- */

static void rotate_pause(void)
{
	struct timespec left = {.tv_nsec = ROTATE_POLL_MS * 1000000L};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* Waiting for the operator's own file is not something to be watched. */
static bool rotate_is_yours(const struct proto_vault_rotation_rep *s)
{
	return span_eq_str(s->waits, "root key");
}

static int rotate_watch(struct cli *cli, struct admin *a, bool begun)
{
	struct rotate_view v = {.bar = !cli->json && isatty(STDOUT_FILENO)};
	const union proto_any *answer;
	bool any = begun;

	for (;;) {
		int r = admin_call(a, PROTO_VAULT_ROTATION, &(struct proto_vault_rotation){}, PROTO_VAULT_ROTATION_REP,
				   ADMIN_DEADLINE_MS, &answer);
		const struct proto_vault_rotation_rep *s = r ? NULL : &answer->vault_rotation_rep;

		if (r && any)
			return cli_fail(cli, "the rotation goes on when the core is back and open; `bulkhead vault "
					     "rotate` watches it");
		if (r)
			return r;
		if (s->what == 0)
			return rotate_over(cli, &v, any);
		any = true;
		r = rotate_show(cli, &v, s);
		if (r || rotate_is_yours(s)) {
			if (v.bar)
				fputc('\n', cli->out);
			if (!r && !cli->json)
				fprintf(cli->out, "Both root keys open the vault now. Put the new one into your key "
						  "file and restart the core: then the old one is void.\n");
			return r;
		}
		rotate_pause();
	}
}

/* ---- beginning ---- */

struct rotate_secrets {
	struct vault_proof proof;
	struct locked root;
};

/* What a rotation of the root key needs besides. */
static int rotate_secrets(struct cli *cli, struct rotate_secrets *s, struct proto_vault_rotate *msg)
{
	const char *file = cli_option(cli, "--new-key-file"), *unseal = cli_value(cli, "keyvault.unseal");
	bool yours = strcmp(unseal, "credential") == 0 ||
		     (strcmp(unseal, "key_file") == 0 && cli_value(cli, "keyvault.key_file")[0]);

	if (yours != (file != NULL))
		return cli_misuse(cli, yours ? "the root key is in a file of yours: give the new one by --new-key-file"
					     : "--new-key-file is for a root key in a file of yours");
	int r = vault_proof(cli, &s->proof);
	if (!r && yours)
		r = locked_read(cli, "key", NULL, file, ROTATE_ROOT_MAX, &s->root);
	msg->passphrase = span_of(s->proof.passphrase.p, s->proof.passphrase.len);
	msg->key_file = s->proof.key_fd >= 0;
	msg->root = span_of(s->root.p, s->root.len);
	return r;
}

static int rotate_kind(struct cli *cli, const char *name, uint64_t *ret_what)
{
	for (uint64_t i = 1; i < ARRAY_LEN(rotate_names); i++)
		if (strcmp(name, rotate_names[i]) == 0) {
			*ret_what = i;
			return CLI_DONE;
		}
	return cli_misuse(cli, "--what is root, tenant or credential");
}

static int rotate_message(struct cli *cli, struct rotate_secrets *s, struct proto_vault_rotate *msg)
{
	const char *tenant = cli_option(cli, "--tenant");
	int r = rotate_kind(cli, cli_option(cli, "--what"), &msg->what);

	if (!r)
		r = cli_option_u64(cli, "--rate", 1, ROTATE_RATE_MAX, 0, &msg->rate);
	if (tenant)
		msg->tenant = span_str(tenant);
	if (!r && msg->what == 1)
		r = rotate_secrets(cli, s, msg);
	return r;
}

/* What only a beginning takes: passed over, it would look as if something had been replaced. */
static int rotate_only_watches(struct cli *cli)
{
	static const char *const begins[] = {"--tenant",          "--rate",     "--no-wait",
					     "--passphrase-file", "--key-file", "--new-key-file"};

	for (size_t i = 0; i < ARRAY_LEN(begins); i++)
		if (cli_option(cli, begins[i]))
			return cli_misuse(cli, "%s begins no rotation by itself: say which, by --what KIND", begins[i]);
	return CLI_DONE;
}

int cmd_vault_rotate(struct cli *cli)
{
	bool begin = cli_option(cli, "--what") != NULL;
	struct rotate_secrets secrets = {VAULT_PROOF_NULL, LOCKED_NULL};
	struct proto_vault_rotate msg = {0};
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = begin ? CLI_DONE : rotate_only_watches(cli);

	if (!r)
		r = cli_config(cli);
	if (!r && begin)
		r = rotate_message(cli, &secrets, &msg);
	if (!r)
		r = admin_open(cli, ROLE_KEYVAULT, 0, &a);
	if (!r && begin)
		r = admin_call_fd(a, PROTO_VAULT_ROTATE, &msg, secrets.proof.key_fd, PROTO_DONE, VAULT_KDF_MS, &answer);
	vault_proof_wipe(&secrets.proof);
	locked_wipe(&secrets.root);
	if (!r && !cli_option(cli, "--no-wait"))
		r = rotate_watch(cli, a, begin);
	admin_close(a);
	return r;
}
