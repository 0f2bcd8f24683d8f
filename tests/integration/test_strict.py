# SPDX-License-Identifier: Apache-2.0
"""L-02: without auditd requests go on, or in strict mode are refused: no provider key is used whose record is not durable first."""
import os
import signal

import pytest

from gateway import halt, wait_for
from load import Load
from test_crash import kill_one, steady


@pytest.fixture(scope="module")
def strict(new_gateway):
    return new_gateway(settings={"auditd": {"mode": "strict"}})


@pytest.fixture(scope="module")
def default(new_gateway):
    return new_gateway()


def provider_saw(gateway):
    return len(gateway.provider.journal())


def frozen(gateway):
    pid = gateway.pids("auditd")[0]
    halt(pid)
    return pid


def test_the_record_comes_first(strict):
    request_id = strict.chat("gpt-x").headers["x-request-id"]
    events = wait_for("all records", lambda: (e := strict.audit(request_id=request_id)) and len(e) == 3 and e)
    assert [e["event"] for e in events if e["event"].startswith("egress")] == ["egress.begin", "egress.use"]


def test_kill_under_load_strict(strict):
    """Whatever reached the provider, its record was there before; who was refused was told so."""
    strict.provider.reset()
    with Load(strict) as load:
        for _ in range(3):
            seen = load.outcomes["200"]
            wait_for("load", lambda s=seen: load.outcomes["200"] > s + 20, 15)
            kill_one(strict, "auditd")
        wait_for("service", lambda: steady(strict), 15, 0.2)
    assert set(load.outcomes) <= {"200", "503 audit_unavailable"} and not load.wrong, load.outcomes
    began = {e["request_id"] for e in strict.audit(event="egress.begin")}
    assert set(load.done_ids) <= began
    used = [e["request_id"] for e in strict.audit(event="egress.use")]
    assert set(used) <= began and provider_saw(strict) <= len(began)
    assert strict.verify().returncode == 0


def test_a_log_that_does_not_answer_strict(strict):
    pid = frozen(strict)
    try:
        before = provider_saw(strict)
        reply = strict.chat("gpt-x", timeout=15)
        assert reply.status == 503 and reply.json()["error"]["code"] == "audit_unavailable" and "retry-after" in reply.headers
        assert provider_saw(strict) == before, "no key was used"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("service", lambda: steady(strict), 15, 0.2)


def test_a_client_that_does_not_wait_strict(strict):
    """The record is asked for, the client goes, the answer comes: to nobody."""
    pid = frozen(strict)
    try:
        for _ in range(5):
            with pytest.raises(OSError):
                strict.chat("gpt-x", timeout=0.2)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("service", lambda: steady(strict), 15, 0.2)


@pytest.fixture(scope="module")
def some(new_gateway):
    return new_gateway(settings={"auditd": {"strict_tenants": ["bank", "clinic"]}})


def test_strict_for_some_tenants(some):
    """The tenant is the grant's, so no router can choose it. A name that only begins like one of them is another."""
    keys = {tenant: some.make_key(tenant=tenant)["key"] for tenant in ("bank", "clinic", "ban", "clinics", "shop")}
    ids = {tenant: some.chat("gpt-x", key=key).headers["x-request-id"] for tenant, key in keys.items()}
    strict = {"bank", "clinic"}
    wait_for("the records", lambda: {e["request_id"] for e in some.audit(event="egress.use")} >= set(ids.values()))
    assert {e["request_id"] for e in some.audit(event="egress.begin")} == {ids[tenant] for tenant in strict}
    pid = frozen(some)
    try:
        before = provider_saw(some)
        for tenant, key in keys.items():
            reply = some.chat("gpt-x", key=key, timeout=15)
            assert reply.status == (503 if tenant in strict else 200), tenant
            assert reply.status == 200 or reply.json()["error"]["code"] == "audit_unavailable"
        assert provider_saw(some) - before == len(keys) - len(strict), "no key of theirs was used"
    finally:
        os.kill(pid, signal.SIGCONT)


def test_kill_under_load_default(default):
    """Nobody notices, and every record comes later."""
    with Load(default) as load:
        for _ in range(3):
            seen = load.outcomes["200"]
            wait_for("load", lambda s=seen: load.outcomes["200"] > s + 20, 15)
            kill_one(default, "auditd")
    assert set(load.outcomes) == {"200"} and not load.wrong, load.outcomes
    wanted = set(load.done_ids)
    wait_for("the records", lambda: wanted <= {e["request_id"] for e in default.audit(event="egress.use")}, 15, 0.2)
    assert not default.audit(event="egress.begin") and not default.audit(event="log.gap")


def test_a_log_that_does_not_answer_default(default):
    pid = frozen(default)
    try:
        assert all(default.chat("gpt-x").status == 200 for _ in range(20))
    finally:
        os.kill(pid, signal.SIGCONT)
