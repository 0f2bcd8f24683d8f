/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power failure, for tests of what claims to be durable: whatever was written, made, renamed or cut since the last
 * sync that covers it is undone. The strictest reading of POSIX: fsync() of a file says nothing about its name, which
 * needs its folder synced; and nothing at all reaches the disk of its own accord.
 *
 * The strictest is not the worst. What nobody synced may reach the disk all the same, in any order and by the sector: a
 * file's new length without its bytes, a cut without what was then written, a name without the file, the removal of one
 * file but not of the one before it. power_fail_some() keeps some of it, others with each seed.
 *
 * The test wraps the system calls and tells of each: before a change, after a sync that succeeded. There is one disk,
 * so there is one state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Before the change. */
void power_write(int fd, off_t at, size_t len);
void power_resize(int fd, off_t to);
void power_create(int dir, const char *path, bool truncate);
void power_rename(int dir, const char *from, const char *to);
void power_remove(int dir, const char *path, int flags);
/* After it. */
void power_synced(int fd);
void power_synced_all(void);
/* After a sync that failed: what it was to save is lost, whatever later syncs say (as Linux has it), unless it is
 * written again. */
void power_unsynced(int fd);
void power_unsynced_all(void);

/* How much would be lost now. */
size_t power_unsaved(void);
/* The power fails. What the process has open it must not use any more. */
void power_fail(void);
void power_fail_some(uint64_t seed);
