# SPDX-License-Identifier: Apache-2.0
"""A captured daemon, inside its own sandbox, tries what attempts.def lists. What is not refused is named here, with the reason."""
import ctypes
import os
import re
import subprocess

import pytest

from capabilities import FILTERED
from gateway import BUILD, INSTRUMENTED, ROOT, scratch

pytestmark = pytest.mark.skipif(INSTRUMENTED, reason="instrumented builds have no sandbox")

ROLES = ["router", "authd", "keyvault", "egress", "dialer", "auditd", "classifier", "shipper"]
SIGSYS = 31

# The dialer is there to open connections; it holds no secret that it could send.
PERMITTED = {
    "router": {"memfd_sealable"},  # large bodies; nothing can execute it
    "authd": {"stat_path"},  # whether a file is there and how long it is; what is in it stays closed
    "auditd": {"stat_path", "punch_hole"},  # the unused rest of a segment; it may write zeros over what it has open anyway
    # It has no folder here at all, and no port; of the real one's, test_captured_shipper.py tries what they allow.
    "shipper": {"tcp4", "tcp6", "stat_path"},
    "dialer": {"tcp4", "tcp6"},  # to no port at all here; the real one is given those of its providers and name servers
}
LANDLOCK_ABI = ctypes.CDLL(None).syscall(444, None, 0, 1)  # landlock_create_ruleset, which version?
for abi, what in (4, "connect_inherited"), (6, "connect_abstract"):
    if LANDLOCK_ABI < abi:
        PERMITTED["dialer"].add(what)
        PERMITTED["shipper"].add(what)
if LANDLOCK_ABI < 1:  # the modes of files and the uid are all that is left
    for role in ("authd", "auditd", "shipper"):
        PERMITTED[role] |= {"open_passwd", "open_cmdline", "create_tmp", "open_beneath"}
    PERMITTED["authd"].add("unlink")
if os.geteuid() != 0:  # one uid for all, so that file modes say nothing; the dialer has no Unix socket that it could connect
    PERMITTED["dialer"].add("connect_edge")
    PERMITTED["shipper"].add("connect_edge")
# Killed at once is the rule. These may come back with an error instead, because Landlock or file permissions refuse them.
REFUSED = {
    "authd": {"open_passwd", "open_cmdline", "open_mem", "create_tmp", "open_beneath", "unlink"},
    "auditd": {"open_passwd", "open_cmdline", "open_mem", "create_tmp", "open_beneath", "unlink", "rename"},
    "dialer": {"connect_edge", "connect_abstract", "connect_inherited"},
    "shipper": {"connect_edge", "connect_abstract", "connect_inherited", "open_passwd", "open_cmdline", "open_beneath",
                "open_mem", "create_tmp"},
}
# Kernels from 6.12 on let these by every filter: they are for the kernel's own trampolines and fail for anybody else.
UNFILTERED = {"335", "336", "uretprobe", "uprobe"}
# Attempts that succeed for an ordinary process here, at least; otherwise the canary proves nothing.
REAL = {"tcp4", "udp6", "unix_stream", "connect_abstract", "connect_inherited", "datagram", "bind", "open_passwd", "open_mem",
        "create_tmp", "open_beneath", "unlink", "execve", "execveat", "fork", "memfd", "map_exec", "map_write_exec",
        "protect_exec", "memfd_sealable", "tcp_facts", "stat_path", "punch_hole", "kill_sibling", "ptrace_sibling", "read_sibling", "pidfd_getfd", "io_uring_setup", "dumpable", "open_tree", "remap_exec",
        "tkill_sibling", "pin_sibling", "kill_self", "core_limit", "asynchronous_io", "semaphores", "messages", "shared_memory"}
if FILTERED:  # by a container, which refuses these to everybody
    REAL -= {"open_tree", "pidfd_getfd", "read_sibling", "io_uring_setup"}


def attempts():
    with open(os.path.join(ROOT, "tests/privileges/attempts.def"), encoding="utf-8") as f:
        return re.findall(r"^ATTEMPT\((\w+),", f.read(), re.M)


def lines_of(*args):
    with scratch() as folder:
        os.chmod(folder, 0o1777)
        return subprocess.run([os.path.join(BUILD, "canary"), *args], cwd=folder, capture_output=True, text=True, timeout=60,
                              check=True).stdout.splitlines()


def canary(*args):
    outcome = {}
    for line in lines_of(*args):
        name, what, *number = line.split()
        outcome[name] = (what, int(number[0]) if number else None)
    return outcome


def call_names():
    """{number: name} of this machine's system calls, as the C library's headers have them."""
    defines = subprocess.run(["cc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"], capture_output=True, text=True,
                             check=True).stdout
    return {int(number): name for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", defines, re.M)}


def listed(role):
    """Calls that docs/SANDBOX.md gives to a role without a condition."""
    with open(os.path.join(ROOT, "docs/SANDBOX.md"), encoding="utf-8") as f:
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in f if line.startswith("| ")]
    column = rows[0].index(role)
    return {row[0] for row in rows[1:] if row[1] == "" and row[column] == "x"}


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


@pytest.mark.parametrize("role", ROLES)
def test_the_page_says_what_the_kernel_lets_through(role):
    """Every number there is, tried: all but the calls on the page die, and those of a foreign numbering with them."""
    names = call_names()
    came_back = {names.get(int(line), line) for line in lines_of("calls", role)} - UNFILTERED
    assert came_back == listed(role) & set(names.values())
