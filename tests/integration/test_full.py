# SPDX-License-Identifier: Apache-2.0
"""L-05: a log's disk that is full. What retention would remove makes room, if it can be recorded first; else it is said what to do."""
import json
import os
import shutil
import subprocess

import pytest

from gateway import BIN, frozen, program_for_all, scratch, wait_for
from test_retention import HOUR, Aging, busy, files, retention

DISK_MIB = 24


def mounts(folder):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0755", "none", folder], capture_output=True, check=False).returncode == 0


class Disk:
    """A small one, on which the log lies."""

    def __init__(self, gateway, begun=True):
        """Not begun: there never was a log, and the disk is full already."""
        self.log = os.path.join(gateway.state, "auditd")
        self.ballast = os.path.join(self.log, "ballast")
        before = self.log + ".before"
        gateway.stop()
        os.rename(self.log, before)
        os.mkdir(self.log)
        if not mounts(self.log):
            pytest.skip("must be able to mount")
        if begun:
            subprocess.run(["cp", "-a", before + "/.", self.log], check=True)
        else:
            os.chown(self.log, os.stat(before).st_uid, os.stat(before).st_gid)
            self.fill()
        shutil.rmtree(before)
        gateway.start()

    def fill(self):
        """By somebody else, to the last byte."""
        with open(self.ballast, "ab", buffering=0) as f:
            for size in (1 << 20, 4096, 1):
                while True:
                    try:
                        f.write(bytes(size))
                    except OSError:
                        break

    def empty(self):
        os.unlink(self.ballast)

    @property
    def spare(self):
        return os.path.join(self.log, "seg", "spare")


@pytest.fixture(scope="module")
def full(new_gateway):
    with scratch() as folder:
        program = program_for_all(folder, auditd="aging_auditd")
        aging = Aging(os.path.join(folder, "bin", "aging"))
        settings = {"auditd": {"keep_records": "24h", "segment_bytes": 65536, "checkpoint_ms": 20}, "restart_pause_ms": 100}
        gateway = new_gateway(workers=1, settings=settings, program=program)
        disk = Disk(gateway)
        yield gateway, aging, disk
        gateway.stop()
        subprocess.run(["umount", disk.log], check=True)


def detail(gateway):
    """Of auditd, as `status` has it, which fails while a daemon is not ready."""
    listed = json.loads(gateway.cli("status", "--json", check=False).stdout)
    return next(d for d in listed if d["name"] == "auditd").get("detail", "")


def read_only(gateway, what):
    """A record after which the tiles find no room; then what is said of it."""
    gateway.cli("key", "create", check=False)
    return wait_for(what, lambda: what in (now := detail(gateway)) and "the log can only be read: No space left" in now and now, 30)


def recording(gateway):
    wait_for("auditd to record again", lambda: gateway.cli("key", "create", check=False).returncode == 0, 40, 0.2)


def good(gateway):
    assert gateway.verify().returncode == 0
    vkey = gateway.cli_json("vault", "status")["vkey"]
    done = subprocess.run([os.path.join(BIN, "bulkhead-audit"), "verify", "--json", "--vkey", vkey, "--log", os.path.join(gateway.state, "auditd")],
                          capture_output=True, text=True, timeout=60, check=False)
    said = json.loads(done.stdout)
    assert said["good"], said
    return said


def test_what_is_over_makes_room(full):
    """Nobody does anything: when records are over, the spare is given up for the record that says that they go."""
    gateway, aging, disk = full
    busy(gateway, 700)
    before = retention(gateway)["first"]
    wait_for("the spare", lambda: os.path.exists(disk.spare))
    disk.fill()
    said = read_only(gateway, "nothing is older")
    assert "free 4 MiB" in said, said
    assert "nothing is older" in retention(gateway)["doing"]
    asked = gateway.cli("audit", "retention").stdout.decode()
    assert "free 4 MiB" in asked, asked
    assert os.path.exists(disk.spare), "it is no use yet"
    assert retention(gateway)["first"] == before and gateway.cli("audit", "tail", "-n", "3").stdout.count(b"\n") == 3
    aging.passes(26 * HOUR)
    recording(gateway)
    said = wait_for("the removal", lambda: (now := retention(gateway))["doing"] == "nothing" and now["first"] > before and now, 30)
    assert len(gateway.audit(event="log.prune", bytes=said["first"])) == 1
    assert good(gateway)["first"] == said["first"]
    disk.empty()


def test_without_a_spare_it_says_what_to_do(full):
    gateway, aging, disk = full
    busy(gateway, 700)
    before = retention(gateway)["first"]
    recording(gateway)
    wait_for("the spare", lambda: os.path.exists(disk.spare))
    os.unlink(disk.spare)
    disk.fill()
    read_only(gateway, "nothing is older")
    aging.passes(26 * HOUR)
    said = wait_for("that", lambda: "no room to record" in (now := detail(gateway)) and now, 30)
    assert "free 4 MiB" in said
    assert retention(gateway)["first"] == before and good(gateway)["first"] == before, "nothing goes unsaid"
    disk.empty()
    recording(gateway)
    wait_for("the removal", lambda: retention(gateway)["first"] > before, 30)
    wait_for("the spare", lambda: os.path.exists(disk.spare))
    good(gateway)


def test_what_was_recorded_goes_on(full):
    """The disk becomes full in the midst of a removal, when auditd dies: its record is signed, so the rest needs no room."""
    gateway, aging, disk = full
    busy(gateway, 900)
    before = retention(gateway)["first"]
    aging.passes(26 * HOUR)
    asking = subprocess.Popen([gateway.program, "audit", "retention", "--now", "-c", gateway.config], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    with frozen(gateway.process.pid):
        aging.dies(3)
        wait_for("its death", lambda: aging.at(2) == 0)
        os.unlink(disk.spare)
        disk.fill()
    asking.wait(30)
    wait_for("the rest", lambda: retention(gateway)["first"] > before, 30)
    recording(gateway)
    said = wait_for("its end", lambda: (now := retention(gateway))["doing"] == "nothing" and now, 30)
    assert good(gateway)["first"] == said["first"]
    assert len([f for f in files(gateway, "seg") if f.endswith(".seg") and int(f.split("/")[-1][:20]) < said["first"]]) == 0
    disk.empty()


def test_a_new_log_on_a_disk_that_was_full_before(new_gateway):
    """Nothing is damaged, and nobody says so: there is no log yet, and it begins as soon as there is room."""
    gateway = new_gateway(prepare=False, workers=1, settings={"auditd": {"keep_records": "24h", "segment_bytes": 65536}})
    disk = Disk(gateway, begun=False)
    try:
        said = wait_for("that", lambda: "nothing is older" in (now := detail(gateway)) and now, 30)
        assert "the log can only be read: No space left" in said and "free 4 MiB" in said
        assert "audit.prune_failed" not in gateway.log()
        disk.empty()
        wait_for("it to begin", lambda: detail(gateway).startswith("recording"), 30)
        assert gateway.audit(event="log.start")
    finally:
        gateway.stop()
        subprocess.run(["umount", disk.log], check=True)
