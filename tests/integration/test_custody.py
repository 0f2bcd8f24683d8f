# SPDX-License-Identifier: Apache-2.0
"""K-01, K-06, K-11: how the root key is kept, what a restart leaves, and what somebody who writes the database can do: nothing."""
import contextlib
import ctypes
import ctypes.util
import os
import signal
import sqlite3
import subprocess

import pytest

import memscan
from capabilities import sees_others
from gateway import BUILD, INSTRUMENTED, PASSPHRASE, Gateway, Provider, halt, scratch, wait_for



def refusal(reply):
    return reply.status, reply.json()["error"]["code"]


def uid_of(gateway, daemon):
    with open(f"/proc/{gateway.pids(daemon)[0]}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("Uid:")).split()[1])


@contextlib.contextmanager
def database(gateway):
    """authd's, as root or a stolen backup has it; closed at the end, so that no journal of another user stays."""
    with contextlib.closing(sqlite3.connect(os.path.join(gateway.state, "authd", "authd.db"))) as db, db:
        yield db


def unseal(gateway):
    gateway.cli("vault", "unseal", stdin=PASSPHRASE)
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)


def test_a_killed_core_comes_back_sealed(guarded):
    os.kill(guarded.pids("keyvault")[0], signal.SIGKILL)
    wait_for("the core", lambda: guarded.cli("vault", "status", check=False).returncode == 0)
    assert guarded.cli_json("vault", "status")["state"] == "sealed"
    wait_for("refusals", lambda: refusal(guarded.chat("gpt-x")) == (503, "vault_sealed"))
    assert int(guarded.chat("gpt-x").headers["retry-after"]) >= 1
    unseal(guarded)
    assert guarded.verify().returncode == 0


def test_a_guesser_has_to_wait(guarded):
    guarded.cli("vault", "seal")

    def guess():
        done = guarded.cli("vault", "unseal", stdin=b"a wrong passphrase\n", check=False)
        assert done.returncode == 1
        return b"wrong_passphrase" in done.stderr
    assert all(guess() for _ in range(3))
    for _ in range(2):  # so that the wait, 4 s by now, is longer than a look at a passphrase takes on a busy machine
        wait_for("a guess that is looked at", guess, step=0.2)
    hasty = guarded.cli("vault", "unseal", stdin=PASSPHRASE, check=False)
    assert hasty.returncode == 1 and b"too_many_tries" in hasty.stderr
    wait_for("the wait to be over", lambda: guarded.cli("vault", "unseal", stdin=PASSPHRASE, check=False).returncode == 0, step=0.3)
    wait_for("service", lambda: guarded.chat("gpt-x").status == 200)
    wait_for("the records", lambda: len(guarded.audit(event="vault.unseal_fail")) >= 5)


def test_a_row_that_was_edited_is_refused_and_recorded(guarded):
    """Somebody who writes authd's database aims the key at another host, by an edit that any checksum there would survive."""
    guarded.stop()
    with database(guarded) as db:
        good = db.execute("SELECT blob FROM credentials WHERE id = 'local'").fetchone()[0]
        assert good.count(b"upstream.test") == 1
        db.execute("UPDATE credentials SET blob = ? WHERE id = 'local'", (good.replace(b"upstream.test", b"evilhost.test"),))
    guarded.start()
    guarded.cli("vault", "unseal", stdin=PASSPHRASE)
    wait_for("the refusal", lambda: guarded.audit(event="vault.reject", credential="local"))
    assert refusal(guarded.chat("gpt-x")) == (503, "no_credential")
    guarded.stop()
    with database(guarded) as db:
        db.execute("UPDATE credentials SET blob = ? WHERE id = 'local'", (good,))
    guarded.start()
    unseal(guarded)


@contextlib.contextmanager
def without_authd(gateway):
    """authd is dead and stays so, while the core lives on."""
    halt(gateway.process.pid)
    os.kill(gateway.pids("authd")[0], signal.SIGKILL)
    wait_for("authd to be gone", lambda: not gateway.pids("authd"))
    try:
        with database(gateway) as db:
            yield db
    finally:
        os.kill(gateway.process.pid, signal.SIGCONT)
    wait_for("authd", lambda: gateway.pids("authd"))


def test_a_replaced_key_does_not_come_back(guarded):
    """The row of the key before the last one, put back."""
    row = "SELECT blob, version FROM credentials WHERE id = 'local'"
    with without_authd(guarded) as db:
        old = db.execute(row).fetchone()
    wait_for("service", lambda: guarded.chat("gpt-x").status == 200)
    guarded.add_key()
    with without_authd(guarded) as db:
        assert db.execute(row).fetchone()[1] > old[1]
        db.execute("UPDATE credentials SET blob = ?, version = ? WHERE id = 'local'", old)
    wait_for("the refusal", lambda: guarded.audit(event="vault.reject", credential="local", reason="rollback"))
    wait_for("service", lambda: guarded.chat("gpt-x").status == 200)


# ---- a key file ----

@pytest.mark.parametrize("content, mode, why", [
    (None, 0, "No such file"), (b"", 0o400, "empty"), (b"short", 0o400, "too short"), (b"\0" * 32, 0o400, "not random"),
    (os.urandom(32), 0o444, "others may read it"), (b"not a key but a sentence of that length, more or less", 0o400, "not a root key"),
], ids=["missing", "empty", "short", "zeros", "readable", "text"])
def test_a_bad_key_file_is_named(content, mode, why):
    with scratch() as folder, Provider(folder) as provider:
        path = os.path.join(folder, "rootkey")
        if content is not None:
            with open(path, "wb") as f:
                f.write(content)
            os.chmod(path, mode)
            if os.geteuid() == 0:
                os.chown(path, 62102, 62102)
        gateway = Gateway(folder, provider, settings={"keyvault": {"unseal": "key_file", "key_file": path}})
        gateway.port = 1
        gateway.write_config()
        with subprocess.Popen([os.path.join(BUILD, "bin", "bulkhead"), "run", "keyvault", "-c", gateway.config], cwd=folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            said = next((line.decode() for line in process.stdout if path.encode() in line), "")
            process.terminate()
            process.stdout.read()
        assert why in said


def found_outside(processes, needles):
    """(process, needle, mapping) for every needle outside of an arena."""
    return [(processes[pid], needle, where) for pid, where, needle in memscan.scan_for(processes, needles).found]


SODIUM = ctypes.CDLL(ctypes.util.find_library("sodium"))


def derived(key, number, context):
    made = ctypes.create_string_buffer(32)
    SODIUM.crypto_kdf_derive_from_key(made, ctypes.c_size_t(32), ctypes.c_uint64(number), context, key)
    return made.raw


def unwrapped(by, wrapped, context):
    """keyvault/keys_wrap.h"""
    key = ctypes.create_string_buffer(32)
    assert SODIUM.crypto_aead_xchacha20poly1305_ietf_decrypt(
        key, None, None, wrapped[24:], ctypes.c_ulonglong(48), context, ctypes.c_ulonglong(len(context)), wrapped[:24], by) == 0
    return key.raw


def every_key(gateway, root):
    """{name: key} of all that hangs below the root key, read from keyvault/keys as keyvault/keys_table.c writes it."""
    with open(os.path.join(gateway.state, "keyvault", "keys"), "rb") as f:
        data = f.read()
    half = max((h for h in (data[:2 << 20], data[2 << 20:]) if h[:4] == b"BHK1"), key=lambda h: h[4:12])
    master = unwrapped(derived(root, 1, b"bh-roots"), half[49:121], half[17:49])
    keys = {"root key": root, "master key": master}
    for number, context in enumerate((b"bh-creds", b"bh-field", b"bh-peppr", b"bh-edges", b"bh-chkpt", b"bh-links", b"bh-hooks",
                                      b"bh-table", b"bh-marks"), 1):
        keys[context.decode()] = derived(master, number, context)
    for at in range(304, 304 + 162 * int.from_bytes(half[300:304], "big"), 162):
        row = half[at:at + 162]
        keys[f"tenant key {row[:16].hex()}"] = unwrapped(
            keys["bh-creds"], row[90:162], b"tenant\0" + row[:16] + row[17:21] + row[25:90])
    return keys


@sees_others
@pytest.mark.seconds(300)
@pytest.mark.skipif(INSTRUMENTED, reason="the sanitizers keep freed memory")
def test_no_key_of_the_hierarchy_is_outside_the_arena():
    """The root key is ours, so every key below it is known: none of them in any process, open, sealed, or after a rotation."""
    root = os.urandom(32)
    with scratch() as folder, Provider(folder) as provider:
        path = os.path.join(folder, "rootkey")
        with open(path, "wb") as f:
            f.write(root)
        os.chown(path, 62102, 62102)
        os.chmod(path, 0o400)
        with Gateway(folder, provider, settings={"keyvault": {"unseal": "key_file", "key_file": path}}) as gateway:
            assert uid_of(gateway, "keyvault") == 62102
            gateway.add_key()
            gateway.key = gateway.make_key()["key"]
            wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
            keys = every_key(gateway, root)
            gateway.cli("vault", "rotate", "--what", "tenant")
            before, keys = len(keys), {**keys, **every_key(gateway, root)}
            assert len(keys) == before + 1 == 13, "the old tenant key and the new one"
            needles = {f"{name}{part}": key[half] for name, key in keys.items()
                       for part, half in (("", slice(32)), (", first half", slice(16)), (", second half", slice(16, 32)))}
            for act in (lambda: None, lambda: gateway.cli("vault", "seal"), lambda: gateway.cli("vault", "unseal")):
                act()
                processes = {**gateway.pids(), gateway.process.pid: "launcher"}
                assert not found_outside(processes, needles)
                assert len({name for name, _, _ in found_outside(processes, {"a word that all know": b"/lib/"})}) > 5
