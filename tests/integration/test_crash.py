# SPDX-License-Identifier: Apache-2.0
"""O-06: kill -9 of each daemon in turn under load. The others live, clients get the documented answer, service comes back."""
import json
import os
import signal
import threading
import time

import pytest

from gateway import DAEMONS, SLOWER, frozen, is_alive, program_for_all, scratch, wait_for
from ipc import metrics
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
    assert daemon == "router" or not load.without_a_word(), load.outcomes
    dead = [f"{name} {pid}" for pid, name in before.items() if pid != victim and not is_alive(pid)]
    assert not dead, "others died with it"
    done = gateway.verify()
    assert done.returncode == 0, done.stdout + done.stderr
    assert gateway.audit(event="key.create", resource=made["id"]), "an acknowledged record is there"


def test_an_egress_that_starts_anew_makes_no_grant_stale_to_a_client(gateway):
    """A lane that is away is 503; one that is back serves what authd had permitted before."""
    with Load(gateway, threads=8) as load:
        for _ in range(6):
            seen = load.outcomes["200"]
            wait_for("load", lambda s=seen: load.outcomes["200"] > s + 20, SERVICE_SECONDS)
            kill_one(gateway, "egress")
    assert not load.wrong, load.outcomes
    assert "503 grant_stale" not in load.outcomes, load.outcomes


@pytest.fixture(scope="module")
def one_lane(new_gateway):
    return new_gateway(workers=1)


def test_what_was_permitted_before_an_egress_died_is_renewed(one_lane):
    """The egress is back, and the core, which alone can give it a key for grants, is not there yet."""
    assert any(all_are_renewed(one_lane) for _ in range(5))


def all_are_renewed(gateway):
    """Eight requests; False when the machine took longer than an egress waits for a key (keyvault/egress/exchange.h)."""
    key = gateway.make_key(rpm=100)["key"]
    assert gateway.chat("gpt-x", key=key).headers["x-ratelimit-remaining"] == "99"
    core, replies, before = gateway.pids("keyvault")[0], [], metrics(gateway, "authd")["bulkhead_renewals_total"]
    with frozen(core):
        kill_one(gateway, "egress")
        wait_for("the lane", lambda: gateway.request("GET", "/readyz", key="").status == 200)
        threads = [threading.Thread(target=lambda: replies.append(gateway.chat("gpt-x", key=key))) for _ in range(8)]
        late = time.monotonic() + 1
        for thread in threads:
            thread.start()
        wait_for("all to wait for a key", lambda: metrics(gateway, "egress0")["bulkhead_egress_exchanges"] == 8 or
                 time.monotonic() > late, step=0.005)
    for thread in threads:
        thread.join()
    if time.monotonic() > late and {reply.status for reply in replies} != {200}:
        assert {reply.json()["error"]["code"] for reply in replies if reply.status != 200} == {"grant_stale"}
        return False
    assert [reply.status for reply in replies] == [200] * 8, [reply.body for reply in replies]
    assert metrics(gateway, "authd")["bulkhead_renewals_total"] - before == 8
    assert gateway.chat("gpt-x", key=key).headers["x-ratelimit-remaining"] == "90", "each was counted once"
    return True


def test_a_key_for_grants_that_does_not_come_is_not_waited_for_without_end(one_lane):
    core = one_lane.pids("keyvault")[0]
    with frozen(core):
        kill_one(one_lane, "egress")
        wait_for("the lane", lambda: one_lane.request("GET", "/readyz", key="").status == 200)
        began = time.monotonic()
        reply = one_lane.chat("gpt-x")
        assert reply.status == 503 and reply.json()["error"]["code"] == "grant_stale" and "retry-after" in reply.headers
        assert time.monotonic() - began < 5 * SLOWER
    wait_for("service", lambda: one_lane.chat("gpt-x").status == 200, SERVICE_SECONDS)


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
        assert json.loads(made)["id"] in created
    assert gateway.verify().returncode == 0


def test_data_records_survive(gateway):
    """L-04: after auditd was killed under load, each good answer has both its records: there was room to keep them."""
    before = gateway.audit(event="log.gap")  # what those had who were killed above
    with Load(gateway) as load:
        wait_for("load", lambda: load.outcomes["200"] > 20)
        kill_one(gateway, "auditd")
        seen = load.outcomes["200"]
        wait_for("more load", lambda: load.outcomes["200"] > seen + 50, SERVICE_SECONDS)
    assert not load.wrong
    wanted = set(load.done_ids)
    for event in ("request.complete", "egress.use"):
        wait_for(event, lambda event=event: wanted <= {e["request_id"] for e in gateway.audit(event=event)}, step=0.2)
    assert gateway.audit(event="log.gap") == before


def test_all_at_once(gateway):
    for pid in gateway.pids():
        os.kill(pid, signal.SIGKILL)
    wait_for("all to be back", lambda: set(gateway.pids().values()) == set(DAEMONS), SERVICE_SECONDS)
    wait_for("service", lambda: steady(gateway), 2 * SERVICE_SECONDS, 0.2)
    assert gateway.verify().returncode == 0


def test_a_frozen_daemon_is_not_waited_for_without_end(gateway):
    """SIGSTOP is worse than death: the socket stays. Every wait has a deadline."""
    pid = gateway.pids("authd")[0]
    with frozen(pid):
        began = time.monotonic()
        reply = gateway.chat("gpt-x", timeout=30)
        assert reply.status == 503 and "retry-after" in reply.headers
        assert time.monotonic() - began < 10
    wait_for("service", lambda: steady(gateway), SERVICE_SECONDS, 0.2)


def test_a_classifier_that_does_not_come_to_an_end_is_killed(new_gateway):
    """Its own watchdog does it, the launcher starts another: the real program, linked with a defect."""
    with scratch() as folder:
        program = program_for_all(folder, classifier="hanging_classifier")
        gateway = new_gateway(workers=1, settings={"authd": {"guard_email": "flag"}}, program=program)
        victim = gateway.pids("classifier")[0]
        reply = gateway.chat("gpt-x", text="please hang")
        assert reply.status == 503 and reply.json()["error"]["code"] == "classifier_unavailable"
        wait_for("another", lambda: gateway.pids("classifier") not in ([], [victim]), SERVICE_SECONDS)
        wait_for("service", lambda: steady(gateway), SERVICE_SECONDS, 0.2)
    assert "classifier0" in gateway.log() and "killed by SIGALRM" in gateway.log()
