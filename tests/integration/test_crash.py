# SPDX-License-Identifier: Apache-2.0
"""O-06: kill -9 of each daemon in turn under load. The others live, clients get the documented answer, service comes back."""
import os
import signal
import time

import pytest

from gateway import DAEMONS, is_alive, wait_for
from load import Load

SERVICE_SECONDS = 15


@pytest.fixture(scope="module")
def gateway(new_gateway):
    return new_gateway(settings={"authd": {"guard_email": "flag"}})


def steady(gateway):
    """Twenty good answers in a row."""
    return all(gateway.chat("gpt-x").status == 200 for _ in range(20))


def kill_one(gateway, daemon):
    full = gateway.workers if daemon in ("router", "egress", "classifier") else 1
    wait_for(f"all of {daemon}", lambda: len(gateway.pids(daemon)) == full, SERVICE_SECONDS)
    before = gateway.pids()
    victim = gateway.pids(daemon)[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(f"{daemon} to be started again", lambda: len(gateway.pids(daemon)) == full and victim not in gateway.pids(daemon),
             SERVICE_SECONDS)
    return victim, before


@pytest.mark.parametrize("daemon", DAEMONS)
def test_kill(gateway, daemon):
    made = gateway.make_key(name=f"before-{daemon}")
    with Load(gateway) as load:
        wait_for("load", lambda: load.outcomes["200"] > 20)
        victim, before = kill_one(gateway, daemon)
        wait_for("service", lambda: steady(gateway), SERVICE_SECONDS, 0.2)
        seen = load.outcomes["200"]
        wait_for("the load to be served", lambda: load.outcomes["200"] > seen + 20)
    assert not load.wrong, load.outcomes
    dead = [f"{name} {pid}" for pid, name in before.items() if pid != victim and not is_alive(pid)]
    assert not dead, "others died with it"
    done = gateway.verify()
    assert done.returncode == 0, done.stdout + done.stderr
    assert gateway.audit(event="key.create", resource=made["id"]), "an acknowledged record is there"


def test_acknowledged_records_survive_auditd(gateway):
    """Keys made while auditd is killed again and again: whichever was acknowledged is in the log."""
    acknowledged = []
    for _ in range(4):
        for _ in range(3):
            done = gateway.cli("key", "create", "--json", check=False)
            if done.returncode == 0:
                acknowledged.append(done.stdout)
        kill_one(gateway, "auditd")
    wait_for("service", lambda: gateway.cli("key", "create", check=False).returncode == 0, SERVICE_SECONDS)
    created = {e["resource"] for e in gateway.audit(event="key.create")}
    assert acknowledged
    for made in acknowledged:
        import json  # pylint: disable=import-outside-toplevel
        assert json.loads(made)["id"] in created
    assert gateway.verify().returncode == 0


def test_data_records_survive_or_are_declared_missing(gateway):
    """L-04: after auditd was killed under load, each good answer has its record, or a gap record says otherwise."""
    with Load(gateway) as load:
        wait_for("load", lambda: load.outcomes["200"] > 20)
        kill_one(gateway, "auditd")
        seen = load.outcomes["200"]
        wait_for("more load", lambda: load.outcomes["200"] > seen + 50, SERVICE_SECONDS)
    assert not load.wrong
    wanted = set(load.done_ids)

    def missing():
        return wanted - {e.get("request_id") for e in gateway.audit() if e["event"].startswith("request.")}

    deadline = time.monotonic() + 10
    while missing() and time.monotonic() < deadline:
        time.sleep(0.2)
    if missing():
        assert gateway.audit(event="log.gap")


def test_all_at_once(gateway):
    for pid in gateway.pids():
        os.kill(pid, signal.SIGKILL)
    wait_for("all to be back", lambda: set(gateway.pids().values()) == set(DAEMONS), SERVICE_SECONDS)
    wait_for("service", lambda: steady(gateway), 2 * SERVICE_SECONDS, 0.2)
    assert gateway.verify().returncode == 0


def test_a_frozen_daemon_is_not_waited_for_without_end(gateway):
    """SIGSTOP is worse than death: the socket stays. Every wait has a deadline."""
    pid = gateway.pids("authd")[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        reply = gateway.chat("gpt-x", timeout=30)
        assert reply.status == 503 and "retry-after" in reply.headers
        assert time.monotonic() - began < 10
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("service", lambda: steady(gateway), SERVICE_SECONDS, 0.2)
