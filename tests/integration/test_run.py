# SPDX-License-Identifier: Apache-2.0
"""`bulkhead run`: each daemon started by itself, as in a container of its own, over one shared run folder."""
import contextlib
import os
import subprocess

import pytest

from gateway import BUILD, Gateway, Provider, free_port, program_for_all, scratch, wait_for

UID_BASE = 62100
ROLES = ["router", "authd", "keyvault", "egress", "dialer", "auditd", "classifier"]
# Who connects to whom: a server must be in its clients' groups to hand them its sockets.
CLIENTS = {"authd": ["router"], "egress": ["router"], "classifier": ["router"], "auditd": ["router", "authd", "keyvault", "egress"],
           "keyvault": ["authd", "egress", "auditd"], "dialer": ["egress"], "router": []}
BULKHEAD = os.path.join(BUILD, "bin", "bulkhead")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="uids of their own need root")


def uid(role):
    return UID_BASE + ROLES.index(role)


def as_own_uid(role):
    """What a container with `user:` and `group_add:` gives a process."""
    groups = ",".join(str(uid(client)) for client in CLIENTS[role])
    return ["setpriv", "--reuid", str(uid(role)), "--regid", str(uid(role)),
            *(["--groups", groups] if groups else ["--clear-groups"]), "--bounding-set=-all", "--inh-caps=-all"]


def make_folders(gateway):
    """What an operator prepares for containers without root: volumes with owners."""
    os.makedirs(gateway.run_dir)
    os.chmod(gateway.run_dir, 0o1777)
    for role in ("authd", "keyvault", "auditd"):
        path = os.path.join(gateway.state, role)
        os.makedirs(path)
        os.chmod(path, 0o700)
        os.chown(path, uid(role), uid(role))


@contextlib.contextmanager
def running(gateway, prefix):
    processes, bulkhead = [], program_for_all(gateway.folder)
    try:
        for role in ("router", "classifier", "egress", "dialer", "auditd", "authd", "keyvault"):  # servers last, on purpose
            log = open(os.path.join(gateway.folder, role + ".log"), "wb")  # pylint: disable=consider-using-with
            processes.append((role, subprocess.Popen([*prefix(role), bulkhead, "run", role, "-c", gateway.config], stderr=log,
                                                     stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)))
            log.close()
        yield processes
    finally:
        for _, process in processes:
            process.terminate()
        for role, process in processes:
            assert process.wait(40) == 0, role
            process.stdout.close()
    assert not os.path.isdir(gateway.run_dir) or os.listdir(gateway.run_dir) == []


@pytest.mark.parametrize("prefix", [lambda role: [], as_own_uid], ids=["root", "own-uid"])
def test_each_daemon_by_itself(prefix):
    with scratch() as folder, Provider(folder) as provider:
        gateway = Gateway(folder, provider, workers=1)
        gateway.port = free_port()
        gateway.write_config()
        if prefix is as_own_uid:
            make_folders(gateway)
        with running(gateway, prefix) as processes:
            for role, process in processes:
                line = process.stdout.readline().decode()
                assert line == f"ready: {role}{'0' if role in ('router', 'egress', 'classifier') else ''}\n"
            gateway.prepare()
            assert gateway.chat("gpt-x").status == 200
            for role, says in (("dialer", b"is served by another process"), ("authd", b"is in use by another bulkhead")):
                second = subprocess.run([BULKHEAD, "run", role, "-c", gateway.config], capture_output=True, timeout=20, check=False)
                assert second.returncode == 1 and says in second.stderr
            whole = subprocess.run([BULKHEAD, "up", "-c", gateway.config], capture_output=True, timeout=20, check=False)
            assert whole.returncode == 1 and b"another bulkhead runs in" in whole.stderr
            wait_for("all to be ready", lambda: gateway.cli("status", check=False).returncode == 0)


def test_says_which_group_is_missing():
    with scratch() as folder:
        gateway = Gateway(folder, providers=[{"name": "local", "base_url": "https://upstream.test"}], workers=1)
        gateway.port = free_port()
        gateway.write_config()
        make_folders(gateway)
        alone = ["setpriv", "--reuid", str(uid("authd")), "--regid", str(uid("authd")), "--clear-groups"]
        done = subprocess.run([*alone, program_for_all(folder), "run", "authd", "-c", gateway.config], capture_output=True, timeout=20,
                              check=False)
        assert done.returncode == 1
        assert f"cannot be given to gid {uid('router')}: add that group to this container (group_add)".encode() in done.stderr


def test_only_the_egress_needs_ca_files():
    with scratch() as folder:
        missing = os.path.join(folder, "missing.pem")
        gateway = Gateway(folder, providers=[{"name": "local", "base_url": "https://upstream.test", "ca_file": missing}], workers=1)
        gateway.port = free_port()
        gateway.write_config()
        egress = subprocess.run([BULKHEAD, "run", "egress", "-c", gateway.config], capture_output=True, timeout=20, check=False)
        assert egress.returncode == 1 and f"ca_file {missing}".encode() in egress.stderr
        with subprocess.Popen([BULKHEAD, "run", "classifier", "-c", gateway.config], stdout=subprocess.PIPE) as other:
            try:
                assert other.stdout.readline() == b"ready: classifier0\n"
            finally:
                other.terminate()
