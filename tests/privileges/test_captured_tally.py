# SPDX-License-Identifier: Apache-2.0
"""A captured producer writes what it likes into the page that counts its events (common/tally.h). Whoever comes after it must not
be the worse for it: its own events are recorded, all of them, and the log stays good. A lie costs one gap record, or its absence."""
import errno
import fcntl
import os
import signal
import struct

import pytest

from capabilities import sees_others
from gateway import halt, is_alive, open_files, wait_for

MADE_MAX = 1 << 53  # common/tally.h
F_ADD_SEALS = 1033

pytestmark = sees_others


@pytest.fixture(scope="module")
def gateway(new_gateway):
    return new_gateway(workers=1)


def last_boot(gateway):
    return gateway.audit(source="router0")[-1]["boot"]


def page(gateway):
    """The router's page, found by the name of its sequence."""
    launcher, want = gateway.process.pid, bytes.fromhex(last_boot(gateway))
    for name, file in open_files(launcher).items():
        if "bulkhead-tally" in file:
            fd = os.open(f"/proc/{launcher}/fd/{name}", os.O_RDWR)
            if os.pread(fd, 16, 0) == want:
                return fd
            os.close(fd)
    raise AssertionError("no page")


def recorded(gateway, n=20):
    ids = {gateway.chat("gpt-x").headers["x-request-id"] for _ in range(n)}
    wait_for("their records", lambda: ids <= {e.get("request_id") for e in gateway.audit(event="request.complete")}, 15, 0.1)


def captured(gateway, lie):
    """The router writes its page and dies; (boot id before, after, size of the gaps since)."""
    recorded(gateway)
    before, known = last_boot(gateway), len(gateway.audit())
    router, fd = gateway.pids("router")[0], page(gateway)
    halt(router)
    boot, made = struct.unpack("16sQ", os.pread(fd, 24, 0))
    os.pwrite(fd, struct.pack("16sQ", *lie(boot, made)), 0)
    os.close(fd)
    os.kill(router, signal.SIGKILL)
    wait_for("its death", lambda: not is_alive(router))
    wait_for("the next one", lambda: gateway.request("GET", "/readyz", key="").status == 200, 15)
    recorded(gateway)
    missing = sum(e.get("last_seq", e["seq"]) - e["seq"] + 1 for e in gateway.audit()[known:] if e["event"] == "log.gap")
    done = gateway.verify()
    assert done.returncode == 0, done.stdout + done.stderr
    return before, last_boot(gateway), missing


def test_the_truth(gateway):
    before, after, missing = captured(gateway, lambda boot, made: (boot, made))
    assert before == after and missing == 0


@pytest.mark.parametrize("less", [1, 7, None])
def test_less_than_the_log_has(gateway, less):
    """The next one's events would be taken for old ones: it goes on under a name of its own."""
    before, after, _ = captured(gateway, lambda boot, made: (boot, made - less if less else 0))
    assert before != after


def test_more(gateway):
    before, after, missing = captured(gateway, lambda boot, made: (boot, made + 1000))
    assert before == after and missing == 1000


def test_as_many_as_there_can_be(gateway):
    before, after, missing = captured(gateway, lambda boot, made: (boot, MADE_MAX))
    assert before == after and MADE_MAX - 10**6 < missing <= MADE_MAX


@pytest.mark.parametrize("lie", [
    lambda boot, made: (boot, MADE_MAX + 1), lambda boot, made: (boot, 2**64 - 1), lambda boot, made: (bytes(16), made),
])
def test_no_count_at_all(gateway, lie):
    before, after, missing = captured(gateway, lie)
    assert before != after and missing == 0


def test_another_name(gateway):
    """Its own, a dead one's or another producer's: names count with the socket that they come from."""
    dead = gateway.audit(source="router0")[0]["boot"]
    for name in (gateway.audit(source="egress0")[-1]["boot"], dead, "77" * 16):
        captured(gateway, lambda boot, made, name=name: (bytes.fromhex(name), made))


def test_the_page_keeps_its_size(gateway):
    """So that nobody who has it mapped can be given SIGBUS."""
    fd = page(gateway)
    try:
        for size in (0, 1 << 20):
            with pytest.raises(OSError) as refused:
                os.ftruncate(fd, size)
            assert refused.value.errno == errno.EPERM
        with pytest.raises(OSError):
            fcntl.fcntl(fd, F_ADD_SEALS, 0x10)
    finally:
        os.close(fd)
