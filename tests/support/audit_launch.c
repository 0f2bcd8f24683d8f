/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/audit_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/config.h"
#include "proto/proto.h"

#define LAUNCH_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* A sealed memfd with its own sections, all at their defaults but for what the test wants. Negative: it cannot be. */
static int launch_config(const struct audit_launch *spec)
{
	static uint8_t body[PROTO_FRAME_BYTES_MAX];
	struct proto_config_item items[32] = {0};
	const struct proto_config_item rows[] = {
#define ROW_bulkhead(key_, kind, first, ...) {SPAN_LIT("bulkhead." #key_), span_str(first)},
#define ROW_auditd(key_, kind, first, ...)   {SPAN_LIT("auditd." #key_), span_str(first)},
		CONFIG_bulkhead(ROW_bulkhead) CONFIG_auditd(ROW_auditd)};
	char segment_bytes[24];
	size_t len;

	(void)snprintf(segment_bytes, sizeof(segment_bytes), "%llu", (unsigned long long)spec->segment_bytes);
	memcpy(items, rows, sizeof(rows));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (span_eq_str(items[i].key, "bulkhead.state_dir"))
			items[i].value = span_str(spec->folder);
		if (spec->segment_bytes && span_eq_str(items[i].key, "auditd.segment_bytes"))
			items[i].value = span_str(segment_bytes);
		if (spec->segment_bytes && span_eq_str(items[i].key, "auditd.commit_us"))
			items[i].value = SPAN_LIT("0");
		if (spec->segment_bytes && span_eq_str(items[i].key, "auditd.checkpoint_ms"))
			items[i].value = SPAN_LIT("10");
		const uint8_t *comma = memchr(items[i].value.p, ',', items[i].value.len);
		if (comma) /* a WORD: the first is the default */
			items[i].value.len = (size_t)(comma - items[i].value.p);
	}
	const struct proto_config config = {.items = {.items = items, .count = ARRAY_LEN(rows)}};
	if (proto_pack(&proto_config_desc, 0, &config, body, sizeof(body), &len))
		return -EMSGSIZE;
	int fd = memfd_create("config", MFD_ALLOW_SEALING);
	if (fd < 0 || write(fd, body, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0 ||
	    fcntl(fd, F_ADD_SEALS, LAUNCH_SEALS))
		return -EIO;
	return fd;
}

static void launch_child(const struct audit_launch *spec, int config, int control)
{
	char names[1024] = "config:control", text[16];
	int fds[AUDIT_LAUNCH_MAX + 2] = {config, control};
	size_t n = 2;

	for (size_t i = 0; i < spec->n; i++, n++) {
		fds[n] = spec->listeners[i];
		(void)snprintf(names + strlen(names), sizeof(names) - strlen(names), ":auditd.router%zu", i);
	}
	for (size_t i = 0; i < n; i++) /* out of the way first */
		fds[i] = fcntl(fds[i], F_DUPFD, 100);
	for (size_t i = 0; i < n; i++)
		(void)dup2(fds[i], 3 + (int)i);
	(void)close_range(3 + (unsigned)n, ~0U, 0);
	(void)snprintf(text, sizeof(text), "%zu", n);
	(void)setenv("LISTEN_FDS", text, 1);
	(void)setenv("LISTEN_FDNAMES", names, 1);
	(void)snprintf(text, sizeof(text), "%u", spec->life);
	(void)setenv("AUDIT_LIFE", text, 1);
	(void)execl(spec->program, spec->program, (char *)NULL);
	_exit(127);
}

int audit_launch(const struct audit_launch *spec, pid_t *ret_pid, int *ret_control)
{
	int pair[2], config = launch_config(spec);

	if (config < 0 || spec->n > AUDIT_LAUNCH_MAX)
		return -EINVAL;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
		(void)close(config);
		return -errno;
	}
	*ret_pid = fork();
	if (*ret_pid == 0)
		launch_child(spec, config, pair[1]);
	(void)close(config);
	(void)close(pair[1]);
	*ret_control = pair[0];
	return *ret_pid < 0 ? -EAGAIN : 0;
}
