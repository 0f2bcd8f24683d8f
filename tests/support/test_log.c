/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <sys/statvfs.h>

#include "tests/support/test_log.h"

#define ROOM_BYTES (512UL << 20)

int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void copy_file(int from, int to, const char *name, const struct stat *st)
{
	uint8_t *bytes = malloc((size_t)st->st_size + 1);
	int in = openat(from, name, O_RDONLY | O_CLOEXEC);
	int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(bytes && in >= 0 && out >= 0);
	assert_int_equal(pread(in, bytes, (size_t)st->st_size, 0), st->st_size);
	assert_int_equal(pwrite(out, bytes, (size_t)st->st_size, 0), st->st_size);
	(void)close(in);
	(void)close(out);
	free(bytes);
}

static void copy_folder(int from, int to)
{
	DIR *folder = fdopendir(from);
	struct stat st;

	assert_true(folder && to >= 0);
	for (const struct dirent *e = readdir(folder); e; e = readdir(folder)) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		assert_int_equal(fstatat(from, e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
		if (S_ISREG(st.st_mode)) {
			/* A full tile of hashes never becomes another. */
			if (st.st_size != TILE_WIDTH * MERKLE_HASH_BYTES || linkat(from, e->d_name, to, e->d_name, 0))
				copy_file(from, to, e->d_name, &st);
			continue;
		}
		assert_int_equal(mkdirat(to, e->d_name, 0700), 0);
		copy_folder(openat(from, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
			    openat(to, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	}
	(void)closedir(folder);
	(void)close(to);
}

void copy_log(const char *from, const char *to)
{
	copy_folder(open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/* In memory where it holds a long log (a container's 64 MiB do not): these tests are about what is written, not about
 * how slow a disk is. */
static const char *fast_folder(void)
{
	struct statvfs at;

	if (access("/dev/shm", W_OK) || statvfs("/dev/shm", &at) || at.f_bavail * at.f_frsize < ROOM_BYTES)
		return "/tmp";
	return "/dev/shm";
}

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "%s/ledger-test-XXXXXX", fast_folder());
	if (!mkdtemp(f->dir))
		return -1;
	crypto_sign_keypair(f->public, f->secret);
	*state = f;
	return note_key_init(&f->key, SPAN_LIT("bulkhead.test/audit"), f->public) ||
	       ledger_batch_init(&f->batch, 4096, 4U << 20);
}

int teardown(void **state)
{
	struct fixture *f = *state;

	f->l = ledger_close(f->l);
	ledger_batch_deinit(&f->batch);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

int reopen(struct fixture *f)
{
	f->l = ledger_close(f->l);
	return ledger_open(f->dir, TEST_SEGMENT_BYTES, 0, &f->l);
}

struct proto_leaf own_leaf(struct fixture *f)
{
	static const uint8_t boot[16] = {1};

	f->seq++;
	return (struct proto_leaf){.version = LEAF_VERSION,
				   .role = ROLE_AUDITD,
				   .boot = span_of(boot, sizeof(boot)),
				   .seq = f->seq,
				   .last_seq = f->seq,
				   .code = EVENT_DAEMON_STOP,
				   .actor = SPAN_LIT("auditd")};
}

void add(struct fixture *f)
{
	static const uint8_t boot[16] = {7};
	char request[32], model[200];

	f->seq++;
	(void)snprintf(request, sizeof(request), "%s-%" PRIu64, f->request ? f->request : "request", f->seq);
	memset(model, 'm', sizeof(model));
	const struct proto_leaf leaf = {
		.version = LEAF_VERSION,
		.role = ROLE_ROUTER,
		.boot = span_of(boot, sizeof(boot)),
		.recorded_ns = f->seq,
		.last_seq = f->seq,
		.seq = f->seq,
		.code = EVENT_REQUEST_COMPLETE,
		.request_id = span_str(request),
		.model = span_of(model, f->seq % sizeof(model)),
		.status = 200,
	};
	assert_int_equal(ledger_batch_add(&f->batch, &leaf), 0);
}

void commit(struct fixture *f, size_t n)
{
	ledger_batch_clear(&f->batch);
	for (size_t i = 0; i < n; i++)
		add(f);
	assert_int_equal(ledger_append(f->l, &f->batch), 0);
}

int try_sign(struct fixture *f)
{
	struct checkpoint cp = {.origin = span_str(f->key.name), .size = ledger_size(f->l)};
	struct merkle_proof proof;
	uint8_t sig[NOTE_SIG_BYTES];
	char text[512], note[LEDGER_NOTE_MAX];
	size_t len, note_len;

	int r = ledger_prepare(f->l, f->signed_size, &cp.root, &proof);
	if (r)
		return r;
	if ((f->signed_size > 0 && merkle_verify_consistency(f->signed_size, &f->l->published.root, cp.size, &cp.root,
							     proof.hashes, proof.n)) ||
	    checkpoint_format(&cp, text, sizeof(text), &len))
		return -EINVAL;
	crypto_sign_detached(sig, NULL, (const uint8_t *)text, len, f->secret);
	if (note_format(span_of(text, len), &f->key, sig, note, sizeof(note), &note_len))
		return -EINVAL;
	r = ledger_write_key(f->l, &f->key);
	if (!r)
		r = ledger_publish(f->l, span_of(note, note_len), &f->key, cp.size, &cp.root);
	if (r)
		return r;
	ledger_published(f->l, cp.size, &cp.root);
	f->signed_size = cp.size;
	return 0;
}

void sign(struct fixture *f)
{
	assert_int_equal(try_sign(f), 0);
}

bool verifies(const struct fixture *f, const char *dir, struct verify_report *report)
{
	const struct verify_options options = {.key = &f->key};

	assert_int_equal(verify_log(dir, &options, report), 0);
	return report->good;
}
