# SPDX-License-Identifier: Apache-2.0
"""K-12, with the real dialer: a name server that lies in every way leads to no connection but to the address that was checked.

Everything happens on an island whose loopback has public and private addresses. A trap listens on all of them at the provider's port,
so that a connection to a wrong place would not fail but be seen."""
import contextlib
import os
import random
import socket
import struct
import threading
import time

import pytest

from capabilities import namespaces
from gateway import INSTRUMENTED, Gateway, free_port, proc_read, scratch, wait_for
from island import Island
from ipc import Peer, reason_code
from nameserver import A, AAAA, CNAME, NameServer, pack_name, record

pytestmark = namespaces

PUBLIC, PUBLIC2, PUBLIC6 = "198.41.0.4", "199.9.14.201", "2001:503:ba3e::2:30"
PRIVATE = ["10.1.2.3", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fd00:1::1", "fd00:ec2::254"]
HOST = "api.names.dev"
RESOLVE_MS = 1500


class Trap:
    """Listens on every address, and knows at which one each connection came."""

    def __init__(self):
        self.socket = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        self.port, self.came = self.socket.getsockname()[1], []
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.socket.accept()
                self.came.append(conn.getsockname()[0].removeprefix("::ffff:"))
                conn.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)


class Egress(Peer):
    """A captured egress: what it may ask of the dialer."""

    def __init__(self, gateway):
        self.fds, self.last = [], 1000
        super().__init__(gateway, "dialer", "egress0")

    def fill(self, n):
        while len(self.buffer) < n:
            part, fds, _, _ = socket.recv_fds(self.socket, 65536, 16)
            self.fds += fds
            if not part:
                raise EOFError
            self.buffer += part

    def dial(self, host, port):
        """("", address, peer of the socket), or (reason, address, why)."""
        self.last += 1
        self.send("DIAL", self.last, host=host, port=port)
        name, fields = self.expect("DIALED", "DIAL_FAILED", ident=self.last)
        if name == "DIAL_FAILED":
            return reason_code(fields["reason"]), fields["address"], fields["why"]
        with socket.socket(fileno=self.fds.pop()) as s:
            return "", fields["address"], s.getpeername()[:2]


class World:
    def __init__(self, island, server, trap, gateway, egress):
        self.island, self.server, self.trap, self.gateway, self.egress = island, server, trap, gateway, egress

    def dial(self, host=HOST, port=None):
        before = len(self.trap.came)
        end = self.egress.dial(host, port or self.trap.port)
        if not end[0]:
            wait_for("the connection to arrive", lambda: len(self.trap.came) > before)
        return end

    def assert_connects(self, *addresses, host=HOST):
        reason, address, peer = self.dial(host)
        assert not reason, (reason, address, peer)
        assert address in addresses and peer == (address, self.trap.port)

    def assert_refused(self, code, address=None, host=HOST, port=None):
        reason, refused, why = self.dial(host, port)
        assert reason == code and why, (reason, refused, why)
        assert address in (None, refused)


HOSTILE_ENVIRONMENT = {
    **{name: "http://127.0.0.1:{port}" for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")},
    "RES_OPTIONS": "ndots:15", "LOCALDOMAIN": "internal names.dev", "HOSTALIASES": "{folder}/aliases", "CARES_HOSTS": "{folder}/hosts"}


def make_gateway(folder, server, trap):
    for name in ("aliases", "hosts"):
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write(f"127.0.0.1 {HOST}\n{HOST} localhost\n")
    os.environ.update({k: v.format(port=trap.port, folder=folder) for k, v in HOSTILE_ENVIRONMENT.items()})
    hosts = {HOST: {}, "vllm": {"connect_within": ["10.0.0.0/8", "fd00::/8"]}, "ollama.local": {"connect_within": ["127.0.0.1"]},
             "wide.names.dev": {"connect_within": ["169.254.0.0/16", "fd00::/8"]}, "pinned.test": {"connect_to": "127.0.0.1"},
             "pinned-metadata.test": {"connect_to": "169.254.169.254"},
             **{name: {} for name in ("localhost", "x.internal", "x.local", "metadata.google.internal", "single", "127.0.0.1", "127.1",
                                      "0x7f.1", "2130706433", "017700000001", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254")}}
    gateway = Gateway(folder, workers=1, settings={"dialer": {"resolve_timeout_ms": RESOLVE_MS,
                                                              "resolvers": [f"{server.address}:{server.port}"]}},
                      providers=[{"name": f"p{i}", "base_url": f"https://{host}:{trap.port}/v1", **more}
                                 for i, (host, more) in enumerate(hosts.items())])
    gateway.port = free_port()
    return gateway


@pytest.fixture(scope="module")
def world():
    before = dict(os.environ)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: (os.environ.clear(), os.environ.update(before)))
        island = stack.enter_context(Island([PUBLIC, PUBLIC2, PUBLIC6, *PRIVATE]))
        trap = island.run(Trap)
        stack.callback(trap.close)
        server = stack.enter_context(island.run(NameServer, "127.0.0.1"))
        folder = stack.enter_context(scratch())
        gateway = island.run(make_gateway, folder, server, trap)
        island.run(gateway.__enter__)
        stack.push(lambda *error: island.run(gateway.__exit__, *error))
        egress = stack.enter_context(Egress(gateway))
        yield World(island, server, trap, gateway, egress)


@pytest.fixture(autouse=True)
def only_the_checked_address_is_reached(world):
    """After every test: nobody came to an address that is not public, whatever the name server said."""
    world.trap.came.clear()
    world.egress.fds.clear()
    yield
    assert not set(world.trap.came) - {PUBLIC, PUBLIC2, PUBLIC6, "127.0.0.1"}
    if "127.0.0.1" in world.trap.came:
        pytest.fail("loopback was reached")
    assert world.server.asked_by_datagram() is None
    assert len(world.gateway.pids("dialer")) == 1 and "SIG" not in world.gateway.log()


def test_an_honest_answer(world):
    world.server.play(lambda q: q.answer(A(PUBLIC)))
    world.assert_connects(PUBLIC)
    assert sorted(world.server.questions) == [(HOST, "A"), (HOST, "AAAA")], "each family once, no search domains"
    world.server.play(lambda q: q.answer(aaaa=AAAA(PUBLIC6)))
    world.assert_connects(PUBLIC6)
    world.server.play(lambda q: q.answer(A(PUBLIC), AAAA(PUBLIC6)))
    world.assert_connects(PUBLIC6)


def test_no_edns(world):
    plain = []
    world.server.play(lambda q: (plain.append(q.plain), q.answer(A(PUBLIC))))
    world.assert_connects(PUBLIC)
    assert all(plain)


# ---- rebinding ----

def test_an_answer_that_changes(world):
    """First public, then loopback: the connection goes to what was checked, and the next dial is refused."""
    turn = []

    def rebind(q):
        if q.type != "A":
            q.answer()
            return
        turn.append(1)
        q.answer(A(PUBLIC if len(turn) == 1 else "127.0.0.1"))

    world.server.play(rebind)
    world.assert_connects(PUBLIC)
    assert len(turn) == 1, "asked once for one connection"
    world.assert_refused("address_denied", "127.0.0.1")
    assert len(turn) == 2


def test_answers_that_change_all_the_time(world):
    """Many dials at once, every answer drawn from public and private addresses."""
    draw = random.Random(1)
    world.server.play(lambda q: q.answer(A(draw.choice([PUBLIC, PUBLIC2, "127.0.0.1", "10.1.2.3", "169.254.169.254"])),
                                         AAAA(draw.choice([PUBLIC6, "::1", "fd00:1::1", "::ffff:127.0.0.1"]))))
    ids = range(1, 201)
    for ident in ids:
        world.egress.send("DIAL", ident, host=HOST, port=world.trap.port)
    ends = {}
    while len(ends) < len(ids):
        name, ident, fields = world.egress.receive()
        ends[ident] = (name, fields["address"])
    for name, address in ends.values():
        assert (name == "DIALED") == (address in (PUBLIC, PUBLIC2, PUBLIC6)), (name, address)
    connected = [end for end in ends.values() if end[0] == "DIALED"]
    assert 0 < len(connected) < len(ids)
    wait_for("all of them", lambda: len(world.trap.came) == len(connected))
    for fd in world.egress.fds:
        os.close(fd)


def test_two_answers_to_one_question(world):
    """The first one counts, even while the other family's is still awaited."""
    held = []

    def twice(q):
        if q.type == "AAAA":
            held.append(q)
            return
        q.answer(A(PUBLIC))
        q.answer(A("127.0.0.1"))
        held.pop().answer()

    world.server.play(twice)
    world.assert_connects(PUBLIC)


# ---- lies ----

@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "10.1.2.3", "169.254.169.254", "100.64.0.1", "192.168.1.1", "224.0.0.1",
                                     "255.255.255.255", "240.0.0.1", "192.0.0.1", "198.18.0.1", "168.63.129.16"])
def test_address_is_refused(world, address):
    world.server.play(lambda q: q.answer(A(address)))
    world.assert_refused("address_denied", address)


@pytest.mark.parametrize("address", ["::", "::1", "::ffff:127.0.0.1", f"::ffff:{PUBLIC}", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
                                     "2002:7f00:1::", "2001:0:7f00:1::1", "fe80::1", "fd00:1::1", "fd00:ec2::254", "ff02::1", "fec0::1"])
def test_address6_is_refused(world, address):
    world.server.play(lambda q: q.answer((), AAAA(address)))
    world.assert_refused("address_denied", address)


@pytest.mark.parametrize("a, aaaa, bad", [
    ([PUBLIC, "127.0.0.1"], [], "127.0.0.1"), (["127.0.0.1", PUBLIC], [], "127.0.0.1"), ([PUBLIC], ["::1"], "::1"),
    ([PUBLIC] * 20 + ["10.1.2.3"], [PUBLIC6], "10.1.2.3"), ([PUBLIC, PUBLIC2], [PUBLIC6, "fd00:1::1"], "fd00:1::1")])
def test_one_bad_address_condemns_the_answer(world, a, aaaa, bad):
    world.server.play(lambda q: q.answer(A(*a), AAAA(*aaaa)))
    world.assert_refused("address_denied", bad)
    assert not world.trap.came


def test_aliases_are_judged_by_address(world):
    """A chain may lead anywhere; only where it ends counts."""
    target = pack_name("metadata.google.internal")
    world.server.play(lambda q: q.answer(CNAME("metadata.google.internal") + A(PUBLIC, owner=target)))
    world.assert_connects(PUBLIC)
    world.server.play(lambda q: q.answer(CNAME("www.names.dev") + A("10.1.2.3", owner=pack_name("www.names.dev"))))
    world.assert_refused("address_denied", "10.1.2.3")
    world.server.play(lambda q: q.answer(CNAME("localhost")))
    world.assert_refused("name_not_resolved")


def chain(length, last):
    names = [HOST] + [f"n{i}.names.dev" for i in range(length)]
    links = [record("CNAME", pack_name(b), owner=pack_name(a)) for a, b in zip(names, names[1:])]
    return links + last(pack_name(names[-1]))


LIES = {
    "loop": lambda q: q.answer(CNAME("a.names.dev") + record_list("CNAME", "a.names.dev", HOST)),
    "self": lambda q: q.answer(CNAME(HOST)),
    "longchain": lambda q: q.answer(chain(300, lambda owner: [])),
    "wrongid": lambda q: q.answer(A(PUBLIC), ident=bytes([q.ident[0] ^ 1, q.ident[1]])),
    "wrongname": lambda q: q.answer(A(PUBLIC), section=pack_name("other.names.dev") + q.section[-4:]),
    "noquestion": lambda q: q.answer(A(PUBLIC), section=b""),
    "question": lambda q: q.answer(A(PUBLIC), flags=0x0100),
    "toomany": lambda q: q.answer(A(*[f"198.41.1.{i}" for i in range(65)])),
    "oversized": lambda q: q.answer([record("A", bytes(4))] * 4090),
    "nxdomain": lambda q: q.answer(rcode=3),
    "servfail": lambda q: q.answer(rcode=2),
    "refused": lambda q: q.answer(rcode=5),
    "refusedwithaddress": lambda q: q.answer(A(PUBLIC), rcode=5),
    "empty": lambda q: q.answer(),
    "otherfamily": lambda q: q.answer(AAAA("::1"), A("127.0.0.1")),
    "otherclass": lambda q: q.answer(A("127.0.0.1", klass=3)),
    "otherowner": lambda q: q.answer(A("127.0.0.1", owner=pack_name("other.names.dev"))),
    "shortaddress": lambda q: q.answer([record("A", b"\x7f\0")]),
    "longaddress": lambda q: q.answer([record("A", bytes(16))]),
    "countlies": lambda q: q.answer(A(PUBLIC), counts=(1, 200, 0, 0)),
    "notcounted": lambda q: q.answer(A("127.0.0.1"), counts=(1, 0, 0, 0)),
    "additional": lambda q: q.answer(A("127.0.0.1"), counts=(1, 0, 0, 1)),
    "authority": lambda q: q.answer(A("127.0.0.1"), counts=(1, 0, 1, 0)),
    "pointerloop": lambda q: q.answer([record("A", bytes(4), owner=struct.pack(">H", 0xc000 + 12 + len(q.section)))]),
    "pointerout": lambda q: q.answer([record("A", bytes(4), owner=b"\xff\xff")]),
    "garbage": lambda q: q.send(random.Random(7).randbytes(4000)),
    "header": lambda q: q.send(q.ident + b"\x81\x80"),
    "nothing": lambda q: q.raw(b"\0\0" * 100),
    "half": lambda q: (q.raw(b"\x03\xe8" + q.ident + b"\x81\x80"), q.hang_up()),
    "hangup": lambda q: q.hang_up(),
    "silence": lambda q: None,
}


def record_list(kind, owner, name):
    return [record(kind, pack_name(name), owner=pack_name(owner))]


@pytest.mark.parametrize("lie", LIES)
def test_lie_leads_nowhere(world, lie):
    world.server.play(LIES[lie])
    began = time.monotonic()
    world.assert_refused("name_not_resolved")
    assert time.monotonic() - began < RESOLVE_MS / 1000 + (20 if INSTRUMENTED else 2)
    assert not world.trap.came
    world.server.play(lambda q: q.answer(A(PUBLIC)))  # and it serves on
    world.assert_connects(PUBLIC)


def test_the_right_answer_after_a_wrong_one(world):
    def wrong_then_right(q):
        q.answer(A("127.0.0.1"), ident=bytes([q.ident[0] ^ 1, q.ident[1]]))
        q.answer(A(PUBLIC))

    world.server.play(wrong_then_right)
    world.assert_connects(PUBLIC)


def test_truncated_answers_are_judged_as_they_are(world):
    """Over TCP the bit means nothing: there is no larger answer to get."""
    world.server.play(lambda q: q.answer(A(PUBLIC), flags=0x8380))
    world.assert_connects(PUBLIC)
    world.server.play(lambda q: q.answer(A(PUBLIC, "127.0.0.1"), flags=0x8380))
    world.assert_refused("address_denied", "127.0.0.1")


def test_a_slow_drip_ends(world):
    def drip(q):
        for byte in struct.pack(">H", 60) + q.message(A(PUBLIC)):
            q.raw(bytes([byte]))
            time.sleep(0.1)

    world.server.play(drip)
    began = time.monotonic()
    world.assert_refused("name_not_resolved")
    assert RESOLVE_MS / 1000 <= time.monotonic() - began + 0.1


def test_an_answer_in_single_bytes(world):
    def single(q):
        message = q.message(A(PUBLIC) if q.type == "A" else [])
        for byte in struct.pack(">H", len(message)) + message:
            q.raw(bytes([byte]))

    world.server.play(single)
    world.assert_connects(PUBLIC)


def test_only_one_family_is_served(world):
    world.server.play(lambda q: q.answer(A(PUBLIC)) if q.type == "A" else None)
    world.assert_connects(PUBLIC)
    world.server.play(lambda q: q.answer((), AAAA(PUBLIC6)) if q.type == "AAAA" else q.answer(rcode=2))
    world.assert_connects(PUBLIC6)


def test_a_broken_address_is_passed_over(world):
    """No listener there: the next one is tried."""
    world.server.play(lambda q: q.answer(A("198.41.9.9", PUBLIC2)))  # not on this island: unreachable
    world.assert_connects(PUBLIC2)


# ---- what the configuration permits ----

@pytest.mark.parametrize("host", ["localhost", "x.internal", "x.local", "metadata.google.internal", "single", "127.0.0.1", "127.1",
                                  "0x7f.1", "2130706433", "017700000001", "::1", "::ffff:127.0.0.1", "169.254.169.254"])
def test_configured_and_refused_all_the_same(world, host):
    world.server.play(lambda q: q.answer(A(PUBLIC)))
    world.assert_refused("address_denied", host=host)
    assert not world.server.questions, "not even asked for"


@pytest.mark.parametrize("host", ["evil.names.dev", HOST + ".", HOST.upper(), "x" * 253, PUBLIC, f"{HOST}:443", "*"])
def test_other_origins_are_refused(world, host):
    world.server.play(lambda q: q.answer(A(PUBLIC)))
    world.assert_refused("address_denied", host=host)
    world.assert_refused("address_denied", port=443)
    assert not world.server.questions


def test_a_private_upstream(world):
    """connect_within: a private name, private addresses, and no others."""
    world.server.play(lambda q: q.answer(A("10.1.2.3")))
    assert world.dial("vllm")[:2] == ("", "10.1.2.3")
    world.server.play(lambda q: q.answer((), AAAA("fd00:1::1")))
    assert world.dial("vllm")[:2] == ("", "fd00:1::1")
    world.server.play(lambda q: q.answer(A("127.0.0.1")))
    assert world.dial("ollama.local")[:2] == ("", "127.0.0.1")
    world.trap.came.clear()
    for address in (PUBLIC, "192.168.1.1", "127.0.0.1"):
        world.server.play(lambda q, a=address: q.answer(A(a)))
        world.assert_refused("address_denied", address, host="vllm")
    world.server.play(lambda q: q.answer(A("10.1.2.3")))
    world.assert_refused("address_denied", "10.1.2.3")  # for that provider alone


def test_a_pinned_upstream(world):
    world.server.play(lambda q: q.answer(A(PUBLIC)))
    assert world.dial("pinned.test")[:2] == ("", "127.0.0.1")
    assert not world.server.questions
    world.trap.came.clear()


@pytest.mark.parametrize("host, a, aaaa", [("wide.names.dev", "169.254.169.254", None), ("wide.names.dev", None, "fd00:ec2::254"),
                                           ("pinned-metadata.test", None, None)])
def test_metadata_is_never_permitted(world, host, a, aaaa):
    world.server.play(lambda q: q.answer(A(*[a] if a else []), AAAA(*[aaaa] if aaaa else [])))
    world.assert_refused("address_denied", a or aaaa or "169.254.169.254", host=host)


# ---- the surroundings ----

def test_no_proxy_and_no_hosts_file(world):
    """Whatever the environment says; the trap is the proxy that it names, at loopback."""
    environment = proc_read(world.gateway.process.pid, "environ")
    assert b"https_proxy=" in environment and b"LOCALDOMAIN=" in environment, "otherwise this proves nothing"
    world.server.play(lambda q: q.answer(A(PUBLIC)))
    world.assert_connects(PUBLIC)
    assert {name for name, _ in world.server.questions} == {HOST}
    world.server.play(lambda q: q.answer(rcode=3))
    world.assert_refused("name_not_resolved")
    assert {name for name, _ in world.server.questions} == {HOST}, "no search domain, no alias"


def system_gateway(folder, port, servers):
    resolv = os.path.join(folder, "resolv.conf")
    with open(resolv, "w", encoding="ascii") as f:
        f.writelines(f"nameserver {s}\n" for s in servers)
    prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c",
              f'mount --bind {resolv} /etc/resolv.conf && chmod a+r /etc/resolv.conf && exec "$0" "$@"']
    gateway = Gateway(folder, workers=1, prefix=prefix, providers=[{"name": "p0", "base_url": f"https://{HOST}:{port}/v1"}])
    gateway.port = free_port()
    return gateway


def test_the_systems_name_servers(world):
    """Without dialer.resolvers: one after the other, whatever the first does."""
    run = world.island.run
    with contextlib.ExitStack() as stack:
        first, second = [stack.enter_context(run(NameServer, f"127.0.0.{i}", 53)) for i in (53, 54)]
        gateway = run(system_gateway, stack.enter_context(scratch()), world.trap.port, ["127.0.0.52", "127.0.0.53", "127.0.0.54"])
        run(gateway.__enter__)
        stack.push(lambda *error: run(gateway.__exit__, *error))
        egress = stack.enter_context(Egress(gateway))
        second.play(lambda q: q.answer(A(PUBLIC)))
        for act in (LIES["servfail"], LIES["hangup"], LIES["garbage"], LIES["silence"], LIES["half"], LIES["oversized"]):
            first.play(act)
            assert egress.dial(HOST, world.trap.port)[:2] == ("", PUBLIC)
            assert first.questions and second.questions
            second.questions.clear()
        first.play(LIES["nxdomain"])  # an answer: nobody else is asked
        assert egress.dial(HOST, world.trap.port)[0] == "name_not_resolved"
        assert not second.questions


def test_the_operator_is_told(world):
    """Which address, why, and what would permit it: in the log of the egress, in the audit log, and a hint for the client."""
    gateway, run = world.gateway, world.island.run
    world.server.play(lambda q: q.answer(A("10.1.2.3")))
    run(gateway.open_vault)
    run(gateway.add_key, "p0", "sk-0123456789")
    gateway.key = run(gateway.make_key)["key"]
    reply = run(wait_for, "a ready egress", lambda: next((r for r in [gateway.chat("x")] if r.status == 502), None))
    assert reply.json()["error"]["code"] == "address_denied" and b"10.1.2.3" not in reply.body
    line = next(li for li in gateway.log().splitlines() if "egress.upstream_failed" in li)
    assert HOST in line and "10.1.2.3: private use (RFC 1918)" in line and "connect_within" in line
    event = wait_for("the record", lambda: gateway.audit(event="egress.address_deny"))[0]
    assert event["address"] == "10.1.2.3" and event["resource"] == HOST and event["reason"] == "address_denied"
