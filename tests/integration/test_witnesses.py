# SPDX-License-Identifier: Apache-2.0
"""L-03: witnesses elsewhere cosign the log's checkpoints, by C2SP's protocol; what they cosigned is what a policy asks for."""
import os
import pathlib
import shutil
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs import make_ca, make_server
from gateway import scratch, wait_for
from log_copy import copy_log
from witness import Refusal, Witness

INTERVAL_MS = 200


def checkpoint(gateway):
    with open(os.path.join(gateway.state, "auditd", "checkpoint"), encoding="utf-8") as f:
        return f.read()


@pytest.fixture(scope="module")
def gateway(new_gateway):
    """The policy names witnesses that are not there yet: their keys need the log's, which needs the gateway."""
    with scratch() as folder:
        ca = make_ca(folder, "ca")
        cert = make_server(folder, "witness", "localhost", ca)
        policy = pathlib.Path(folder, "policy")
        policy.write_text("quorum none\n")
        made = new_gateway(workers=1, settings={"shipper": {"witnesses": str(policy), "witness_ms": INTERVAL_MS, "witness_ca_file": ca[0]}})
        made.policy, made.cert = policy, cert
        with open(os.path.join(made.state, "auditd", "vkey"), encoding="utf-8") as f:
            made.vkey = f.read().strip()
        yield made


@pytest.fixture
def witnesses(gateway):
    """Three, the second over TLS; the quorum is two of them. The shipper starts anew with the policy."""
    with Witness("witness.test/one", gateway.vkey) as one, Witness("witness.test/two", gateway.vkey, gateway.cert) as two, \
            Witness("witness.test/three", gateway.vkey) as three:
        restart(gateway, [one, two, three], "group enough 2 w0 w1 w2\nquorum enough\n")
        yield one, two, three


def restart(gateway, all_of_them, quorum):
    gateway.policy.write_text(f"log {gateway.vkey}\n" + "".join(w.policy_line(f"w{i}") for i, w in enumerate(all_of_them)) + quorum)
    shutil.rmtree(os.path.join(gateway.state, "shipper", "checkpoint.witnessed"), ignore_errors=True)
    victim = wait_for("it", lambda: gateway.pids("shipper"))[0]
    os.kill(victim, 9)
    wait_for("another", lambda: gateway.pids("shipper") not in ([], [victim]), seconds=20)


def witnessed(gateway):
    path = os.path.join(gateway.state, "shipper", "checkpoint.witnessed")
    if not os.path.exists(path):
        return "", 0
    with open(path, encoding="utf-8") as f:
        note = f.read()
    return note, int(note.split("\n")[1])


def by(witness):
    return f"\n\u2014 {witness.name} "


def newly_witnessed(gateway, *by_whom):
    """The file, for a checkpoint that is made now."""
    gateway.chat("gpt-x")
    _, before = witnessed(gateway)
    return wait_for("cosignatures", lambda: (note := witnessed(gateway)[0]) and witnessed(gateway)[1] > before
                    and all(by(w) in note for w in by_whom) and note, seconds=40)


def test_cosigned_by_all(gateway, witnesses):
    note = newly_witnessed(gateway, *witnesses)
    for witness in witnesses:
        text, size, root = witness.verify(note)
        assert note.count(by(witness)) == 1 and size <= witness.known[0]
    first = witnesses[0].known
    newly_witnessed(gateway, *witnesses)
    assert witnesses[0].known[0] > first[0], "by a proof"
    assert 422 not in witnesses[0].answers and witnesses[0].answers.count(409) <= 1


def test_the_policy_is_met_by_the_file(gateway, witnesses, tmp_path):
    """A verifier elsewhere, with a copy of the folder and the policy."""

    def good():
        copy = tmp_path / "log"
        copy_log(gateway, copy)
        alone = gateway.cli("audit", "verify", "--log", str(copy), "--policy", str(gateway.policy), check=False).returncode
        shutil.copy(os.path.join(gateway.state, "shipper", "checkpoint.witnessed"), copy / "checkpoint")
        return alone == 1 and gateway.cli("audit", "verify", "--log", str(copy), "--policy", str(gateway.policy), check=False).returncode == 0

    newly_witnessed(gateway, *witnesses)
    wait_for("a good copy", good, seconds=30)


def test_a_witness_that_knows_the_log_already(gateway, witnesses):
    """The shipper starts anew and remembers nothing: 409 tells it where to go on."""
    newly_witnessed(gateway, *witnesses)
    for witness in witnesses:
        witness.answers.clear()
    restart(gateway, witnesses, "group enough 3 w0 w1 w2\nquorum enough\n")
    newly_witnessed(gateway, *witnesses)
    for witness in witnesses:
        told = witness.answers.index(409)
        assert witness.answers[told:told + 2] == [409, 200], witness.answers


@pytest.mark.parametrize("wrong", ["unreachable", "silent", "refusing", "422", "404", "nonsense", "forged", "another key", "endless",
                                   "409 for ever", "larger"])
def test_one_that_is_wrong_holds_up_nobody(gateway, witnesses, wrong):
    """Two of three are enough, whatever the third does; and the third's word is in nothing that is published."""
    one, two, three = witnesses
    newly_witnessed(gateway, *witnesses)
    stranger, release = Ed25519PrivateKey.generate(), threading.Event()

    def misbehave(witness, body):
        _, _, note = witness.read(body)
        text = note.split("\n\n")[0] + "\n"
        if wrong == "silent":
            release.wait(25)
            raise Refusal(500)
        if wrong in ("422", "404"):
            raise Refusal(int(wrong))
        if wrong == "refusing":
            raise Refusal(503, "later")
        if wrong == "409 for ever":
            raise Refusal(409, "3\n")
        if wrong == "larger":
            raise Refusal(409, "99999999\n")
        return {"nonsense": "\u2014 x y\n\n\n\x00", "endless": "x" * 300000, "forged": witness.cosign(text.replace("\n", "\n1", 1)),
                "another key": witness.cosign(text, stranger)}[wrong]

    three.wrong = misbehave
    if wrong == "unreachable":
        three.__exit__()
    try:
        newly_witnessed(gateway, one, two)  # may be of a question that the third had answered before
        note = newly_witnessed(gateway, one, two)
        assert by(three) not in note
        wait_for("the report", lambda: wrong == "silent" or '"witness":"w2"' in gateway.log())
        assert gateway.chat("gpt-x").status == 200
        assert next(d for d in gateway.status_anyway() if d["name"] == "shipper")["ready"]
    finally:
        release.set()
        three.wrong = None
        if wrong == "unreachable":
            three.server = Witness("witness.test/spare", gateway.vkey).server
            three.__enter__()


def test_too_few_publish_nothing(gateway, witnesses):
    newly_witnessed(gateway, *witnesses)
    for witness in witnesses[1:]:
        witness.wrong = lambda *_: "no\n"
    _, before = witnessed(gateway)
    known = witnesses[0].known[0]
    gateway.chat("gpt-x")
    wait_for("the first one's", lambda: witnesses[0].known[0] > known, seconds=30)
    assert witnessed(gateway)[1] == before


def test_what_could_not_be_written_is_as_soon_as_it_can(gateway, witnesses):
    """Without a record more, which would bring another round."""
    newly_witnessed(gateway, *witnesses)
    folder = os.path.join(gateway.state, "shipper")
    mode = os.stat(folder).st_mode & 0o7777
    os.chmod(folder, 0o500)
    try:
        gateway.chat("gpt-x")
        wait_for("it to be said", lambda: '"witness":"checkpoint.witnessed"' in gateway.log(), seconds=30)
        wait_for("all of them", lambda: {w.known[0] for w in witnesses} == {int(checkpoint(gateway).split("\n")[1])}, seconds=30)
    finally:
        os.chmod(folder, mode)
    wait_for("the file", lambda: witnessed(gateway)[1] == int(checkpoint(gateway).split("\n")[1]) == witnesses[0].known[0], seconds=30)


def test_a_log_that_was_set_back_is_not_cosigned(gateway, witnesses):
    """It remembers a root that this log never had."""
    newly_witnessed(gateway, *witnesses)
    size, root = witnesses[0].known
    for witness in witnesses[:2]:
        witness.known = (size - 1, bytes(32))
    restart(gateway, witnesses, "group enough 2 w0 w1 w2\nquorum enough\n")
    gateway.chat("gpt-x")
    wait_for("their refusals", lambda: all(422 in w.answers for w in witnesses[:2]), seconds=30)
    assert "did not grow from what it remembers" in gateway.log()
    _, before = witnessed(gateway)
    known = witnesses[2].known[0]
    gateway.chat("gpt-x")
    wait_for("the third one's", lambda: witnesses[2].known[0] > known, seconds=30)
    assert witnessed(gateway)[1] == before, "two of three did not"


def test_what_was_wrong_with_the_log_is_past(gateway):
    """Without a mirror, too, the shipper is ready again when the log is what it was."""
    def shipper():
        return next(d for d in gateway.status_anyway() if d["name"] == "shipper")

    path, before = os.path.join(gateway.state, "auditd", "checkpoint"), checkpoint(gateway)
    gateway.chat("gpt-x")
    wait_for("the next", lambda: checkpoint(gateway) != before)
    pathlib.Path(path + ".old").write_text(before)
    wait_for("a look at it", lambda: shipper()["ready"])
    os.rename(path + ".old", path)
    wait_for("status to say so", lambda: "set back" in shipper()["detail"])
    for text, said in (("?\n", "not signed"), (before, "set back")):  # what was seen is not forgotten over what cannot be read
        pathlib.Path(path + ".new").write_text(text)
        os.rename(path + ".new", path)
        wait_for("status to say " + said, lambda said=said: said in shipper()["detail"], seconds=15)
        assert not shipper()["ready"]
    gateway.chat("gpt-x")
    wait_for("readiness", lambda: shipper()["ready"], seconds=15)


def test_a_policy_that_is_none(gateway):
    gateway.policy.write_text("witness\n")
    victim = gateway.pids("shipper")[0]
    os.kill(victim, 9)
    row = wait_for("status to say so", lambda: next((d for d in gateway.status_anyway() if d["name"] == "shipper" and "tlog-policy" in d["detail"]), None))
    assert not row["ready"] and gateway.chat("gpt-x").status == 200
    gateway.policy.write_text("quorum none\n")
    os.kill(gateway.pids("shipper")[0], 9)
    wait_for("readiness", lambda: next(d for d in gateway.status_anyway() if d["name"] == "shipper")["ready"])
