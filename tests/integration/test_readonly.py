# SPDX-License-Identifier: Apache-2.0
"""L-02, L-04: a log that cannot be written is still read; one that is damaged is left as it is."""
import json
import os
import pathlib
import shutil

import pytest

from gateway import program_for_all, scratch, wait_for


def auditd_of(gateway):
    """As `status` has it, which fails while a daemon is not ready."""
    listed = json.loads(gateway.cli("status", "--json", check=False).stdout)
    return next(d for d in listed if d["name"] == "auditd")


def admin_works(gateway):
    return gateway.cli("key", "create", check=False).returncode == 0


@pytest.fixture(scope="module")
def failing(new_gateway):
    """A gateway, and the file whose existence makes its log's disk fail."""
    with scratch() as folder:
        program = program_for_all(folder, auditd="failing_auditd")
        yield new_gateway(workers=1, program=program), pathlib.Path(folder, "bin", "disk-fails")


def test_a_log_that_cannot_be_written_is_read(failing):
    gateway, disk_fails = failing
    made = gateway.make_key()
    before = gateway.audit()
    disk_fails.touch()
    assert gateway.cli("key", "create", check=False).returncode == 1, "no administration without its record"
    said = wait_for("auditd to say so", lambda: (now := auditd_of(gateway)).get("detail", "").startswith("the log can only be read") and now)
    assert "Input/output error" in said["detail"] and not said["ready"]
    assert [e for e in before if e.get("resource") == made["id"]] and gateway.audit()[:len(before)] == before
    assert gateway.cli("audit", "tail", "-n", "3").stdout.count(b"\n") == 3
    refused = gateway.cli("key", "create", check=False)
    assert refused.returncode == 1 and b"audit" in refused.stderr.lower()
    requests = {gateway.chat("gpt-x").headers["x-request-id"] for _ in range(20)}
    assert gateway.pids("auditd") and gateway.audit()[:len(before)] == before, "it stays and reads"
    assert gateway.verify().returncode == 0
    disk_fails.unlink()
    wait_for("auditd to record again", lambda: admin_works(gateway), 20, 0.2)
    for event in ("request.complete", "egress.use"):  # of two producers, neither of which waits for the other
        wait_for("the records of the time without",
                 lambda event=event: requests <= {e.get("request_id") for e in gateway.audit(event=event)})
    assert not gateway.audit(event="log.gap")
    assert gateway.audit()[:len(before)] == before
    done = gateway.verify()
    assert done.returncode == 0, done.stderr


def test_a_damaged_log_is_left_as_it_is(failing):
    """A record in the middle is not what it was: auditd records nothing, reads nothing out, and changes not a byte."""
    gateway, _ = failing
    gateway.stop()
    segment = max(pathlib.Path(gateway.state, "auditd", "seg").glob("*.seg"))
    good = segment.read_bytes()
    bad = bytearray(good)
    bad[8192 + 300] ^= 1
    segment.write_bytes(bad)
    gateway.start()
    wait_for("auditd to refuse", lambda: auditd_of(gateway).get("detail", "").startswith("the log is damaged"))
    assert not admin_works(gateway)
    asked = gateway.cli("audit", "tail", check=False)
    assert asked.returncode == 1 and b"damaged" in asked.stderr and not asked.stdout
    assert gateway.verify().returncode == 1
    gateway.stop()
    assert segment.read_bytes() == bad, "the evidence"
    segment.write_bytes(good)
    gateway.start()
    wait_for("auditd to go on", lambda: admin_works(gateway))
    assert gateway.verify().returncode == 0


def segment_of(gateway):
    return max(pathlib.Path(gateway.state, "auditd", "seg").glob("*.seg"))


def test_a_torn_tail_is_cut_and_recorded(failing):
    """As a power failure in the middle of a write leaves it: the beginning of a record that nobody was told of."""
    gateway, _ = failing
    gateway.stop()
    segment = segment_of(gateway)
    data = bytearray(segment.read_bytes())
    last = data.rindex(b"BBE1")
    end = -(-(last + 24 + int.from_bytes(data[last + 4:last + 8], "little")) // 8) * 8
    data[end:end + 40] = data[8192:8192 + 40]  # the head of the first record, and some of it
    segment.write_bytes(data)
    gateway.start()
    wait_for("auditd to go on", lambda: admin_works(gateway))
    recovered = gateway.audit(event="log.recover")
    assert len(recovered) == 1 and recovered[0]["bytes"] > 0, recovered
    assert gateway.verify().returncode == 0


def test_a_log_that_is_taken_away_is_missed_at_once(failing):
    """The file is still open and takes every byte; but nobody would find them. So the next record is not acknowledged."""
    gateway, _ = failing
    segment = segment_of(gateway)
    away = segment.with_suffix(".away")
    segment.rename(away)
    assert gateway.cli("key", "create", check=False).returncode == 1, "no administration without its record"
    wait_for("auditd to say so", lambda: auditd_of(gateway).get("detail", "").startswith("the log is damaged"))
    away.rename(segment)
    gateway.stop()
    gateway.start()
    wait_for("auditd to go on", lambda: admin_works(gateway))
    assert gateway.verify().returncode == 0


def test_a_copy_in_its_place_is_the_log(failing):
    """There is no moment without one. What is acknowledged from then on is in the copy, not in the file that is still open."""
    gateway, _ = failing
    segment = segment_of(gateway)
    copy = segment.with_suffix(".copy")
    shutil.copy2(segment, copy)
    os.chown(copy, segment.stat().st_uid, segment.stat().st_gid)
    copy.replace(segment)
    made = wait_for("a key", lambda: (done := gateway.cli("key", "create", "--json", check=False)).returncode == 0 and json.loads(done.stdout))
    gateway.stop()
    gateway.start()
    wait_for("auditd to go on", lambda: admin_works(gateway))
    assert [e for e in gateway.audit() if e.get("resource") == made["id"]]
    assert gateway.verify().returncode == 0
