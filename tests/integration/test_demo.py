# SPDX-License-Identifier: Apache-2.0
"""O-01: `make demo`, as a newcomer meets it: with a terminal and Ctrl-C, and without one."""
import contextlib
import glob
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from gateway import BIN, INSTRUMENTED, ROOT, is_alive, read_until, scratch

DEMO = [sys.executable, os.path.join(ROOT, "tests/support/demo.py")]

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or INSTRUMENTED, reason="searches other users' memory")


@pytest.fixture
def folder():
    with scratch() as made:
        yield made


@pytest.mark.parametrize("blocked", [set(), signal.valid_signals()], ids=["heard", "blocked"])
def test_without_a_terminal(folder, blocked):
    """Also from a program that has signals blocked: nothing is left of what is told to end."""
    deaf = [sys.executable, "-c", "import os, signal, sys; signal.pthread_sigmask(signal.SIG_SETMASK, eval(sys.argv[1])); "
            "os.execv(sys.argv[2], sys.argv[2:])", str({int(number) for number in blocked} or [])]
    done = subprocess.run([*deaf, *DEMO], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
                          env={**os.environ, "TMPDIR": folder})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "behind a wall of its own." in done.stdout and "<EMAIL>" in done.stdout
    assert "FOUND" not in done.stdout and "good:" in done.stdout
    assert "test:slow:60" in done.stdout.split("What the log proves")[1], "the record of the chat that was shown"
    assert " -c " not in done.stdout and "This one stops now" in done.stdout, "a command for a gateway that is not there any more"
    assert not os.listdir(folder)


def test_by_somebody_who_is_not_root(folder):
    """Who may not read the memory even of daemons of his own; the rest is the same."""
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    if subprocess.run(["test", "-x", os.path.join(BIN, "bulkhead")], check=False, **nobody).returncode != 0:
        pytest.skip("this clone lies in a folder that is closed to others")
    os.chown(folder, 65534, 65534)
    done = subprocess.run(DEMO, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
                          env={**os.environ, "TMPDIR": folder, "HOME": folder}, **nobody)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refused: " in done.stdout and "sudo make demo" in done.stdout
    assert "FOUND" not in done.stdout and "good:" in done.stdout and "This one stops now" in done.stdout
    assert "test:slow:60" in done.stdout.split("What the log proves")[1], "the record of the chat that was shown"
    assert not os.listdir(folder)


def descendants(pid):
    found = set()
    for stat in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(stat, encoding="latin-1") as f:
            fields = f.read().rsplit(")", 1)[1].split()
            if int(fields[3]) == pid or int(fields[1]) == pid:
                found.add(int(stat.split("/")[2]))
    return found


@pytest.mark.parametrize("times", [1, 25])
@pytest.mark.parametrize("moment", [b"Starting", b"A streamed chat", b"goes on running"])
def test_ctrl_c_leaves_nothing(folder, moment, times):
    """At any moment of the tour; and pressed by somebody who cannot wait."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TMPDIR"] = folder
        os.execv(DEMO[0], DEMO)
    seen = read_until(fd, moment, 60)
    if moment == b"goes on running":
        assert b"bulkhead status -c " in seen
    below = descendants(pid)
    said = b""
    with contextlib.suppress(OSError):
        for _ in range(times):
            os.write(fd, b"\x03")
            time.sleep(0.01)
        said = read_until(fd, b"no file is left", 60)
    assert b'"event":' not in said, "the daemons' log is for failures"
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.close(fd)
    assert ended == (pid, 0) and not os.listdir(folder)
    assert not [p for p in below if is_alive(p)]
    assert signal.getsignal(signal.SIGINT)
