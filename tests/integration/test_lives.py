# SPDX-License-Identifier: Apache-2.0
"""L-04: many lives of one log. The real auditd under load, with small segments and frequent checkpoints, is killed with SIGKILL at any
moment, LIVES times, while retention removes records, and copies of the log are made as it grows.

What was acknowledged is there, a copy of it verifies by two programs, and nobody ever has to call it damaged. LIVES_SEED repeats a run's
choices, if not its moments. The same by single system calls: test_faults.py, auditd/fault_test.c and prune_test.c."""
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

import verify_log
from gateway import AUDIT, scratch, wait_for
from load import Crowd
from log_copy import copy_log
from test_retention import HOUR, aged, both, busy, removed, retention

LIVES = int(os.environ.get("LIVES", "10"))
SEED = int(os.environ.get("LIVES_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


class Refused(Crowd):
    """Requests that are refused: each makes a record, and none needs a provider."""

    def __init__(self, gateway):
        super().__init__(2)
        self.gateway = gateway

    def run(self, number):
        conn = self.gateway.connect()
        while not self.stopping.is_set():
            conn.request("POST", "/v1/chat/completions", b"{}", {"authorization": "Bearer bh_sk_" + "b" * 40})
            conn.getresponse().read()
        conn.close()


def live_copy(gateway, vkey):
    """One that both verifiers find good, of a few: the end of one may be half a commit, the beginning may be about to go."""
    to = os.path.join(gateway.folder, "live")
    for _ in range(5):
        copy_log(gateway, to)
        done = subprocess.run(AUDIT + ["verify", "--json", "--vkey", vkey, "--log", to],
                              capture_output=True, text=True, timeout=60, check=False)
        said = json.loads(done.stdout)
        if said["good"]:
            second = verify_log.verify(to, vkey)
            assert all(said[what] == second[what] for what in ("first", "entries", "signed", "root")), (said, second)
            return
        assert "is damaged" in said["why"] or "are missing" in said["why"], said
    raise AssertionError(f"no copy was good: {said}")


@pytest.fixture(scope="module")
def old(new_gateway):
    with scratch() as folder:
        yield aged(new_gateway, folder, checkpoint_ms=10)


def one_life(gateway, aging, rng):
    """Something is under way when it ends; the id of a key that was made in it, or None."""
    aging.passes(rng.choice((2, 9, 14)) * HOUR)
    time.sleep(rng.random() * 0.4)
    made = gateway.cli("key", "create", "--json", check=False)
    asking = None
    if rng.random() < 0.7:
        asking = subprocess.Popen([gateway.program, "audit", "retention", "--now", "-c", gateway.config], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.15)
    for pid in gateway.pids("auditd"):
        os.kill(pid, signal.SIGKILL)
    if asking:
        asking.wait(30)
    return json.loads(made.stdout)["id"] if made.returncode == 0 else None


@pytest.mark.seconds(60 + 6 * LIVES)
def test_many_lives(old):
    gateway, aging = old
    rng = random.Random(SEED)
    vkey = gateway.cli_json("vault", "status")["vkey"]
    busy(gateway, 700)  # segments that are over in a life or two, however few records the others hold
    aging.passes(20 * HOUR)
    with Refused(gateway):
        for life in range(LIVES):
            key = one_life(gateway, aging, rng)
            size = retention(gateway)["entries"]
            if key:
                found = gateway.cli("audit", "search", "--action", "key.create", "--json").stdout.decode()
                assert key in found, f"seed {SEED}, life {life}: the key {key} was made and is not recorded"
            if life % 5 == 4:
                live_copy(gateway, vkey)
            wait_for("new records", lambda size=size: retention(gateway)["entries"] > size)
    removed(gateway)
    said = both(gateway)
    assert said["first"] > 0, f"seed {SEED}: nothing was ever removed"
    for word in ("audit.failed", "audit.readonly", "audit.rebuilt"):
        assert word not in gateway.log(), f"seed {SEED}: {gateway.log()[-2000:]}"


def test_lost_tiles_are_made_again(old):
    """All partial ones with hashes, as a copying program that does not care for them may lose them."""
    gateway, _ = old
    gateway.stop()
    log = os.path.join(gateway.state, "auditd")
    for where, folders, _ in os.walk(os.path.join(log, "tile")):
        for name in folders:
            if name.endswith(".p") and not where.endswith("entries"):
                shutil.rmtree(os.path.join(where, name))
    gateway.start()
    (event,) = wait_for("auditd to say so", lambda: retention(gateway) and gateway.audit(event="log.rebuild"))
    first, last = map(int, event["resource"].split("-"))
    assert event["actor"] == "auditd" and (first == 0 or retention(gateway)["first"] <= first) and first <= last < event["index"]
    assert '"audit.rebuilt"' in gateway.log()
    both(gateway)
