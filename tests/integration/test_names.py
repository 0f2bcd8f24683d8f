# SPDX-License-Identifier: Apache-2.0
"""K-12: names that a provider's DNS resolves to addresses where no provider can be. A name server of our own answers."""
import contextlib
import os
import random
import socket
import struct
import threading

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a resolv.conf of its own, and serves port 53")

ZONE = "names.bulkhead.dev"  # never asked of anybody else
HOSTS = {
    "loopback": ("A", "127.0.0.1"), "private": ("A", "10.1.2.3"), "linklocal": ("A", "169.254.169.254"), "any": ("A", "0.0.0.0"),
    "shared": ("A", "100.64.0.1"), "multicast": ("A", "224.0.0.1"), "loopback6": ("AAAA", "::1"), "local6": ("AAAA", "fe80::1"),
    "unique6": ("AAAA", "fd00::1"), "mapped": ("AAAA", "::ffff:127.0.0.1"), "nat64": ("AAAA", "64:ff9b::7f00:1"),
    "sixtofour": ("AAAA", "2002:7f00:1::"),
}
TYPES = {1: "A", 28: "AAAA"}


def answer(query):
    """The reply to a question of one name, or None to keep silent."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    question = query[12:at + 5]
    kind = TYPES.get(struct.unpack(">H", query[at + 1:at + 3])[0])
    if labels[0] == "silent":
        return None
    known = HOSTS.get(labels[0])
    data = b""
    if known and known[0] == kind:
        data = socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, known[1])
        data = b"\xc0\x0c" + query[at + 1:at + 5] + struct.pack(">IH", 60, len(data)) + data
    flags = 0x8180 | (0 if known else 3)
    return query[:2] + struct.pack(">HHHHH", flags, 1, 1 if data else 0, 0, 0) + question + data


@pytest.fixture(scope="module")
def name_server():
    """Its address, on port 53 of a loopback address that is nobody's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        address = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.53"
        s.bind((address, 53))
        seen = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    query, peer = s.recvfrom(1500)
                    if not query:
                        return
                    seen.append(query)
                    if reply := answer(query):
                        s.sendto(reply, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield address, seen
        s.sendto(b"", (address, 53))
        thread.join()


@pytest.fixture(scope="module")
def gateway(new_gateway, name_server, tmp_path_factory):
    resolv = tmp_path_factory.mktemp("etc") / "resolv.conf"
    resolv.write_text(f"nameserver {name_server[0]}\n")
    prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c",
              f'mount --bind {resolv} /etc/resolv.conf && chmod a+r /etc/resolv.conf && exec "$0" "$@"']
    gateway = new_gateway(prepare=False, prefix=prefix, workers=1, settings={"dialer": {"resolve_timeout_ms": 1000}}, providers=[
        {"name": name, "base_url": f"https://{name}.{ZONE}/v1"} for name in ["first", *HOSTS, "absent", "silent"]])
    gateway.open_vault()
    for entry in gateway.providers:
        gateway.add_key(entry["name"])
    gateway.key = gateway.make_key()["key"]
    return gateway


@pytest.mark.parametrize("name", HOSTS)
def test_address_is_refused(gateway, name_server, name):
    before = len(name_server[1])
    reply = gateway.chat(f"{name}:x")
    assert reply.status == 502 and reply.json()["error"]["code"] == "address_denied"
    assert len(name_server[1]) > before, "the name server was asked"


@pytest.mark.parametrize("name", ["absent", "silent"])
def test_name_is_not_resolved(gateway, name):
    reply = gateway.chat(f"{name}:x")
    assert reply.status == 502 and reply.json()["error"]["code"] == "name_not_resolved"


def test_the_dialer_lives(gateway):
    """None of this took a system call that it may not make."""
    assert "SIGSYS" not in gateway.log()
    assert len(gateway.pids("dialer")) == 1
