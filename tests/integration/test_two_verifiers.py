# SPDX-License-Identifier: Apache-2.0
"""L-03: two verifiers, written apart, agree on logs made at random and on what was done to them afterwards."""
import json
import os
import random
import shutil
import subprocess

import pytest

from gateway import BIN, BUILD, scratch
import verify_log

SEEDS = range(100, 112)
CHANGES_EACH = 8


def make_log(folder, seed, *args):
    rng = random.Random(seed)
    entries = rng.choice([1, 2, 255, 256, 257, 700, rng.randrange(1, 2500)])
    done = subprocess.run([os.path.join(BUILD, "make_log"), folder, str(seed), str(entries), str(rng.choice([65536, 131072])), *args],
                          capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def first_opinion(log, vkey):
    done = subprocess.run([os.path.join(BIN, "bulkhead"), "audit", "verify", "--json", "--log", log, "--vkey", vkey], capture_output=True,
                          text=True, timeout=60, check=False)
    said = json.loads(done.stdout)
    assert done.returncode == (1 if not said["good"] else 3 if said["uncovered"] else 0), done.stderr
    return said


def second_opinion(log, vkey):
    try:
        return {"good": True, **verify_log.verify(log, vkey)}
    except Exception as e:  # pylint: disable=broad-exception-caught
        return {"good": False, "why": repr(e)}


def both(log, vkey):
    """What the two say; they must say the same, and count the same where it is good."""
    first, second = first_opinion(log, vkey), second_opinion(log, vkey)
    assert first["good"] == second["good"], (first, second)
    if first["good"]:
        for what in ("first", "entries", "signed", "segments", "gaps", "lost", "root", "pruned", "uncovered"):
            assert first[what] == second[what], what
    return first


# ---- what is done to a log ----

def files(log):
    return sorted(os.path.join(where, name) for where, _, names in os.walk(log) for name in names if name not in ("vkey", "next", "tmp", "retention"))


def used(path):
    with open(path, "rb") as f:
        data = f.read()
    return data, len(data.rstrip(b"\0")) if path.endswith(".seg") else len(data)


def flip(rng, log):
    path = rng.choice([p for p in files(log) if os.path.getsize(p)])
    data, end = used(path)
    at = rng.randrange(end)
    changed = bytearray(data)
    changed[at] ^= 1 << rng.randrange(8)
    with open(path, "wb") as f:
        f.write(changed)
    return f"flip {path} {at}"


def cut(rng, log):
    path = rng.choice([p for p in files(log) if os.path.getsize(p)])
    data, end = used(path)
    at = rng.randrange(end)
    with open(path, "wb") as f:
        f.write(data[:at])
    return f"cut {path} to {at}"


def remove(rng, log):
    path = rng.choice(files(log))
    os.unlink(path)
    return f"remove {path}"


def swap(rng, log):
    """Two files of the same kind change places."""
    kinds = {}
    for path in files(log):
        kinds.setdefault(os.path.dirname(path), []).append(path)
    same = [paths for paths in kinds.values() if len(paths) > 1]
    if not same:
        return flip(rng, log)
    a, b = rng.sample(rng.choice(same), 2)
    os.rename(a, a + ".x")
    os.rename(b, a)
    os.rename(a + ".x", b)
    return f"swap {a} {b}"


def append(rng, log):
    path = rng.choice([p for p in files(log) if not p.endswith(".seg")])
    with open(path, "ab") as f:
        f.write(bytes(rng.randrange(256) for _ in range(rng.randrange(1, 40))))
    return f"append to {path}"


def write_behind(rng, log):
    """Something in the zeros behind the last entry."""
    path = max(p for p in files(log) if p.endswith(".seg"))
    data, end = used(path)
    changed = bytearray(data)
    if end + 8 < len(data):
        changed[rng.randrange(end + 8, len(data))] = 1
    with open(path, "wb") as f:
        f.write(changed)
    return f"write behind {path}"


CHANGES = [flip, flip, flip, cut, cut, remove, swap, append, write_behind]


def harmless(copy, what, before):
    """Leftovers that no root depends on: partial tiles of older checkpoints, which may be short or gone, and segments' last zeros."""
    if "copy/checkpoint " in what:  # the witness's line: nobody who asks for no witness looks at more than its form
        with open(os.path.join(copy, "checkpoint"), "rb") as f:
            return what.startswith("flip") and int(what.split()[-1]) > f.read().index(b"\n", f.read().find(b"bulkhead.made/audit ") + 1)
    if ".p/" in what and what.startswith(("cut", "remove")):
        return True
    return what.startswith(("cut", "write behind")) and ".seg" in what or before["signed"] < before["entries"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("args", [(), ("prune",)], ids=["whole", "pruned"])
def test_they_agree(seed, args):
    rng = random.Random(seed)
    with scratch() as folder:
        log, copy = os.path.join(folder, "log"), os.path.join(folder, "copy")
        made = make_log(log, seed, *args)
        said = both(log, made["vkey"])
        assert said["good"], said["why"]
        for what in ("first", "entries", "signed"):
            assert said[what] == made[what]
        if not said["first"]:
            assert (said["gaps"], said["lost"]) == (made["gaps"], made["lost"])
        for _ in range(CHANGES_EACH):
            shutil.copytree(log, copy, copy_function=shutil.copyfile)  # sealed segments too are to be changed
            what = rng.choice(CHANGES)(rng, copy)
            after = both(copy, made["vkey"])
            assert not after["good"] or harmless(copy, what, said), what
            shutil.rmtree(copy)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_of_a_log_in_use(seed):
    """Behind the checkpoint the segments are torn as a copy tears them: it is good as far as it was signed, and both say how far."""
    rng = random.Random(seed)
    with scratch() as folder:
        log = os.path.join(folder, "log")
        made = make_log(log, seed * 2 + 1)  # what is odd ends unsigned
        before = both(log, made["vkey"])
        segment = max(p for p in files(log) if p.endswith(".seg"))
        data, end = used(segment)
        changed = bytearray(data)
        begin = rng.randrange(8192, end)
        changed[begin:rng.randrange(begin, end)] = b""
        changed += bytes(len(data) - len(changed))
        with open(segment, "wb") as f:
            f.write(changed)
        after = both(log, made["vkey"])
        if after["good"]:
            assert after["signed"] <= after["entries"] <= before["entries"] and after["root"] == before["root"]
        else:
            assert before["signed"] > int(os.path.basename(segment)[:20]), "what was signed is damaged"


def test_a_beginning_that_nobody_removed():
    """Segments and bundles are gone as retention would have them, but the log does not say so."""
    with scratch() as folder:
        log = os.path.join(folder, "log")
        made = make_log(log, 105)
        subprocess.run([os.path.join(BUILD, "make_log"), log + "2", "8", "3000", "65536"], capture_output=True, timeout=60, check=True)
        log += "2"
        segments = [p for p in files(log) if p.endswith(".seg")]
        assert len(segments) > 2
        for path in segments[:2]:
            os.unlink(path)
        said = both(log, made["vkey"])
        assert not said["good"] and "no signed record" in said["why"]
