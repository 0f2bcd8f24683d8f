# SPDX-License-Identifier: Apache-2.0
"""A captured daemon, inside its own sandbox, tries what attempts.def lists. What is not refused is named here, with the reason."""
import os
import re
import subprocess

import pytest

from gateway import BUILD, INSTRUMENTED, ROOT, scratch

pytestmark = pytest.mark.skipif(INSTRUMENTED, reason="instrumented builds have no sandbox")

ROLES = ["router", "authd", "keyvault", "egress", "dialer", "auditd", "classifier"]
SIGSYS = 31

# The dialer is there to open connections; it holds no secret that it could send.
PERMITTED = {
    "router": {"memfd"},  # large bodies; nothing can execute it
    "dialer": {"tcp4", "tcp6", "udp4", "udp6", "connect_inherited"},
}
if os.geteuid() != 0:  # one uid for all, so that file modes say nothing; the dialer has no Unix socket that it could connect
    PERMITTED["dialer"].add("connect_edge")
# Killed at once is the rule. These may come back with an error instead, because Landlock or file permissions refuse them.
REFUSED = {
    "authd": {"open_passwd", "open_cmdline", "open_mem", "create_tmp", "open_beneath", "unlink"},
    "auditd": {"open_passwd", "open_cmdline", "open_mem", "create_tmp", "open_beneath", "unlink", "rename"},
    "dialer": {"connect_edge", "connect_abstract"},
}
# Attempts that succeed for an ordinary process here, at least; otherwise the canary proves nothing.
REAL = {"tcp4", "udp6", "unix_stream", "connect_abstract", "connect_inherited", "datagram", "bind", "open_passwd", "open_mem",
        "create_tmp", "open_beneath", "unlink", "execve", "execveat", "fork", "memfd", "map_exec", "map_write_exec",
        "protect_exec", "kill_sibling", "ptrace_sibling", "read_sibling", "pidfd_getfd", "io_uring_setup", "dumpable"}


def attempts():
    with open(os.path.join(ROOT, "tests/privileges/attempts.def"), encoding="utf-8") as f:
        return re.findall(r"^ATTEMPT\((\w+),", f.read(), re.M)


def canary(*args):
    with scratch() as folder:
        os.chmod(folder, 0o1777)
        out = subprocess.run([os.path.join(BUILD, "canary"), *args], cwd=folder, capture_output=True, text=True, timeout=60,
                             check=True).stdout
    outcome = {}
    for line in out.splitlines():
        name, what, *number = line.split()
        outcome[name] = (what, int(number[0]) if number else None)
    return outcome


@pytest.fixture(scope="module")
def free():
    return canary("free")


@pytest.fixture(scope="module", params=ROLES)
def confined(request):
    return request.param, canary(request.param)


def test_the_attempts_are_real(free):
    failed = {name for name in REAL if free[name] != ("done", None)}
    assert not failed


def test_every_attempt_was_made(confined):
    role, outcome = confined
    missing = set(attempts()) - set(outcome)
    assert missing <= {"x32_entry", "i386_entry"}, role
    assert all(what != "lost" for what, _ in outcome.values())


def test_nothing_succeeds(confined):
    role, outcome = confined
    done = {name for name, (what, _) in outcome.items() if what == "done"}
    assert done <= PERMITTED.get(role, set())


def test_the_kernel_kills_rather_than_refuses(confined):
    role, outcome = confined
    alive = {name for name, (what, number) in outcome.items() if what == "errno" or (what == "signal" and number != SIGSYS)}
    assert alive <= REFUSED.get(role, set())
