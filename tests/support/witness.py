# SPDX-License-Identifier: Apache-2.0
"""A C2SP witness of the test's own, written from the specifications: it verifies the log's signature and the consistency proof,
remembers size and root before it answers, and cosigns. What it is told to do wrong, it does.

    with Witness("witness.test/one", log_vkey) as witness:
        witness.vkey, witness.url, witness.known, witness.answers
"""
import base64
import contextlib
import hashlib
import http.server
import ssl
import struct
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def raw_public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def parse_vkey(vkey):
    name, identity, data = vkey.strip().split("+", 2)
    data = base64.b64decode(data, validate=True)
    assert key_id(name, data[0], data[1:]).hex() == identity
    return name, data[0], data[1:]


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def consistent(old, old_root, size, root, proof):
    """RFC 9162, section 2.1.4.2."""
    if old == size:
        return not proof and old_root == root
    if not 0 < old < size or not proof:
        return False
    path = ([old_root] if old & (old - 1) == 0 else []) + proof
    fn, sn = old - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr == old_root and sr == root and sn == 0


class Refusal(Exception):
    def __init__(self, status, body=""):
        super().__init__(status)
        self.status, self.body = status, body


class Witness:
    def __init__(self, name, log_vkey, cert=None):
        self.name, self.key = name, Ed25519PrivateKey.generate()
        self.log_name, _, self.log_public = parse_vkey(log_vkey)
        self.known, self.answers, self.wrong, self.lock = None, [], None, threading.Lock()
        data = b"\4" + raw_public(self.key)
        self.vkey = f"{name}+{key_id(name, 4, data[1:]).hex()}+{base64.b64encode(data).decode()}"
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        if cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme, host = ("https", "localhost") if cert else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self.server.server_port}/some/prefix"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def policy_line(self, short):
        return f"witness {short} {self.vkey} {self.url}\n"

    # ---- the protocol ----
    def handler(self):
        witness = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status, answer = witness.answer(self.path, body)
                self.send_response(status)
                if status == 409:
                    self.send_header("content-type", "text/x.tlog.size")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write(answer)

            def log_message(self, *_):
                pass

        return Handler

    def answer(self, path, body):
        try:
            with self.lock:
                status, answer = 200, self.wrong(self, body) if self.wrong else self.add_checkpoint(path, body)
        except Refusal as e:
            status, answer = e.status, e.body
        self.answers.append(status)
        return status, answer.encode()

    def read(self, body):
        head, note = body.decode().split("\n\n", 1)
        old, *proof = head.split("\n")
        assert old.startswith("old ")
        return int(old[4:]), [base64.b64decode(line, validate=True) for line in proof], note

    def verify(self, note):
        text, signatures = note.split("\n\n", 1)
        text += "\n"
        origin, size, root = text.split("\n")[:3]
        if origin != self.log_name:
            raise Refusal(404)
        for line in signatures.splitlines():
            _, name, data = line.split(" ")
            data = base64.b64decode(data, validate=True)
            if name == self.log_name and data[:4] == key_id(name, 1, self.log_public):
                with contextlib.suppress(InvalidSignature):
                    Ed25519PublicKey.from_public_bytes(self.log_public).verify(data[4:], text.encode())
                    return text, int(size), base64.b64decode(root, validate=True)
        raise Refusal(403)

    def add_checkpoint(self, path, body):
        if path != "/some/prefix/add-checkpoint":
            raise Refusal(404)
        old, proof, note = self.read(body)
        text, size, root = self.verify(note)
        if old > size:
            raise Refusal(400)
        known_size, known_root = self.known or (0, None)
        if old != known_size:
            raise Refusal(409, f"{known_size}\n")
        if known_size and size == known_size and root != known_root:
            raise Refusal(409, f"{known_size}\n")
        if (known_size and not consistent(known_size, known_root, size, root, proof)) or (not known_size and proof):
            raise Refusal(422)
        self.known = (size, root)
        return self.cosign(text)

    def cosign(self, text, key=None):
        now = int(time.time())
        signature = (key or self.key).sign(f"cosignature/v1\ntime {now}\n{text}".encode())
        data = key_id(self.name, 4, raw_public(self.key)) + struct.pack(">Q", now) + signature
        return f"\u2014 {self.name} {base64.b64encode(data).decode()}\n"
