# SPDX-License-Identifier: Apache-2.0
"""L-05: personal fields are sealed under keys of their subjects, read by nobody unrecorded, and gone when the key is."""
import contextlib
import json
import os
import sqlite3

import pytest

from gateway import halt, wait_for

ALICE, BOB, STRANGER = "203.0.113.77", "2001:db8:77::b0b", "198.51.100.66"
WELL_FORMED = "bh_sk_u42glmv3rm2xj44gfjqvu2mg4qw4je2psiazvz7vfxwzcii"


@pytest.fixture(scope="module")
def private(new_gateway):
    return new_gateway(settings={"router": {"trusted_proxies": "127.0.0.0/8"}}, workers=1)


def chat(gateway, address, key=None, model="gpt-x", **more):
    return gateway.chat(model, key=key, headers={"x-forwarded-for": address}, **more)


def receipt(gateway, address, request_id="no-such-request", key=None):
    return gateway.request("GET", f"/v1/receipts/{request_id}", key=key, headers={"x-forwarded-for": address})


def record(gateway, reply):
    match = {"request_id": reply.headers["x-request-id"]}
    found = wait_for("the record", lambda: [e for e in gateway.audit(**match) if e["event"].startswith("request.")])
    assert len(found) == 1
    return found[0]


def reveal(gateway, *events):
    lines = gateway.cli("audit", "reveal", *[str(e["index"]) for e in events], "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def everything(folder):
    for where, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(where, name)
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    yield path, f.read()


def test_the_address_is_revealed_and_who_asked_is_recorded(private):
    events = [record(private, chat(private, address)) for address in (ALICE, BOB, ALICE)]
    assert all("address" not in e for e in events)
    assert len({e["subject"] for e in events}) == 1 and events[0]["subject"].startswith("sub_")
    assert events[0]["sealed"] == events[2]["sealed"] != events[1]["sealed"]
    assert [(r["index"], r["address"]) for r in reveal(private, *events)] == \
        [(e["index"], a) for e, a in zip(events, (ALICE, BOB, ALICE))]
    seen = private.audit(event="audit.reveal")[-1]
    assert seen["actor"] == f"uid:{os.getuid()}" and seen["subject"] == events[0]["subject"]
    assert seen["resource"] == str(events[0]["index"]) and seen["bytes"] == 3


def test_whoever_has_no_key_is_nobody_in_particular(private):
    for key in (WELL_FORMED, "bh_sk_" + "b" * 40):
        for reply in (chat(private, STRANGER, key=key), receipt(private, STRANGER, key=key)):
            event = record(private, reply)
            assert event["subject"] == "sub_unknown" and event["event"] == "request.refuse"
            assert reveal(private, event)[0]["address"] == STRANGER


def test_every_kind_of_answer_has_its_subject(private):
    """Permitted, denied for what it asks, a list of models, a receipt or none: whoever's key it is."""
    answered = chat(private, ALICE)
    subject = record(private, answered)["subject"]
    has_receipt = wait_for("the receipt", lambda: (r := receipt(private, ALICE, answered.headers["x-request-id"])).status == 200 and r)
    scoped = private.make_key(models="other-*", subject=subject)
    for reply in (chat(private, ALICE, key=scoped["key"]), chat(private, ALICE, model="wrong-ca:x"),
                  private.request("GET", "/v1/models", headers={"x-forwarded-for": ALICE}), has_receipt, receipt(private, ALICE)):
        event = record(private, reply)
        assert event["subject"] == subject
        assert reveal(private, event)[0]["address"] == ALICE


def test_two_keys_of_one_tenant_are_two_subjects_unless_told_otherwise(private):
    first, second = private.make_key(), private.make_key()
    assert first["subject"] != second["subject"]
    third = private.make_key(subject=first["subject"])
    assert third["subject"] == first["subject"]
    for args in (("--tenant", "other", "--subject", first["subject"]), ("--tenant", "acme", "--subject", "sub_nobody")):
        assert private.cli("key", "create", *args, check=False).returncode == 1
    listed = {k["id"]: k["subject"] for k in private.cli_json("key", "list")}
    assert listed[first["id"]] == listed[third["id"]] == first["subject"]


def test_nothing_personal_in_clear_anywhere(private):
    """Requests that are answered, refused, cut; then every byte that the gateway has written."""
    key = private.make_key(name="Alice")["key"]
    assert chat(private, ALICE, text="a very unusual sentence").status == 200
    assert chat(private, ALICE, model="closed:x", text="a very unusual sentence").status == 502
    assert chat(private, STRANGER, key="").status == 401
    last = record(private, chat(private, ALICE, key=key))
    private.cli("audit", "verify")
    assert last["subject"] not in ("", "sub_unknown")
    canaries = [ALICE.encode(), bytes([203, 0, 113, 77]), STRANGER.encode(), bytes([198, 51, 100, 66]), b"very unusual",
                private.key.encode(), key.encode(), private.provider.key.encode()]
    found = [(path, canary) for path, data in everything(private.state) for canary in canaries if canary in data]
    assert not found
    assert not [canary for canary in canaries if canary in private.log().encode()]


def database(gateway):
    return sqlite3.connect(f"file:{os.path.join(gateway.state, 'authd', 'authd.db')}?mode=ro", uri=True)


def test_an_erased_subject_cannot_be_revealed(private):
    mine, others = private.make_key(), private.make_key()
    events = [record(private, chat(private, ALICE, key=k["key"])) for k in (mine, others)]
    said = private.cli_json("audit", "erase", "--subject", mine["subject"])
    assert said["subject"] == mine["subject"]
    answers = reveal(private, *events)
    assert [(a["address"], a["why"]) for a in answers] == [("", "erased"), (ALICE, "")]
    erased = private.audit(event="audit.erase")
    assert [e["subject"] for e in erased] == [mine["subject"]]

    later = record(private, chat(private, ALICE, key=mine["key"]))
    assert later["subject"] == mine["subject"] and "sealed" not in later, "nothing personal of it is recorded any more"
    assert "already" in private.cli("audit", "erase", "--subject", mine["subject"]).stdout.decode()
    assert private.cli("key", "create", "--tenant", "acme", "--subject", mine["subject"], check=False).returncode == 1


def test_proofs_survive_an_erasure(private):
    mine = private.make_key()
    event = record(private, chat(private, ALICE, key=mine["key"]))
    before = wait_for("a checkpoint", lambda: private.cli("audit", "prove", str(event["index"]), check=False).stdout)
    private.cli("audit", "erase", "--subject", mine["subject"])
    path = os.path.join(private.folder, "proof")
    with open(path, "wb") as f:
        f.write(before)
    vkey = private.cli_json("vault", "status")["vkey"]
    private.cli("audit", "check-proof", path, "--vkey", vkey)
    assert private.verify().returncode == 0


def test_what_cannot_be_erased(private):
    for subject in ("sub_nobody", "sub_unknown"):
        assert private.cli("audit", "erase", "--subject", subject, check=False).returncode == 1
    assert private.cli("audit", "erase", check=False).returncode != 0


def test_without_the_log_nothing_is_revealed_or_erased(private):
    mine = private.make_key()
    event = record(private, chat(private, ALICE, key=mine["key"]))
    args = ("audit", "erase", "--subject", mine["subject"])
    halt(private.pids("auditd")[0])
    try:
        done = private.cli(*args, check=False)
        assert done.returncode == 1 and b"nothing was done" in done.stderr
    finally:
        os.kill(private.pids("auditd")[0], 18)  # SIGCONT
    assert reveal(private, event)[0]["address"] == ALICE


def test_it_survives_a_restart(private):
    events = [record(private, chat(private, ALICE))]
    private.stop()
    with contextlib.closing(database(private)) as db:
        assert db.execute("SELECT count(*) FROM subjects WHERE erased > 0 AND chain IS NOT NULL").fetchone() == (0,)
    private.start()
    wait_for("the vault to be open", lambda: private.chat("gpt-x").status == 200)
    events.append(record(private, chat(private, ALICE)))
    assert events[0]["subject"] == events[1]["subject"] and events[0]["sealed"] != events[1]["sealed"]
    assert [a["address"] for a in reveal(private, *events)] == [ALICE, ALICE]


def test_retention(private):
    said = private.cli_json("audit", "retention")
    assert (said["keep_personal"], said["keep_records"], said["legal_hold"]) == ("90d", "forever", False)
    assert private.cli_json("audit", "retention", "--now")["text"] == "nothing has expired"
    assert not private.audit(event="audit.expire")


def test_legal_hold(new_gateway):
    held = new_gateway(settings={"auditd": {"legal_hold": True}}, workers=1)
    mine = held.make_key()
    event = record(held, held.chat("gpt-x", key=mine["key"]))
    done = held.cli("audit", "erase", "--subject", mine["subject"], check=False)
    assert done.returncode == 1 and b"legal_hold" in done.stderr
    assert reveal(held, event)[0]["address"] == "127.0.0.1"
    assert not held.audit(event="audit.erase")
    assert held.cli("audit", "retention", "--now", check=False).returncode == 1


