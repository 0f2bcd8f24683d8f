# SPDX-License-Identifier: Apache-2.0
"""L-04: what a producer may say to the log, and what becomes of what it leaves out. Played in place of router0."""
import pytest

from gateway import wait_for
from ipc import in_place_of

REQUEST_COMPLETE, LOG_START, LOG_GAP = 1, 64, 66


def event(seq, request_id="", code=REQUEST_COMPLETE):
    return {"seq": seq, "time_ns": 1, "code": code, "actor": "", "tenant": "", "address": "", "resource": "",
            "request_id": request_id, "status": 200, "reason": "", "model": "", "provider": "", "credential": "",
            "tokens_in": 0, "tokens_out": 0, "latency_us": 0, "bytes": 0, "digest": b"", "subject": "", "sealed": b"",
            "cost_nano": 0}


@pytest.fixture
def peer(gateway):
    with in_place_of(gateway, "auditd", "router0") as p:
        assert p.expect("RESUME")["last_seq"] == 0
        yield p


def of_boot(gateway, request_id):
    """(event, seq, last_seq) of everything in the log from the process that recorded this request."""
    events = gateway.audit()
    boot = next(e["boot"] for e in events if e.get("request_id") == request_id)
    return [(e["event"], e["seq"], e.get("last_seq", e["seq"])) for e in events if e["boot"] == boot]


def recorded(peer, seq):
    while peer.expect("RECORDED")["last_seq"] < seq:
        pass


def test_a_jump_becomes_a_gap(gateway, peer):
    peer.send("EVENT", 0, **event(3, "jump-3"))
    peer.send("EVENT", 0, **event(4, "jump-4"))
    peer.send("EVENT", 0, **event(9, "jump-9"))
    recorded(peer, 9)
    assert of_boot(gateway, "jump-3") == [("log.gap", 1, 2), ("request.complete", 3, 3), ("request.complete", 4, 4),
                                          ("log.gap", 5, 8), ("request.complete", 9, 9)]


def test_what_was_said_twice_is_recorded_once(gateway, peer):
    for seq in (1, 2, 1, 2, 2, 3):
        peer.send("EVENT", 0, **event(seq, f"twice-{seq}"))
    recorded(peer, 3)
    assert of_boot(gateway, "twice-1") == [("request.complete", n, n) for n in (1, 2, 3)]


def test_a_gap_is_recorded_as_told(gateway, peer):
    peer.send("EVENT", 0, **event(1, "told-1"))
    peer.send("GAP", 0, first_seq=2, last_seq=7, cause=0)
    peer.send("GAP", 0, first_seq=2, last_seq=7, cause=0)
    peer.send("GAP", 0, first_seq=5, last_seq=9, cause=2)
    peer.send("EVENT", 0, **event(10))
    recorded(peer, 10)
    assert of_boot(gateway, "told-1") == [("request.complete", 1, 1), ("log.gap", 2, 7), ("log.gap", 8, 9),
                                          ("request.complete", 10, 10)]


@pytest.mark.parametrize("name, fields", [
    ("EVENT", event(1, code=LOG_START)), ("EVENT", event(1, code=LOG_GAP)), ("EVENT", event(1, code=1000)),
    ("GAP", {"first_seq": 9, "last_seq": 8, "cause": 0}), ("GAP", {"first_seq": 1, "last_seq": 1, "cause": 9}),
])
def test_what_only_auditd_may_say(gateway, peer, name, fields):
    before = len(gateway.audit(event="log.start"))
    peer.send(name, 0, **fields)
    assert peer.hung_up()
    assert len(gateway.audit(event="log.start")) == before


def test_the_log_is_good_after_all_this(gateway):
    request = gateway.chat("gpt-x").headers["x-request-id"]
    wait_for("the router's own records to come through again", lambda: gateway.audit(request_id=request))
    done = gateway.verify()
    assert done.returncode == 0, done.stderr


def test_no_count_is_less_than_nothing(new_gateway):
    """What a captured router claims, as what programs are told of it."""
    gateway = new_gateway(workers=1)
    with in_place_of(gateway, "auditd", "router0") as peer:
        peer.expect("RESUME")
        peer.send("EVENT", 0, **{**event(1, "most"), "latency_us": 2**64 - 1, "cost_nano": 2**64 - 1})
        peer.send("GAP", 0, first_seq=2, last_seq=2**64 - 1, cause=0)
        recorded(peer, 2**64 - 1)
    gaps = gateway.cli_json("audit", "gaps")
    stats = gateway.cli_json("audit", "stats")
    said = {"lost": gaps["lost"], **{k: gaps["records"][-1][k] for k in ("lost", "last_seq")}, "verified": gateway.cli_json("audit", "verify")["lost"],
            "cost": stats["cost_nano"], **stats["latency_us"]}
    assert all(n > 0 for n in said.values()) and said["cost"] == 2**63 - 1, said
