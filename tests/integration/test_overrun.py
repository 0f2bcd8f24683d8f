# SPDX-License-Identifier: Apache-2.0
"""L-04: producers that say ten times as much as anybody keeps: nobody waits, and every event is in the log or in a gap, counted."""
import collections
import os
import signal

import pytest

from gateway import frozen, wait_for
from producers import producers

RING = 4096  # tests/support/audit_producer.c


@pytest.fixture(scope="module")
def four():
    with producers() as p:
        yield p


def by_boot(gateway):
    """For each producing process: its events in the log, those that gaps cover, and the causes of those."""
    there, lost, causes = collections.Counter(), collections.Counter(), collections.defaultdict(set)
    for e in gateway.audit():
        if e["event"] == "log.gap":
            lost[e["boot"]] += e.get("last_seq", e["seq"]) - e["seq"] + 1
            causes[e["boot"]].add(e["reason"])
        else:
            there[e["boot"]] += 1
    return there, lost, causes


def test_ten_times_too_much(four):
    gateway = four.gateway
    auditd = gateway.pids("auditd")[0]
    assert all(r["refused"] == 0 for r in four.results(four.order(100)))
    before, lost, _ = by_boot(gateway)
    assert not lost
    with frozen(auditd):
        run = four.order(10 * RING)
        wait_for("all to be given", lambda: all(metric_given(four, run, w) for w in range(4)), 30, 0.05)
    results = four.results(run)
    there, lost, causes = by_boot(gateway)
    for r in results:
        boot = r["boot"]
        assert lost[boot] >= 8 * RING, "what found no room"
        assert there[boot] - before[boot] + lost[boot] == r["given"] + r["tries"], "not one more, not one less"
        assert causes[boot] == {"overflow"}
    done = gateway.verify()
    assert done.returncode == 0, done.stderr


def metric_given(four, run, worker):
    """The producer has said all it had to say while auditd stood still: nobody waited."""
    return (four.folder / f"given.{worker}.{run}").exists()


def test_killed_meanwhile(four):
    """The same with auditd killed: what was given to it before its death and not acknowledged is given again."""
    gateway = four.gateway
    before, lost_before, _ = by_boot(gateway)
    run = four.order(8 * RING, 2 * RING)  # for four seconds
    for _ in range(3):
        pid = wait_for("auditd", lambda: gateway.pids("auditd"))[0]
        os.kill(pid, signal.SIGKILL)
        wait_for("another", lambda p=pid: gateway.pids("auditd") not in ([], [p]), 15)
    results = four.results(run)
    there, lost, _ = by_boot(gateway)
    for r in results:
        boot = r["boot"]
        said = there[boot] - before[boot] + lost[boot] - lost_before[boot]
        assert r["given"] + 1 <= said <= r["given"] + r["tries"], r
    done = gateway.verify()
    assert done.returncode == 0, done.stderr
