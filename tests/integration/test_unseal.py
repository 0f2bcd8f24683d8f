# SPDX-License-Identifier: Apache-2.0
"""K-11: where the root key comes from, what happens without it, and that a sealed core has no way to it."""
import base64
import contextlib
import http.client
import os
import pty
import signal
import subprocess

import pytest

from capabilities import SEES_OTHERS
from gateway import BUILD, Gateway, Provider, SLOWER, free_port, open_files, proc_read, read_until, scratch, wait_for


@pytest.fixture
def place():
    with scratch() as folder, Provider(folder) as provider:
        yield folder, provider


def write_key(path, data, mode=0o400):
    if os.path.lexists(path):
        os.unlink(path)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def assert_sealed(gateway):
    reply = gateway.chat("gpt-x")
    assert reply.status == 503 and reply.json()["error"]["code"] == "vault_sealed"
    assert int(reply.headers["retry-after"]) >= 1
    assert gateway.request("GET", "/readyz", key="").status == 503


def assert_serves(gateway):
    wait_for("the vault to be open", lambda: gateway.chat("gpt-x").status == 200)


def up_fails(gateway):
    """The output of a start that must fail."""
    gateway.port = gateway.port or free_port()
    gateway.write_config()
    done = subprocess.run([os.path.join(BUILD, "bin", "bulkhead"), "up", "-c", gateway.config], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=30 * SLOWER, cwd=gateway.folder, check=False)
    assert done.returncode == 1
    assert not os.path.isdir(gateway.run_dir) or not os.listdir(gateway.run_dir)
    return done.stderr.decode()


def prepare(gateway):
    gateway.add_key()
    gateway.key = gateway.make_key()["key"]
    assert_serves(gateway)


def core_reads(gateway, name):
    """Has it such a file open for reading? A rotation of the root key writes through a descriptor that cannot. Only who sees others may look."""
    pid, = gateway.pids("keyvault")

    def access(fd):
        return int(proc_read(pid, f"fdinfo/{fd}").split(b"flags:")[1].split()[0], 8) & os.O_ACCMODE
    return SEES_OTHERS and any(name in file and access(fd) != os.O_WRONLY for fd, file in open_files(pid).items())


def core_is_back(gateway, pid):
    """Another process has answered."""
    def answers():
        pids = gateway.pids("keyvault")
        return pids and pids[0] != pid and gateway.cli("vault", "status", check=False).returncode == 0
    wait_for("the core to be back", answers)


def kill_core(gateway):
    pid, = gateway.pids("keyvault")
    os.kill(pid, 9)
    core_is_back(gateway, pid)


def test_key_file(place):
    folder, provider = place
    path = os.path.join(folder, "root")
    write_key(path, base64.b64encode(os.urandom(32)) + b"\n")
    with Gateway(folder, provider, settings={"keyvault": {"key_file": path}}) as gateway:
        prepare(gateway)
        assert not core_reads(gateway, path)
        kill_core(gateway)
        assert_serves(gateway)  # the launcher opens it again

        # Sealed: no key, no descriptor, no way to have one again, not even by dying.
        gateway.cli("vault", "seal")
        assert_sealed(gateway)
        assert not core_reads(gateway, path)
        kill_core(gateway)
        assert gateway.cli_json("vault", "status")["state"] == "sealed"
        assert_sealed(gateway)
        gateway.cli("vault", "unseal")
        assert_serves(gateway)
        assert not core_reads(gateway, path)
        kill_core(gateway)
        assert_serves(gateway)

        # The file goes away while the gateway runs: the command says which, and a core that dies starts sealed.
        gateway.cli("vault", "seal")
        os.rename(path, path + ".away")
        refused = gateway.cli("vault", "unseal", check=False)
        assert refused.returncode == 1 and path.encode() in refused.stderr
        gateway.cli("vault", "unseal", "--key-file", path + ".away")
        assert_serves(gateway)
        kill_core(gateway)
        wait_for("the routers to know", lambda: gateway.request("GET", "/readyz", key="").status == 503)
        assert_sealed(gateway)
        assert "launcher.no_key" in gateway.log()
        gateway.cli("vault", "unseal", "--key-file", path + ".away")
        assert_serves(gateway)


def test_a_vault_that_is_made_is_not_sealed_any_more(place):
    """Sealed when there was none yet: it is open now, and so after a core that died."""
    folder, provider = place
    with Gateway(folder, provider) as gateway:
        gateway.cli("vault", "seal")
        gateway.open_vault()
        prepare(gateway)
        kill_core(gateway)
        assert_serves(gateway)


def test_a_restart_forgets_the_seal(place):
    folder, provider = place
    with Gateway(folder, provider) as gateway:
        gateway.open_vault()
        prepare(gateway)
        gateway.cli("vault", "seal")
        assert_sealed(gateway)
        gateway.stop()
        gateway.start()
        assert_serves(gateway)


def test_systemd_credential(place):
    """As LoadCredential= gives it: a folder that only the service sees, named in its environment."""
    folder, provider = place
    credentials = os.path.join(folder, "credentials")
    os.mkdir(credentials)
    path = os.path.join(credentials, "bulkhead.root")
    write_key(path, os.urandom(32))
    os.chmod(credentials, 0o500)
    gateway = Gateway(folder, provider, settings={"keyvault": {"unseal": "credential"}}, prefix=["env", "CREDENTIALS_DIRECTORY=" + credentials])
    with gateway:
        prepare(gateway)
        assert gateway.cli_json("vault", "status")["unseal"] == "credential"
        gateway.cli("vault", "seal")
        assert_sealed(gateway)
        refused = gateway.cli("vault", "unseal", check=False)  # a shell is not the service
        assert refused.returncode == 1 and b"--key-file" in refused.stderr
        gateway.cli("vault", "unseal", "--key-file", path)
        assert_serves(gateway)
    assert "CREDENTIALS_DIRECTORY" in up_fails(gateway)
    os.chmod(credentials, 0o700)  # to be removed


@pytest.mark.parametrize("what, said", [
    ("missing", "No such file"), ("empty", "empty"), ("short", "too short"), ("zeros", "not random"), ("sentence", "not random"),
    ("world", "chmod 0400"), ("link", "symbolic link"), ("folder", "not a regular file"), ("foreign", "belongs to uid"),
    ("long", "bytes"), ("writable", "chmod go-w")])
def test_bad_material_is_named(what, said):
    with scratch() as folder:
        os.mkdir(os.path.join(folder, "keys"))
        os.chmod(os.path.join(folder, "keys"), 0o755)  # whatever the umask
        path = os.path.join(folder, "keys", "root")
        good = os.urandom(32)
        if what not in ("missing", "folder", "link"):
            write_key(path, {"empty": b"", "short": good[:31], "zeros": bytes(32), "long": good * 5,
                             "sentence": b"correct horse battery staple, 1!"}.get(what, good), 0o644 if what == "world" else 0o400)
        if what == "folder":
            os.mkdir(path)
        if what == "link":
            write_key(os.path.join(folder, "elsewhere"), good)
            os.symlink("../elsewhere", path)
        if what == "foreign":
            if os.geteuid() != 0:
                pytest.skip("needs root")
            os.chown(path, 12345, 0)
        if what == "writable":
            os.chmod(os.path.join(folder, "keys"), 0o777)
        output = up_fails(Gateway(folder, settings={"keyvault": {"key_file": path}}, providers=[{"name": "openai"}]))
        assert said in output and os.path.join(folder, "keys") in output


def test_a_core_that_dies_cuts_nothing_and_an_operators_seal_does(place):
    """It is closed when it comes back; an answer that is on its way needs nothing of it."""
    folder, provider = place
    secret = os.path.join(folder, "passphrase")
    write_key(secret, b"correct horse battery staple")
    with Gateway(folder, provider, settings={"keyvault": {"unseal": "passphrase"}}) as gateway:
        gateway.cli("vault", "init", "--passphrase-file", secret)
        prepare(gateway)
        for ends in ("[DONE]", "vault_sealed"):
            stream = gateway.stream("test:slow:150:30")
            events = stream.events()
            assert [next(events) for _ in range(3)]
            if ends == "[DONE]":
                os.kill(gateway.pids("keyvault")[0], signal.SIGKILL)
            else:
                gateway.cli("vault", "seal")
            wait_for("the routers to know", lambda: gateway.request("GET", "/readyz", key="").status == 503)
            wait_for("the vault to be closed", lambda: gateway.cli("vault", "status", check=False).stdout.startswith(b"state        sealed"))
            rest = []
            with contextlib.suppress(http.client.IncompleteRead):
                rest.extend(events)
            stream.close()
            assert ends in rest[-1] and (len(rest) > 25 or ends != "[DONE]"), rest
            assert_sealed(gateway)
            gateway.cli("vault", "unseal", "--passphrase-file", secret)
            assert_serves(gateway)


def test_a_passphrase_is_typed_without_echo(place):
    folder, provider = place
    phrase = b"correct horse battery staple"
    with Gateway(folder, provider, settings={"keyvault": {"unseal": "passphrase"}}) as gateway:
        gateway.cli("vault", "init", stdin=phrase + b"\n")
        prepare(gateway)
        gateway.cli("vault", "seal")
        assert_sealed(gateway)
        assert not core_reads(gateway, "root.sealed")
        master, slave = pty.openpty()
        process = subprocess.Popen([os.path.join(BUILD, "bin", "bulkhead"), "vault", "unseal", "-c", gateway.config],
                                   stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        shown = read_until(master, b"Passphrase (not shown): ")
        os.write(master, phrase + b"\r")
        shown += read_until(master, b"open.")
        assert process.wait(30) == 0 and phrase not in shown
        os.close(master)
        assert_serves(gateway)
