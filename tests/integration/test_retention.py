# SPDX-License-Identifier: Apache-2.0
"""L-05: records that are older than auditd.keep_records go, said before, and what is left stays provable; whatever clocks say."""
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess

import pytest

import postgres
from gateway import AUDIT, Late, frozen, program_for_all, scratch, wait_for
from log_copy import copy_log
from postgres import Postgres
import verify_log

EVERY_CALL = os.environ.get("FAULTS_STEP") == "1"
HOUR = 3600
DAY = 24 * HOUR


class Aging:
    """What auditd's clocks are ahead by; see tests/support/aging.c."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(32))
        os.chmod(path, 0o666)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 32)

    def at(self, i, value=None):
        if value is not None:
            struct.pack_into("=q", self.map, 8 * i, value)
        return struct.unpack_from("=q", self.map, 8 * i)[0]

    def passes(self, seconds):
        """Both clocks go on."""
        for i in (0, 1):
            self.at(i, self.at(i) + seconds * 10**9)

    def leaps(self, seconds):
        """The wall clock alone."""
        self.at(0, self.at(0) + seconds * 10**9)

    def dies(self, n):
        self.at(2, n)

    def fails(self, n):
        """The n-th of the calls by which files are removed, named and made durable; -1: the next that is for all files."""
        self.at(3, n)


def aged(new_gateway, folder, shipper=None, **settings):
    program = program_for_all(folder, auditd="aging_auditd")
    aging = Aging(os.path.join(folder, "bin", "aging"))
    given = {"keep_records": "24h", "segment_bytes": 65536, "checkpoint_ms": 20, **settings}
    sections = {"auditd": given, "restart_pause_ms": 100, **({"shipper": shipper} if shipper else {})}
    return new_gateway(workers=1, settings=sections, program=program), aging


@pytest.fixture(scope="module")
def old(new_gateway):
    with scratch() as folder:
        yield aged(new_gateway, folder)


def busy(gateway, n=300):
    """More than a segment: each of these makes a record."""
    conn = gateway.connect()
    before = retention(gateway)["entries"]
    for _ in range(n):
        conn.request("POST", "/v1/chat/completions", b"{}", {"authorization": "Bearer bh_sk_" + "b" * 40})
        conn.getresponse().read()
    conn.close()
    return wait_for("the records", lambda: (now := retention(gateway)["entries"]) >= before + n and now)


def retention(gateway):
    """When auditd is there to be asked."""
    last = []

    def asked():
        done = gateway.cli("audit", "retention", "--json", check=False)
        said = json.loads(done.stdout) if done.returncode == 0 else {}
        last[:] = [done.stderr.decode(), said]
        return said if "entries" in said else None

    try:
        return wait_for("auditd", asked, 20)
    except Late as e:
        raise Late(f"{e}, which said {last}\n{gateway.log()[-3000:]}") from None


def removed(gateway):
    """What went, when nothing is under way any more."""
    gateway.cli("audit", "retention", "--now")
    return wait_for("the removal", lambda: (now := retention(gateway))["doing"] == "nothing" and now)


def grow(gateway, aging, segments, entries):
    """Segments of two hours each."""
    for _ in range(segments):
        busy(gateway, entries)
        aging.passes(2 * HOUR)
        removed(gateway)


def files(gateway, kind):
    return {os.path.relpath(os.path.join(where, name), gateway.state) for where, _, names in os.walk(os.path.join(gateway.state, "auditd", kind))
            for name in names}


def both(gateway):
    """Two verifiers, and their agreement; the first one's report."""
    vkey = gateway.cli_json("vault", "status")["vkey"]

    def agree():
        copy = os.path.join(gateway.folder, "copy")
        copy_log(gateway, copy)
        done = subprocess.run(AUDIT + ["verify", "--json", "--vkey", vkey, "--log", copy],
                              capture_output=True, text=True, timeout=60, check=False)
        said = json.loads(done.stdout)
        if not said["good"]:
            return None  # copied between two commits
        second = verify_log.verify(copy, vkey)
        for what in ("first", "entries", "signed", "segments", "root"):
            assert said[what] == second[what], what
        return said

    return wait_for("a good copy", agree)


def test_it_goes_when_it_is_over_and_not_before(old):
    gateway, aging = old
    entries = busy(gateway)
    checkpoint = wait_for("a checkpoint", lambda: gateway.cli("audit", "prove", str(entries - 1), check=False).returncode == 0
                          and open(os.path.join(gateway.state, "auditd", "checkpoint"), "rb").read())
    with open(os.path.join(gateway.folder, "kept"), "wb") as f:
        f.write(checkpoint)
    aging.passes(23 * HOUR)
    young = removed(gateway)
    assert young["first"] == 0 and young["removed"] is None and young["next"]["first"] == 0
    assert not gateway.audit(event="log.prune")
    busy(gateway, 10)
    aging.passes(2 * HOUR)
    tiles = files(gateway, "tile/0")
    said = removed(gateway)
    assert entries - 300 < said["first"] <= entries + 20, "all of the first day, nothing of the second"
    assert said["removed"]["first"] == 0 and said["removed"]["last"] == said["first"] - 1 and said["removed"]["keep_records"] == "24h"
    (event,) = gateway.audit(event="log.prune")
    assert event["index"] == said["removed"]["record"] and event["bytes"] == said["first"]
    assert event["resource"] == f"0-{said['first'] - 1}" and event["reason"] == "24h" and event["actor"] == "auditd"
    assert tiles <= files(gateway, "tile/0"), "hashes stay"
    assert min(files(gateway, "seg")).endswith(f"{said['first']:020d}.seg")
    verified = both(gateway)
    assert verified["first"] == said["first"] and verified["pruned"]["record"] == event["index"]
    assert verified["pruned"]["keep_records"] == "24h"


def test_what_is_left_is_proven(old):
    gateway, _ = old
    first, vkey = retention(gateway)["first"], gateway.cli_json("vault", "status")["vkey"]
    proof = os.path.join(gateway.folder, "proof")
    for index in (first, first + 1):
        with open(proof, "wb") as f:
            f.write(gateway.cli("audit", "prove", str(index)).stdout)
        assert gateway.cli_json("audit", "check-proof", proof, "--vkey", vkey)["index"] == index
    said = gateway.cli_json("audit", "consistency", os.path.join(gateway.folder, "kept"), str(first + 1), "--vkey", vkey)
    assert said["good"]


def test_everybody_says_so(old):
    gateway, _ = old
    now = retention(gateway)
    first, record = now["first"], now["removed"]["record"]
    folder = os.path.join(gateway.state, "auditd")
    told = f"records 0 to {first - 1} were removed by retention"
    for where in ((), ("--log", folder)):
        show = gateway.cli("audit", "show", "0", *where, check=False)
        assert show.returncode == 1 and told in show.stderr.decode() and f"record {record}" in show.stderr.decode()
        for command in ("search", "stats", "gaps", "export"):
            assert told in gateway.cli("audit", command, *where).stderr.decode(), command
        assert gateway.cli_json("audit", "stats", *where)["first"] == first
        assert gateway.cli_json("audit", "gaps", *where)["first"] == first
        lines = gateway.cli("audit", "export", *where).stdout.splitlines()
        assert json.loads(lines[0])["index"] == first
        assert gateway.cli_json("audit", "show", str(first), *where)["index"] == first
    reveal = gateway.cli("audit", "reveal", "0", check=False)
    assert reveal.returncode == 1 and b"retention removed record 0" in reveal.stderr
    tail = gateway.cli("audit", "tail", "--from", "3", "--json")
    assert json.loads(tail.stdout.splitlines()[0])["index"] == first and b"retention" in tail.stderr
    assert "pruned: entries 0 to" in gateway.verify().stdout.decode()
    unpruned = gateway.cli("audit", "verify", "--unpruned", check=False)
    assert unpruned.returncode == 1 and b"were pruned" in unpruned.stderr
    prove = gateway.cli("audit", "prove", "0", check=False)
    assert prove.returncode == (1 if first >= 256 else 0) and (first < 256 or told in prove.stderr.decode())
    text = gateway.cli("audit", "retention").stdout.decode()
    assert "kept for 24h" in text and f"Removed last:    records 0 to {first - 1}" in text and "Goes next:" in text


def test_more_than_was_said_is_refused(old, tmp_path):
    """Who deletes a segment or a bundle by himself is found out, also where retention has been at work."""
    gateway, _ = old
    both(gateway)
    good = os.path.join(gateway.folder, "copy")
    segments = sorted(os.listdir(os.path.join(good, "seg")))
    names = [os.path.join("seg", segments[0])]
    if len([s for s in segments if s.endswith(".seg")]) > 2:
        names.append(os.path.join("seg", segments[1]))
    first = retention(gateway)["first"]
    names.append(f"tile/entries/{first // 256:03d}" if os.path.exists(os.path.join(good, f"tile/entries/{first // 256:03d}"))
                 else f"tile/entries/{first // 256:03d}.p")
    names.append("tile/0/000")
    for name in names:
        copy = str(tmp_path / "log")
        shutil.copytree(good, copy)
        path = os.path.join(copy, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        assert gateway.cli("audit", "verify", "--log", copy, check=False).returncode == 1, name
        with pytest.raises(Exception):
            verify_log.verify(copy)
        shutil.rmtree(copy)


def test_clocks_that_are_wrong(old):
    gateway, aging = old
    busy(gateway)
    before = removed(gateway)["first"]
    aging.leaps(3650 * DAY)
    said = removed(gateway)
    assert said["first"] == before and said["clock_behind_s"] > 3600 * DAY / 3600
    assert b"ahead of what auditd has seen pass" in gateway.cli("audit", "retention").stdout
    busy(gateway, 20)
    aging.leaps(-2 * 3650 * DAY)
    assert removed(gateway)["first"] == before
    busy(gateway, 20)
    aging.leaps(3650 * DAY)
    assert removed(gateway)["first"] == before and retention(gateway)["clock_behind_s"] < HOUR
    aging.passes(20 * HOUR)
    busy(gateway, 400)
    assert removed(gateway)["first"] == before
    aging.passes(6 * HOUR)
    assert removed(gateway)["first"] > before, "the wrong clocks do not keep it for ten years either"
    both(gateway)


def test_time_without_auditd(old):
    """A stop, a clock that says that ten days have passed, a start: they are not believed at once."""
    gateway, aging = old
    aging.passes(26 * HOUR)
    removed(gateway)
    busy(gateway)
    before = removed(gateway)["first"]
    gateway.stop()
    aging.leaps(10 * DAY)
    gateway.start()
    wait_for("auditd to look", lambda: gateway.cli("audit", "retention", "--now", check=False).returncode == 0)
    assert removed(gateway)["first"] == before
    aging.passes(11 * HOUR)
    assert removed(gateway)["first"] == before
    for _ in range(11):  # at twice the speed
        aging.passes(DAY)
        removed(gateway)
    assert removed(gateway)["first"] > before and retention(gateway)["clock_behind_s"] < HOUR


@pytest.mark.parametrize("at", [1, 2, 3, 4, 9, 40, 150])
def test_death_between_any_two_files(old, at):
    """auditd dies at the n-th file that it removes, and again soon after its next start; the third one ends it."""
    gateway, aging = old
    grow(gateway, aging, 2, 200)
    before = retention(gateway)["first"]
    aging.passes(25 * HOUR)
    victim = gateway.pids("auditd")[0]
    aging.dies(at)
    gateway.cli("audit", "retention", "--now", check=False)
    wait_for("its death", lambda: aging.at(2) == 0 and victim not in gateway.pids("auditd"))
    aging.dies(2)
    assert gateway.verify().returncode == 0, "as it was left"
    said = wait_for("the rest", lambda: (now := retention(gateway))["doing"] == "nothing" and now["first"] > before and now, 30)
    aging.dies(0)
    assert both(gateway)["first"] == said["first"]
    assert len(gateway.audit(event="log.prune", bytes=said["first"])) == 1, "once said, it is done"
    folder = os.path.join(gateway.state, "auditd")
    left = sorted(f for f in os.listdir(os.path.join(folder, "tile/entries")) if int(f[:3]) < said["first"] // 256)
    assert not left


@pytest.mark.seconds(600 if EVERY_CALL else 60)
@pytest.mark.parametrize("at", [-1, *(range(1, 41) if EVERY_CALL else (1, 4, 8, 11, 14))])
def test_a_call_fails(old, at):
    """Whichever it is, auditd says so or ends; what is left is a good log, and the next life removes what this one did not."""
    gateway, aging = old
    busy(gateway, 700)  # so that it does not hang on one segment, which may get younger records
    before = removed(gateway)["first"]
    aging.passes(26 * HOUR)
    aging.fails(at)
    gateway.cli("audit", "retention", "--now", check=False)
    wait_for("the failure", lambda: aging.at(3) == 0)
    retention(gateway)
    for pid in gateway.pids("auditd"):
        os.kill(pid, signal.SIGKILL)  # it would try again, in a minute
    retention(gateway)
    assert gateway.verify().returncode == 0, "as it was left"
    said = wait_for("the rest", lambda: (now := removed(gateway))["first"] > before and now, 30)
    assert both(gateway)["first"] == said["first"]
    assert '"audit.readonly"' not in gateway.log()


def test_kill_at_any_time(old):
    gateway, aging = old
    rng = random.Random(4)
    for _ in range(4):
        busy(gateway, 250)
        aging.passes(26 * HOUR)
        victim = gateway.pids("auditd")[0]
        asking = subprocess.Popen([gateway.program, "audit", "retention", "--now", "-c", gateway.config], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            asking.wait(rng.random() / 10)
        except subprocess.TimeoutExpired:
            pass
        os.kill(victim, signal.SIGKILL)
        asking.wait(20)
        wait_for("service", lambda: gateway.cli("audit", "retention", "--now", check=False).returncode == 0, 20)
        said = wait_for("an end", lambda: (now := retention(gateway))["doing"] == "nothing" and now, 30)
        assert both(gateway)["first"] == said["first"]
    while retention(gateway)["clock_behind_s"] > HOUR:  # what passed just before a death has been seen by nobody
        aging.passes(DAY)
        removed(gateway)


def test_receipts_of_what_is_gone(old):
    """Not found, in words that do not deny that there was one."""
    gateway, aging = old
    request = gateway.chat("gpt-x").headers["x-request-id"]
    wait_for("its receipt", lambda: gateway.cli("receipt", "get", request, check=False).returncode == 0)
    busy(gateway, 500)  # it shares no bundle with what is left
    aging.passes(2 * HOUR)
    removed(gateway)
    aging.passes(25 * HOUR)
    removed(gateway)
    done = gateway.cli("receipt", "get", request, check=False)
    assert done.returncode == 1 and b"retention removed it" in done.stderr


def test_nothing_goes_unsigned(old):
    """Without the vault nobody signs log.prune, so nothing is removed; when it is open again, it is."""
    gateway, aging = old
    busy(gateway)
    aging.passes(2 * HOUR)
    before = removed(gateway)["first"]
    aging.passes(25 * HOUR)
    core = gateway.pids("keyvault")[0]
    with frozen(core):
        asking = subprocess.run([gateway.program, "audit", "retention", "--now", "--json", "-c", gateway.config], capture_output=True,
                                timeout=60, check=False)
        said = json.loads(asking.stdout)
        assert said["first"] == before and "waits to be signed" in said["doing"]
        again = gateway.cli("audit", "retention", "--json", check=False)
        assert "waits to be signed" in json.loads(again.stdout)["doing"], "whoever asks later is told the same"
        assert gateway.cli("audit", "search", "--limit", "1").returncode == 0
    wait_for("the removal", lambda: retention(gateway)["first"] > before, 20)


def test_what_goes_next_is_still_there(old):
    """Whoever has something removed is not told that what has just gone goes next."""
    gateway, aging = old
    grow(gateway, aging, 3, 200)
    before = retention(gateway)["first"]
    aging.passes(25 * HOUR)
    said = json.loads(gateway.cli("audit", "retention", "--now", "--json").stdout)
    assert said["first"] > before
    assert said["next"] is None or said["next"]["first"] <= said["next"]["last"], said


def test_legal_hold(new_gateway):
    with scratch() as folder:
        gateway, aging = aged(new_gateway, folder, legal_hold=True)
        busy(gateway, 200)
        aging.passes(300 * DAY)
        refused = gateway.cli("audit", "retention", "--now", check=False)
        assert refused.returncode == 1 and b"legal_hold" in refused.stderr
        said = retention(gateway)
        assert said["legal_hold"] and said["first"] == 0 and said["next"] is None and said["doing"] == "held"
        assert "Legal hold" in gateway.cli("audit", "retention").stdout.decode()
        assert not gateway.audit(event="log.prune")


def test_forever(new_gateway):
    with scratch() as folder:
        gateway, aging = aged(new_gateway, folder, keep_records="forever")
        busy(gateway, 200)
        aging.passes(3000 * DAY)
        said = removed(gateway)
        assert said["first"] == 0 and said["next"] is None and said["removed"] is None
        assert gateway.cli("audit", "verify", "--unpruned").returncode == 0
        assert "kept for ever" in gateway.cli("audit", "retention").stdout.decode()


def test_verify_while_records_go(old):
    """A verifier that reads the folder while retention removes from it is not led to call it damaged."""
    gateway, aging = old
    grow(gateway, aging, 6, 150)
    aging.passes(26 * HOUR)
    before = retention(gateway)["first"]
    verifying = [subprocess.Popen([gateway.program, "audit", "verify", "-c", gateway.config], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE) for _ in range(3)]
    gateway.cli("audit", "retention", "--now")
    for v in verifying:
        _, said = v.communicate(timeout=60)
        assert v.returncode == 0, said
    wait_for("the removal", lambda: retention(gateway)["first"] > before)


@pytest.mark.skipif(postgres.MISSING, reason="needs Debian's postgresql")
def test_a_mirror_that_was_away(new_gateway):
    """Its database is down for longer than records are kept: it has a hole then, and everybody says so."""
    with scratch() as folder, Postgres(folder) as db:
        password = db.role("mirror")
        auditor = db.role("auditor")
        gateway, aging = aged(new_gateway, folder, shipper={"postgres": db.conninfo("mirror"), "password_file": password})
        db.sql(gateway.cli("audit", "mirror-schema").stdout.decode() + ";GRANT bulkhead_shipper TO mirror; GRANT bulkhead_auditor TO auditor")
        mirrored = lambda: int(db.sql("SELECT coalesce(max(idx) + 1, 0) FROM bulkhead.records")[0][0])  # noqa: E731
        wait_for("the mirror", lambda: mirrored() >= retention(gateway)["entries"] - 3, 60, 0.2)
        db.kill()
        held = busy(gateway, 600)
        aging.passes(2 * HOUR)
        removed(gateway)
        busy(gateway, 20)
        aging.passes(25 * HOUR)
        first = removed(gateway)["first"]
        assert first >= held
        db.start()
        wait_for("the mirror", lambda: mirrored() > held, 60, 0.2)
        rows = int(db.sql("SELECT count(*) FROM bulkhead.records")[0][0])
        assert rows < held - 200
        wait_for("status to say so", lambda: "retention removed some" in
                 next(d for d in gateway.status_anyway() if d["name"] == "shipper")["detail"], 20, 0.2)
        assert "mirror.missed" in gateway.log()
        args = ("audit", "verify-mirror", "--postgres", db.conninfo("auditor"), "--password-file", auditor)
        done = gateway.cli(*args)
        assert b"cannot be brought back" in done.stderr and b"are missing that retention removed" in done.stdout
        db.sql(f"DELETE FROM bulkhead.records WHERE idx = {first + 5}")
        assert gateway.cli(*args, check=False).returncode == 1, "a row that is missing while its record is there"
