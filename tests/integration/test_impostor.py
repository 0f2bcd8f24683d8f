# SPDX-License-Identifier: Apache-2.0
"""A captured daemon answers the operator: what it says reaches no terminal as a command, and ends no command of ours by a signal."""
import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import threading

import msgpack
import pytest

from gateway import BUILD, scratch
from ipc import MESSAGES, NAMES, ROLES, body_of, role_of

BULKHEAD = os.path.join(BUILD, "bin", "bulkhead")
EVIL = "\x1b]0;a\x07\u009b2J"
FERNET_KEY = "A" * 43 + "="
COMMAND = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")


def schema():
    return int(json.loads(subprocess.run([BULKHEAD, "version", "--json"], capture_output=True, check=True).stdout)["schema"], 16)


def frames(conn):
    buffer = b""
    while True:
        while len(buffer) < 4 or len(buffer) < 4 + struct.unpack(">I", buffer[:4])[0]:
            part = conn.recv(65536)
            if not part:
                return
            buffer += part
        end = 4 + struct.unpack(">I", buffer[:4])[0]
        number, ident, *_ = msgpack.unpackb(buffer[4:end])
        buffer = buffer[end:]
        yield NAMES[number], ident


def serve(listener, role, answer, fields, flood):
    """The first who comes; `flood`: with answers to what was not asked, without end."""
    conn, _ = listener.accept()

    def send(body):
        conn.sendall(struct.pack(">I", len(body)) + body)

    with conn:
        send(body_of("HELLO", 0, role=ROLES.index(role_of(role)), boot=bytes(16), build="captured", schema=schema()))
        for name, ident in frames(conn):
            with contextlib.suppress(ConnectionError):
                body = body_of(answer, ident + 1, **fields)
                much = (struct.pack(">I", len(body)) + body) * 100000
                while flood and name != "HELLO":
                    conn.sendall(much)
            if name != "HELLO" and not flood:
                send(body_of(answer, ident, **fields))


@contextlib.contextmanager
def impostor(role, answer, fields, flood=False):
    with scratch() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        run = os.path.join(folder, "run")
        os.mkdir(run)
        for name, text in (("bulkhead.yaml", "providers: [{ name: openai }]\n"), ("keys", FERNET_KEY)):
            with open(os.path.join(folder, name), "w", encoding="ascii") as f:
                f.write(text)
        listener.bind(os.path.join(run, role + ".admin.sock"))
        listener.listen()
        listener.settimeout(20)
        thread = threading.Thread(target=serve, args=(listener, role, answer, fields, flood))
        thread.start()
        try:
            yield folder
        finally:
            thread.join()


CASES = [
    ("keyvault", "vault status", "", "VAULT_STATUS_REP", {"state": EVIL, "unseal": EVIL, "arena": EVIL, "vkey": EVIL, "witness_vkey": EVIL}),
    ("keyvault", "vault rotate", "", "VAULT_ROTATION_REP", {"what": 1, "step": EVIL, "waits": "root key"}),
    ("keyvault", "vault backup --to age1x", "12345678", "VAULT_BACKED_UP", {"file": EVIL.encode()}),
    ("keyvault", "vault export-fernet openai --yes --keys-file keys", "", "VAULT_FERNET", {"token": EVIL}),
    ("keyvault", "vault rotate-fernet --keys-file keys", "v1:token", "VAULT_FERNET", {"token": "v1:" + EVIL}),
    ("authd", "key create", "", "KEY_CREATED", {"key": EVIL.encode().ljust(16, b"x"), "key_id": EVIL, "subject": EVIL}),
    ("authd", "audit erase --subject sub_x", "", "DONE", {"text": EVIL}),
    ("auditd", "receipt get req", "", "RECEIPT_FOUND", {"receipt": EVIL.encode()}),
    ("auditd", "audit retention", "", "AUDIT_RETENTION_REP", {"doing": EVIL, "pruned_end": 1, "pruned_keep": EVIL}),
]


@pytest.mark.parametrize("role, words, typed, answer, fields", CASES, ids=[f"{c[1]}-{i}" for i, c in enumerate(CASES)])
def test_what_it_says(role, words, typed, answer, fields):
    assert {f.name for f in MESSAGES[answer][3]} >= fields.keys()
    with impostor(role, answer, fields) as folder:
        done = subprocess.run([BULKHEAD, *words.split()], input=typed.encode(), capture_output=True, cwd=folder, timeout=20, check=False)
    assert done.returncode in (0, 1), done
    assert done.stdout or done.stderr
    assert not COMMAND.search(done.stdout + done.stderr), done
    assert b"other release" not in done.stderr and b"does not run" not in done.stderr, done.stderr


def test_it_speaks_without_end():
    """A monitor that asks for the state of a captured daemon is not kept for ever."""
    with impostor("classifier0", "STATUS_REP", {}, flood=True) as folder:
        done = subprocess.run([BULKHEAD, "status", "--json"], capture_output=True, cwd=folder, timeout=20, check=False)
    row = next(row for row in json.loads(done.stdout) if row["name"] == "classifier0")
    assert done.returncode == 1 and row["detail"] == "gave no answer" and b"classifier0 did not answer in time" in done.stderr


def test_a_token_stays_with_a_name_that_is_no_utf8():
    """Of a line that was done the output has the token, whatever precedes it."""
    with impostor("keyvault", "VAULT_FERNET", {"token": "v1:new"}) as folder:
        done = subprocess.run([BULKHEAD, *"vault rotate-fernet --keys-file keys --json".split()], input=b"gr\xfc v1:old\n", capture_output=True,
                              cwd=folder, timeout=20, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["done"] == [{"line": 1, "name": "gr?", "token": "v1:new"}]


def test_a_token_that_is_none():
    """Shorter than the mark in front of one, which is taken off."""
    with impostor("keyvault", "VAULT_FERNET", {"token": "x"}) as folder:
        done = subprocess.run([BULKHEAD, *"vault rotate-fernet --keys-file keys --json".split()], input=b"name token\n", capture_output=True,
                              cwd=folder, timeout=20, check=False)
    assert done.returncode == 1 and b"keyvault gave what is no token" in done.stderr
