# SPDX-License-Identifier: Apache-2.0
"""L-04: the real auditd in its sandbox, and each single system call by which it writes its log made to fail, one in a life.

tests/support/fault_tracer.c makes the n-th call fail, tests/support/audit_load.c keeps the ledger of what was acknowledged, starts
auditd again when it ends or says that it does not record, and demands every event acknowledged and a signed log in the end. `make audit-faults` does every call;
here, some of them. The same for the ledger alone, with power failures, every call: auditd/fault_test.c.
"""
import os
import platform
import subprocess

import pytest

from gateway import BIN, BUILD, INSTRUMENTED, scratch
from test_auditd import first_opinion

PRODUCERS, EVENTS, SEGMENT_BYTES, NEVER = 2, 120, 65536, 1 << 30
STEP = int(os.environ.get("FAULTS_STEP", "12"))

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64" or INSTRUMENTED, reason="knows the registers of x86-64; no sanitizers under ptrace")


def run(fault, at):
    """How many calls there were, None when the tracer did not live to tell; the log is as it should be."""
    with scratch() as folder:
        report = os.path.join(folder, "report")
        env = dict(os.environ, FAULT=fault, FAULT_AT=str(at), FAULT_PROGRAM=os.path.join(BIN, "auditd"), FAULT_REPORT=report)
        done = subprocess.run([os.path.join(BUILD, "audit_load"), os.path.join(BUILD, "fault_tracer"), folder, str(PRODUCERS),
                               str(EVENTS), "0", str(SEGMENT_BYTES)], capture_output=True, text=True, timeout=60, env=env, check=False)
        assert done.returncode == 0, f"{fault} at call {at}: {done.stderr[-3000:]}"
        assert '"audit.failed"' not in done.stderr and "damaged" not in done.stderr, f"{fault} at call {at}: {done.stderr[-3000:]}"
        said = first_opinion(os.path.join(folder, "auditd"))
        assert said["good"] and said["gaps"] == 0, f"{fault} at call {at}: {said}"
        assert said["signed"] >= PRODUCERS * EVENTS and said["segments"] > 1
        if not os.path.exists(report):
            return None
        with open(report, encoding="ascii") as f:
            text = f.read()
        return int(text) if text else None


@pytest.mark.seconds(1800 if STEP == 1 else 120)
@pytest.mark.parametrize("fault", ["EIO", "ENOSPC", "EINTR", "SHORT", "KILL"])
def test_each_call_fails_once(fault):
    calls = run(fault, NEVER)
    assert calls and calls > (20 if fault == "SHORT" else 100)
    step = STEP if fault != "SHORT" else max(1, STEP // 4)
    for at in range(sum(fault.encode()) % step, calls, step):
        run(fault, at)
