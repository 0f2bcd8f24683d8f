/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/vault_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void vault_fixture_init(struct vault_fixture *f)
{
	char path[128];

	strcpy(f->dir, "/tmp/keyvault-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(path, sizeof(path), "%s/keyvault", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	f->config.bulkhead.state_dir = f->dir;
	f->config.keyvault.unseal = CONFIG_UNSEAL_KEY_FILE;
	f->config.keyvault.key_file = "";
	assert_int_equal(secret_arena_new(65536, &f->arena), 0);
}

void vault_fixture_deinit(struct vault_fixture *f)
{
	char command[128];

	vault_deinit(&f->vault);
	assert_int_equal(secret_arena_used(f->arena), 0);
	f->arena = secret_arena_free(f->arena);
	(void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
}

int vault_fixture_key(const struct vault_fixture *f)
{
	const char *file = f->config.keyvault.key_file;
	char path[128];
	struct stat st;

	if (f->config.keyvault.unseal == CONFIG_UNSEAL_PASSPHRASE)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/keyvault/root.key", f->dir);
	int fd = open(*file ? file : path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

struct proto_binding binding_of(const char *id, uint64_t version)
{
	return (struct proto_binding){.tenant = SPAN_LIT("*"),
				      .credential = span_str(id),
				      .version = version,
				      .since = version,
				      .provider = span_str(id),
				      .scheme = SPAN_LIT("https"),
				      .host = SPAN_LIT("api.test"),
				      .port = 443,
				      .path_prefix = SPAN_LIT("/v1"),
				      .methods = 2,
				      .header = SPAN_LIT("authorization"),
				      .prefix = SPAN_LIT("Bearer ")};
}

struct span binding_pack(const struct proto_binding *b, uint8_t to[SEAL_BINDING_BYTES_MAX])
{
	size_t len;

	assert_int_equal(proto_pack_record(&proto_binding_desc, b, to, SEAL_BINDING_BYTES_MAX, &len), 0);
	return span_of(to, len);
}
