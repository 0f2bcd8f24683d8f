/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What authorize() decides with: a vault that is open, a configuration, a key, and a store that is a fake with a
 * switch: store_sqlite.c has its own test, and here its absence is what matters.
 */
#pragma once

#include "authd/authorize.h"
#include "proto/proto.h"

#define WORLD_NOW_MS UINT64_C(1800000000000)

struct store {
	struct store_key keys[8];
	size_t n;
	bool gone;
	unsigned asked;
	void (*meanwhile)(struct store *s); /* something that happens while the store answers */
};

struct authorize_world {
	struct store store;
	struct credentials credentials;
	struct models *models;
	struct authorize a;
	struct authorize_answer answer;
	char key[TOKEN_BYTES];
	uint64_t ms;     /* since the beginning */
	int64_t wall_ms; /* that the wall clock was set forward */
	uint64_t calls;
};

extern struct authorize_world world;
extern const uint8_t world_pepper[TOKEN_PEPPER_BYTES];
extern const uint8_t world_edge_keys[2][GRANT_KEY_BYTES];

/* For each test. */
int world_setup(void **state);
int world_teardown(void **state);
struct store_key *world_add_key(uint8_t seed, char text[TOKEN_BYTES]);
int world_set_lane(unsigned lane, uint64_t epoch, size_t key);
int world_open(const uint8_t key[GRANT_KEY_BYTES], struct span bytes, struct proto_grant *ret_grant);
/* A call that is permitted as things are; another one each time. */
struct proto_authorize world_question(void);
/* The answer is in `world`. */
enum reason world_ask(const struct proto_authorize *q, unsigned lane);
enum reason world_ask_usual(void);
