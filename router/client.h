/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's connection: bytes in, bytes out, and nothing that knows what they mean. It reads when its request wants
 * input, writes once per loop turn what reply_iov() offers, and tells its request what happened: EV_INPUT, EV_SENT,
 * EV_GONE.
 */
#pragma once

#include <uv.h>

#include "common/base.h"

struct client;
struct door; /* the listener and all its connections */
struct requests;

/* ---- for the request of a connection; none of these calls back ---- */
void client_read(struct client *c, bool wanted);
/* Bytes have come that nobody has wanted yet: to close now would be a reset, which takes along what is on its way out.
 */
bool client_has_more(const struct client *c);
/* There is something to write: it leaves at the end of the loop turn. */
void client_flush(struct client *c);
/* No more will be written; the other side may still be sending. */
void client_shutdown(struct client *c);
/* The end. `reset`: so that the client cannot take what it got for complete. Memory goes later, from the loop. */
void client_close(struct client *c, bool reset);
/* The peer's address as text. */
const char *client_address(const struct client *c);

/* ---- for the worker ---- */
/* Takes connections from `fd` (consumed), `connections_max` at a time; more are told 503. 0 or negative. */
MUST_USE int door_open(uv_loop_t *loop, int fd, size_t connections_max, struct requests *all, struct door **ret_door);
/* Writes what has gathered since the last round of polling. To be called before the loop sleeps. */
void door_flush(struct door *d);
/* No new connections. Who has connected by now is let in, and what has arrived is read: it would be reset, not
 * answered. */
void door_shut(struct door *d);
/* Ends every connection, whatever it is doing. */
void door_drop_all(struct door *d);
size_t door_connections(const struct door *d);
/* Closes its handles; door_free() once the loop has run dry. NULL is fine. */
void door_close(struct door *d);
struct door *door_free(struct door *d);
