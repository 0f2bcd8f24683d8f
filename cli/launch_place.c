/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders and identities.
 *
 * run_dir is ours, and only sockets lie in it; its lock is flock() on the folder itself, exclusive for `up`, shared for
 * the several `run`s of one deployment. state_dir is ours too and has a folder for each daemon that keeps something,
 * mode 0700, owned by it, and locked by who starts that daemon: a second one with a run_dir of its own would write into
 * the same log.
 */
#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config_tree.h"

const char *launch_program(enum role role)
{
	switch (role) {
	case ROLE_EGRESS:
		return "keyvault-egress";
	case ROLE_DIALER:
		return "keyvault-dialer";
	case ROLE_SHIPPER:
		return "audit-shipper";
	default:
		return role_name(role);
	}
}

bool launch_optional(enum role role)
{
	return role == ROLE_SHIPPER;
}

bool launch_wanted(const struct cli *cli, enum role role)
{
	return role_is_daemon(role) && (!launch_optional(role) || cli_value(cli, "shipper.postgres")[0] ||
					cli_value(cli, "shipper.witnesses")[0]);
}

void launch_identify(struct launcher *l)
{
	l->uid = geteuid();
	l->gid = getegid();
	l->root = l->uid == 0;
	l->distinct = l->root || (!l->whole && l->uid == l->uid_base + (uid_t)l->children[0].role);
}

uid_t launch_uid(const struct launcher *l, enum role role)
{
	return role == ROLE_CLI || !l->distinct ? l->uid : l->uid_base + (uid_t)role;
}

gid_t launch_gid(const struct launcher *l, enum role role)
{
	return role == ROLE_CLI || !l->distinct ? l->gid : (gid_t)(l->uid_base + (uid_t)role);
}

/* mkdir -p. */
static int place_make(const char *path, mode_t mode)
{
	char part[LAUNCH_PATH_BYTES];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
	}
	return mkdir(path, mode) ? -errno : 0;
}

/* Who may put another socket in the place of one is asked for passphrases and keys in the daemon's name. The folder
 * that several containers share is open to all, and sticky. */
static int place_check_run_dir(const struct launcher *l, const char *path)
{
	struct stat st;

	if (fstat(l->run_fd, &st))
		return cli_fail(l->cli, "run_dir %s: %s", path, strerror(errno));
	if (l->whole && st.st_uid != 0 && st.st_uid != l->uid)
		return cli_fail(l->cli,
				"run_dir %s belongs to uid %u, who could serve its sockets: set another, or chown it",
				path, st.st_uid);
	if (l->whole && (st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		return cli_fail(l->cli, "run_dir %s: others could put their sockets into it: `chmod o-w %s`", path,
				path);
	return CLI_DONE;
}

static int place_run_dir(struct launcher *l)
{
	const char *path = cli_value(l->cli, "bulkhead.run_dir");
	int r = place_make(path, l->root || !l->whole ? 0755 : 0700);

	l->made_run_dir = r == 0;
	if (r && r != -EEXIST)
		return cli_fail(l->cli, "run_dir %s: it is not there and cannot be made: %s", path, strerror(-r));
	l->run_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->run_fd < 0)
		return cli_fail(l->cli, "run_dir %s: %s", path, strerror(errno));
	if (flock(l->run_fd, (l->whole ? LOCK_EX : LOCK_SH) | LOCK_NB))
		return cli_fail(l->cli,
				"another bulkhead runs in %s: stop it first, or give this one a run_dir of its own",
				path);
	return place_check_run_dir(l, path);
}

/* May this role's uid get to `path` and use it? Asked as that uid, so that folders above it count too. */
static bool place_reaches(const struct launcher *l, enum role role, const char *path, int mode)
{
	bool reaches;

	if (!l->root)
		return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
	if (setegid(launch_gid(l, role)) || seteuid(launch_uid(l, role)))
		return false;
	reaches = faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
	if (seteuid(0) || setegid(0))
		_exit(CLI_FAILED);
	return reaches;
}

/* The log's folder is the shipper's group's to read; auditd runs in that group, so what it makes there is, too. The
 * mode is changed as its owner: root in packaging/bulkhead.service has no CAP_FOWNER. */
static void place_open_log(const struct launcher *l, const char *path)
{
	if (!l->distinct || chown(path, (uid_t)-1, launch_gid(l, ROLE_SHIPPER)) ||
	    (l->root && seteuid(launch_uid(l, ROLE_AUDITD))))
		return;
	(void)chmod(path, 0750);
	if (l->root && seteuid(0))
		_exit(CLI_FAILED);
}

/* Ours alone as long as we live; and what a daemon makes durable in it is lost all the same if the name of a folder
 * that is `made` just now is. A file system that has no locks (ENOLCK, EBADF of NFS) is the operator's to keep to one.
 */
static int place_keep(struct launcher *l, const char *path, bool made)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	l->locks[l->n_locks++] = fd;
	if (made && syncfs(fd))
		return -errno;
	return flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK ? -EWOULDBLOCK : 0;
}

static int place_state_dir(struct launcher *l, enum role role)
{
	uid_t uid = launch_uid(l, role);
	char path[LAUNCH_PATH_BYTES];
	struct stat st;
	bool made;
	int r;

	snprintf(path, sizeof(path), "%s/%s", cli_value(l->cli, "bulkhead.state_dir"), role_name(role));
	r = place_make(path, 0700);
	if (r && r != -EEXIST)
		return cli_fail(l->cli, "state_dir %s: %s", path, strerror(-r));
	if (r == 0 && l->root && chown(path, uid, launch_gid(l, role)))
		return cli_fail(l->cli, "state_dir %s: %s", path, strerror(errno));
	made = r == 0;
	if (stat(path, &st))
		return cli_fail(l->cli, "state_dir %s: %s", path, strerror(errno));
	if (st.st_uid != uid)
		return cli_fail(l->cli,
				"%s belongs to uid %u, and %s runs as uid %u: `chown -R %u:%u %s`, or start as before",
				path, st.st_uid, role_name(role), uid, uid, launch_gid(l, role), path);
	r = place_keep(l, path, made);
	if (r == -EWOULDBLOCK)
		return cli_fail(l->cli, "%s is in use by another bulkhead: stop it first, or set another state_dir",
				path);
	if (r)
		return cli_fail(l->cli, "state_dir %s: %s", path, strerror(-r));
	if (role == ROLE_AUDITD)
		place_open_log(l, path);
	if (!place_reaches(l, role, path, W_OK | X_OK))
		return cli_fail(l->cli,
				"%s runs as uid %u and cannot reach %s: move state_dir, or open the folders above it "
				"(chmod o+x)",
				role_name(role), uid, path);
	return CLI_DONE;
}

int launch_folders(struct launcher *l)
{
	bool seen[N_ROLES] = {false};
	int r = place_run_dir(l);

	for (size_t i = 0; !r && i < l->n_children; i++) {
		enum role role = l->children[i].role;
		bool keeps = role == ROLE_AUTHD || role == ROLE_KEYVAULT || role == ROLE_AUDITD || role == ROLE_SHIPPER;

		if (keeps && !seen[role])
			r = place_state_dir(l, role);
		seen[role] = true;
	}
	return r;
}

/* Where an egress is to start; the containers of other daemons need not have the files. */
int launch_check_files(struct launcher *l)
{
	const struct config_tree *t = l->cli->config;
	bool egress = false;

	for (size_t i = 0; i < l->n_children; i++)
		egress |= l->children[i].role == ROLE_EGRESS;
	for (size_t i = 0; egress && i < t->sections[CONFIG_PROVIDERS].n; i++) {
		const char *path = config_tree_get(t, CONFIG_PROVIDERS, i, "ca_file");

		if (path[0] && !place_reaches(l, ROLE_EGRESS, path, R_OK))
			return cli_fail(l->cli, "ca_file %s of provider '%s' cannot be read by the egress (uid %u)",
					path, config_tree_get(t, CONFIG_PROVIDERS, i, "name"),
					launch_uid(l, ROLE_EGRESS));
	}
	return CLI_DONE;
}

/* Beside this program, or where `make install` puts what is not for a person's PATH. */
int launch_programs(const struct cli *cli, char to[2][LAUNCH_PATH_BYTES])
{
	char self[LAUNCH_PATH_BYTES];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n <= 0)
		return cli_fail(cli, "/proc is not there: %s", strerror(errno));
	self[n] = 0;
	slash = strrchr(self, '/');
	*slash = 0;
	snprintf(to[0], LAUNCH_PATH_BYTES, "%.4000s", self);
	snprintf(to[1], LAUNCH_PATH_BYTES, "%.4000s/../libexec/bulkhead", self);
	return CLI_DONE;
}

int launch_find_programs(struct launcher *l)
{
	return launch_programs(l->cli, l->programs);
}
