# SPDX-License-Identifier: Apache-2.0
"""K-05, K-06: under load, the provider key is in no process but the vault's, and there only in the secret arena."""
import glob
import os
import shutil
import signal
import subprocess

import pytest

import memscan
from gateway import INSTRUMENTED, wait_for
from load import Load

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="reads the memory of other users' processes"),
    pytest.mark.skipif(INSTRUMENTED, reason="the sanitizers keep freed memory"),
]


def scan(gateway):
    processes = {**gateway.pids(), gateway.process.pid: "launcher"}
    report = memscan.scan(processes, gateway.provider.key.encode())
    return processes, report


def test_key_is_only_in_the_arena(gateway):
    with Load(gateway) as load:
        for model in ("test:unauthorized", "test:leak:7", "test:trailers", "wrong-ca:x", "test:truncate"):
            try:
                gateway.chat(model)
            except Exception:  # noqa: BLE001  pylint: disable=broad-except
                pass
        for _ in range(3):
            seen = load.outcomes["200"]
            wait_for("load", lambda seen=seen: load.outcomes["200"] > seen + 50)
            processes, report = scan(gateway)
            assert all(report.scanned[pid] > 1 << 20 for pid in processes)
            found = [f"{processes[pid]}: {form} in {where}" for pid, where, form in report.found]
            assert not found, "\n".join(found)
    in_arena = {processes[pid] for pid, _, _ in report.in_arena}
    assert in_arena <= {"keyvault", "egress"}
    hidden = {processes[pid] for pid, size in report.hidden.items() if size}
    assert hidden <= {"keyvault", "egress", "authd"}


def test_key_does_not_stay_in_the_command(gateway):
    """After `vault add`, while the connection's buffers have been used again."""
    gateway.add_key()
    processes, report = scan(gateway)
    assert not [f"{processes[pid]}: {form} in {where}" for pid, where, form in report.found]


def test_no_core_dump(gateway, tmp_path):
    """A crash of the egress leaves no core file."""
    victim = gateway.pids("egress")[0]
    with open(f"/proc/{victim}/limits", encoding="ascii") as f:
        limits = f.read()
    assert any(line.split()[4:6] == ["0", "0"] for line in limits.splitlines() if line.startswith("Max core file size"))
    os.kill(victim, signal.SIGSEGV)
    wait_for("another egress", lambda: victim not in gateway.pids("egress") and len(gateway.pids("egress")) == 2)
    assert not glob.glob(os.path.join(gateway.folder, "**", "core*"), recursive=True)
    wait_for("service", lambda: all(gateway.chat("gpt-x").status == 200 for _ in range(10)))


@pytest.mark.skipif(not shutil.which("gcore"), reason="needs gdb")
def test_core_by_root_holds_no_key(gateway, tmp_path):
    """What a debugger run by root can write down of the egress: nothing of the arena."""
    victim = gateway.pids("egress")[0]
    subprocess.run(["gcore", "-a", "-o", str(tmp_path / "core"), str(victim)], stdin=subprocess.DEVNULL, capture_output=True,
                   timeout=60, check=False)
    dumps = glob.glob(str(tmp_path / "core.*"))
    for dump in dumps:
        with open(dump, "rb") as f:
            data = f.read()
        for name, form in memscan.forms(gateway.provider.key.encode()).items():
            assert form not in data, name
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)


def test_the_same_user_cannot_trace(gateway):
    """Another process under the egress's own uid is refused by PR_SET_DUMPABLE."""
    victim = gateway.pids("egress")[0]
    with open(f"/proc/{victim}/status", encoding="ascii") as f:
        daemon_uid = int(next(line for line in f if line.startswith("Uid:")).split()[1])
    assert daemon_uid != 0 and os.stat(f"/proc/{victim}/mem").st_uid == 0, "not dumpable: its /proc files belong to root"
    done = subprocess.run(["/usr/bin/python3", "-c", f"open('/proc/{victim}/mem','rb')"], user=daemon_uid, group=daemon_uid,
                          capture_output=True, check=False, env={})
    assert b"PermissionError" in done.stderr
