# SPDX-License-Identifier: Apache-2.0
"""L-03: somebody with the disk puts an older, genuine copy of the log in its place. The copy verifies; the vault remembers better."""
import contextlib
import json
import os
import shutil
import subprocess

from gateway import Late, wait_for


def auditd_of(gateway):
    """As `status` has it, which fails while a daemon is not ready."""
    listed = json.loads(gateway.cli("status", "--json", check=False).stdout)
    return next(d for d in listed if d["name"] == "auditd")


def copy_of(folder, where):
    subprocess.run(["cp", "-a", folder, where], check=True)


def test_an_older_log_is_refused(new_gateway, tmp_path):
    gateway = new_gateway()
    log, old, new = os.path.join(gateway.state, "auditd"), str(tmp_path / "old"), str(tmp_path / "new")
    gateway.chat("gpt-x")
    gateway.stop()
    copy_of(log, old)
    gateway.start()
    gateway.make_key(name="to-be-forgotten")
    gateway.stop()
    copy_of(log, new)

    shutil.rmtree(log)
    copy_of(old, log)
    assert gateway.verify().returncode == 0, "a genuine copy is genuine"
    with contextlib.suppress(Late):
        gateway.start(seconds=5)
    wait_for("auditd to notice", lambda: not auditd_of(gateway)["ready"] and "signed" in auditd_of(gateway)["detail"])
    assert gateway.cli("key", "create", check=False).returncode == 1, "no administration without a log"
    gateway.stop()

    shutil.rmtree(log)
    copy_of(new, log)
    gateway.start()
    wait_for("auditd to go on", lambda: gateway.cli("key", "create", check=False).returncode == 0)
    assert gateway.verify().returncode == 0


def test_a_forked_log_is_refused(new_gateway, tmp_path):
    """The older copy grows beyond what was signed while the vault is sealed; when it opens, the signer sees another history."""
    gateway = new_gateway(prepare=False, settings={"keyvault": {"unseal": "passphrase"}})
    passphrase, old = b"correct horse battery staple", str(tmp_path / "old")
    log = os.path.join(gateway.state, "auditd")
    gateway.cli("vault", "init", stdin=passphrase)
    gateway.key = gateway.make_key()["key"]
    gateway.stop()
    copy_of(log, old)
    gateway.start()
    gateway.cli("vault", "unseal", stdin=passphrase)
    gateway.make_key(name="to-be-forgotten")
    signed = len(gateway.audit())
    gateway.stop()

    shutil.rmtree(log)
    copy_of(old, log)
    gateway.start()
    wait_for("the fork to be longer", lambda: gateway.chat("gpt-x").status == 503 and len(gateway.audit()) > signed + 5)
    gateway.cli("vault", "unseal", stdin=passphrase)
    wait_for("auditd to be told", lambda: "not a continuation" in auditd_of(gateway)["detail"])
    assert gateway.cli("key", "create", check=False).returncode == 1
    assert gateway.verify().returncode == 0, "what was signed before the fork is still that"
