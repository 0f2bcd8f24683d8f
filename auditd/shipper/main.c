/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit-shipper: follows the log's folder, which it can only read, and mirrors it to Postgres. A captured one can tell
 * lies to that database and read what the log says; it can touch neither the log nor any secret: it has no edge but
 * the operator's, no folder but those two, and TCP to the ports of its database and name servers alone.
 *
 * It follows by inotify on the one file that changes at each checkpoint. File systems that tell nothing are looked at
 * every few seconds.
 */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auditd/shipper/check.h"
#include "auditd/shipper/mirror.h"
#include "auditd/shipper/witness.h"
#include "common/config.h"
#include "common/err.h"
#include "common/sandbox.h"

#define SHIPPER_LOOK_MS    5000
#define SHIPPER_RESOLVE_MS 10000
#define SHIPPER_PATHS_MAX  (3 + PG_FILES_MAX)
#define SHIPPER_SECTIONS   (BIT(CONFIG_BULKHEAD) | BIT(CONFIG_SHIPPER) | BIT(CONFIG_DIALER))

/* A file that an operator may exchange, as it was when the sandbox was made; all zero: it was not there. */
struct shipper_file {
	const char *path;
	dev_t dev;
	ino_t ino;
	struct timespec changed;
};

struct shipper {
	struct daemon daemon;
	struct config config;
	struct folder folder;
	struct mirror mirror;
	struct witnesses witnesses;
	struct resolver *resolver;
	int own_dir;
	struct resolve_server servers[RESOLVE_SERVERS_MAX];
	size_t n_servers;
	struct shipper_file files[1 + PG_FILES_MAX];
	size_t n_files;
	uv_fs_event_t watch;
	uv_timer_t look;
};

/* ---- files that are exchanged ---- */

static struct shipper_file shipper_file(const char *path)
{
	struct shipper_file f = {.path = path};
	struct stat st;

	if (fstatat(AT_FDCWD, path, &st, 0) == 0) {
		f.dev = st.st_dev;
		f.ino = st.st_ino;
		f.changed = st.st_ctim;
	}
	return f;
}

static bool shipper_is_closed(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = errno;

	if (fd >= 0)
		(void)close(fd);
	return fd < 0 && error == EACCES;
}

/*
 * The sandbox was given files, not names: one that came later, or was put in another's place as editors and Kubernetes
 * do it, is closed to us and open to whoever starts now. Once for each change, so that a file that is truly closed does
 * not have us start again and again.
 */
static void shipper_look_at_files(const struct shipper *s)
{
	for (size_t i = 0; i < s->n_files; i++) {
		const struct shipper_file *was = &s->files[i], is = shipper_file(was->path);
		bool same = is.dev == was->dev && is.ino == was->ino && is.changed.tv_sec == was->changed.tv_sec &&
			    is.changed.tv_nsec == was->changed.tv_nsec;

		if (same || !shipper_is_closed(was->path))
			continue;
		log_event(&s->daemon.log, LOG_STOP, LOG_STR("what", was->path),
			  LOG_STR("why", "it was exchanged; the sandbox is made anew for it"));
		exit(EXIT_FAILURE);
	}
}

/* ---- following ---- */

static void shipper_look(struct shipper *s)
{
	int r = folder_refresh(&s->folder);

	shipper_look_at_files(s);
	if (r < 0)
		log_event(&s->daemon.log, LOG_MIRROR_FAILED, LOG_STR("why", strerrordesc_np(-r)));
	else
		mirror_looked(&s->mirror, r);
	(void)uv_timer_again(&s->look);
}

static void on_look(uv_timer_t *timer)
{
	shipper_look(timer->data);
}

static void on_change(uv_fs_event_t *watch, const char *name, int events, int status)
{
	(void)events;
	if (status == 0 && name && strcmp(name, "checkpoint") == 0)
		shipper_look(watch->data);
}

static int shipper_follow(struct shipper *s, const char *path)
{
	struct daemon *d = &s->daemon;
	int r = uv_fs_event_init(&d->loop, &s->watch);

	s->watch.data = s->look.data = s;
	if (!r)
		r = uv_fs_event_start(&s->watch, on_change, path, 0);
	if (!r)
		r = uv_timer_init(&d->loop, &s->look);
	if (!r)
		r = uv_timer_start(&s->look, on_look, 0, SHIPPER_LOOK_MS);
	return r ? err_origin(r) : 0;
}

/* ---- start ---- */

/* Without a name server an address still does. */
static int shipper_resolver(struct shipper *s)
{
	struct config *c = &s->config;

	if (!resolve_servers(c->dialer.resolvers, s->servers, &s->n_servers) ||
	    (s->n_servers == 0 && resolve_system_servers(s->servers, &s->n_servers)))
		s->n_servers = 0;
	return s->n_servers == 0
		       ? 0
		       : resolver_new(&s->daemon.loop, SHIPPER_RESOLVE_MS, s->servers, s->n_servers, &s->resolver);
}

/* A mistake in shipper.postgres is for status to tell: the gateway starts without its mirror. */
static int shipper_mirror(struct shipper *s)
{
	const struct pg_spec spec = {.conninfo = s->config.shipper.postgres,
				     .password_file = s->config.shipper.password_file};
	int r = mirror_init(&s->mirror, &s->daemon, &s->folder, &spec, s->resolver, s->config.shipper.batch_rows);

	return r == PG_E_INVALID ? 0 : r;
}

/* The same for the policy of witnesses. */
static int shipper_witnesses(struct shipper *s, const char *own)
{
	const struct config_shipper *c = &s->config.shipper;
	struct http *http;
	const char *why = "";

	s->own_dir = open(own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->own_dir < 0)
		return err_origin(-errno);
	int r = http_new(&s->daemon.loop, c->witness_ca_file, s->resolver, &http);
	if (!r)
		r = witness_init(&s->witnesses, &s->daemon, &s->folder, http, c->witnesses, s->own_dir, c->witness_ms,
				 &why);
	if (r != WITNESS_E_POLICY)
		return r;
	log_event(&s->daemon.log, LOG_WITNESS_FAILED, LOG_STR("witness", "all"), LOG_STR("why", why));
	mirror_complain(&s->mirror, why);
	return 0;
}

static int shipper_confine(struct shipper *s, const char *path, const char *own)
{
	const char *ca = s->config.shipper.witness_ca_file;
	struct sandbox_path paths[SHIPPER_PATHS_MAX] = {
		{.path = path}, {.path = own, .write = true}, {.path = ca[0] ? ca : HTTP_CA_FILE}};
	uint16_t ports[1 + RESOLVE_SERVERS_MAX + WITNESSES_MAX];
	size_t n_paths = access(paths[2].path, R_OK) == 0 ? 3 : 2, n_ports = witness_ports(&s->witnesses, ports);
	struct pg_reach reach = {0};

	if (s->mirror.pg) {
		pg_reach(s->mirror.pg, &reach);
		ports[n_ports++] = reach.port;
	}
	s->files[s->n_files++] = shipper_file(paths[2].path);
	for (size_t i = 0; i < reach.n_files; i++) {
		s->files[s->n_files++] = shipper_file(reach.files[i]);
		if (access(reach.files[i], R_OK) == 0) /* libpq tells of the others */
			paths[n_paths++] = (struct sandbox_path){.path = reach.files[i]};
	}
	for (size_t i = 0; i < s->n_servers; i++)
		ports[n_ports++] = s->servers[i].port;
	return sandbox_enter_shipping(paths, n_paths, ports, n_ports, s->daemon.confinement,
				      sizeof(s->daemon.confinement));
}

static int shipper_start(struct shipper *s, int argc, char **argv)
{
	struct daemon *d = &s->daemon;
	char path[4096], own[4096];
	int r = daemon_init(d, ROLE_SHIPPER, argc, argv);

	if (!r && (sodium_init() < 0 || pg_warm_up()))
		r = err_origin(-EIO);
	if (!r)
		r = err_fold(config_read(d->config_fd, ROLE_SHIPPER, SHIPPER_SECTIONS, &s->config));
	if (r)
		return r;
	(void)snprintf(path, sizeof(path), "%s/auditd", s->config.bulkhead.state_dir);
	(void)snprintf(own, sizeof(own), "%s/shipper", s->config.bulkhead.state_dir);
	r = folder_open(&s->folder, path, NULL);
	if (r == -EACCES || r == -ENOENT)
		log_event(&d->log, LOG_FATAL, LOG_STR("what", path), LOG_STR("why", strerrordesc_np(-r)),
			  LOG_STR("do", "the log's folder must be open to the shipper's group: docs/audit.md"));
	if (!r)
		r = shipper_resolver(s);
	if (!r)
		r = shipper_mirror(s);
	if (!r)
		r = shipper_witnesses(s, own);
	if (!r)
		r = shipper_follow(s, path);
	return r ? r : shipper_confine(s, path, own);
}

static void on_metrics(void *ctx, char *to, size_t cap)
{
	const struct shipper *s = ctx;

	mirror_metrics(&s->mirror, to, cap);
	witness_metrics(&s->witnesses, to + strlen(to), cap - strlen(to));
}

static void shipper_close(struct shipper *s)
{
	uv_close((uv_handle_t *)&s->watch, NULL);
	uv_close((uv_handle_t *)&s->look, NULL);
	mirror_deinit(&s->mirror);
	witness_deinit(&s->witnesses);
	daemon_deinit(&s->daemon);
	s->resolver = resolver_free(s->resolver);
	(void)close(s->own_dir);
	folder_close(&s->folder);
	config_deinit(&s->config);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "verify") == 0)
		return check_main(argc - 1, argv + 1);
	struct shipper *s = calloc(1, sizeof(*s)); /* what waits in it is too large for a stack */

	if (!s || shipper_start(s, argc, argv))
		return EXIT_FAILURE;
	s->daemon.metrics = on_metrics;
	s->daemon.ctx = s;
	mirror_start(&s->mirror);
	witness_start(&s->witnesses);
	int code = daemon_run(&s->daemon);
	shipper_close(s);
	free(s);
	return code;
}
