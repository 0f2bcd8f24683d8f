# SPDX-License-Identifier: Apache-2.0
"""K-09, section 4 of the architecture: what a captured daemon can say, on each edge where it is the client. It speaks the protocol
itself, under the daemon's own uid, and gets nothing that its live clients were not granted."""
import contextlib
import fcntl
import hashlib
import hmac
import itertools
import json
import os
import signal
import struct

import msgpack
import pytest

from gateway import frozen, wait_for
from ipc import FIELDS, MESSAGES, Peer, ROLES, body_of, read_record, reason_code, record_of, role_of, uid_of
from lane import PATH, open_exchange, permit, refused, renew

FRAME_BYTES_MAX = 131072
EDGES = [("authd", "router0"), ("egress0", "router0"), ("classifier0", "router0"), ("auditd", "router0"), ("auditd", "authd"),
         ("auditd", "keyvault"), ("auditd", "egress0"), ("keyvault", "authd"), ("keyvault", "egress0"), ("keyvault", "auditd"),
         ("dialer", "egress0")]


@pytest.fixture(scope="module")
def router(gateway):
    """A captured router0: its edges to authd and to its egress."""
    with Peer(gateway, "authd", "router0") as authd, Peer(gateway, "egress0", "router0") as egress:
        yield authd, egress


def test_the_honest_way_works(gateway, router, provider):
    """Otherwise the refusals below prove nothing."""
    authd, egress = router
    allowed = permit(gateway, authd)
    name, head, ident = open_exchange(gateway, egress, allowed["grant"])
    assert name == "REPLY_HEAD" and head["status"] == 200
    egress.expect("END", ident=ident)
    assert provider.journal()[0]["authorized"]


def test_replay(gateway, router, provider):
    authd, egress = router
    allowed = permit(gateway, authd, request_id="captured-replay")
    assert open_exchange(gateway, egress, allowed["grant"])[0] == "REPLY_HEAD"
    for _ in range(3):
        assert refused(open_exchange(gateway, egress, allowed["grant"])) == "grant_used"
    assert len(provider.journal()) == 1
    wait_for("the record", lambda: gateway.audit(event="egress.refuse", reason="grant_used", request_id="captured-replay"))


def test_renewal(gateway, provider):
    """An egress has started anew. What authd permitted before is good once more: however often it is renewed, once."""
    with Peer(gateway, "authd", "router1") as authd, Peer(gateway, "authd", "router0") as stranger:
        with Peer(gateway, "egress1", "router1") as egress:
            unused, used = permit(gateway, authd)["grant"], permit(gateway, authd)["grant"]
            assert open_exchange(gateway, egress, used)[0] == "REPLY_HEAD"
            assert renew(authd, unused) == "grant_stale", "nothing has changed"
        victim = gateway.pid_of("egress", 1)
        os.kill(victim, signal.SIGKILL)
        wait_for("it to be back", lambda: len(gateway.pids("egress")) == 2 and victim not in gateway.pids("egress"))
        wait_for("its key", lambda: renew(authd, unused) != "grant_stale")
        provider.reset()
        with Peer(gateway, "egress1", "router1") as egress:
            assert refused(open_exchange(gateway, egress, unused)) == "grant_stale"
            assert renew(stranger, unused) == "grant_stale"
            for at in range(len(unused)):
                assert renew(authd, unused[:at] + bytes([unused[at] ^ 0x01]) + unused[at + 1:]) == "grant_stale", at
            for grant in (unused, used):  # that one had been used, only the egress that died knew: THREATS.md
                first, second = renew(authd, grant), renew(authd, grant)
                assert open_exchange(gateway, egress, first)[0] == "REPLY_HEAD"
                assert refused(open_exchange(gateway, egress, second)) == "grant_used"
                assert renew(authd, first) == "grant_stale"
        assert len(provider.journal()) == 2


# What does not verify and names another epoch is called stale: that is what every live grant is after a restart.
FORGED = ("grant_forged", "grant_stale")


def test_forge_every_byte(gateway, router, provider):
    authd, egress = router
    grant = permit(gateway, authd)["grant"]
    for at in range(len(grant)):
        forged = grant[:at] + bytes([grant[at] ^ 0x01]) + grant[at + 1:]
        assert refused(open_exchange(gateway, egress, forged)) in FORGED, at
    for forged in (grant[:-1], grant + b"\0", grant[:33], b"\0" * 33, grant[32:] + grant[:32]):
        assert refused(open_exchange(gateway, egress, forged)) == "grant_forged"
    assert not provider.journal()
    wait_for("the record", lambda: gateway.audit(event="egress.refuse", reason="grant_forged"))


def widened(record, **changes):
    record = dict(record)
    routes = [dict(r) for r in record["routes"]]
    for name, value in changes.items():
        if name in record:
            record[name] = value
        else:
            routes[0][name] = value
    record["routes"] = routes
    return record


@pytest.mark.parametrize("changes", [
    {"host": "evil.test"}, {"port": 444}, {"path": "/v1/files"}, {"method": 0}, {"credential": "private"},
    {"body_bytes_max": 10485760}, {"expires_ms": 2**63}, {"lane": 1}, {"series": 1}, {"number": 2**40}, {"renewed": 1}, {"tenant": "other"},
    {"principal": "other"}, {"epoch": 2}])
def test_widen(gateway, router, provider, changes):
    """A record changed in one field, under the old MAC and under MACs that a router could make."""
    authd, egress = router
    grant = permit(gateway, authd)["grant"]
    mac, record = grant[:32], read_record("grant", grant[32:])
    assert record_of("grant", record) == grant[32:], "the record is canonical"
    data = record_of("grant", widened(record, **changes))
    assert data != grant[32:]
    zero = hmac.digest(b"\0" * 32, b"bulkhead grant 1" + data, "sha256")
    bare = hashlib.sha256(b"bulkhead grant 1" + data).digest()
    for forged in (mac, zero, bare, b"\0" * 32):
        assert refused(open_exchange(gateway, egress, forged + data)) in FORGED
    assert not provider.journal()


def test_foreign_lane(gateway, router, provider):
    """A grant for lane 0 is of no use to another lane's egress."""
    authd, _ = router
    grant = permit(gateway, authd)["grant"]
    with Peer(gateway, "egress1", "router1") as other:
        assert refused(open_exchange(gateway, other, grant)) in ("grant_forged", "grant_stale")
    assert not provider.journal()


@pytest.mark.parametrize("other", [
    {"path": "/v1/files"}, {"path": "/v1/chat/completions?x=1"}, {"path": "/v1/chat/completions/"}, {"path": PATH + "\r\nx: y"},
    {"method": 0}, {"method": 3}, {"route": 1}, {"route": 3}])
def test_another_request_than_granted(gateway, router, provider, other):
    authd, egress = router
    grant = permit(gateway, authd)["grant"]
    assert refused(open_exchange(gateway, egress, grant, **other)) in ("grant_exceeded", "bad_request", "grant_forged")
    assert not provider.journal()


def test_more_body_than_granted(gateway, router, provider):
    authd, egress = router
    grant = permit(gateway, authd, body_bytes=10)["grant"]
    assert refused(open_exchange(gateway, egress, grant)) == "grant_exceeded"
    assert not provider.journal()


def outcome(gateway, egress, grant, **other):
    """Refused with a reason, or hung up on; in no case carried out."""
    try:
        name, fields, _ = open_exchange(gateway, egress, grant, **other)
    except (EOFError, ConnectionError):
        return "hung up"
    assert name == "BROKEN", fields
    return reason_code(fields["reason"])


@pytest.mark.parametrize("lie", [{"body_bytes": 5}, {"body_bytes": 900}, {"body_bytes": 0}, {"body": b""}])
def test_body_length_lies(gateway, router, provider, lie):
    authd, _ = router
    grant = permit(gateway, authd)["grant"]
    with Peer(gateway, "egress0", "router0") as egress:
        assert outcome(gateway, egress, grant, **lie)
    assert not provider.journal()


SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def memfd(data, seals=SEALS):
    fd = os.memfd_create("body", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def pipe_with(data):
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


BODY = b'{"model":"gpt-x","messages":[]}'
DESCRIPTORS = {
    "not sealed": lambda: memfd(BODY, 0),
    "may be written": lambda: memfd(BODY, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW),
    "may shrink": lambda: memfd(BODY, fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE),
    "may grow": lambda: memfd(BODY, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE),
    "shorter": lambda: memfd(BODY[:-1]),
    "longer": lambda: memfd(BODY + b" "),
    "empty": lambda: memfd(b""),
    "a pipe": lambda: pipe_with(BODY),
    "a file": lambda: os.open("/etc/hostname", os.O_RDONLY),
    "a device": lambda: os.open("/dev/zero", os.O_RDONLY),
}


def open_by_descriptor(gateway, fd, **other):
    authd = Peer(gateway, "authd", "router0")
    with authd, Peer(gateway, "egress0", "router0") as egress:
        grant = permit(gateway, authd)["grant"]
        try:
            egress.send("OPEN", 7, fds=[fd], grant=grant, route=0, method=1, path=PATH, body_bytes=len(BODY),
                        headers=[{"name": "content-type", "value": "application/json"}], **other)
            return egress.expect("REPLY_HEAD", "BROKEN", ident=7)[0]
        except (EOFError, ConnectionError):
            return "hung up"
        finally:
            os.close(fd)


def test_a_body_by_descriptor(gateway, provider):
    """The honest one; what else is passed there is no body."""
    assert open_by_descriptor(gateway, memfd(BODY)) == "REPLY_HEAD"
    assert provider.journal()[0]["body"] == BODY.decode()


@pytest.mark.parametrize("what", DESCRIPTORS)
def test_descriptor_lies(gateway, provider, what):
    before = alive(gateway)
    assert open_by_descriptor(gateway, DESCRIPTORS[what]()) == "hung up"
    assert alive(gateway) == before and not provider.journal()


def test_a_body_both_ways(gateway):
    assert open_by_descriptor(gateway, memfd(b"{}"), body=BODY) == "hung up"


def test_a_stream_that_is_taken(gateway, router, provider):
    """Two exchanges under one number: the second is a lie."""
    authd, _ = router
    grants = [permit(gateway, authd)["grant"] for _ in range(2)]
    body = gateway.chat_body("test:hang").encode()
    with Peer(gateway, "egress0", "router0") as egress:
        for grant in grants:
            egress.send("OPEN", 7, grant=grant, route=0, method=1, path=PATH, body_bytes=len(body), body=body,
                        headers=[{"name": "content-type", "value": "application/json"}])
        assert egress.hung_up()


@pytest.mark.parametrize("name, value", [
    ("host", "evil.test"), ("authorization", "Bearer mine"), ("content-length", "1"), ("transfer-encoding", "chunked"),
    ("connection", "upgrade"), ("x-ok", "a\r\nhost: evil.test"), ("x-ok\r\nhost", "evil.test"), ("x ok", "1"), ("", "1"),
    ("x-ok", "a\nb"), ("Host", "evil.test"), ("AUTHORIZATION", "x"), ("te", "trailers"), ("upgrade", "h2c")])
def test_header_lies(gateway, router, provider, name, value):
    """Refused, or left out; never sent."""
    authd, _ = router
    grant = permit(gateway, authd)["grant"]
    with Peer(gateway, "egress0", "router0") as egress, contextlib.suppress(EOFError, ConnectionError):
        open_exchange(gateway, egress, grant, headers=[{"name": name, "value": value}])
    for seen in provider.journal():
        assert seen["authorized"], "with the vault's key or not at all"
        assert "evil" not in seen["head"] and "mine" not in seen["head"]
        names = [n.lower() for n, _ in seen["fields"]]
        assert names.count("host") == names.count("content-length") == names.count("authorization") == 1
        assert "transfer-encoding" not in names and "upgrade" not in names and "te" not in names


# ---- receipts ----

IDENTS = itertools.count(1000)


def receipt(authd, key, wanted):
    """What authd tells a router that shows this key: "", or a reason."""
    ident = next(IDENTS)
    authd.send("RECEIPT", ident, credential=key.encode(), address="127.0.0.1", request_id=f"captured-{ident}", wanted=wanted)
    name, fields = authd.expect("RECEIPT_REP", "DENY", ident=ident)
    return reason_code(fields["reason"]) if name == "DENY" else ""


def test_receipts_of_others(gateway, router):
    """A router gets the receipts of keys that it was shown; auditd does not even listen to it."""
    authd, _ = router
    other = gateway.make_key(tenant="rival")["key"]
    mine, theirs = (gateway.chat("gpt-x", key=k).headers["x-request-id"] for k in (gateway.key, other))
    wait_for("my receipt", lambda: receipt(authd, gateway.key, mine) == "")
    wait_for("theirs", lambda: receipt(authd, other, theirs) == "")
    assert receipt(authd, gateway.key, theirs) == receipt(authd, other, mine) == "receipt_not_found"
    for client in ("router0", "egress0", "keyvault"):
        with Peer(gateway, "auditd", client) as peer:
            peer.send("RECEIPT_FIND", 1, request_id=theirs, tenant="rival", principal="key_x")
            assert peer.hung_up(), client
    with Peer(gateway, "auditd", "authd") as peer:
        peer.send("RECEIPT_FIND", 1, request_id=theirs, tenant="", principal="")
        assert peer.hung_up(), "authd must say whose"


def test_only_an_egress_records_a_use(gateway):
    """What receipts are made of cannot be said by a router, under whatever request id."""
    request_id = gateway.chat("gpt-x").headers["x-request-id"]
    for client in ("router0", "authd", "keyvault"):
        with Peer(gateway, "auditd", client) as peer:
            peer.expect("RESUME")
            with contextlib.suppress(ConnectionError):
                peer.send("EVENT", 0, seq=1, code=16, request_id=request_id, tenant="acme", status=200, bytes=1, digest=b"d" * 32,
                          head_digest=b"h" * 32)
            assert peer.hung_up(), client
    assert len(wait_for("the record", lambda: gateway.audit(event="egress.use", request_id=request_id))) == 1


# ---- every edge, every field ----

# Encodings of the number 1 that are not the shortest, and things that are no number.
NOT_NUMBERS = [b"\xcc\x01", b"\xcd\x00\x01", b"\xce\x00\x00\x00\x01", b"\xcf" + b"\0" * 7 + b"\x01", b"\xd0\x01", b"\xff", b"\xd0\x80",
               b"\xca\x3f\x80\x00\x00", b"\xcb" + struct.pack(">d", 1.0), b"\xc0", b"\xc3", b"\xa1x", b"\xc4\x01x", b"\x90", b"\x80",
               b"\xd4\x00\x00", b"\xc1"]


def with_raw(name, position, raw):
    """The message with the field at `position` replaced by raw bytes."""
    row = MESSAGES[name]
    parts = [msgpack.packb(x, use_bin_type=True) for x in (row[0], 1)]
    parts += [raw if i == position else msgpack.packb(f.smallest(), use_bin_type=True) for i, f in enumerate(row[3])]
    count = len(parts)
    return (bytes([0x90 | count]) if count < 16 else b"\xdc" + struct.pack(">H", count)) + b"".join(parts)


def lies(server, client):
    """(what, frame body) for every message that this client may send there."""
    for name, (_, senders, receivers, fields) in MESSAGES.items():
        if role_of(client) not in senders or role_of(server) not in receivers or name == "HELLO":
            continue
        for i, field in enumerate(fields):
            if field.kind == "U64":
                beyond = [v for v in (field.low - 1, field.high + 1, 2**64 - 1) if 0 <= v < 2**64 and not field.low <= v <= field.high]
                for value in beyond:
                    yield f"{name}.{field.name} = {value}", body_of(name, 1, **{field.name: value})
                for raw in NOT_NUMBERS:
                    yield f"{name}.{field.name} = {raw.hex()}", with_raw(name, i, raw)
            elif field.kind in ("STR", "BIN"):
                kind = str if field.kind == "STR" else bytes
                make = (lambda n: "a" * n) if kind is str else (lambda n: b"a" * n)
                for n in (field.low - 1, field.high + 1):
                    if 0 <= n <= 130000:
                        yield f"{name}.{field.name} of {n}", body_of(name, 1, **{field.name: make(n)})
                wrong = make(field.low).encode() if kind is str else make(field.low).decode()
                yield f"{name}.{field.name} as the other kind", body_of(name, 1, **{field.name: wrong})
                if kind is str:
                    yield f"{name}.{field.name} with NUL", body_of(name, 1, **{field.name: "\0" * max(1, field.low)})
            else:
                item = {f.name: f.smallest() for f in FIELDS[field.item]}
                longer = body_of(name, 1, **{field.name: [item] * (field.high + 1)})
                if len(longer) <= FRAME_BYTES_MAX:
                    yield f"{name}.{field.name} longer", longer
                yield f"{name}.{field.name} of nonsense", body_of(name, 1, **{field.name: [[b"x"]]})
                yield f"{name}.{field.name} claims 4 billion", with_raw(name, i, b"\xdd\xff\xff\xff\xff")
        yield f"{name} with one field more", \
            bytes([0x90 | (3 + len(fields))]) + body_of(name, 1)[1:] + b"\0" if len(fields) < 12 else b"\x90"
        yield f"{name} and a byte", body_of(name, 1) + b"\0"
        yield f"{name} cut", body_of(name, 1)[:-1]


def wrong_direction(server, client):
    for name, (_, senders, receivers, _) in MESSAGES.items():
        if role_of(client) not in senders or role_of(server) not in receivers:
            yield name, body_of(name, 1)


def permitted(server, client):
    for name, (_, senders, receivers, _) in MESSAGES.items():
        if role_of(client) in senders and role_of(server) in receivers and name != "HELLO":
            yield name, body_of(name, 1)


def alive(gateway):
    return {pid for pid, name in gateway.pids().items()}


def assert_each_ends_the_connection(gateway, server, client, bodies):
    before = alive(gateway)
    told = list(bodies)
    assert told
    for what, body in told:
        with Peer(gateway, server, client) as peer:
            with contextlib.suppress(ConnectionError):
                peer.send_body(body)
            assert peer.hung_up(), what
    assert alive(gateway) == before


@pytest.mark.parametrize("server, client", EDGES)
@pytest.mark.seconds(240)
def test_lies_are_hung_up_on(gateway, server, client):
    """Nothing is corrected, nothing guessed: the connection ends, the daemon lives and serves the others."""
    assert_each_ends_the_connection(gateway, server, client, lies(server, client))


@pytest.mark.parametrize("name, field", [("AUTHORIZE", "request_id"), ("MODELS", "request_id"), ("RECEIPT", "request_id"), ("RECEIPT", "wanted")])
def test_ids_of_other_bytes_are_hung_up_on(gateway, name, field):
    """They stand in the log, and in what an operator greps for: letters, digits and hyphens (R-07)."""
    good = {"credential": b"bh_sk_wrong", "address": "127.0.0.1", "request_id": "good-1", "wanted": "good-1", "call": 1}
    others = "".join(chr(c) for c in range(1, 128) if not chr(c).isalnum() and chr(c) != "-")
    assert_each_ends_the_connection(gateway, "authd", "router0", (
        (repr(c), body_of(name, 1, **{**good, field: f"{before}{c}{after}"})) for c in others + "\u00e9" for before, after in (("a", ""), ("", "b"))))
    with Peer(gateway, "authd", "router0") as peer:
        peer.send(name, 1, **{f.name: good[f.name] for f in MESSAGES[name][3] if f.name in good},
                  **({"model": "gpt-x"} if name == "AUTHORIZE" else {}))
        peer.expect("DENY", ident=1)


@pytest.mark.parametrize("server, client", EDGES)
def test_wrong_direction(gateway, server, client):
    """A captured router cannot even say UNSEAL."""
    assert_each_ends_the_connection(gateway, server, client, wrong_direction(server, client))


@pytest.mark.parametrize("server, client", EDGES)
def test_framing_and_hello(gateway, server, client):
    before = alive(gateway)
    for raw in (b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack(">I", 131073) + b"x", b"GET / HTTP/1.1\r\n\r\n"):
        with Peer(gateway, server, client) as peer:
            with contextlib.suppress(ConnectionError):
                peer.socket.sendall(raw)
            assert peer.hung_up(), raw
    for other in ({"role": (ROLES.index(role_of(client)) + 1) % 7}, {"worker": 200}, {"schema": 1}):
        with Peer(gateway, server, client, hello=False) as peer:
            peer.said = peer.expect("HELLO")
            peer.hello(**other)
            assert peer.hung_up(), other
    for name, body in permitted(server, client):  # whatever it may say later
        with Peer(gateway, server, client, hello=False) as peer:
            peer.expect("HELLO")
            peer.send_body(body)
            assert peer.hung_up(), name
    with Peer(gateway, server, client) as peer:  # said twice
        with contextlib.suppress(ConnectionError):
            peer.hello()
        assert peer.hung_up()
    with Peer(gateway, server, client) as peer, open("/dev/null", "rb") as f:  # a descriptor that nobody asked for
        with contextlib.suppress(ConnectionError):
            peer.send("HELLO", 0, fds=[f.fileno()])
        assert peer.hung_up()
    assert alive(gateway) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="all daemons share one uid")
@pytest.mark.parametrize("server, client", EDGES)
def test_other_edges_cannot_be_reached(gateway, server, client):
    """The socket of an edge opens for its client's uid and for no other daemon's."""
    for role in ROLES[:7]:
        if role in (role_of(server), role_of(client)):
            continue
        with pytest.raises(PermissionError):
            Peer(gateway, server, client, uid=uid_of(gateway, role))


@pytest.mark.skipif(os.geteuid() != 0, reason="all daemons share one uid")
def test_admin_sockets_are_the_operators(gateway):
    for instance in ("router0", "authd", "keyvault", "egress0", "dialer", "auditd", "classifier0"):
        for role in ROLES[:7]:
            if role != role_of(instance):
                with pytest.raises(PermissionError):
                    Peer(gateway, instance, "admin", uid=uid_of(gateway, role), hello=False)


def test_a_peer_that_never_reads(gateway, router):
    """Its queue is bounded: it is dropped, and nobody else waits."""
    question = body_of("AUTHORIZE", 5000, credential=b"bh_sk_wrong", address="127.0.0.1", endpoint=0, model="gpt-x", request_id="x",
                       body_bytes=1, call=1)
    wait_for("service", lambda: all(gateway.chat("gpt-x").status == 200 for _ in range(20)), 20)  # an egress of ours was just there
    burst = (struct.pack(">I", len(question)) + question) * 1000
    with Peer(gateway, "authd", "router0") as peer:
        with pytest.raises(ConnectionError):
            for _ in range(400):  # their answers are more than 16 MiB
                peer.socket.sendall(burst)
        assert gateway.chat("gpt-x").status == 200


def links(gateway, instance):
    """The edges that it has connections on."""
    with Peer(gateway, instance, "cli") as peer:
        peer.send("STATUS", 1)
        return {each["name"] for each in peer.expect("STATUS_REP")["peers"] if each["state"] == "up"}


def test_connections_are_nobody_elses(gateway):
    """As many as it likes: another router that comes back has its place."""
    victim = gateway.pid_of("router", 1)
    with contextlib.ExitStack() as stack:

        def take(n):
            for server in ["authd", "auditd"] * n:
                with contextlib.suppress(EOFError, ConnectionError):
                    stack.enter_context(Peer(gateway, server, "router0"))
        take(200)
        os.kill(victim, signal.SIGKILL)
        take(5)
        wait_for("another", lambda: len(gateway.pids("router")) == 2 and victim not in gateway.pids("router"))
        wait_for("its places", lambda: links(gateway, "router1").issuperset({"authd.router1", "auditd.router1"}))
    wait_for("service", lambda: all(gateway.chat("gpt-x").status == 200 for _ in range(20)), 20)


def test_a_flood_of_records_holds_back_its_sender(new_gateway):
    """Nobody else is told to begin anew: in strict mode each of his requests would be refused."""
    gateway = new_gateway(settings={"auditd": {"mode": "strict"}})
    bodies = (body_of("EVENT", 0, seq=seq, code=1, status=200) for seq in range(1, 60001))
    flood = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    router0 = gateway.pid_of("router", 0)
    with frozen(router0):
        for _ in range(50):
            with Peer(gateway, "auditd", "router0") as peer, contextlib.suppress(ConnectionError):
                peer.expect("RESUME")
                peer.socket.sendall(flood)
            assert gateway.chat("gpt-x").status == 200
    dropped = [json.loads(line)["peer"] for line in gateway.log().splitlines() if line.endswith('"why":"overrun"}')]
    assert set(dropped) == {"router0"}


def test_service_after_all_that(gateway):
    """The real router, egress and the rest still do their work, and the log is whole."""
    wait_for("service", lambda: all(gateway.chat("gpt-x").status == 200 for _ in range(20)), 20)
    assert gateway.verify().returncode == 0
    assert "SIGSYS" not in gateway.log() and "SIGSEGV" not in gateway.log() and "SIGABRT" not in gateway.log()
    assert json.dumps(gateway.status())
