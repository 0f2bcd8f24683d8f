# SPDX-License-Identifier: Apache-2.0
"""What a captured audit-shipper can reach by its uid and group alone, were its sandbox not there: the log, to read, and nothing else."""
import json
import os
import subprocess
import sys

import pytest

from gateway import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="daemons have uids of their own under root only")

UID = 62109  # uid_base and the role's number
TRY = r"""
import json, os, socket, sys
outcome = {}
def attempt(name, act):
    try:
        act()
        outcome[name] = "done"
    except OSError as e:
        outcome[name] = e.strerror
def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
for line in sys.stdin:
    kind, path = line.rstrip("\n").split(" ", 1)
    attempt(line.rstrip("\n"), {
        "read": lambda: open(path, "rb").read(1), "list": lambda: os.listdir(path), "connect": lambda: connect(path),
        "write": lambda: os.close(os.open(path, os.O_WRONLY)), "append": lambda: os.close(os.open(path, os.O_WRONLY | os.O_APPEND)),
        "truncate": lambda: os.truncate(path, 0), "make": lambda: os.close(os.open(path + "/made", os.O_CREAT | os.O_WRONLY)),
        "mkdir": lambda: os.mkdir(path + "/made"), "unlink": lambda: os.unlink(path), "rename": lambda: os.rename(path, path + ".moved"),
        "chmod": lambda: os.chmod(path, 0o777), "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
        "link": lambda: os.link(path, path + ".linked"), "utime": lambda: os.utime(path)}[kind])
print(json.dumps(outcome))
"""


def tried(*attempts):
    """{attempt: "done" or why not}, as the shipper."""
    done = subprocess.run([sys.executable, "-c", TRY], input="\n".join(attempts).encode(), stdout=subprocess.PIPE, check=True,
                          user=UID, group=UID, extra_groups=[], cwd="/")
    return json.loads(done.stdout)


def tree(folder):
    folders, files = [], []
    for where, _, names in os.walk(folder):
        folders.append(where)
        files += [os.path.join(where, name) for name in names]
    return folders, files


@pytest.fixture(scope="module")
def log(gateway):
    for _ in range(300):
        gateway.chat("gpt-x")
    folder = os.path.join(gateway.state, "auditd")
    wait_for("a full tile", lambda: os.path.exists(os.path.join(folder, "tile", "0", "000")))
    return folder


def test_what_it_needs_it_can_read(log):
    names = [f"read {log}/{name}" for name in ("checkpoint", "vkey", "tile/0/000", "tile/entries/000")]
    assert tried(f"list {log}", *names) == {f"list {log}": "done"} | {name: "done" for name in names}


def test_the_log_is_read_only(log):
    folders, files = tree(log)
    assert len(files) > 5
    attempts = [f"{kind} {f}" for f in files for kind in ("write", "append", "truncate", "unlink", "rename", "chmod", "chown", "link", "utime")]
    attempts += [f"{kind} {f}" for f in folders for kind in ("make", "mkdir", "rename", "chmod", "chown")]
    assert not [name for name, what in tried(*attempts).items() if what == "done"]


def test_segments_stay_closed(log):
    """They are auditd's; what is signed of them is in the tiles."""
    attempts = [f"read {f}" for f in tree(os.path.join(log, "seg"))[1]]
    assert attempts and set(tried(*attempts).values()) == {"Permission denied"}


def test_nobody_elses_state(gateway, log):
    for daemon in ("authd", "keyvault"):
        folders, files = tree(os.path.join(gateway.state, daemon))
        assert files
        attempts = [f"{kind} {f}" for f in files for kind in ("read", "write", "unlink")] + \
            [f"{kind} {f}" for f in folders for kind in ("list", "make")]
        assert set(tried(*attempts).values()) == {"Permission denied"}, daemon


def test_no_edge(gateway):
    attempts = [f"connect {os.path.join(gateway.run_dir, name)}" for name in os.listdir(gateway.run_dir)]
    assert len(attempts) > 15 and set(tried(*attempts).values()) == {"Permission denied"}


def test_others_gain_nothing_by_the_group(gateway, log):
    """auditd is in the shipper's group, so that the shipper can read: not the other way round, and nobody else is."""
    for daemon in ("router", "authd", "keyvault", "egress", "dialer", "classifier"):
        for pid in gateway.pids(daemon):
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                status = dict(line.split(":", 1) for line in f)
            assert str(UID) not in status["Gid"].split() + status["Groups"].split()
    mode = os.stat(log)
    assert (mode.st_uid, mode.st_gid, mode.st_mode & 0o7777) == (62105, UID, 0o750)
