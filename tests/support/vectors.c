/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
	const char *folder, *from;
} sources[] = {
	{"age/", "github.com/C2SP/CCTV, age/testdata"},
	{"fernet/", "github.com/fernet/spec, *.json"},
	{"merkle/", "github.com/transparency-dev/merkle, with its testdata"},
	{"tlog/", "github.com/transparency-dev/tessera, testdata"},
	{"wycheproof/", "github.com/C2SP/wycheproof, testvectors_v1"},
};

void vectors_path(const char *name, char path[VECTORS_PATH_BYTES])
{
	const char *dir = getenv("VECTORS_DIR"), *from = "";

	(void)snprintf(path, VECTORS_PATH_BYTES, "%s/%s", dir && *dir ? dir : "../shared/vectors", name);
	if (access(path, R_OK) == 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		if (strncmp(name, sources[i].folder, strlen(sources[i].folder)) == 0)
			from = sources[i].from;
	print_message("SKIPPED: no %s (%s; VECTORS_DIR names the folder of all of them)\n", path, from);
	skip();
}
