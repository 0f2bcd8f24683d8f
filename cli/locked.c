/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/locked.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

/* No core file, no ptrace by others, from now on. */
static void locked_harden(void)
{
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int locked_new(const struct cli *cli, size_t cap, struct locked *ret_locked)
{
	void *p;

	locked_harden();
	p = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return cli_fail(cli, "memory: %s", strerror(errno));
	if (mlock(p, cap) || madvise(p, cap, MADV_DONTDUMP)) {
		munmap(p, cap);
		return cli_fail(cli, "memory for the secret could not be locked (%s): raise `ulimit -l`",
				strerror(errno));
	}
	*ret_locked = (struct locked){.p = p, .cap = cap};
	return CLI_DONE;
}

void locked_wipe(struct locked *l)
{
	if (!l->p)
		return;
	explicit_bzero(l->p, l->cap);
	munmap(l->p, l->cap);
	*l = LOCKED_NULL;
}

int locked_fill(int fd, struct locked *l)
{
	while (l->len < l->cap) {
		ssize_t n = read(fd, l->p + l->len, l->cap - l->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		l->len += (size_t)n;
	}
	return 0;
}

/* One key of a person's typing. True at the end of the line. */
static bool locked_key(struct locked *l, int *ret_r)
{
	uint8_t key = l->p[l->len];

	switch (key) {
	case '\r':
	case '\n':
	case LOCKED_CTRL('D'):
		return true;
	case LOCKED_CTRL('C'):
		*ret_r = -ECANCELED;
		return true;
	case LOCKED_CTRL('U'):
		l->len = 0;
		return false;
	case LOCKED_CTRL('H'):
	case 0x7f:
		l->len -= l->len > 0;
		return false;
	default:
		l->len++;
		return false;
	}
}

static int locked_line(int fd, struct locked *l)
{
	int r = 0;

	while (!r && l->len < l->cap) {
		ssize_t n = read(fd, l->p + l->len, 1);

		if (n < 0 && errno != EINTR)
			r = -errno;
		if (n == 0 || (n > 0 && locked_key(l, &r)))
			break;
	}
	return r;
}

int locked_quiet(int fd, struct termios *ret_before)
{
	struct termios quiet;

	if (tcgetattr(fd, ret_before))
		return -errno;
	quiet = *ret_before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
	quiet.c_cc[VMIN] = 1;
	quiet.c_cc[VTIME] = 0;
	return tcsetattr(fd, TCSAFLUSH, &quiet) ? -errno : 0;
}

/*
 * The prompt goes to the terminal, not to standard output. Signals from the keyboard are off with the echo: Ctrl-C is a
 * key that cancels, and cannot leave the terminal mute.
 */
static int locked_prompt(int fd, const char *prompt, struct locked *l)
{
	struct termios before;
	int r = locked_quiet(fd, &before);

	if (r)
		return r;
	(void)dprintf(STDERR_FILENO, "%s: ", prompt); /* now: what is typed before it would be shown, and lost */
	r = locked_line(fd, l);
	(void)tcsetattr(fd, TCSAFLUSH, &before);
	(void)dprintf(STDERR_FILENO, "\n");
	return r;
}

/* `lines`: ends of lines may stand anywhere. */
static int locked_check(const struct cli *cli, const char *what, size_t max, bool lines, struct locked *l)
{
	if (l->len > 0 && l->p[l->len - 1] == '\n')
		l->len--;
	if (l->len > 0 && l->p[l->len - 1] == '\r')
		l->len--;
	if (l->len == 0)
		return cli_fail(cli, "the %s is empty; nothing was done", what);
	if (l->len > max)
		return cli_fail(cli, "the %s is longer than %zu bytes; nothing was done", what, max);
	for (size_t i = 0; i < l->len; i++)
		if ((l->p[i] < 0x20 || l->p[i] == 0x7f) &&
		    !(lines && (l->p[i] == '\n' || l->p[i] == '\r' || l->p[i] == '\t')))
			return cli_fail(cli, "the %s has a control character or more than one line; nothing was done",
					what);
	return CLI_DONE;
}

static int locked_take(const struct cli *cli, const char *what, const char *prompt, const char *file, size_t max,
		       bool lines, struct locked *ret_locked)
{
	struct locked l = LOCKED_NULL;
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	int r;

	if (fd < 0)
		return cli_fail(cli, "%s: %s", file, strerror(errno));
	r = locked_new(cli, max + 3, &l); /* "\r\n", and one more to notice that it is too long */
	if (!r) {
		int e = isatty(fd) ? locked_prompt(fd, prompt, &l) : locked_fill(fd, &l);

		r = e == -ECANCELED ? cli_fail(cli, "cancelled; nothing was done")
		    : e             ? cli_fail(cli, "reading the %s: %s", what, strerror(-e))
				    : locked_check(cli, what, max, lines, &l);
	}
	if (file)
		close(fd);
	if (r)
		locked_wipe(&l);
	else
		*ret_locked = l;
	return r;
}

int locked_read(const struct cli *cli, const char *what, const char *prompt, const char *file, size_t max,
		struct locked *ret_locked)
{
	return locked_take(cli, what, prompt, file, max, false, ret_locked);
}

int locked_read_lines(const struct cli *cli, const char *what, const char *prompt, const char *file, size_t max,
		      struct locked *ret_locked)
{
	return locked_take(cli, what, prompt, file, max, true, ret_locked);
}

bool locked_asks(void)
{
	return isatty(STDIN_FILENO) == 1;
}
