/* SPDX-License-Identifier: Apache-2.0 */
/* Many answers in one turn of the core's loop: more than its buffer in the arena holds at once. */
#include "tests/support/core_world.h"

#include <stdio.h>
#include <unistd.h>
#include <sodium.h>

#define KEYS      8
#define QUESTIONS 64

/* Between the turns of the loop: the kernel does not read a key for us. */
static void expect_closed(const struct world *w)
{
	const struct secret *pepper = keyring_purpose(&w->core.vault.keyring, PURPOSE_PEPPER);
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], pepper->p, pepper->len), -1);
	assert_int_equal(errno, EFAULT);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* As after a restart, when all that waited asks for its credential at once. */
static void an_egress_that_asks_for_much_at_once_is_answered(void **state)
{
	struct world *w = *state;
	struct peer *admin = peer_meet(w, ADMIN), *authd = peer_meet(w, AUTHD), *egress = peer_meet(w, EGRESS0);
	char id[KEYS][8], secret[1024 + 1] = {0};

	admin_init(w, admin);
	memset(secret, 'k', sizeof(secret) - 1);
	for (size_t i = 0; i < KEYS; i++) {
		(void)snprintf(id[i], sizeof(id[i]), "p%zu", i);
		admin_add(w, admin, authd, id[i], 1, secret);
	}
	peer_expect(w, egress, PROTO_SEALED);
	for (uint64_t i = 0; i < QUESTIONS; i++)
		peer_say(egress, PROTO_UNSEAL, i + 1, &(struct proto_unseal){.credential = span_str(id[i % KEYS])});
	for (uint64_t i = 0; i < QUESTIONS; i++) {
		peer_expect(w, egress, PROTO_UNSEALED);
		assert_int_equal(egress->id, i + 1);
		assert_true(span_eq_str(egress->msg.unsealed.secret, secret));
	}
	peer_leave(w, egress);
	expect_closed(w);
	peer_leave(w, authd);
	peer_leave(w, admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_egress_that_asks_for_much_at_once_is_answered, world_setup,
						world_teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dispatch_burst", tests, NULL, NULL);
}
