/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider's key that comes as a descriptor: what is taken from the file, what makes a new version and what does not,
 * and that whatever is no key changes nothing.
 */
#include "tests/support/core_world.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct peers {
	struct peer *admin, *authd;
};

static int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("key", MFD_CLOEXEC);

	assert_int_equal(write(fd, bytes, len), len);
	return fd; /* its offset is at the end: it is read from the beginning all the same */
}

static void say(struct peers *p, const struct proto_binding *b, int fd)
{
	uint8_t packed[SEAL_BINDING_BYTES_MAX];

	peer_say_fd(p->admin, PROTO_VAULT_SOURCE, 9, &(struct proto_vault_source){.binding = binding_pack(b, packed)},
		    fd);
}

static void say_text(struct peers *p, uint64_t version, const char *text)
{
	const struct proto_binding b = binding_of("openai", version);

	say(p, &b, file_of(text, strlen(text)));
}

/* It is sealed, stored, and is what an egress would get. */
static void expect_taken(struct world *w, struct peers *p, const char *secret)
{
	struct secret got = SECRET_NULL;
	struct span binding;

	peer_expect(w, p->admin, PROTO_VAULT_SOURCED);
	assert_int_equal(p->admin->id, 9);
	assert_true(p->admin->msg.vault_sourced.blob.len > 0);
	peer_say(p->authd, PROTO_CREDENTIAL_LOAD, 0,
		 &(struct proto_credential_load){.credential = SPAN_LIT("openai"),
						 .blob = p->admin->msg.vault_sourced.blob});
	for (int i = 0; i < 20; i++)
		world_turn(w);
	assert_int_equal(vault_fetch(&w->core.vault, SPAN_LIT("openai"), 1000, &binding, &got), 0);
	secret_open(w->core.arena);
	assert_true(span_eq_str(span_of(got.p, got.len), secret));
	secret_close(w->core.arena);
	secret_free(w->core.arena, &got);
}

static void expect_in_force(struct world *w, struct peers *p)
{
	peer_expect(w, p->admin, PROTO_VAULT_SOURCED);
	assert_int_equal(p->admin->msg.vault_sourced.blob.len, 0);
}

static void say_complete(struct world *w, struct peers *p)
{
	peer_say(p->authd, PROTO_CREDENTIALS_SENT, 0, &(struct proto_credentials_sent){});
	for (int i = 0; i < TURNS_MAX && !w->core.complete; i++)
		world_turn(w);
	assert_true(w->core.complete);
}

static struct peers begin(struct world *w)
{
	struct peers p = {peer_meet(w, ADMIN), peer_meet(w, AUTHD)};

	admin_init(w, p.admin);
	say_complete(w, &p);
	return p;
}

static void end(struct world *w, struct peers *p)
{
	peer_leave(w, p->authd);
	peer_leave(w, p->admin);
}

static void a_key_is_taken_without_its_line_end(void **state)
{
	static const char *const texts[] = {"sk-1\n", "sk-2\r\n", "sk-3"};
	static const char *const keys[] = {"sk-1", "sk-2", "sk-3"};
	struct world *w = *state;
	struct peers p = begin(w);

	for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
		say_text(&p, i + 1, texts[i]);
		expect_taken(w, &p, keys[i]);
	}
	assert_int_equal(w->log.count[EVENT_VAULT_SEAL_CREDENTIAL], 3);
	end(w, &p);
}

static void what_is_in_force_makes_no_version(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	struct proto_binding b = binding_of("openai", 2);

	say_text(&p, 1, "sk-one\n");
	expect_taken(w, &p, "sk-one");
	say_text(&p, 2, "sk-one");
	expect_in_force(w, &p);
	assert_int_equal(w->log.count[EVENT_VAULT_SEAL_CREDENTIAL], 1);
	b.host = SPAN_LIT("other.test"); /* the same key for another destination is another credential */
	say(&p, &b, file_of("sk-one", 6));
	expect_taken(w, &p, "sk-one");
	b = binding_of("openai", 3);
	say(&p, &b, file_of("sk-onf", 6));
	expect_taken(w, &p, "sk-onf");
	say_text(&p, 4, "sk-onfe"); /* longer by one */
	expect_taken(w, &p, "sk-onfe");
	end(w, &p);
}

/* After a restart the core is there before authd has sent it anything. */
static void what_may_be_in_force_makes_no_version(void **state)
{
	struct world *w = *state;
	struct peers p = {peer_meet(w, ADMIN), peer_meet(w, AUTHD)};

	admin_init(w, p.admin);
	say_text(&p, 2, "sk-one");
	peer_expect_refused(w, p.admin, "loading");
	admin_add(w, p.admin, p.authd, "openai", 1, "sk-one"); /* what authd sends */
	say_text(&p, 2, "sk-one");
	expect_in_force(w, &p);
	say_text(&p, 2, "sk-two"); /* the version after it may be still to come */
	peer_expect_refused(w, p.admin, "loading");
	assert_int_equal(w->log.count[EVENT_VAULT_SEAL_CREDENTIAL], 1);
	say_complete(w, &p);
	say_text(&p, 2, "sk-two");
	expect_taken(w, &p, "sk-two");
	end(w, &p);
}

static void what_is_no_key_changes_nothing(void **state)
{
	struct world *w = *state;
	struct peers p = begin(w);
	static char big[SEAL_SECRET_BYTES_MAX + 8];
	const struct proto_binding b = binding_of("openai", 2);
	int pair[2];

	say_text(&p, 1, "sk-one");
	expect_taken(w, &p, "sk-one");
	say_text(&p, 2, "");
	peer_expect_refused(w, p.admin, "bad_secret");
	say_text(&p, 2, "\r\n");
	peer_expect_refused(w, p.admin, "bad_secret");
	say_text(&p, 2, "two\nlines\n");
	peer_expect_refused(w, p.admin, "bad_secret");
	memset(big, 'x', sizeof(big));
	say(&p, &b, file_of(big, SEAL_SECRET_BYTES_MAX + 3)); /* more than a key and a line end */
	peer_expect_refused(w, p.admin, "bad_secret");
	say(&p, &b, file_of(big, SEAL_SECRET_BYTES_MAX + 1));
	peer_expect_refused(w, p.admin, "bad_secret");
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0); /* a file that cannot be read so */
	(void)close(pair[1]);
	say(&p, &b, pair[0]);
	peer_expect_refused(w, p.admin, "bad_secret");
	assert_int_equal(w->log.count[EVENT_VAULT_REJECT], 6);
	assert_int_equal(w->log.count[EVENT_VAULT_SEAL_CREDENTIAL], 1);
	say(&p, &b, file_of(big, SEAL_SECRET_BYTES_MAX)); /* the longest there is */
	peer_expect(w, p.admin, PROTO_VAULT_SOURCED);
	assert_true(p.admin->msg.vault_sourced.blob.len > SEAL_SECRET_BYTES_MAX);
	end(w, &p);
}

static void a_vault_that_is_not_open_takes_none(void **state)
{
	struct world *w = *state;
	struct peers p = {peer_meet(w, ADMIN), peer_meet(w, AUTHD)};

	say_text(&p, 1, "sk-one");
	peer_expect_refused(w, p.admin, "uninitialised");
	admin_init(w, p.admin);
	admin_seal(w, p.admin);
	say_text(&p, 1, "sk-one");
	peer_expect_refused(w, p.admin, "sealed");
	admin_unseal(w, p.admin);
	say_complete(w, &p);
	w->log.mode = LOG_DOWN; /* and none without its record */
	say_text(&p, 1, "sk-one");
	peer_expect_refused(w, p.admin, "audit_unavailable");
	w->log.mode = LOG_LATER;
	say_text(&p, 1, "sk-one");
	peer_expect_silence(w, p.admin);
	w->log.done(w->log.ctx, false);
	peer_expect_refused(w, p.admin, "audit_unavailable");
	assert_int_equal(store_count(&w->core.vault.store), 0);
	end(w, &p);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_key_is_taken_without_its_line_end),
		TEST(what_is_in_force_makes_no_version),
		TEST(what_may_be_in_force_makes_no_version),
		TEST(what_is_no_key_changes_nothing),
		TEST(a_vault_that_is_not_open_takes_none),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dispatch_source", tests, NULL, NULL);
}
