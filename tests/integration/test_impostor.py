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
from ipc import MESSAGES, NAMES, ROLES, body_of

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


def serve(listener, role, answer, fields):
    """The first who comes."""
    conn, _ = listener.accept()

    def send(body):
        conn.sendall(struct.pack(">I", len(body)) + body)

    with conn:
        send(body_of("HELLO", 0, role=ROLES.index(role), boot=bytes(16), build="captured", schema=schema()))
        for name, ident in frames(conn):
            if name != "HELLO":
                send(body_of(answer, ident, **fields))


@contextlib.contextmanager
def impostor(role, answer, fields):
    with scratch() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        run = os.path.join(folder, "run")
        os.mkdir(run)
        for name, text in (("bulkhead.yaml", "providers: [{ name: openai }]\n"), ("keys", FERNET_KEY)):
            with open(os.path.join(folder, name), "w", encoding="ascii") as f:
                f.write(text)
        listener.bind(os.path.join(run, role + ".admin.sock"))
        listener.listen()
        listener.settimeout(20)
        thread = threading.Thread(target=serve, args=(listener, role, answer, fields))
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
    ("keyvault", "vault rotate-fernet --keys-file keys", "token", "VAULT_FERNET", {"token": "x"}),
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
