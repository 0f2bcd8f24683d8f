/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classifier with a defect: it never comes to an end with a text that asks for it. Everything else is the real
 * program, linked again with two calls wrapped (tests/module.mk), so that the real one needs no way in. The watchdog's
 * patience is shortened likewise.
 */
#include <string.h>
#include <sys/time.h>

#include "classifier/classify.h"

int __real_classify(struct classifier *c, struct span json, uint64_t classes, struct classify_verdict *ret_verdict);
int __wrap_classify(struct classifier *c, struct span json, uint64_t classes, struct classify_verdict *ret_verdict);
int __real_setitimer(int which, const struct itimerval *to, struct itimerval *ret_was);
int __wrap_setitimer(int which, const struct itimerval *to, struct itimerval *ret_was);

int __wrap_classify(struct classifier *c, struct span json, uint64_t classes, struct classify_verdict *ret_verdict)
{
	static const char ask[] = "please hang";
	volatile bool hangs = memmem(json.p, json.len, ask, sizeof(ask) - 1) != NULL;

	while (hangs)
		;
	return __real_classify(c, json, classes, ret_verdict);
}

int __wrap_setitimer(int which, const struct itimerval *to, struct itimerval *ret_was)
{
	struct itimerval sooner = *to;

	if (sooner.it_value.tv_sec > 0)
		sooner.it_value.tv_sec = 1;
	return __real_setitimer(which, &sooner, ret_was);
}
