# SPDX-License-Identifier: Apache-2.0
"""`vault rotate` as an operator types it: how fast, what is shown on a terminal and off it, and with a root key in a file of theirs."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from gateway import BUILD, PASSPHRASE, halt, wait_for
from terminal import Terminal

TENANTS = [f"t{i}" for i in range(15)]
CREDENTIALS = len(TENANTS) + 1


@pytest.fixture(scope="module", name="own_key")
def fixture_own_key(new_gateway, tmp_path_factory):
    """A gateway whose root key is in a file that the operator keeps."""
    key = tmp_path_factory.mktemp("keys") / "root"
    write_key(key)
    gateway = new_gateway(prepare=False, settings={"keyvault": {"unseal": "key_file", "key_file": str(key)}})
    gateway.key_file = key
    gateway.add_key()
    for tenant in TENANTS:
        gateway.cli("vault", "add", "local", "--tenant", tenant, stdin=gateway.provider.key.encode())
    gateway.key = gateway.make_key()["key"]
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    return gateway


def write_key(path):
    path.write_text(os.urandom(32).hex() + "\n")
    path.chmod(0o600)
    return path


# ---- how fast ----

def test_a_rate_is_kept(own_key):
    """At no moment more are done than the rate allows, but for the batch at the beginning of it."""
    began = time.monotonic()
    argv = [os.path.join(BUILD, "bin", "bulkhead"), "vault", "rotate", "--what", "tenant", "--rate", "10", "--json", "-c", own_key.config]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as command:
        said = []
        for line in command.stdout:
            said.append(json.loads(line))
            assert said[-1].get("done", 0) <= 10 * (time.monotonic() - began) + 2, said
    assert command.returncode == 0 and said[-1] == {"step": "retired"}
    assert time.monotonic() - began >= (CREDENTIALS - 2) / 10
    assert {s["total"] for s in said[:-1]} == {CREDENTIALS}


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "1000001", ""])
def test_what_is_no_rate(own_key, rate):
    refused = own_key.cli("vault", "rotate", "--what", "tenant", "--rate", rate, check=False)
    assert refused.returncode == 2
    assert (b"--rate must be a number from 1 to 1000000" if rate else b"--rate is empty: it needs N") in refused.stderr
    assert own_key.cli("vault", "rotate").stdout == b"No rotation is under way.\n"


# ---- what is shown ----

def test_a_bar_on_a_terminal(own_key):
    terminal = Terminal(own_key, "vault", "rotate", "--what", "credential", "--rate", "10")
    terminal.wait_for(b"Done: the old keys are wiped.")
    assert terminal.end() == 0
    text = terminal.shown.decode()
    bars = re.findall(r"\r\x1b\[K\[(#*)(\.*)\] (\d+) of (\d+)  ([a-z]+)", text)
    assert len(bars) > 3, text
    assert all(len(full) + len(rest) == 30 and int(total) == CREDENTIALS for full, rest, _, total, _ in bars)
    assert all(len(full) == int(done) * 30 // CREDENTIALS for full, _, done, _, _ in bars)
    done = [int(n) for _, _, n, _, _ in bars]
    assert done == sorted(done) and 0 < done[len(done) // 2] < CREDENTIALS
    assert text.endswith("\r\x1b[KDone: the old keys are wiped.\r\n"), "the bar does not stay"


def test_lines_and_no_bar_into_a_pipe(own_key):
    said = own_key.cli("vault", "rotate", "--what", "tenant", "--tenant", "t3").stdout.decode()
    assert "\x1b" not in said and "\r" not in said
    assert said.splitlines()[-1] == "Done: the old keys are wiped."
    assert all(re.fullmatch(r"tenant keys: [a-z]+, \d+ of \d+(, waits for [a-z]+)?", line) for line in said.splitlines()[:-1])


def test_what_is_begun_and_not_watched(own_key):
    assert own_key.cli("vault", "rotate", "--what", "tenant", "--rate", "40", "--no-wait").stdout == b""
    watched = own_key.cli("vault", "rotate").stdout.decode()
    assert watched.splitlines()[-1] == "Done: the old keys are wiped." and "tenant keys: " in watched


def test_a_sealed_vault_does_not_say_that_there_is_none(own_key):
    own_key.cli("vault", "rotate", "--what", "tenant", "--rate", "10", "--no-wait")
    own_key.cli("vault", "seal")
    asked = own_key.cli("vault", "rotate", check=False)
    assert asked.returncode == 1 and asked.stdout == b"" and b"sealed" in asked.stderr
    own_key.cli("vault", "unseal")
    own_key.cli("vault", "rotate")  # to its end
    assert own_key.audit(event="vault.rotate")[-1]["reason"] == "retired"


# ---- a root key in a file of theirs ----

def refused(gateway, *args):
    done = gateway.cli("vault", "rotate", "--what", "root", *args, check=False)
    assert gateway.cli("vault", "rotate").stdout == b"No rotation is under way.\n"
    return done.returncode, done.stderr.decode()


def opens_with(gateway, key):
    gateway.cli("vault", "seal")
    return gateway.cli("vault", "unseal", "--key-file", str(key), check=False).returncode == 0


def test_a_new_key_must_be_given_and_be_one(own_key, tmp_path):
    assert refused(own_key) == (2, "bulkhead: the root key is in a file of yours: give the new one by --new-key-file\n")
    assert refused(own_key, "--new-key-file", str(own_key.key_file))[0] == 1, "it is the same"
    assert refused(own_key, "--new-key-file", str(tmp_path / "none"))[0] == 1
    weak = tmp_path / "weak"
    weak.write_text("00" * 32 + "\n")
    weak.chmod(0o600)
    code, said = refused(own_key, "--new-key-file", str(weak))
    assert code == 1 and "key_file" in said
    assert refused(own_key, "--key-file", str(write_key(tmp_path / "other")), "--new-key-file",
                   str(write_key(tmp_path / "new")))[0] == 1, "the proof is of another vault"
    assert own_key.chat("gpt-x").status == 200


def test_the_old_key_opens_until_the_new_one_did(own_key, tmp_path):
    new = write_key(tmp_path / "new")
    said = own_key.cli("vault", "rotate", "--what", "root", "--new-key-file", str(new)).stdout.decode()
    assert "Both root keys open the vault now." in said
    other = own_key.cli("vault", "rotate", "--what", "tenant", check=False)
    assert other.returncode == 1 and b"busy" in other.stderr
    assert opens_with(own_key, own_key.key_file), "the old one"
    assert opens_with(own_key, new), "the new one"
    wait_for("the end of the rotation", lambda: own_key.cli("vault", "rotate").stdout == b"No rotation is under way.\n")
    assert not opens_with(own_key, own_key.key_file), "the old one is void"
    own_key.key_file.write_text(new.read_text())
    own_key.cli("vault", "unseal")
    wait_for("service", lambda: own_key.chat("gpt-x").status == 200)
    own_key.stop()
    own_key.start()
    wait_for("service after a start", lambda: own_key.chat("gpt-x").status == 200)


# ---- a slow machine ----

def resident_kib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4


def test_how_long_argon2_takes_is_not_held_against_the_log(guarded):
    """The core stands still in the midst of Argon2, for longer than the log has for its answer; that has not been asked for yet."""
    core, = guarded.pids("keyvault")
    argv = [os.path.join(BUILD, "bin", "bulkhead"), "vault", "rotate", "--what", "root", "-c", guarded.config]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as command:
        command.stdin.write(PASSPHRASE)
        command.stdin.close()
        wait_for("Argon2 and its 128 MiB", lambda: resident_kib(core) > 100 << 10, step=0.005)
        halt(core)
        began = time.monotonic()
        try:
            wait_for("ROTATION_AUDIT_MS", lambda: time.monotonic() > began + 5.5)
        finally:
            os.kill(core, signal.SIGCONT)
        said = command.stdout.read()
    assert command.returncode == 0 and b"Done: the old keys are wiped." in said, said
