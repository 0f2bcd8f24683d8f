# SPDX-License-Identifier: Apache-2.0
"""K-06: grants are refused for each reason there is, `vault grants` shows it, and `vault revoke-grants` withdraws what was permitted."""
import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import threading
import time

import pytest

from gateway import frozen, wait_for
from ipc import Peer, read_record, reason_code
from lane import mint, monotonic_ms, open_exchange, permit, refused, renew, send_open


@pytest.fixture(name="lane0")
def lane0_(gateway):
    with Peer(gateway, "authd", "router0") as authd, Peer(gateway, "egress0", "router0") as egress:
        yield authd, egress


class Captured:
    """Another gateway, of which somebody is authd: has the key that lane 0's grants are made with."""

    def __init__(self, gateway, authd, egress):
        self.gateway, self.authd, self.egress, self.numbers = gateway, authd, egress, itertools.count(0, 10)
        while (key := authd.expect("EDGE_KEY"))["lane"] != 0:
            pass
        self.key = key

    def mint(self, number=None, key=None, **changes):
        number = next(self.numbers) if number is None else number
        return mint({**self.key, **(key or {})}, number, **{"port": self.gateway.provider.ports["tls"], **changes})

    def open(self, grant):
        """'used', or why not."""
        name, fields, ident = open_exchange(self.gateway, self.egress, grant)
        if name == "BROKEN":
            return reason_code(fields["reason"])
        self.egress.expect("END", ident=ident)
        return "used"


@pytest.fixture(scope="module", name="captured")
def captured_(new_gateway):
    gateway = new_gateway()
    with Peer(gateway, "keyvault", "authd") as authd, Peer(gateway, "egress0", "router0") as egress:
        yield Captured(gateway, authd, egress)


def shown(gateway, lane=0):
    """(permitted, {reason: count}, the last refusals of the lane)"""
    answer = gateway.cli_json("vault", "grants")
    row = next(r for r in answer["lanes"] if r["lane"] == lane)
    return row["permitted"], row["refused"], [r for r in answer["refusals"] if r["lane"] == lane]


# Each with the key that an honest authd has; what is wrong with it, and why it is refused.
REFUSED = [
    ("grant_expired", {"expires_ms": 1}),
    ("grant_expired", {"expires_ms": 2**62}),  # would live too long
    ("grant_exceeded", {"lane": 1}),
    ("grant_exceeded", {"body_bytes_max": 10}),
    ("grant_exceeded", {"path": "/v1/other"}),
    ("binding_mismatch", {"host": "evil.test"}),
    ("binding_mismatch", {"port": 8443}),
]


@pytest.mark.parametrize("reason, changes", REFUSED, ids=lambda x: x if isinstance(x, str) else "-".join(x))
def test_refusals_are_shown(captured, reason, changes):
    captured.gateway.provider.reset()
    permitted, counts, _ = shown(captured.gateway)
    number = next(captured.numbers)
    assert captured.open(captured.mint(number, **changes)) == reason
    after, counts_after, last = shown(captured.gateway)
    assert counts_after.get(reason) == counts.get(reason, 0) + 1
    assert after - permitted == (reason == "binding_mismatch"), "the grant was good, its destination was not"
    row = last[0]
    assert (row["reason"], row["request_id"], row["tenant"], row["key"], row["credential"], row["host"]) == \
        (reason, f"minted-{number}", "acme", "key_minted", "local", changes.get("host", "upstream.test"))
    assert abs(row["time_ms"] / 1000 - time.time()) < 60
    assert not captured.gateway.provider.journal()


def test_forged_ones_say_nothing(captured):
    """Nothing of them is believed, so nothing of them is shown."""
    forged = bytearray(captured.mint())
    forged[3] ^= 1
    assert captured.open(bytes(forged)) == "grant_forged"
    assert captured.open(captured.mint(key={"key": bytes(32)})) == "grant_forged"
    assert captured.open(captured.mint(key={"key": bytes(32), "epoch": 7})) == "grant_stale"
    _, counts, last = shown(captured.gateway)
    assert counts["grant_forged"] == 2 and counts["grant_stale"] == 1
    assert [r["reason"] for r in last[:3]] == ["grant_stale", "grant_forged", "grant_forged"]
    assert all(not r[name] for r in last[:3] for name in ("request_id", "tenant", "key", "credential", "host"))


def test_numbers_in_any_order(captured):
    """Each once, in whatever order; what the window has left behind, never."""
    def use(number, series=1):
        return captured.open(captured.mint(number, series=captured.key["series"] + series))

    for number in (5, 3, 70, 4, 0, 524223):
        assert use(number) == "used"
    for number in (0, 3, 4, 5, 70):
        assert use(number) == "grant_used"
    assert use(524224 + 64) == "used"
    assert use(63) == "grant_outrun", "never used, and it cannot be known"
    assert use(64) == "used"
    assert use(70) == "grant_used"
    assert use(2**59) == "used"
    assert use(524224 + 64) == "grant_outrun"
    assert use(7, series=2) == "used"
    assert use(7, series=0) == "grant_outrun"
    assert use(2**59, series=1) == "grant_used"
    assert use(7, series=2) == "grant_used"


def test_the_table(captured):
    text = captured.gateway.cli("vault", "grants", "-n", "2").stdout.decode()
    above, below = text.split("\n\n")
    assert above.splitlines()[0].split() == ["LANE", "GRANTS", "COUNT"]
    assert any(line.split()[:2] == ["egress0", "grant_forged"] for line in above.splitlines())
    assert any(line.split()[:2] == ["egress1", "permitted"] for line in above.splitlines())
    assert len(below.strip().splitlines()) == 3
    assert "\n\n" not in captured.gateway.cli("vault", "grants", "-n", "0").stdout.decode()


# ---- the kill switch ----

def revoke(gateway, *args):
    return gateway.cli_json("vault", "revoke-grants", *args)


def begun(gateway, egress, grant, **other):
    """Its stream, when the answer has begun."""
    name, fields, ident = open_exchange(gateway, egress, grant, **other)
    assert name == "REPLY_HEAD", reason_code(fields["reason"])
    return ident


@pytest.fixture(scope="module", name="mine")
def mine_(gateway):
    """A gateway key of acme's."""
    return gateway.make_key(tenant="acme")


@pytest.fixture(scope="module", name="theirs")
def theirs_(gateway):
    return gateway.make_key(tenant="other")


@pytest.mark.parametrize("what", ["tenant", "key", "credential"])
def test_what_was_permitted_is_revoked(gateway, lane0, mine, theirs, what):
    authd, egress = lane0
    name = {"tenant": "acme", "key": mine["id"], "credential": "local"}[what]
    spared = permit(gateway, authd, key=theirs["key"]) if what != "credential" else permit(gateway, authd, model="closed:x")
    meant = [permit(gateway, authd, key=mine["key"])["grant"] for _ in range(3)]
    assert begun(gateway, egress, meant[0])
    answer = revoke(gateway, f"--{what}", name)
    assert answer["lanes"] == 2 and answer["lost"] == 0
    assert refused(open_exchange(gateway, egress, meant[1])) == "grant_revoked"
    assert refused(open_exchange(gateway, egress, meant[0])) == "grant_revoked"
    name_, fields, _ = open_exchange(gateway, egress, spared["grant"])
    assert name_ == "REPLY_HEAD" or reason_code(fields["reason"]) == "connect_failed", fields
    begun(gateway, egress, permit(gateway, authd, key=mine["key"])["grant"])  # the key itself is as good as before
    assert refused(open_exchange(gateway, egress, meant[2])) == "grant_revoked"
    assert renew(authd, meant[2]) == "grant_stale"
    assert gateway.chat("gpt-x", key=mine["key"]).status == 200
    record = gateway.audit(event="vault.revoke_grants")[-1]
    assert record["actor"] == f"uid:{os.geteuid()}"
    assert name in (record.get("tenant"), record.get("resource"), record.get("credential"))
    _, counts, last = shown(gateway)
    assert counts["grant_revoked"] >= 3 and last[0]["reason"] == "grant_revoked"
    if what == "credential":
        assert last[0]["credential"] == "local"


def test_all_of_it(gateway, lane0, theirs):
    """New keys: the egress does not even know the old grants any more, and authd renews none."""
    authd, egress = lane0
    old = [permit(gateway, authd)["grant"], permit(gateway, authd, key=theirs["key"])["grant"]]
    assert revoke(gateway, "--all")["lanes"] == 2
    for grant in old:
        wait_for("the new key", lambda g=grant: refused(open_exchange(gateway, egress, g)) == "grant_stale")
        assert renew(authd, grant) == "grant_revoked"
    new = permit(gateway, authd)["grant"]
    begun(gateway, egress, new)
    assert refused(open_exchange(gateway, egress, new)) == "grant_used"
    assert gateway.audit(event="vault.revoke_grants", resource="all")


def test_what_runs_is_cut_if_so_wished(gateway, theirs):
    with contextlib.closing(gateway.stream("test:slow:50:200")) as mine, \
            contextlib.closing(gateway.stream("test:slow:50:200", key=theirs["key"])) as other:
        events, others = mine.events(), other.events()
        assert next(events) and next(others)
        assert revoke(gateway, "--tenant", "acme")["ended"] == 0
        assert next(events), "without --cut it goes on"
        assert revoke(gateway, "--tenant", "acme", "--cut")["ended"] == 1
        with contextlib.suppress(Exception):
            rest = list(events)
            assert len(rest) < 150
        assert next(others), "another tenant's goes on"
    wait_for("the vault's record", lambda: gateway.audit(event="egress.use", reason="grant_revoked", tenant="acme"))
    assert gateway.audit(event="vault.revoke_grants", tenant="acme", reason="cut")


def test_a_restarted_egress_does_not_bring_it_back(gateway, theirs):
    """Revoked, then the egress dies: its successor knows nothing of it, so authd must."""
    with Peer(gateway, "authd", "router1") as authd:
        meant, spared = permit(gateway, authd)["grant"], permit(gateway, authd, key=theirs["key"])["grant"]
        revoke(gateway, "--tenant", "acme")
        later = permit(gateway, authd)["grant"]
        kill_egress1(gateway)
        wait_for("its key", lambda: renew(authd, later) != "grant_stale")
        assert renew(authd, meant) == "grant_revoked"
        assert renew(authd, spared) == "grant_revoked", "more than was asked for, never less"
        with Peer(gateway, "egress1", "router1") as egress:
            begun(gateway, egress, renew(authd, later))


@pytest.mark.parametrize("args", [[], ["--all", "--tenant", "acme"], ["--tenant", ""], ["--key", "k" * 65]])
def test_misuse(gateway, args):
    done = gateway.cli("vault", "revoke-grants", *args, check=False)
    assert done.returncode == 2 and b"bulkhead:" in done.stderr


@pytest.mark.parametrize("what, name", [("tenant", "acmee"), ("key", "key_nobodys"), ("credential", "locall")])
def test_a_name_that_is_nobodys(gateway, what, name):
    """Most likely mistyped: it is done, for nobody, and said."""
    done = gateway.cli("vault", "revoke-grants", f"--{what}", name, "--json", check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["lanes"] == 2
    assert f"`{name}`".encode() in done.stderr and done.stderr.count(b"\n") == 1


def test_a_key_that_is_no_longer_good_is_known(gateway):
    key = gateway.make_key(tenant="gone")["id"]
    gateway.cli("key", "revoke", key)
    assert revoke(gateway, "--key", key)["lanes"] == revoke(gateway, "--tenant", "gone")["lanes"] == 2


def test_under_load(gateway):
    """Each time some requests are refused for a moment, no request gets anything else, and the next ones are served."""
    answers, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):  # cut
                reply = gateway.chat("gpt-x")
                answers.append((reply.status, reply.json().get("error", {}).get("code") if reply.status != 200 else None))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    try:
        for i in range(24):
            revoke(gateway, *(["--all"], ["--tenant", "acme"], ["--credential", "local", "--cut"])[i % 3])
            served = answers.count((200, None))
            wait_for("service after it", lambda: answers.count((200, None)) > served + 8)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert {a for a in answers if a[0] != 200} <= {(503, "grant_revoked"), (503, "grant_stale"), (503, "grant_outrun")}
    assert gateway.chat("gpt-x").status == 200


# ---- the order in which keys are heard of ----

def kill_egress1(gateway):
    victim = gateway.pid_of("egress", 1)
    os.kill(victim, signal.SIGKILL)
    wait_for("it to be back", lambda: len(gateway.pids("egress")) == 2 and victim not in gateway.pids("egress"))


def silent(peer, seconds):
    """Nothing is said for so long."""
    before = peer.socket.gettimeout()
    peer.socket.settimeout(seconds)
    try:
        return peer.socket.recv(1, socket.MSG_PEEK) == b""
    except socket.timeout:
        return True
    finally:
        peer.socket.settimeout(before)


def test_authd_hears_of_a_key_late(gateway):
    """An egress is not given a key that authd does not use yet: when it calls a grant stale, there is another to be had."""
    with Peer(gateway, "authd", "router1") as authd:
        grant = permit(gateway, authd)["grant"]
        with frozen(gateway.pids("authd")[0]):
            kill_egress1(gateway)
            egress = Peer(gateway, "egress1", "router1")
            ident = send_open(gateway, egress, grant)
            assert silent(egress, 0.5), "a refusal that authd could do nothing about"
        with egress:
            _, fields = egress.expect("BROKEN", "REPLY_HEAD", ident=ident)
            assert reason_code(fields["reason"]) == "grant_stale"
            begun(gateway, egress, renew(authd, grant))


def test_an_egress_hears_of_a_key_late(captured):
    """authd uses a new key already: what it permits waits at the egress for that key."""
    gateway, egress = captured.gateway, captured.egress
    with frozen(gateway.pids("authd")[0]):
        revoke(gateway, "--all")
        while (key := captured.authd.expect("EDGE_KEY"))["lane"] != 0 or key["epoch"] <= captured.key["epoch"]:
            pass
        ident = send_open(gateway, egress, captured.mint(key=key))
        forged = send_open(gateway, egress, captured.mint(key={**key, "key": bytes(32)}))
        assert silent(egress, 0.4)
        assert refused(open_exchange(gateway, egress, captured.mint())) == "grant_revoked", "made under the old key"
    seen = {}
    while len(seen) < 2:
        name, number, fields = egress.receive()
        if name in ("BROKEN", "REPLY_HEAD"):
            seen[number] = name if name == "REPLY_HEAD" else reason_code(fields["reason"])
    assert seen == {ident: "REPLY_HEAD", forged: "grant_forged"}


def test_authd_starts_anew(gateway):
    """It has no memory of how far it had counted; what it permitted before is good all the same, once."""
    with Peer(gateway, "egress1", "router1") as egress:
        with Peer(gateway, "authd", "router1") as authd:
            old = [permit(gateway, authd)["grant"] for _ in range(3)]
            begun(gateway, egress, old[0])
        victim = gateway.pids("authd")[0]
        os.kill(victim, signal.SIGKILL)
        wait_for("it to be back", lambda: gateway.pids("authd") not in ([], [victim]))
        wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
        with Peer(gateway, "authd", "router1") as authd:
            new = [permit(gateway, authd)["grant"] for _ in range(3)]
            for grant in (new[0], old[1], new[1], old[2], new[2]):
                begun(gateway, egress, grant)
            for grant in old + new:
                assert refused(open_exchange(gateway, egress, grant)) == "grant_used"


def test_no_restart_refuses_for_the_order(gateway):
    """Requests all the time, while what has keys is killed: refused for what is away, never for a grant. A core that is away for
    longer than the second that an egress waits for its key is what is away, too: a busy machine may need that to start it."""
    answers, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                began = time.monotonic()
                reply = gateway.chat("gpt-x")
                answers.append((reply.json()["error"]["code"] if reply.status != 200 else None, time.monotonic() - began))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    for daemon in ("egress", "authd", "keyvault") * 3:
        victim = gateway.pids(daemon)[0]
        os.kill(victim, signal.SIGKILL)
        wait_for("it to be back", lambda d=daemon, v=victim: gateway.pids(d) and v not in gateway.pids(d))
        wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    stop.set()
    for t in threads:
        t.join()
    codes = {code for code, _ in answers if code}
    assert not {c for c in codes if c.startswith("grant_")} - {"grant_stale"}, codes
    stale = [seconds for code, seconds in answers if code == "grant_stale"]
    assert len([seconds for seconds in stale if seconds < 0.9]) <= len(answers) / 100, (stale, len(answers))
    assert len(stale) <= len(answers) / 10, (stale, len(answers))


def test_the_clock_is_the_machines(gateway, lane0):
    """A grant ends 59 s from now by the clock that nobody sets."""
    before = monotonic_ms()
    grant = read_record("grant", permit(gateway, lane0[0])["grant"][32:])
    assert before + 59000 - 100 <= grant["expires_ms"] <= monotonic_ms() + 59000
