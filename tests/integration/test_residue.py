# SPDX-License-Identifier: Apache-2.0
"""K-05, K-06, K-08: after a storm of requests of every kind, most of which spread the key as far as a provider can, there is not a
byte of it outside of the arena: in no answer, no mapping of any process, no core dump, no file, no swap.

RESIDUE_REQUESTS says how many: `make residue` and `make check-all` send 100,000, `make test` a tenth.
"""
import contextlib
import glob
import json
import os
import shutil
import subprocess

import pytest

import certs
import memscan
from capabilities import sees_others
from gateway import BUILD, INSTRUMENTED, PROVIDER_KEY, Gateway, scratch, wait_for

REQUESTS = int(os.environ.get("RESIDUE_REQUESTS", "10000"))
THREADS = 32
# Weights; what breaks a connection costs a handshake, what hangs waits for a timeout.
MODES = {"polite": 300, "stream": 140, "unauthorized": 160, "leak": 120, "pieces": 60, "trailers": 60, "redirect": 30, "extension": 15,
         "malformed": 25, "cut": 20, "cuthead": 10, "reset": 15, "silent": 10, "hang": 4, "stall": 6, "!stream": 10, "!leak": 10,
         "!stall": 5}

pytestmark = [
    sees_others,
    pytest.mark.skipif(INSTRUMENTED, reason="the sanitizers keep freed memory"),
]


@contextlib.contextmanager
def upstream(folder):
    """tests/support/storm_upstream.c: its port and the certificate that vouches for it."""
    os.makedirs(os.path.join(folder, "certs"))
    os.chmod(os.path.join(folder, "certs"), 0o755)
    made = certs.make_all(os.path.join(folder, "certs"))
    with subprocess.Popen([os.path.join(BUILD, "storm_upstream"), made["good"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        try:
            yield int(p.stdout.readline()), made["ca"]
        finally:
            p.stdin.close()
            p.wait(10)


@pytest.fixture(scope="module")
def gateway():
    with scratch() as folder, upstream(folder) as (port, ca):
        provider = {"name": "local", "base_url": f"https://upstream.test:{port}/v1", "connect_to": "127.0.0.1", "ca_file": ca,
                    "dialect": "openai", "auth": "bearer"}
        inner = os.path.join(folder, "gateway")
        os.makedirs(inner)
        os.chmod(inner, 0o755)
        with Gateway(inner, providers=[provider],
                     settings={"router": {"reply_timeout_ms": 200, "stall_timeout_ms": 200}, "authd": {"guard_email": "redact"}}) as g:
            g.open_vault()
            g.add_key("local", PROVIDER_KEY)
            g.key = g.make_key()["key"]
            wait_for("the first good answer", lambda: g.chat("test:polite").status == 200)
            yield g


def storm(gateway, requests, modes):
    with scratch() as folder:
        needles = os.path.join(folder, "needles")
        with open(needles, "w", encoding="ascii") as f:
            f.writelines(form.hex() + "\n" for form in memscan.forms(PROVIDER_KEY.encode()).values())
        done = subprocess.run([os.path.join(BUILD, "storm_clients"), str(gateway.port), gateway.key, str(requests), str(THREADS), needles,
                               ",".join(f"{name}={weight}" for name, weight in modes.items())],
                              capture_output=True, check=True, timeout=600)
    return json.loads(done.stdout)


def everything(gateway):
    return {**gateway.pids(), gateway.process.pid: "launcher"}


def in_memory(gateway, *daemons):
    processes = {pid: name for pid, name in everything(gateway).items() if not daemons or name in daemons}
    report = memscan.scan(processes, PROVIDER_KEY.encode())
    assert all(report.scanned[pid] > 1 << 20 for pid in processes)
    return sorted({f"{processes[pid]}: {form} in {where}" for pid, where, form in report.found})


def in_file(path):
    with open(path, "rb") as f:
        data = f.read()
    return [f"{path}: {name}" for name, form in memscan.forms(PROVIDER_KEY.encode()).items() if form in data]


def in_files(folder):
    """Logs, segments and checkpoints of the audit log, the database with its journals, blobs, configuration."""
    paths = [path for path in glob.glob(os.path.join(folder, "**"), recursive=True) if os.path.isfile(path)]
    assert any("authd.db" in path for path in paths) and any(path.endswith("/log") for path in paths) and len(paths) > 5
    return [hit for path in paths for hit in in_file(path)]


def in_cores(gateway, folder):
    """What root can write down of each process."""
    hits = []
    for pid, name in everything(gateway).items():
        memscan.write_core(pid, os.path.join(folder, name), everything=memscan.kernel_hides())
        path = os.path.join(folder, f"{name}.{pid}")
        if os.path.exists(path):
            hits += in_file(path)
            os.unlink(path)
    return hits


def test_the_scanner_sees(gateway, tmp_path):
    """The gateway key is in the routers, and a file with the provider's key in it is found: else the rest proves nothing."""
    for _ in range(20):
        assert gateway.chat("test:polite").status == 200
    processes = gateway.pids()
    report = memscan.scan(processes, gateway.key.encode())
    assert "router" in {processes[pid] for pid, _, form in report.found if form == "raw"}
    (tmp_path / "file").write_bytes(b"xx" + PROVIDER_KEY.encode().hex().encode())
    assert in_file(tmp_path / "file")


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in ("hang", "silent")])
def test_each_kind_alone(gateway, mode):
    """So that a trace is not overwritten by requests of another kind."""
    result = storm(gateway, 96, {mode: 1})
    assert result["found"] == 0 and result["late"] == 0
    assert not in_memory(gateway, "egress", "router", "auditd")


@pytest.mark.seconds(900)
@pytest.mark.parametrize("requests", [REQUESTS])
def test_no_trace_after_a_storm(gateway, requests, tmp_path):
    before = gateway.pids()
    result = storm(gateway, requests, MODES)
    print(f"{requests} requests: {result}")
    assert result["done"] == requests and result["late"] == 0 and result["found"] == 0
    statuses = {int(code): n for code, n in result["status"].items()}
    assert set(statuses) <= {0, 200, 401, 502, 504}, statuses
    assert statuses[200] > requests / 2 and statuses[401] > requests / 10 and statuses[502] > requests / 50 and statuses[504] > 0
    assert gateway.pids() == before, "a daemon died"
    assert not in_memory(gateway)
    assert not in_files(gateway.folder)
    if shutil.which("gcore"):
        assert not in_cores(gateway, str(tmp_path))
    assert len(gateway.audit(event="egress.scrub")) > 0


def test_the_arena_cannot_be_swapped(gateway):
    """Its pages are locked, whether there is swap or not; of the rest, what was swapped is read back by the scan of its mapping."""
    for pid, name in gateway.pids().items():
        locked = [high - low for low, high, _, _, arena in memscan.mappings(pid) if arena]
        assert sum(locked) > 1 << 16 or name not in ("keyvault", "egress"), name
