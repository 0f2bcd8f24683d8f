# SPDX-License-Identifier: Apache-2.0
"""L-03, L-04: auditd alone under load and SIGKILL; then what two verifiers say, and what they say to a log that was changed."""
import json
import os
import random
import shutil
import subprocess
import sys

import pytest

from gateway import BIN, BUILD, INSTRUMENTED, ROOT, scratch

EVENTS = 4000 if INSTRUMENTED else 10000
SECOND_OPINION = os.path.join(ROOT, "tests/support/verify_log.py")


def loaded(folder, kills, producers=4, events=EVENTS):
    done = subprocess.run([os.path.join(BUILD, "audit_load"), os.path.join(BIN, "auditd"), folder, str(producers), str(events),
                           str(kills)], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def first_opinion(log, *args):
    done = subprocess.run([os.path.join(BIN, "bulkhead"), "audit", "verify", "--json", "--log", log, *args],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def second_opinion(log, *args):
    done = subprocess.run([sys.executable, SECOND_OPINION, log, *args], capture_output=True, text=True, timeout=100, check=False)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def log():
    with scratch() as folder:
        loaded(folder, kills=5)
        yield os.path.join(folder, "auditd")


def test_nothing_acknowledged_is_lost(log):
    """audit_load has compared RESUME with RECORDED after each kill; here: every event is there once, in order, signed."""
    said = first_opinion(log)
    assert said["good"], said["why"]
    assert said["gaps"] == 0 and said["signed"] == said["entries"], "the last checkpoint is of all"
    found = subprocess.run([os.path.join(BIN, "bulkhead"), "audit", "search", "--action", "log.recover", "--log", log, "--json"],
                           capture_output=True, text=True, timeout=60, check=True)
    recovered = len(found.stdout.splitlines())  # a kill in the middle of a write, which nobody was told of
    assert recovered <= 5 and said["entries"] == 4 * EVENTS + 13 + recovered, "six starts of two records each, one orderly end"


def test_two_verifiers_agree(log):
    first, second = first_opinion(log), second_opinion(log)
    assert second["good"], second
    for what in ("entries", "signed", "segments", "gaps", "lost", "root"):
        assert first[what] == second[what], what


def test_two_verifiers_refuse(log, tmp_path):
    """Random damage: both say no. Each test of one byte; the C verifier's own tests do every bit of a small log."""
    copy = str(tmp_path / "log")
    shutil.copytree(log, copy)
    random.seed(7)
    segment = os.path.join(copy, "seg", min(os.listdir(os.path.join(copy, "seg"))))
    with open(segment, "rb") as f:
        used = len(f.read().rstrip(b"\0"))
    for tried in range(6):
        at = random.randrange(used)
        with open(segment, "r+b", buffering=0) as f:
            f.seek(at)
            was = f.read(1)[0]
            f.seek(at)
            f.write(bytes([was ^ 1 << random.randrange(8)]))
            assert not first_opinion(copy)["good"], at
            assert tried > 1 or not second_opinion(copy)["good"], at
            f.seek(at)
            f.write(bytes([was]))
    assert first_opinion(copy)["good"]


def test_the_pinned_key_counts(log):
    with open(os.path.join(log, "vkey"), encoding="ascii") as f:
        genuine = f.read().strip()
    assert first_opinion(log, "--vkey", genuine)["good"]
    other = "bulkhead.load/audit+6e4f28a4+AU0JnKbHNKoWOxCyvDY/dgBWbXq0AOK3WfvO+1R1tqFi"
    done = subprocess.run([os.path.join(BIN, "bulkhead"), "audit", "verify", "--log", log, "--vkey", other], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode in (1, 2) and not done.stdout


def test_a_proof_stands_alone(log, tmp_path):
    bulkhead, proof = os.path.join(BIN, "bulkhead"), tmp_path / "7.tlog-proof"
    with open(os.path.join(log, "vkey"), encoding="ascii") as f:
        genuine = f.read().strip()
    with open(proof, "wb") as f:
        subprocess.run([bulkhead, "audit", "prove", "7", "--log", log], stdout=f, timeout=60, check=True)
    check = [bulkhead, "audit", "check-proof", str(proof), "--vkey", genuine]
    assert subprocess.run(check, capture_output=True, timeout=60, check=False).returncode == 0
    text = proof.read_text(encoding="utf-8")
    proof.write_text(text.replace("index 7\n", "index 8\n"), encoding="utf-8")
    assert subprocess.run(check, capture_output=True, timeout=60, check=False).returncode == 1
