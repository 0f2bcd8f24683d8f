# SPDX-License-Identifier: Apache-2.0
"""Copies of a log that auditd is writing meanwhile."""
import os
import shutil
import subprocess


def copy_log(gateway, to):
    """As docs/audit.md says: the checkpoint first, for what it covers was there before it. Files that go meanwhile (by retention, by
    being given their names) are missing in it; whether that and a commit half written matter, a verifier says."""
    shutil.rmtree(to, ignore_errors=True)
    os.mkdir(to)
    log = os.path.join(gateway.state, "auditd")
    for name in ("checkpoint", "vkey"):
        shutil.copy(os.path.join(log, name), to)
    for folder in ("tile", "seg"):
        done = subprocess.run(["cp", "-r", os.path.join(log, folder), to], capture_output=True, text=True, check=False)
        assert all("No such file" in line for line in done.stderr.splitlines()), done.stderr
