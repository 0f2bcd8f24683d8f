# SPDX-License-Identifier: Apache-2.0
"""The vault holds under fire: core, egress workers and dialer are killed with SIGKILL at random moments, CHAOS_KILLS times (200),
while tenants with a provider key each send requests, and in the second half while an operator rotates and replaces keys.

Whatever a client gets is its own answer, under its own tenant's key, or a documented refusal; the provider has seen no request
twice; and in the end nothing is missing. CHAOS_SEED repeats a run's choices, if not its moments."""
import collections
import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import time

import pytest

from gateway import SLOWER, wait_for
from load import Crowd

KILLS = int(os.environ.get("CHAOS_KILLS", "200"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
VICTIMS = ("keyvault", "egress", "dialer")
TENANTS = {f"t{i}": f"sk-chaos-of-tenant-{i}-0123456789abcdef" for i in range(6)}
CLIENTS = 6
PIECES = 8
# What a request may be told when the process that it needs has just died.
REFUSALS = {"vault_sealed", "egress_unavailable", "grant_stale"}
SERVICE_SECONDS = 30


def fingerprint(key):
    return hashlib.sha256(key.encode()).hexdigest()[:16]


class Clients(Crowd):
    """Threads that send requests, each with a word of its own in it, and compare what comes back."""

    def __init__(self, gateway, keys, name):
        super().__init__(CLIENTS)
        self.gateway, self.keys, self.name, self.sent = gateway, keys, name, {}

    def run(self, number):
        rng = random.Random(f"{SEED} {self.name} {number}")
        for n in range(1 << 30):
            if self.stopping.is_set():
                return
            tenant, word, stream = rng.choice(list(TENANTS)), f"{self.name}-{number}-{n}", rng.random() < 0.5
            self.sent[word] = tenant
            began = time.monotonic()
            try:
                outcome = self.streamed(tenant, word) if stream else self.whole(tenant, word)
            except Exception as e:  # pylint: disable=broad-except
                outcome = "wrong"
                self.wrong.append(f"{word}: {e!r}")
            self.outcomes[outcome] += 1
            if time.monotonic() - began > 15 * SLOWER:
                self.wrong.append(f"{word}: {outcome} after {time.monotonic() - began:.0f} s")
            if outcome != "good":
                self.stopping.wait(0.02)

    def good(self):
        return self.outcomes["good"]

    def expect(self, held, word, what):
        if not held:
            self.wrong.append(f"{word}: {what}")

    def refused(self, word, status, headers, body):
        code = json.loads(body)["error"]["code"]
        self.expect(status == 503 and code in REFUSALS and "retry-after" in headers, word, f"{status} {body[:200]}")
        return f"{status} {code}"

    def whole(self, tenant, word):
        reply = self.gateway.chat(f"test:witness:{PIECES}", text=word, key=self.keys[tenant], timeout=30)
        if reply.status != 200:
            return self.refused(word, reply.status, reply.headers, reply.body)
        said = reply.json()["choices"][0]["message"]["content"]
        self.expect(said == f"{word} {fingerprint(TENANTS[tenant])}", word, said)
        return "good"

    def streamed(self, tenant, word):
        """Every event is the next piece of the right answer; the last one is [DONE] or says what happened."""
        stream = self.gateway.stream(f"test:witness:{PIECES}", key=self.keys[tenant], timeout=30,
                                     messages=[{"role": "user", "content": word}])
        try:
            if stream.status != 200:
                return self.refused(word, stream.status, stream.headers, stream.response.read())
            events = []
            with contextlib.suppress(http.client.IncompleteRead):  # its last event says why, or that nothing was missing
                events.extend(stream.events())
            last = events.pop() if events else ""
            pieces = [json.loads(e)["choices"][0] for e in events]
            said = [p["delta"]["content"] for p in pieces if not p["finish_reason"]]
            right = [f"{i}:{word} {fingerprint(TENANTS[tenant])};" for i in range(PIECES)]
            self.expect(said == right[:len(said)], word, said)
            if last == "[DONE]":
                self.expect(len(said) == PIECES, word, f"[DONE] after {len(said)}")
                return "good"
            code = json.loads(last or "{}").get("error", {}).get("code")
            self.expect(code in REFUSALS, word, f"ends with {last}")
            return f"cut {code}"
        finally:
            stream.close()


class Operator(Crowd):
    """Rotates and replaces keys all the time. What the vault cannot do at the moment may be refused, and is done again."""

    def __init__(self, gateway):
        super().__init__(1)
        self.gateway = gateway

    def run(self, _):
        rng = random.Random(f"{SEED} operator")
        while not self.stopping.is_set():
            tenant = rng.choice(list(TENANTS))
            args, stdin = rng.choice([(("rotate", "--what", what, "--no-wait"), "") for what in ("root", "tenant", "credential")] +
                                     [(("add", "local", "--tenant", tenant), TENANTS[tenant])] * 3)
            done = self.gateway.cli("vault", *args, stdin=stdin.encode(), check=False)
            self.outcomes[args[0], done.returncode] += 1
            self.stopping.wait(0.02)


@pytest.fixture(scope="module", name="world")
def prepared(new_gateway):
    """A gateway whose tenants have a provider key each; nobody has the one for all, which the provider would not take."""
    print(f"CHAOS_SEED={SEED}")
    gateway = new_gateway(prepare=False, settings={"restart_pause_ms": 100})
    gateway.provider.also_takes(*TENANTS.values())
    gateway.open_vault()
    gateway.add_key(key="sk-of-nobody-at-all")
    for tenant, key in TENANTS.items():
        gateway.cli("vault", "add", "local", "--tenant", tenant, stdin=key.encode())
    keys = {tenant: gateway.make_key(tenant=tenant)["key"] for tenant in TENANTS}
    gateway.key = keys["t0"]
    wait_for("service", lambda: all_are_served(gateway, keys))
    return gateway, keys


def all_are_served(gateway, keys):
    replies = {tenant: gateway.chat("test:witness", key=key, text=tenant) for tenant, key in keys.items()}
    return all(reply.status == 200 and reply.json()["choices"][0]["message"]["content"] == f"{tenant} {fingerprint(TENANTS[tenant])}"
               for tenant, reply in replies.items())


def listed(gateway):
    return {c["credential"]: c["version"] for c in gateway.cli_json("vault", "list")}


def kill_some(gateway, clients, kills, rng):
    """One at a time: half of them once service was seen, half at any moment, so also while the others come back."""
    killed = collections.Counter()
    while sum(killed.values()) < kills:
        pids = gateway.pids()
        alive = [daemon for daemon in VICTIMS if daemon in pids.values()]
        if not alive:
            continue
        daemon = rng.choice(alive)
        pid = rng.choice([p for p, name in pids.items() if name == daemon])
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # the one before, which was not quite dead yet when it was chosen again
        killed[daemon] += 1
        if rng.random() < 0.5:
            seen = clients.good()
            wait_for("service between two deaths", lambda s=seen: clients.good() > s + 3, SERVICE_SECONDS)
        time.sleep(rng.random() * 0.1)
    return killed


def once_at_most(gateway, clients):
    """The provider has seen no request twice, and each under its tenant's own key."""
    seen = collections.Counter()
    for entry in gateway.provider.journal():
        if not entry["body"]:
            continue  # its sender died in the middle
        word = json.loads(entry["body"])["messages"][0]["content"]
        if word in clients.sent:
            seen[word] += 1
            assert ["authorization", f"Bearer {TENANTS[clients.sent[word]]}"] in entry["fields"], entry
    assert seen and max(seen.values()) == 1, [word for word, n in seen.items() if n > 1]
    assert len(seen) >= clients.good()


@pytest.mark.seconds(600)
@pytest.mark.parametrize("meanwhile", ["serving", "rotating"])
def test_the_vault_holds(world, meanwhile):
    gateway, keys = world
    before, rng = listed(gateway), random.Random(f"{SEED} {meanwhile}")
    gateway.provider.reset()
    others = {pid: name for pid, name in gateway.pids().items() if name not in VICTIMS}
    operator = Operator(gateway)
    with Clients(gateway, keys, meanwhile) as clients:
        wait_for("load", lambda: clients.good() > 20, SERVICE_SECONDS)
        if meanwhile == "rotating":
            with operator:
                killed = kill_some(gateway, clients, KILLS - KILLS // 2, rng)
        else:
            killed = kill_some(gateway, clients, KILLS // 2, rng)
        seen = clients.good()
        wait_for("service after the last", lambda: clients.good() > seen + 20, SERVICE_SECONDS)
    print(f"killed {dict(killed)}; clients got {dict(clients.outcomes)}; operator {dict(operator.outcomes)}")
    assert not clients.wrong, clients.wrong[:20]
    wait_for("every credential to serve", lambda: all_are_served(gateway, keys), SERVICE_SECONDS)
    once_at_most(gateway, clients)
    after = listed(gateway)
    assert after.keys() == before.keys() and all(after[c] >= before[c] for c in after)
    wait_for("the end of the rotation", lambda: gateway.cli("vault", "rotate", check=False).returncode == 0, SERVICE_SECONDS)
    wait_for("all of them in the core", lambda: gateway.cli_json("vault", "status")["credentials"] == len(before))
    assert not gateway.audit(event="vault.reject")
    assert {pid: name for pid, name in gateway.pids().items() if name not in VICTIMS} == others, "others died with them"
    done = gateway.verify()
    assert done.returncode == 0, done.stdout + done.stderr


def test_after_a_restart_of_everything(world):
    """What was kept lies on disk, not in what somebody remembers."""
    gateway, keys = world
    before = listed(gateway)
    gateway.stop()
    gateway.start()
    wait_for("every credential to serve", lambda: all_are_served(gateway, keys), SERVICE_SECONDS)
    assert listed(gateway) == before and not gateway.audit(event="vault.reject")
    assert gateway.verify().returncode == 0
