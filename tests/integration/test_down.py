# SPDX-License-Identifier: Apache-2.0
"""O-06: what clients get while a daemon is dead. The launcher is frozen meanwhile, so that it stays dead: nothing here is a matter of
luck, as it is under load (test_crash.py)."""
import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from gateway import SLOWER, halt, wait_for
from ipc import metrics

SERVICE_SECONDS = 15


@pytest.fixture(scope="module")
def gateway(new_gateway):
    return new_gateway(settings={"authd": {"guard_email": "flag"}})


@pytest.fixture(scope="module")
def unguarded(new_gateway):
    return new_gateway()


def steady(gateway):
    return all(gateway.chat("gpt-x").status == 200 for _ in range(20))


@contextlib.contextmanager
def nobody_restarts(gateway):
    """Service is back at the end, of itself."""
    halt(gateway.process.pid)
    try:
        yield
    finally:
        for pid in (gateway.process.pid, *gateway.pids()):
            os.kill(pid, signal.SIGCONT)
    wait_for("service", lambda: len(gateway.pids()) == 4 + 3 * gateway.workers and steady(gateway), SERVICE_SECONDS, 0.2)
    assert gateway.verify().returncode == 0


def kill_all(gateway, daemon):
    for pid in gateway.pids(daemon):
        os.kill(pid, signal.SIGKILL)
    wait_for(f"{daemon} to be gone", lambda: not gateway.pids(daemon))


def assert_refused(reply, code):
    """The documented answer: 503, why, and when to come back."""
    assert (reply.status, reply.json()["error"]["code"]) == (503, code)
    assert int(reply.headers["retry-after"]) >= 1 and reply.headers["x-request-id"]


DOWN = {"authd": "auth_unavailable", "egress": "egress_unavailable", "classifier": "classifier_unavailable", "keyvault": "grant_stale"}


@pytest.mark.parametrize("daemon", DOWN)
def test_refused_while_it_is_dead(gateway, daemon):
    with nobody_restarts(gateway):
        kill_all(gateway, daemon)
        took = []
        for _ in range(6):
            began = time.monotonic()
            assert_refused(gateway.chat("gpt-x"), DOWN[daemon])
            took.append(time.monotonic() - began)
        assert min(took) < 2 * SLOWER and max(took) < 10 * SLOWER, took
        assert_refused(gateway.chat("gpt-x", stream=True), DOWN[daemon])
        if daemon != "keyvault":  # the lane is up; what it permits is found to be stale
            assert_refused(gateway.request("GET", "/readyz", key=""), DOWN[daemon])


def test_ready_without_a_classifier_that_nobody_asks(unguarded):
    with nobody_restarts(unguarded):
        kill_all(unguarded, "classifier")
        for _ in range(6):
            assert unguarded.chat("gpt-x").status == 200
            assert unguarded.request("GET", "/readyz", key="").status == 200


def test_without_the_dialer_there_are_no_new_connections(gateway):
    """Those that are open serve on."""
    assert gateway.chat("gpt-x").status == 200
    with nobody_restarts(gateway):
        kill_all(gateway, "dialer")
        assert {gateway.chat("gpt-x").status for _ in range(8)} <= {200, 503}
        assert_refused(gateway.chat("wrong-ca:x"), "egress_unavailable")


def test_without_the_log_requests_go_on(gateway):
    """And are in it afterwards; what an operator changes waits for the log, and is refused."""
    last = gateway.chat("gpt-x").headers["x-request-id"]
    wait_for("what came before", lambda: len(gateway.audit(request_id=last)) == 2)
    before = gateway.audit(event="log.gap")  # what those had with them who were killed above
    with nobody_restarts(gateway):
        kill_all(gateway, "auditd")
        ids = {gateway.chat("gpt-x").headers["x-request-id"] for _ in range(20)}
        done = gateway.cli("key", "create", check=False)
        assert done.returncode == 1 and b"audit_unavailable" in done.stderr
    for event in ("request.complete", "egress.use"):
        wait_for(event, lambda event=event: ids <= {e["request_id"] for e in gateway.audit(event=event)})
    assert gateway.audit(event="log.gap") == before


def test_an_operator_waits_for_the_log(gateway):
    """Not for long, and only where nothing has happened yet: daemons that have just started meet the log a moment later."""
    with nobody_restarts(gateway):
        kill_all(gateway, "auditd")
        asking = subprocess.Popen([gateway.program, "key", "create", "-c", gateway.config], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, cwd=gateway.folder)
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(0.5)
    assert asking.wait(30 * SLOWER) == 0, asking.stderr.read()
    asking.stderr.close()


def waiting(gateway, worker, state):
    return sum(n for name, n in metrics(gateway, f"router{worker}").items() if f'state="{state}"' in name)


IN_HAND = {"authd": ("gpt-x", "AUTHORIZE", "auth_unavailable"), "classifier": ("gpt-x", "SCAN", "classifier_unavailable"),
           "egress": ("gpt-x", "OPEN", "egress_unavailable"), "dialer": ("wrong-ca:x", "OPEN", "egress_unavailable")}


@pytest.mark.parametrize("daemon", IN_HAND)
def test_what_it_had_in_hand_is_answered_at_once(gateway, daemon):
    """Frozen first, so that a request waits for it; its death ends the wait, not a deadline: the shortest of them is of 2 s."""
    assert any(seconds_after_its_death(gateway, daemon) < 1 * SLOWER for _ in range(3)), "a machine may be slow once"


def seconds_after_its_death(gateway, daemon):
    model, state, code = IN_HAND[daemon]
    replies = []
    with nobody_restarts(gateway):
        for pid in gateway.pids(daemon):
            halt(pid)
        client = threading.Thread(target=lambda: replies.append(gateway.chat(model)))
        client.start()
        wait_for("the request to wait", lambda: any(waiting(gateway, w, state) for w in range(gateway.workers)))
        began = time.monotonic()
        kill_all(gateway, daemon)
        client.join()
        seconds = time.monotonic() - began
        assert_refused(replies[0], code)
    return seconds


def last_of(events):
    """Of a stream that is cut: the end of its chunks never comes, so that nobody takes it for complete."""
    last = None
    with pytest.raises(http.client.IncompleteRead):
        for last in events:
            pass
    return last


@pytest.mark.parametrize("daemon", ["egress", "authd", "keyvault", "dialer", "auditd", "classifier"])
def test_streams_in_flight(gateway, daemon):
    """Without an egress they are cut, and say so. Whoever else dies, they go on."""
    streams = [gateway.stream("test:slow:50:2000") for _ in range(3 * gateway.workers)]
    events = [stream.events() for stream in streams]
    for each in events:
        next(each)
    with nobody_restarts(gateway):
        kill_all(gateway, daemon)
        if daemon == "egress":
            for each in events:
                assert json.loads(last_of(each))["error"]["code"] == "egress_unavailable"
        else:
            for each in events:
                assert all("error" not in json.loads(next(each)) for _ in range(10))
        for stream in streams:
            stream.close()
