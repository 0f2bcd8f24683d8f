# SPDX-License-Identifier: Apache-2.0
"""Copies of the root key: made with proof and record, readable by the standard age tool, and everything is back from them."""
import os
import pty
import re
import select
import shutil
import stat
import subprocess

import pytest

import memscan
from capabilities import sees_others
from gateway import BUILD, INSTRUMENTED, PASSPHRASE, SLOWER, Gateway, Provider, scratch, wait_for

NEEDS_AGE = pytest.mark.skipif(not shutil.which("age"), reason="needs the age tool (Debian package age)")
LOW_ORDER = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z"


def age_identity(folder, name):
    path = os.path.join(folder, name)
    done = subprocess.run(["age-keygen", "-o", path], capture_output=True, check=True)
    return path, re.search(r"age1[0-9a-z]+", done.stderr.decode()).group(0)


def shares_of(gateway, n, k, folder):
    os.mkdir(folder, 0o700)
    gateway.cli("vault", "backup", "--shares", str(n), "--threshold", str(k), "--out", folder, stdin=PASSPHRASE)
    return [os.path.join(folder, f"share-{i}-of-{n}") for i in range(1, n + 1)]


def bring_back(old, folder, provider, unseal="passphrase"):
    """A gateway on a fresh state folder with nothing but authd's part of the old one and what is not the root key."""
    new = Gateway(folder, provider, settings={"keyvault": {"unseal": unseal}}, providers=old.providers or old.all_providers())
    os.makedirs(new.state)
    for part in ("authd", "keyvault"):
        shutil.copytree(os.path.join(old.state, part), os.path.join(new.state, part), symlinks=True)
        for where, folders, files in os.walk(os.path.join(new.state, part)):
            for name in ["", *folders, *files]:
                path = os.path.join(where, name)
                st = os.lstat(path.replace(new.state, old.state, 1))
                os.chown(path, st.st_uid, st.st_gid)
    for name in os.listdir(os.path.join(new.state, "keyvault")):
        if name.startswith("root") or name == "witness":
            os.unlink(os.path.join(new.state, "keyvault", name))
    new.key = old.key
    return new


def assert_all_is_back(new):
    wait_for("the whole vault", lambda: new.chat("gpt-x").status == 200)
    wait_for("the record", lambda: new.audit(event="vault.restore"))
    assert not new.audit(event="vault.reject")


@NEEDS_AGE
def test_age_file(guarded, tmp_path):
    ours, to_us = age_identity(tmp_path, "ours")
    theirs, to_them = age_identity(tmp_path, "theirs")
    other, _ = age_identity(tmp_path, "other")
    path = os.path.join(tmp_path, "backup.age")
    guarded.cli("vault", "backup", "--to", to_us, "--to", to_them, "--out", path, stdin=PASSPHRASE)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o400
    plain = [subprocess.run(["age", "-d", "-i", i, path], capture_output=True, check=True).stdout for i in (ours, theirs)]
    assert plain[0] == plain[1] and re.fullmatch(rb"[0-9a-f]{64}\n", plain[0])
    assert subprocess.run(["age", "-d", "-i", other, path], capture_output=True, check=False).returncode != 0
    event = guarded.audit(event="vault.backup")[-1]
    assert event["reason"] == "age recipients: 2" and event["actor"].startswith("uid:")
    assert guarded.cli("vault", "backup", "--to", to_us, "--out", path, stdin=PASSPHRASE, check=False).returncode == 1  # is there

    # With --json it is written just the same. And what it says to try is something that can be done.
    beside = os.path.join(tmp_path, "beside.age")
    assert guarded.cli_json("vault", "backup", "--to", to_us, "--out", beside, stdin=PASSPHRASE) == {"file": beside}
    said = guarded.cli("vault", "backup", "--to", to_us, "--out", beside + "2", stdin=PASSPHRASE).stdout.decode()
    assert said.startswith(f"The root key is in {beside}2, for 1 recipient.")
    tried, = re.findall(r"Try it: (.*)  \(65\)", said)
    for trial in (tried, tried.replace(beside + "2", beside)):
        assert subprocess.run(trial.replace("KEY", ours), shell=True, capture_output=True, check=True).stdout.strip() == b"65"

    # To standard output: the same, another file every time.
    again = guarded.cli("vault", "backup", "--to", to_us, stdin=PASSPHRASE).stdout
    assert again.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n") and again != open(path, "rb").read()
    assert subprocess.run(["age", "-d", "-i", ours], input=again, capture_output=True, check=True).stdout == plain[0]

    with scratch() as folder, Provider(folder) as provider, bring_back(guarded, folder, guarded.provider) as new:
        assert provider
        wrong = new.cli("vault", "restore", "--age", other, path, stdin=PASSPHRASE, check=False)
        assert wrong.returncode == 1 and b"other recipients" in wrong.stderr
        damaged = os.path.join(tmp_path, "damaged.age")
        with open(path, "rb") as f, open(damaged, "wb") as g:
            g.write(f.read().replace(b"-----END", b"AAAA\n-----END"))
        wrong = new.cli("vault", "restore", "--age", ours, damaged, stdin=PASSPHRASE, check=False)
        assert wrong.returncode == 1 and b"damaged" in wrong.stderr or b"altered" in wrong.stderr
        short = new.cli("vault", "restore", "--age", ours, path, stdin=b"short\n", check=False)
        assert short.returncode == 1 and b"8 to 1024" in short.stderr
        assert new.cli_json("vault", "status")["state"] == "uninitialised"
        new.cli("vault", "restore", "--age", ours, path, stdin=b"another passphrase\n")
        assert_all_is_back(new)
        again = new.cli("vault", "restore", "--age", ours, path, stdin=PASSPHRASE, check=False)
        assert again.returncode == 1 and b"has a root key already" in again.stderr
        new.cli("vault", "seal")
        new.cli("vault", "unseal", stdin=b"another passphrase\n")
        wait_for("service", lambda: new.chat("gpt-x").status == 200)


@NEEDS_AGE
@NEEDS_AGE
def test_what_does_not_fit_is_said_and_removed(guarded, tmp_path):
    """Where there is room for a part: a limit of the file's size stands for a full disk."""
    path, (_, to_us) = str(tmp_path / "b.age"), age_identity(tmp_path, "ours")
    done = subprocess.run(["prlimit", "--fsize=100", guarded.program, "vault", "backup", "--to", to_us, "--out", path, "-c", guarded.config],
                          input=PASSPHRASE, capture_output=True, cwd=guarded.folder, restore_signals=False, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr.decode().rstrip().endswith(f"{path}: File too large"), done.stderr
    assert not os.path.exists(path)


def test_what_the_age_tool_makes(guarded, tmp_path):
    """The other way round: encrypted by age, to several, armored and not, restored by us; and decrypted by age into a key file."""
    ours, to_us = age_identity(tmp_path, "ours")
    _, to_them = age_identity(tmp_path, "theirs")
    root = subprocess.run(["age", "-d", "-i", ours], input=guarded.cli("vault", "backup", "--to", to_us, stdin=PASSPHRASE).stdout,
                          capture_output=True, check=True).stdout
    for armor in ([], ["-a"]):
        path = os.path.join(tmp_path, "made" + "".join(armor))
        subprocess.run(["age", "-e", *armor, "-r", to_them, "-r", to_us, "-o", path], input=root, check=True)
        with scratch() as folder, bring_back(guarded, folder, guarded.provider) as new:
            new.cli("vault", "restore", "--age", ours, path, stdin=PASSPHRASE)
            assert_all_is_back(new)
    key = os.path.join(tmp_path, "key")
    with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o400), "wb") as f:
        f.write(root)
    with scratch() as folder, bring_back(guarded, folder, guarded.provider, unseal="key_file") as new:
        os.chmod(tmp_path, 0o700)
        new.cli("vault", "restore", "--key-file", key)
        assert_all_is_back(new)


@pytest.mark.parametrize("to", ["age1", "nobody", LOW_ORDER, "AGE-SECRET-KEY-1QQQQ", "ssh-ed25519 AAAA",
                                "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwk"])
def test_malformed_recipients(guarded, to):
    before = len(guarded.audit(event="vault.backup"))
    refused = guarded.cli("vault", "backup", "--to", to, stdin=PASSPHRASE, check=False)
    assert refused.returncode == 1 and not refused.stdout and b"not an age recipient" in refused.stderr
    assert len(guarded.audit(event="vault.backup")) == before


def test_proof_and_record_come_first(guarded, tmp_path):
    good = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    wrong = guarded.cli("vault", "backup", "--to", good, stdin=b"wrong horse\n", check=False)
    assert wrong.returncode == 1 and not wrong.stdout and b"wrong_passphrase" in wrong.stderr
    wait_for("the record", lambda: guarded.audit(event="vault.unseal_fail"))
    launcher = guarded.process.pid
    os.kill(launcher, 19)  # nobody restarts auditd meanwhile
    try:
        os.kill(guarded.pids("auditd")[0], 9)
        wait_for("auditd to be gone", lambda: not guarded.pids("auditd"))
        refused = guarded.cli("vault", "backup", "--to", good, stdin=PASSPHRASE, check=False)
    finally:
        os.kill(launcher, 18)
    assert refused.returncode == 1 and not refused.stdout and b"audit_unavailable" in refused.stderr
    wait_for("auditd", lambda: guarded.cli("audit", "tail", check=False).returncode == 0)
    wait_for("a backup", lambda: guarded.cli("vault", "backup", "--to", good, stdin=PASSPHRASE, check=False).returncode == 0)
    guarded.cli("vault", "seal")
    sealed = guarded.cli("vault", "backup", "--to", good, stdin=PASSPHRASE, check=False)
    assert sealed.returncode == 1 and b"sealed" in sealed.stderr
    wait_for("unseal", lambda: guarded.cli("vault", "unseal", stdin=PASSPHRASE, check=False).returncode == 0)
    for args in (["--shares", "3"], ["--threshold", "2"], [], ["--shares", "1", "--threshold", "1"],
                 ["--shares", "3", "--threshold", "4"], ["--shares", "17", "--threshold", "2"],
                 ["--to", good, "--shares", "3", "--threshold", "2"]):
        assert guarded.cli("vault", "backup", *args, "--out", str(tmp_path), stdin=PASSPHRASE, check=False).returncode == 2
    assert guarded.cli("vault", "backup", "--shares", "3", "--threshold", "2", stdin=PASSPHRASE, check=False).returncode == 1


def test_shares(guarded, tmp_path):
    first = shares_of(guarded, 5, 3, os.path.join(tmp_path, "first"))
    second = shares_of(guarded, 5, 3, os.path.join(tmp_path, "second"))
    assert all(stat.S_IMODE(os.stat(p).st_mode) == 0o400 for p in first)
    assert guarded.audit(event="vault.backup")[-1]["reason"] == "shares: 3 of 5"
    mistyped = os.path.join(tmp_path, "mistyped")
    with open(first[2], "rb") as f, open(mistyped, "wb") as g:
        text = f.read()
        g.write(text[:40] + (b"q" if text[40:41] != b"q" else b"p") + text[41:])
    with scratch() as folder, bring_back(guarded, folder, guarded.provider) as new:
        for words in (("unseal",), ("init",)):  # what whoever has lost the root key types first
            refused = new.cli("vault", *words, stdin=PASSPHRASE, check=False)
            assert refused.returncode == 1 and b"`bulkhead vault restore`" in refused.stderr
        wait_for("the hint", lambda: "vault restore" in new.log())
        for files, said in ((first[:2], b"too few"), ([first[0], first[1], second[2]], b"share 3: of another backup"),
                            ([first[0], first[1], first[1]], b"share 3: given twice"), ([first[0], first[1], mistyped], b"share 3: not a share"),
                            ([first[0], os.devnull], b"empty")):
            refused = new.cli("vault", "restore", "--shares", *files, stdin=PASSPHRASE, check=False)
            assert refused.returncode == 1 and said in refused.stderr, refused.stderr
            assert new.cli_json("vault", "status")["state"] == "uninitialised"
        new.cli("vault", "restore", "--shares", first[4], first[0], first[2], stdin=PASSPHRASE)
        assert_all_is_back(new)


def test_all_shares_are_written_or_none(guarded, tmp_path):
    """One of an earlier backup is in the way: the new ones beside it would bring nothing back."""
    with open(tmp_path / "share-3-of-3", "wb") as f:
        f.write(b"of another backup")
    refused = guarded.cli("vault", "backup", "--shares", "3", "--threshold", "2", "--out", str(tmp_path), stdin=PASSPHRASE, check=False)
    assert refused.returncode == 1 and b"share-3-of-3: File exists" in refused.stderr and b"make another backup" in refused.stderr
    assert os.listdir(tmp_path) == ["share-3-of-3"] and (tmp_path / "share-3-of-3").read_bytes() == b"of another backup"


class Terminal:
    """A person at `bulkhead`."""

    def __init__(self, gateway, *args):
        self.fd, slave = pty.openpty()
        self.seen = b""
        self.process = subprocess.Popen([os.path.join(BUILD, "bin", "bulkhead"), *args, "-c", gateway.config],  # pylint: disable=R1732
                                        stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)

    def read_until(self, end, seconds=20):
        data = b""
        while end not in data:
            assert select.select([self.fd], [], [], seconds * SLOWER)[0], self.seen + data
            data += os.read(self.fd, 4096)
        self.seen += data
        return data

    def type(self, text):
        os.write(self.fd, text + b"\r")

    def end(self):
        code = self.process.wait(30 * SLOWER)
        os.close(self.fd)
        return code


def test_shares_on_a_terminal(guarded):
    """Shown one at a time and wiped off; typed without echo, in capitals and groups as they were shown."""
    person = Terminal(guarded, "vault", "backup", "--shares", "3", "--threshold", "2")
    person.read_until(b"Passphrase (not shown): ")
    person.type(PASSPHRASE.strip())
    shares = []
    for i in range(3):
        shown = person.read_until(b"Enter clears the screen")
        assert f"Share {i + 1} of 3; any 2".encode() in shown
        found = re.findall(rb"bhsh are1[a-z0-9 ]+", shown)
        assert len(found) == 1
        shares.append(found[0].strip())
        person.type(b"")
    person.read_until(b"\x1b[3J")
    assert person.end() == 0 and len(set(shares)) == 3

    with scratch() as folder, bring_back(guarded, folder, guarded.provider) as new:
        person = Terminal(new, "vault", "restore", "--shares")
        person.read_until(b"A share (not shown): ")
        person.type(shares[2].upper())
        person.read_until(b"Share 2 of 2 (not shown): ")
        person.type(shares[0])
        person.read_until(b"New passphrase, 8 bytes or more (not shown): ")
        person.type(PASSPHRASE.strip())
        person.read_until(b"Once more: ")
        person.type(PASSPHRASE.strip())
        person.read_until(b"open.")
        assert person.end() == 0
        assert shares[0] not in person.seen and shares[2].upper() not in person.seen
        assert_all_is_back(new)


@NEEDS_AGE
@sees_others
@pytest.mark.skipif(INSTRUMENTED, reason="the sanitizers keep freed memory")
def test_no_root_key_is_left_outside_the_arena(guarded, tmp_path):
    ours, to_us = age_identity(tmp_path, "ours")
    path = os.path.join(tmp_path, "backup.age")
    guarded.cli("vault", "backup", "--to", to_us, "--out", path, stdin=PASSPHRASE)
    shares = shares_of(guarded, 3, 2, os.path.join(tmp_path, "shares"))
    text = subprocess.run(["age", "-d", "-i", ours, path], capture_output=True, check=True).stdout.strip()
    root = bytes.fromhex(text.decode())
    needles = {"root": root, "half": root[:16], "other half": root[16:], "hex": text[:32], "hex end": text[32:]}
    for i, share in enumerate(shares):
        with open(share, "rb") as f:
            needles[f"share {i}"] = f.read().replace(b" ", b"").strip()[20:]
    with scratch() as folder, bring_back(guarded, folder, guarded.provider) as new:
        new.cli("vault", "restore", "--shares", *shares[:2], stdin=PASSPHRASE)
        assert_all_is_back(new)
        for gateway in (guarded, new):
            assert not memscan.scan_for([*gateway.pids(), gateway.process.pid], needles).found, gateway.pids()
