/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classifier: reads what clients wrote and says what personal data it holds. It has no files, no network and no
 * keys; one socket, to the router of its lane. Patterns are compiled before the sandbox closes.
 */
#include <stdlib.h>

#include "classifier/service.h"
#include "common/sandbox.h"

static int service_start(struct service *s, int argc, char **argv)
{
	struct daemon *d = &s->daemon;
	int r = daemon_init(d, ROLE_CLASSIFIER, argc, argv);

	if (!r)
		r = classifier_new(&s->classifier);
	if (!r)
		r = service_watchdog_init(s);
	if (!r)
		r = service_serve(s);
	if (!r)
		r = sandbox_enter(ROLE_CLASSIFIER, NULL, 0, d->confinement, sizeof(d->confinement));
	return r;
}

int main(int argc, char **argv)
{
	struct service s = {0};
	int code;

	if (service_start(&s, argc, argv))
		return EXIT_FAILURE;
	s.daemon.metrics = service_metrics;
	s.daemon.ctx = &s;
	daemon_set_ready(&s.daemon, true, "patterns compiled");
	code = daemon_run(&s.daemon);
	service_watchdog_deinit(&s);
	daemon_deinit(&s.daemon);
	s.classifier = classifier_free(s.classifier);
	return code;
}
