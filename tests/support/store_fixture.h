/* SPDX-License-Identifier: Apache-2.0 */
/* A store of authd's in a folder of its own, for the tests that look at it from outside. */
#pragma once

#include "authd/store.h"

struct store_fixture {
	char folder[64];
	struct store *store;
};

extern const struct log store_log; /* says where it comes from, to nobody */

/* For cmocka: *state is a struct store_fixture. */
int store_setup(void **state);
int store_teardown(void **state);
void store_reopen(struct store_fixture *f);
/* By another hand, or as a bit that has changed on the disk: the tables' own checks are for those who ask them. */
void store_execute(struct store_fixture *f, const char *sql);
void store_path(const struct store_fixture *f, const char *name, char path[128]);
