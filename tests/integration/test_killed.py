# SPDX-License-Identifier: Apache-2.0
"""L-04: what a producer that is killed takes with it is counted: events made = records + what gaps cover, to the last one."""
import collections
import contextlib
import os
import random
import signal
import subprocess

import pytest

from gateway import halt, is_alive, wait_for
from load import Load
from producers import producers
from test_crash import kill_one, steady


def count(gateway):
    """(records, missing, causes of the gaps) for each (producer, worker)."""
    there, missing, causes = collections.Counter(), collections.Counter(), collections.defaultdict(set)
    for e in gateway.audit():
        who = e["source"]
        if e["event"] == "log.gap":
            missing[who] += e.get("last_seq", e["seq"]) - e["seq"] + 1
            causes[who].add(e["reason"])
        else:
            there[who] += 1
    return there, missing, causes


@contextlib.contextmanager
def frozen(gateway, daemon="auditd"):
    pid = wait_for(daemon, lambda: gateway.pids(daemon))[0]  # it may have been killed a moment ago
    halt(pid)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


# ---- producers that know how many events they made ----

@pytest.fixture(scope="module")
def four():
    with producers() as p:
        yield Book(p)


class Book:
    """What four producers made in all their lives, by their own account, beside what the log says."""

    def __init__(self, four):
        self.four, self.gateway = four, four.gateway
        self.buried = [0] * self.gateway.workers

    def life(self, events, rate=0):
        """One life of each, ended by itself somewhere on the way."""
        self.four.alive()
        deaths = self.four.deaths(self.four.order(events, rate, 0, random.randint(1, events)))
        self.buried = [sum(both) for both in zip(self.buried, deaths)]

    def settle(self):
        self.four.alive()
        made = [self.buried[w] + r["made"] for w, r in enumerate(self.four.results(self.four.order(1)))]
        there, missing, causes = count(self.gateway)
        workers = [f"egress{w}" for w in range(self.gateway.workers)]
        assert [there[w] + missing[w] for w in workers] == made, "not one more, not one less"
        done = self.gateway.verify()
        assert done.returncode == 0, done.stdout + done.stderr
        return [(there[w], missing[w], causes[w]) for w in workers]


def test_killed_while_the_log_takes_them(four):
    """Some were taken, some lay in a socket, some in the ring."""
    def five_lives():
        for _ in range(5):
            four.life(8000, random.choice((0, 20000)))
        return all(there > 100 for there, _, _ in four.settle())

    wait_for("some of each", five_lives)  # who says all in one breath may die before a busy log has any of it


def test_killed_while_the_log_stands_still(four):
    """Nothing of them arrives; nor anything of the two lives between, of which auditd never hears."""
    four.settle()
    with frozen(four.gateway):
        for _ in range(3):
            four.life(3000)
    for _, missing, causes in four.settle():
        assert missing >= 3 and "died" in causes


def test_killed_and_overrun(four):
    """More than the ring keeps, so there is a gap to lose as well."""
    with frozen(four.gateway):
        four.life(30000)
    four.settle()


def test_killed_with_the_log(four):
    """Both die, in either order, and the successors find each other."""
    for first in ("producers", "auditd"):
        pid = four.gateway.pids("auditd")[0]
        if first == "auditd":
            halt(pid)
        four.life(5000, 50000)
        os.kill(pid, signal.SIGKILL)
        wait_for("another", lambda p=pid: four.gateway.pids("auditd") not in ([], [p]), 15)
        four.settle()


# ---- the gateway itself: what clients saw is the count ----

@pytest.fixture(scope="module")
def gateway(new_gateway):
    return new_gateway(workers=1)


def answered(gateway, n):
    for _ in range(n):
        assert gateway.chat("gpt-x").status == 200


def settled(gateway):
    """Whoever was killed has been replaced, and has said what it knows."""
    wait_for("service", lambda: steady(gateway), 15, 0.2)
    request_id = gateway.chat("gpt-x").headers["x-request-id"]
    wait_for("both records", lambda: len(gateway.audit(request_id=request_id)) == 2)


@pytest.mark.parametrize("daemon, event", [("router", "request.complete"), ("egress", "egress.use")])
def test_every_answer_is_counted(gateway, daemon, event):
    """auditd has heard of none of them when both die; nobody waits for anything then, so the count is exact."""
    settled(gateway)
    before = count(gateway)[1][f"{daemon}0"]
    with frozen(gateway) as auditd:
        answered(gateway, 50)
        kill_one(gateway, daemon)
        os.kill(auditd, signal.SIGKILL)
    settled(gateway)
    _, missing, causes = count(gateway)
    assert missing[f"{daemon}0"] - before == 50 and causes[f"{daemon}0"] == {"died"}, "50 answers"
    assert gateway.audit(event=event), "and later ones are there"
    assert gateway.verify().returncode == 0


@pytest.mark.parametrize("daemon, event", [("router", "request.complete"), ("egress", "egress.use")])
def test_every_answer_under_load_is_counted(gateway, daemon, event):
    """A 200 without a record is one of the missing. So may be what ended otherwise, and the starts of those who died."""
    settled(gateway)
    before, kills = count(gateway)[1][f"{daemon}0"], 5
    with Load(gateway) as load:
        for i in range(kills):
            seen = load.outcomes["200"]
            wait_for("load", lambda s=seen: load.outcomes["200"] > s + 20, 15)
            with frozen(gateway) if i % 2 else contextlib.nullcontext() as auditd:
                seen = load.outcomes["200"]
                wait_for("more", lambda s=seen: load.outcomes["200"] > s + 20, 15)
                kill_one(gateway, daemon)
                if auditd:
                    os.kill(auditd, signal.SIGKILL)
    settled(gateway)
    recorded = {e["request_id"] for e in gateway.audit(event=event)}
    unrecorded = len([i for i in load.done_ids if i not in recorded])
    missing = count(gateway)[1][f"{daemon}0"] - before
    assert unrecorded >= 20, "the test is one"
    others = sum(load.outcomes.values()) - load.outcomes["200"]
    assert unrecorded <= missing <= unrecorded + others + kills, load.outcomes
    assert gateway.verify().returncode == 0


def test_a_log_that_is_slow_at_the_end_has_all_of_it(new_gateway):
    """A disk may need a second or two for one sync; nobody is in a hurry then."""
    gateway = new_gateway(workers=1)
    settled(gateway)
    with frozen(gateway):
        gateway.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            gateway.process.wait(1.5)
    assert gateway.process.wait(20) == 0
    gateway.stop()
    gateway.start()
    settled(gateway)
    assert gateway.cli_json("audit", "gaps")["ends_without_a_word"] == []
    assert {"router0", "egress0", "authd"} <= {e["source"] for e in gateway.audit(event="daemon.stop")}


def test_what_dies_with_the_launcher_is_not_counted_but_seen(new_gateway):
    gateway = new_gateway(workers=1)
    settled(gateway)
    gateway.stop()
    gateway.start()
    settled(gateway)
    assert gateway.cli_json("audit", "gaps")["ends_without_a_word"] == []
    pids = gateway.pids()
    gateway.process.kill()
    gateway.process.wait()
    wait_for("all to be dead", lambda: not any(is_alive(pid) for pid in pids))
    gateway.start()
    settled(gateway)
    ends = gateway.cli_json("audit", "gaps")["ends_without_a_word"]
    assert sorted(end["source"] for end in ends) == ["authd", "egress0", "keyvault", "router0"]


def test_an_exchange_that_its_egress_did_not_survive_is_counted(gateway):
    """The provider has the request, so the key was used; the egress dies before it can say so."""
    settled(gateway)
    before = count(gateway)[1]
    stream = gateway.stream("test:slow:100:200")
    assert stream.status == 200
    both = gateway.pids("egress") + gateway.pids("router")
    for signum in (signal.SIGSTOP, signal.SIGKILL):  # so that neither hears of the other's death
        for pid in both:
            os.kill(pid, signum)
    stream.close()
    settled(gateway)
    after = count(gateway)[1]
    assert after["egress0"] - before["egress0"] == 1 and after["router0"] - before["router0"] == 1
