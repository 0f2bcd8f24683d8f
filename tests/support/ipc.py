# SPDX-License-Identifier: Apache-2.0
"""The gateway's own protocol as a hostile peer would speak it, read from proto/messages.def: packs anything, checks nothing.

    with Peer(gateway, "egress0", "router0") as peer:      # HELLO done
        peer.send("CANCEL", 7)
        name, number, fields = peer.receive()
"""
import contextlib
import os
import re
import signal
import socket
import struct

import msgpack

from gateway import ROOT, SLOWER

ROLES = ["router", "authd", "keyvault", "egress", "dialer", "auditd", "classifier", "cli", "launcher"]


class Field:
    def __init__(self, kind, name, low, high, item=None):
        self.kind, self.name, self.low, self.high, self.item = kind, name, low, high, item

    def smallest(self):
        """A legal value, the least there is."""
        return {"U64": self.low, "STR": "a" * self.low, "BIN": b"\0" * self.low, "LIST": []}[self.kind]


def number(text):
    return {"UINT64_MAX": 2**64 - 1, "UINT32_MAX": 2**32 - 1}.get(text.strip()) or int(text)


def read_schema():
    """{NAME: (number, senders, receivers, [Field])} and {record: [Field]}"""
    with open(os.path.join(ROOT, "proto/messages.def"), encoding="utf-8") as f:
        text = f.read().replace("\\\n", " ")
    fields = {}
    for name, body in re.findall(r"^#define MSG_(\w+)\(F, L\)(.*)$", text, re.M):
        fields[name] = []
        for kind, rest in re.findall(r'\b([FL])\((.*?), \w+,\s*"(?:[^"\\]|\\.)*"\)', body):
            parts = [p.strip() for p in rest.split(",")]
            if kind == "F":
                fields[name].append(Field(parts[0], parts[1], number(parts[2]), number(parts[3])))
            else:
                fields[name].append(Field("LIST", parts[1], 0, number(parts[2]), parts[0]))
    any_daemon = re.search(r"#define PROTO_ANY_DAEMON (.*)$", text, re.M).group(1)
    producer = re.search(r"#define PROTO_PRODUCER\s+(.*)$", text, re.M).group(1)
    messages = {}
    for row in re.findall(r"\bM\(([A-Z_]+), (\w+), (\d+), (.*?), (.*?), [\w| ]+, \"", text):
        who = [part.replace("PROTO_ANY_DAEMON", any_daemon).replace("PROTO_PRODUCER", producer) for part in row[3:5]]
        senders, receivers = [{r.lower() for r in re.findall(r"ROLE_(\w+)", part)} for part in who]
        messages[row[0]] = (int(row[2]), senders, receivers, fields[row[1]])
    return messages, fields


MESSAGES, FIELDS = read_schema()
NAMES = {row[0]: name for name, row in MESSAGES.items()}


def reason_code(value):
    with open(os.path.join(ROOT, "proto/reasons.def"), encoding="utf-8") as f:
        return re.findall(r'^R\(\w+, "(\w+)"', f.read(), re.M)[value]


def role_of(instance):
    return instance.rstrip("0123456789")


def worker_of(instance):
    digits = instance[len(role_of(instance)):]
    return int(digits) if digits else 0


def pack_items(fields, value):
    out = []
    for field, item in zip(fields, value):
        if field.kind == "LIST":
            item = [pack_items(FIELDS[field.item], [each[f.name] for f in FIELDS[field.item]]) if isinstance(each, dict) else each
                    for each in item]
        out.append(item)
    return out


def unpack_items(fields, value):
    named = {}
    for field, item in zip(fields, value):
        if field.kind == "LIST":
            item = [unpack_items(FIELDS[field.item], each) for each in item]
        named[field.name] = item
    return named


def body_of(name, ident, /, **given):
    """A frame body; fields not given take their smallest legal value. Values of any type and size are packed as they are."""
    row = MESSAGES[name]
    values = [given.get(f.name, f.smallest()) for f in row[3]]
    return msgpack.packb([row[0], ident, *pack_items(row[3], values)], use_bin_type=True)


def record_of(name, values):
    return msgpack.packb(pack_items(FIELDS[name], [values[f.name] for f in FIELDS[name]]), use_bin_type=True)


def read_record(name, data):
    return unpack_items(FIELDS[name], msgpack.unpackb(data, raw=False))


@contextlib.contextmanager
def as_user(uid):
    """Effective identity, which is what a connected peer sees; nothing to do when it is ours."""
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def uid_of(gateway, role):
    if role == "cli":
        return os.geteuid()
    with open(f"/proc/{gateway.pids(role)[0]}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("Uid:")).split()[1])


class Peer:
    """A connection to an edge, from the client's side."""

    def __init__(self, gateway, server, client, hello=True, uid=None):
        self.path = os.path.join(gateway.run_dir, f"{server}.{'admin' if client == 'cli' else client}.sock")
        self.server, self.client = server, client
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10 * SLOWER)
        with as_user(uid_of(gateway, role_of(client)) if uid is None else uid):
            self.socket.connect(self.path)
        self.buffer = b""
        if hello:
            self.said = self.expect("HELLO")
            self.hello()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def hello(self, **other):
        fields = {"role": ROLES.index(role_of(self.client)), "worker": worker_of(self.client), "boot": os.urandom(16),
                  "build": "captured", "schema": self.said["schema"], **other}
        self.send("HELLO", 0, **fields)

    def send_body(self, body, fds=()):
        data = struct.pack(">I", len(body)) + body
        if fds:
            socket.send_fds(self.socket, [data], list(fds))
        else:
            self.socket.sendall(data)

    def send(self, name, ident, /, fds=(), **fields):
        self.send_body(body_of(name, ident, **fields), fds)

    def fill(self, n):
        while len(self.buffer) < n:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError
            self.buffer += part

    def receive(self):
        """(NAME, id, {field: value}); EOFError when the peer has hung up."""
        self.fill(4)
        length = struct.unpack(">I", self.buffer[:4])[0]
        self.fill(4 + length)
        body, self.buffer = self.buffer[4:4 + length], self.buffer[4 + length:]
        ident, *rest = msgpack.unpackb(body, raw=False)
        name = NAMES[ident]
        return name, rest[0], unpack_items(MESSAGES[name][3], rest[1:])

    def expect(self, *names, ident=None):
        """The next message of these names; others are passed over."""
        while True:
            name, number_, fields = self.receive()
            if name in names and ident in (None, number_):
                return fields if len(names) == 1 else (name, fields)

    def hung_up(self):
        """True when the peer closes the connection; what it still says is passed over."""
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False


def metrics(gateway, instance):
    """{'name{label="value"}': number} of a daemon."""
    with Peer(gateway, instance, "cli") as peer:
        peer.send("METRICS", 1)
        text = peer.expect("METRICS_REP")["text"]
    return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}


@contextlib.contextmanager
def in_place_of(gateway, server, client):
    """A Peer while the real ones of its role stand still: at their next word they would be heard again, and the Peer no more."""
    real = gateway.pids(role_of(client))

    def tell(number):
        for pid in real:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    tell(signal.SIGSTOP)
    try:
        with Peer(gateway, server, client) as peer:
            yield peer
    finally:
        tell(signal.SIGCONT)
