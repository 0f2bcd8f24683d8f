# SPDX-License-Identifier: Apache-2.0
"""K-05, K-06: under load and after it, the provider key is in no process but the vault's, and there only in the secret arena."""
import contextlib
import glob
import http.client
import os
import shutil
import signal
import subprocess

import pytest

import memscan
from capabilities import sees_others
from gateway import BIN, INSTRUMENTED, halt, proc_read, wait_for
from load import Load

pytestmark = [
    sees_others,
    pytest.mark.skipif(INSTRUMENTED, reason="the sanitizers keep freed memory"),
]


def scan(gateway, *daemons):
    processes = {pid: name for pid, name in {**gateway.pids(), gateway.process.pid: "launcher"}.items() if name in daemons or not daemons}
    report = memscan.scan(processes, gateway.provider.key.encode())
    return processes, report


def assert_nowhere(gateway, *daemons):
    """In none of them, or none of all."""
    processes, report = scan(gateway, *daemons)
    assert all(report.scanned[pid] > 1 << 20 for pid in processes)
    found = [f"{processes[pid]}: {form} in {where}" for pid, where, form in report.found]
    assert not found, "\n".join(found)


def test_the_search_can_find(gateway):
    """The same search, for the same key, in the process that must have it: the provider."""
    pid = gateway.provider.process.pid
    assert "raw" in {form for _, _, form in memscan.scan([pid], gateway.provider.key.encode()).found}


# What leaves the key in a buffer of the egress, if anything does; and how it ends.
ECHOES = ("test:unauthorized", "test:leak:4000", "test:headpieces", "test:truncate", "wrong-ca:x", "gpt-x")


def try_chat(gateway, model):
    with contextlib.suppress(http.client.IncompleteRead):
        gateway.chat(model)


@pytest.mark.parametrize("model", ECHOES)
def test_an_echo_leaves_nothing_behind(gateway, model):
    """At rest, right after it: under load the next reply would write over what was not wiped."""
    for _ in range(2 * gateway.workers):  # each worker's egress, likely
        try_chat(gateway, model)
    assert_nowhere(gateway, "egress", "router")


@pytest.mark.seconds(300)
def test_key_is_only_in_the_arena(gateway):
    with Load(gateway) as load:
        for model in (*ECHOES, "test:leak:7", "test:trailers"):
            try_chat(gateway, model)
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


def waits_for_input(pid):
    """In read(2) of standard input; its number is 0 on x86-64 and 63 on aarch64."""
    return proc_read(pid, "syscall").split()[:2] in ([b"0", b"0x0"], [b"63", b"0x0"])


def test_key_does_not_stay_in_the_command(gateway):
    """`vault add` has handed the key to the core and now waits for authd, which is frozen: it does not need the key any more."""
    assert any(waits_without_the_key(gateway) for _ in range(3))
    assert_nowhere(gateway)


def waits_without_the_key(gateway):
    """False when it did not wait for as long as it takes to look at it: two seconds (cli/admin.c)."""
    key, sealed = gateway.provider.key.encode(), len(gateway.audit(event="vault.seal_credential"))
    authd = gateway.pids("authd")[0]
    command = subprocess.Popen([os.path.join(BIN, "bulkhead"), "vault", "add", "local", "-c", gateway.config],
                               stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        wait_for("the question for the key", lambda: waits_for_input(command.pid))
        halt(authd)
        command.stdin.write(key)
        command.stdin.close()
        wait_for("the key to be sealed", lambda: len(gateway.audit(event="vault.seal_credential")) > sealed)
        with contextlib.suppress(ProcessLookupError):
            wait_for("the key to be wiped", lambda: not memscan.scan([command.pid], key).found)
        return command.poll() is None
    finally:
        os.kill(authd, signal.SIGCONT)
        command.wait(20)


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
    """Nothing of the arena; of every egress, since whichever has served has the key."""
    assert gateway.chat("gpt-x").status == 200
    for victim in gateway.pids("egress"):
        done = memscan.write_core(victim, str(tmp_path / "core"), everything=memscan.kernel_hides())
        data = (tmp_path / f"core.{victim}").read_bytes()
        assert len(data) > 1 << 20 and b"upstream.test" in data, f"a dump of the egress, with what it has in ordinary memory: {done.stderr}"
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
