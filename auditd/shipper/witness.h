/* SPDX-License-Identifier: Apache-2.0 */
/*
 * External witnesses (C2SP tlog-witness): people elsewhere who remember how large the log was and what its root was,
 * and cosign a checkpoint only when it grew from that. So a log that is set back or forked, with everything on this
 * machine in one hand, is still noticed.
 *
 * Who they are is said by the policy file (C2SP tlog-policy) that verifiers use, too: those with a URL are asked. A
 * round asks all of them about one checkpoint; when enough of them have cosigned it for the policy's quorum, it is
 * written to `checkpoint.witnessed` in the shipper's folder. Nothing waits for a witness.
 */
#pragma once

#include "auditd/shipper/folder.h"
#include "auditd/shipper/http.h"
#include "common/daemon.h"
#include "common/tlog_policy.h"

#define WITNESSES_MAX     16
#define WITNESS_URL_BYTES 512
#define WITNESS_FILE      "checkpoint.witnessed"

struct witnesses;

struct witness {
	struct witnesses *all;
	const struct tlog_policy_node *node;
	char url[WITNESS_URL_BYTES];
	uint64_t known; /* the size that it told us last */
	bool corrected; /* in this round it told us another */
	bool failing;   /* it was said already */
};

/* One checkpoint and who cosigned it. */
struct witness_round {
	size_t open, cosigned; /* answers that are to come, and one while asking; those that were good */
	uint64_t size;
	struct note_key log;
	struct tile_source tiles;
	size_t base_len; /* of the note as the log has it */
	size_t note_len;
	char note[FOLDER_NOTE_MAX];
	bool unwritten; /* enough, but the file could not be written */
};

struct witnesses {
	struct daemon *daemon;
	const struct folder *folder;
	struct http *http;
	int dir; /* where the file goes */
	uint64_t interval_ms;
	char *text; /* of the policy */
	struct tlog_policy policy;
	struct witness one[WITNESSES_MAX];
	size_t n;
	uv_timer_t timer;
	struct witness_round round;
	uint64_t witnessed_size;
	uint64_t cosignatures_total, errors_total;
};

enum witness_err {
	WITNESS_E_POLICY = 1, /* the file cannot be used; *ret_why says why */
};

/* Reads the policy. `dir` stays the caller's. 0, WITNESS_E_POLICY or negative. */
MUST_USE int witness_init(struct witnesses *w, struct daemon *daemon, const struct folder *folder, struct http *http,
			  const char *policy_file, int dir, uint64_t interval_ms, const char **ret_why);
/* Where they listen; `to` holds WITNESSES_MAX. Returns how many. */
size_t witness_ports(const struct witnesses *w, uint16_t *to);
void witness_start(struct witnesses *w);
void witness_metrics(const struct witnesses *w, char *to, size_t cap);
void witness_deinit(struct witnesses *w);
