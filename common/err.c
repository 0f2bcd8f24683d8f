/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"

#include <assert.h>
#include <stdio.h>

void err_print_origin(int r, const char *file, int line)
{
	assert(r < 0);
	if (r != -ENOMEM && r != -EINTR)
		(void)fprintf(stderr, "{\"event\":\"error.origin\",\"errno\":%d,\"text\":\"%s\",\"at\":\"%s:%d\"}\n",
			      -r, strerrordesc_np(-r), file, line);
}

int err_print_unhandled(int r, const char *file, int line)
{
	assert(r > 0);
	(void)fprintf(stderr, "{\"event\":\"error.unhandled\",\"code\":%d,\"at\":\"%s:%d\"}\n", r, file, line);
	return -ENOTRECOVERABLE;
}
