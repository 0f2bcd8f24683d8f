# SPDX-License-Identifier: Apache-2.0
"""A name server that does whatever a test tells it to, over TCP. On UDP, at the same port, it only notes that it was asked.

    with NameServer(address) as server:
        server.play(lambda q: q.answer(A("198.41.0.4")))     # for every question from now on
        server.questions                                     # [(name, type)] so far
"""
import contextlib
import socket
import struct
import threading

TYPES = {1: "A", 5: "CNAME", 28: "AAAA"}
CODES = {name: code for code, name in TYPES.items()}


def pack_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def record(kind, data, owner=b"\xc0\x0c", klass=1):
    """The owner defaults to the name that was asked."""
    return owner + struct.pack(">HHIH", CODES[kind], klass, 60, len(data)) + data


def A(*addresses, **more):  # pylint: disable=invalid-name
    return [record("A", socket.inet_pton(socket.AF_INET, a), **more) for a in addresses]


def AAAA(*addresses, **more):  # pylint: disable=invalid-name
    return [record("AAAA", socket.inet_pton(socket.AF_INET6, a), **more) for a in addresses]


def CNAME(name, **more):  # pylint: disable=invalid-name
    return [record("CNAME", pack_name(name), **more)]


class Question:
    """One question; what is sent back is up to whoever plays."""

    def __init__(self, conn, data):
        self.conn, self.data, self.ident = conn, data, data[:2]
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode())
            at += 1 + data[at]
        self.name = ".".join(labels)
        self.type = TYPES.get(struct.unpack(">H", data[at + 1:at + 3])[0])
        self.section = data[12:at + 5]
        self.plain = len(data) == at + 5  # nothing behind the question: no EDNS

    def message(self, records=(), rcode=0, ident=None, flags=0x8180, section=None, counts=None):
        section = self.section if section is None else section
        counts = counts or (1, len(records), 0, 0)
        return (ident or self.ident) + struct.pack(">HHHHH", flags | rcode, *counts) + section + b"".join(records)

    def send(self, message):
        self.raw(struct.pack(">H", len(message)) + message)

    def raw(self, data):
        self.conn.sendall(data)

    def answer(self, a=(), aaaa=(), **more):
        """Records of the type that was asked for."""
        self.send(self.message(a if self.type == "A" else aaaa, **more))

    def hang_up(self):
        self.conn.close()


class NameServer:
    def __init__(self, address, port=0):
        self.tcp = socket.create_server((address, port))
        self.address, self.port = self.tcp.getsockname()[:2]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, self.port))
        self.udp.setblocking(False)
        self.act, self.questions, self.closing, self.threads = None, [], threading.Event(), []

    def __enter__(self):
        self.spawn(self.accept)
        return self

    def __exit__(self, *_):
        self.closing.set()
        with contextlib.suppress(OSError):
            self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        self.udp.close()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()

    def spawn(self, function, *args):
        thread = threading.Thread(target=function, args=args)
        self.threads.append(thread)
        thread.start()

    def play(self, act):
        self.act = act
        self.questions.clear()

    def asked_by_datagram(self):
        try:
            return self.udp.recv(4096)
        except BlockingIOError:
            return None

    def accept(self):
        while not self.closing.is_set():
            try:
                conn, _ = self.tcp.accept()
            except OSError:
                return
            self.spawn(self.serve, conn)

    def serve(self, conn):
        data = b""
        conn.settimeout(0.2)
        with conn, contextlib.suppress(OSError):
            while not self.closing.is_set():
                try:
                    part = conn.recv(4096)
                except socket.timeout:
                    continue
                if not part:
                    return
                data += part
                while len(data) >= 2 and len(data) >= 2 + struct.unpack(">H", data[:2])[0]:
                    length = struct.unpack(">H", data[:2])[0]
                    question, data = Question(conn, data[2:2 + length]), data[2 + length:]
                    self.questions.append((question.name, question.type))
                    conn.settimeout(5)
                    self.act(question)
                    conn.settimeout(0.2)
