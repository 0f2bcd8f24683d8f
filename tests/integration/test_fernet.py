# SPDX-License-Identifier: Apache-2.0
"""K-02: keys that another system keeps as Fernet tokens come and go; Python's `cryptography` is that other system."""
import base64
import json
import os
import re
import signal
import subprocess
import time

import pytest
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

import memscan
from capabilities import sees_others
from gateway import BIN, INSTRUMENTED, wait_for
from test_custody import found_outside

OLD, NEW, FOREIGN = (Fernet.generate_key() for _ in range(3))
LONG_AGO = 1_000_000_000


@pytest.fixture(scope="module")
def open_gateway(new_gateway):
    """May export; has no provider key yet."""
    gateway = new_gateway(prepare=False, settings={"keyvault": {"fernet_export": True}})
    gateway.open_vault()
    gateway.key = gateway.make_key()["key"]
    return gateway


@pytest.fixture
def keys(tmp_path):
    """A file of the current and the previous key."""
    path = tmp_path / "keys"
    path.write_bytes(NEW + b"\n" + OLD + b"\n")
    return str(path)


def token_of(key, secret, at=LONG_AGO):
    return Fernet(key).encrypt_at_time(secret.encode() if isinstance(secret, str) else secret, at)


def refused(gateway, *args, stdin=b""):
    """The one line of a refusal."""
    done = gateway.cli(*args, stdin=stdin, check=False)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done
    return done.stderr.decode()


def serves(gateway):
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)


def test_import_of_a_token_made_by_python(open_gateway, keys):
    gateway = open_gateway
    for key, mark in ((OLD, b"v1:"), (NEW, b"")):
        token = mark + token_of(key, gateway.provider.key)
        done = gateway.cli_json("vault", "import-fernet", "local", "--keys-file", keys, stdin=token + b"\n")
        assert done["credential"] == "local"
        serves(gateway)
        gateway.add_key(key="sk-wrong")
        wait_for("the wrong key", lambda: gateway.chat("gpt-x").status == 401)
    assert [c["version"] for c in gateway.cli_json("vault", "list")] == [4]
    assert len(gateway.audit(event="vault.seal_credential", credential="local")) == 4


@pytest.mark.parametrize("make, why", [
    (lambda key: token_of(FOREIGN, key), "wrong_fernet_key"),
    (lambda key: token_of(NEW, key)[:-1] + b"~", "bad_token"),
    (lambda key: token_of(NEW, "sk-x").replace(b"=", b"") + b"\n", "bad_token"),
    (lambda key: b"not a token", "bad_token"),
    (lambda key: token_of(NEW, key + "\n"), "bad_secret"),
    (lambda key: token_of(NEW, b"\xff\xfe"), "bad_secret"),
    (lambda key: token_of(NEW, b"x" * 4097), "bad_secret"),
    (lambda key: token_of(NEW, b"x" * 4112), "longer than"),
], ids=["foreign", "alphabet", "unpadded", "text", "newline", "binary", "long", "longer"])
def test_what_is_not_imported(open_gateway, keys, make, why):
    before = open_gateway.cli_json("vault", "list")
    assert why in refused(open_gateway, "vault", "import-fernet", "local", "--keys-file", keys, stdin=make(open_gateway.provider.key))
    assert open_gateway.cli_json("vault", "list") == before


def test_age(open_gateway, keys):
    import_one = ["vault", "import-fernet", "local", "--keys-file", keys, "--max-age", "60"]
    now, key = int(time.time()), open_gateway.provider.key
    for at in (LONG_AGO, now - 90, now + 90):
        assert "token_age" in refused(open_gateway, *import_one, stdin=token_of(NEW, key, at))
        with pytest.raises(InvalidToken):
            Fernet(NEW).decrypt_at_time(token_of(NEW, key, at), 60, now)
    for at in (now - 20, now, now + 20):
        open_gateway.cli(*import_one, stdin=token_of(NEW, key, at))


def test_lines_stand_for_themselves(open_gateway, keys):
    """A line that fails keeps no other from being done."""
    gateway = open_gateway
    good = token_of(OLD, gateway.provider.key).decode()
    lines = ["# exported today", f"local v1:{good}", "", f"  wrong-name\t{good}  ", f"nobody {good}",
             f"closed {token_of(FOREIGN, 'sk-x').decode()}", good, f"tls11 {good}"]
    done = gateway.cli("vault", "import-fernet", "--keys-file", keys, stdin="\n".join(lines).encode(), check=False)
    assert done.returncode == 1 and done.stdout.count(b"Sealed the key of") == 3
    said = done.stderr.decode().splitlines()
    assert [re.search(r"line (\d+): ", line).group(1) for line in said[:-1]] == ["5", "6", "7"]
    assert "no provider 'nobody'" in said[0] and "wrong_fernet_key" in said[1] and "3 done, 3 failed" in said[-1]
    assert {c["credential"] for c in gateway.cli_json("vault", "list")} == {"local", "wrong-name", "tls11"}
    serves(gateway)
    again = gateway.cli("vault", "import-fernet", "--keys-file", keys, "--json", stdin="\n".join(lines).encode(), check=False)
    report = json.loads(again.stdout)
    assert [d["credential"] for d in report["done"]] == ["local", "wrong-name", "tls11"]
    assert [f["line"] for f in report["failed"]] == [5, 6, 7]


@pytest.mark.parametrize("victim", ["cli", "keyvault", "authd"])
def test_killed_in_the_middle_and_run_again(open_gateway, keys, victim):
    """What was done stays done, what was not is not half there, and the same run again brings the rest."""
    gateway = open_gateway
    token = token_of(OLD, gateway.provider.key).decode()
    lines = "".join(f"{name} {token}\n" for name in ("local", "private", "localname", "closed") for _ in range(10)).encode()
    argv = [os.path.join(BIN, "bulkhead"), "vault", "import-fernet", "--keys-file", keys, "-c", gateway.config]

    def versions():
        return {c["credential"]: c["version"] for c in gateway.cli_json("vault", "list")}

    before = versions().get("local", 0)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=gateway.folder) as cli:
        cli.stdin.write(lines)
        cli.stdin.close()
        wait_for("some of them", lambda: versions().get("local", 0) > before + 2, step=0.001)
        os.kill(cli.pid if victim == "cli" else gateway.pids(victim)[0], signal.SIGKILL)
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    there = versions()
    wait_for("the same run", lambda: gateway.cli("vault", "import-fernet", "--keys-file", keys, stdin=lines, check=False).returncode == 0)
    after = versions()
    assert {"local", "private", "localname", "closed"} <= after.keys()
    assert all(after[name] >= version + 10 for name, version in there.items() if name in ("local", "closed"))
    serves(gateway)
    assert not gateway.audit(event="vault.reject", credential="closed") and gateway.verify().returncode == 0


def test_python_reads_what_is_exported(open_gateway, keys):
    gateway = open_gateway
    gateway.add_key()
    began = int(time.time())
    token = gateway.cli("vault", "export-fernet", "local", "--keys-file", keys, "--yes").stdout.decode().strip()
    assert token.startswith("v1:")
    assert Fernet(NEW).decrypt(token[3:], ttl=60).decode() == gateway.provider.key
    assert began <= Fernet(NEW).extract_timestamp(token[3:]) <= time.time()
    with pytest.raises(InvalidToken):
        Fernet(OLD).decrypt(token[3:])
    event = gateway.audit(event="vault.export_credential")[-1]
    assert event["credential"] == "local" and event["actor"] == f"uid:{os.geteuid()}"
    as_json = gateway.cli_json("vault", "export-fernet", "local", "--keys-file", keys, "--yes")
    assert as_json["token"] != token, "a new IV each time"
    gateway.cli("vault", "import-fernet", "local", "--keys-file", keys, stdin=as_json["token"].encode())
    serves(gateway)


def test_export_is_confirmed(open_gateway, keys):
    """Without a terminal nobody can be asked; what was not released is not recorded as such."""
    open_gateway.cli("vault", "rm", "closed", check=False)
    before = len(open_gateway.audit(event="vault.export_credential"))
    done = open_gateway.cli("vault", "export-fernet", "local", "--keys-file", keys, check=False)
    assert done.returncode == 1 and done.stdout == b"" and b"--yes" in done.stderr
    assert "not_found" in refused(open_gateway, "vault", "export-fernet", "closed", "--keys-file", keys, "--yes")
    assert len(open_gateway.audit(event="vault.export_credential")) == before
    wait_for("the record", lambda: open_gateway.audit(event="vault.export_refuse", credential="closed", reason="not_found"))


def test_confirmation_on_a_terminal(open_gateway, keys):
    program = [os.path.join(BIN, "bulkhead"), "vault", "export-fernet", "local", "--keys-file", keys, "-c", open_gateway.config]
    for typed, code in ((b"local\n", 0), (b"yes\n", 1)):
        terminal, other = os.openpty()
        os.write(terminal, typed)
        done = subprocess.run(program, stdin=other, capture_output=True, timeout=30, check=False, cwd=open_gateway.folder)
        os.close(other)
        os.close(terminal)
        assert done.returncode == code, done
        assert (b"unconfirmed" in done.stderr) == (code == 1) and done.stdout.startswith(b"v1:") == (code == 0)


def test_export_is_off_unless_configured(gateway, keys):
    """And no operator can do more about that than to restart the gateway."""
    assert "export_off" in refused(gateway, "vault", "export-fernet", "local", "--keys-file", keys, "--yes")
    wait_for("the record", lambda: gateway.audit(event="vault.export_refuse", reason="export_off"))
    assert not gateway.audit(event="vault.export_credential")


def test_rotation_as_multifernet(open_gateway, keys):
    """As MultiFernet.rotate: under the first key, the time kept; a line that cannot be done comes out as it went in."""
    tokens = [token_of(OLD, f"sk-{i}", LONG_AGO + i).decode() for i in range(50)]
    lines = ["# tokens"] + [f"provider{i} v1:{t}" if i % 2 else t for i, t in enumerate(tokens)] + [f"x {token_of(FOREIGN, 'y').decode()}"]
    done = open_gateway.cli("vault", "rotate-fernet", "--keys-file", keys, stdin="\n".join(lines).encode(), check=False)
    assert done.returncode == 1 and b"line 52: " in done.stderr and b"50 done, 1 failed" in done.stderr
    out = done.stdout.decode().splitlines()
    assert len(out) == len(lines) and out[0] == lines[0] and out[-1] == lines[-1]
    for i, line in enumerate(out[1:-1]):
        name, token = line.split(" v1:") if i % 2 else ("", line)
        assert name == (f"provider{i}" if i % 2 else "") and token != tokens[i]
        assert Fernet(NEW).decrypt(token).decode() == f"sk-{i}"
        assert Fernet(NEW).extract_timestamp(token) == LONG_AGO + i
        assert MultiFernet([Fernet(FOREIGN), Fernet(NEW)]).decrypt(MultiFernet([Fernet(FOREIGN), Fernet(NEW)]).rotate(token.encode()))
    as_json = open_gateway.cli_json("vault", "rotate-fernet", "--keys-file", keys, stdin=tokens[3].encode())
    assert Fernet(NEW).extract_timestamp(as_json["done"][0]["token"]) == LONG_AGO + 3 and not as_json["failed"]


@pytest.mark.parametrize("content, why", [
    (b"", "empty"), (b"short\n", "line 1 is not a Fernet key"), (NEW + b"\n" + NEW[:-1] + b"!\n", "bad_fernet_key"),
    ((NEW + b"\n") * 9, "more than 8"), (NEW + b"\n\n" + NEW + b" \n", "line 3 is not a Fernet key"), (None, "No such file"),
], ids=["empty", "short", "alphabet", "nine", "blank", "missing"])
def test_bad_keys_files_are_named(open_gateway, tmp_path, content, why):
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    said = refused(open_gateway, "vault", "import-fernet", "local", "--keys-file", str(path),
                   stdin=token_of(NEW, open_gateway.provider.key))
    assert why in said
    for key in content.split() if content else []:
        assert key.decode() not in said


@sees_others
@pytest.mark.skipif(INSTRUMENTED, reason="the sanitizers keep freed memory")
def test_neither_keys_nor_plaintext_stay_outside_the_arena(open_gateway, keys):
    """K-05, K-06: of import, export and rotation nothing remains that opens anything; nor does the schedule of a cipher key."""
    gateway = open_gateway
    token = token_of(OLD, gateway.provider.key)
    gateway.cli("vault", "import-fernet", "local", "--keys-file", keys, stdin=token)
    gateway.cli("vault", "export-fernet", "local", "--keys-file", keys, "--yes")
    gateway.cli("vault", "rotate-fernet", "--keys-file", keys, stdin=token)
    serves(gateway)
    processes = {**gateway.pids(), gateway.process.pid: "launcher"}
    needles = {f"plaintext, {form}": text for form, text in memscan.forms(gateway.provider.key.encode()).items()}
    for name, key in (("old", OLD), ("new", NEW)):
        raw = base64.urlsafe_b64decode(key)  # whose base64 is the text
        needles.update({f"{name} text": key, f"{name} MAC key": raw[:16], f"{name} cipher key": raw[16:],
                        f"{name} inner pad": bytes(b ^ 0x36 for b in raw[:16]), f"{name} outer pad": bytes(b ^ 0x5C for b in raw[:16]),
                        f"{name} last round key": last_round_key(raw[16:])})
    assert not found_outside(processes, needles)
    assert len({name for name, _, _ in found_outside(processes, {"a word that all know": b"/lib/"})}) > 5


def last_round_key(key):
    """Of AES-128's key schedule (FIPS 197): whoever has one round key has the key."""
    box = sbox()
    words = [key[i:i + 4] for i in range(0, 16, 4)]
    constant = 1
    for i in range(4, 44):
        last = words[-1]
        if i % 4 == 0:
            last = bytes(box[b] for b in last[1:] + last[:1])
            last = bytes([last[0] ^ constant]) + last[1:]
            constant = constant << 1 ^ (0x11B if constant & 0x80 else 0)
        words.append(bytes(a ^ b for a, b in zip(words[-4], last)))
    return b"".join(words[-4:])


def sbox():
    p = q = 1
    box = [0] * 256
    while True:
        p = (p ^ p << 1 ^ (0x11B if p & 0x80 else 0)) & 0xFF
        for shift in (1, 2, 4):
            q = (q ^ q << shift) & 0xFF
        q ^= 0x09 if q & 0x80 else 0
        box[p] = q ^ rotl(q, 1) ^ rotl(q, 2) ^ rotl(q, 3) ^ rotl(q, 4) ^ 0x63
        if p == 1:
            box[0] = 0x63
            return box


def rotl(byte, n):
    return (byte << n | byte >> 8 - n) & 0xFF
