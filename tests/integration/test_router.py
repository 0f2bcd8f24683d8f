# SPDX-License-Identifier: Apache-2.0
"""R-03, R-06, R-07, R-13: the front under trying conditions: too many clients, proxies, a route that fails, an end in order."""
import http.client
import json
import os
import re
import select
import signal
import socket

import pytest

from gateway import Gateway, Provider, halt, proc_read, scratch, wait_for


class TwoRoutes(Gateway):
    """Models of two providers, the first of which is never there."""

    def models(self):
        return [{"match": "two-*", "providers": ["closed", "local"]}, {"match": "*", "providers": ["local"]}]


@pytest.fixture(scope="module")
def two_routes():
    with scratch() as folder, Provider(folder) as provider, TwoRoutes(folder, provider) as gateway:
        yield gateway.prepare()


def test_the_next_route_is_taken_when_nothing_was_sent(two_routes):
    reply = two_routes.chat("two-x")
    assert reply.status == 200
    event = wait_for("its record", lambda: two_routes.audit(request_id=reply.headers["x-request-id"], code="request.complete") or
                     two_routes.audit(request_id=reply.headers["x-request-id"]))
    assert any(e.get("provider") == "local" for e in event)


def test_the_next_route_streams_as_well(two_routes):
    assert list(two_routes.stream("two-x").events())[-1] == "[DONE]"


@pytest.fixture(scope="module")
def small(new_gateway):
    return new_gateway(workers=1, settings={"router": {"connections_max": 4, "idle_timeout_ms": 1000,
                                                       "trusted_proxies": "127.0.0.0/8"}})


def occupy(gateway, n):
    """`n` connections that were answered, or None when one of an earlier test still counts."""
    held = [socket.create_connection((gateway.host, gateway.port), timeout=20) for _ in range(n)]
    for s in held:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    if all(s.recv(12) == b"HTTP/1.1 200" for s in held):
        return held
    for s in held:
        s.close()
    return None


def test_one_connection_too_many_is_told(small):
    held = wait_for("room for four", lambda: occupy(small, 4))
    try:
        got = small.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 503") and b"retry-after: 1\r\n" in got
        head, body = got.split(b"\r\n\r\n", 1)
        assert f"content-length: {len(body)}".encode() in head
        assert json.loads(body)["error"]["code"] == "overloaded"
    finally:
        for s in held:
            s.close()
    wait_for("room again", lambda: small.request("GET", "/healthz", key="").status == 200)


def test_large_bodies_do_not_take_the_descriptors_of_connections(new_gateway):
    cramped = new_gateway(workers=1, prefix=["prlimit", "--nofile=280:280"])
    lowered = [json.loads(line) for line in cramped.log().splitlines() if "router.connections_lowered" in line]
    assert [(e["level"], e["open_files"], e["connections_max"], e["in_effect"]) for e in lowered] == [("warning", 280, 10000, 76)]
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-api-key: {cramped.key}\r\nContent-Length: 70000\r\n\r\n{{".encode()
    held = [socket.create_connection((cramped.host, cramped.port), timeout=20) for _ in range(136)]
    try:
        for s in held:
            s.sendall(head)
        got = cramped.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answered = select.select(held, [], [], 0)[0]
        assert answered and {s.recv(12) for s in answered} == {b"HTTP/1.1 503"} and got.startswith(b"HTTP/1.1 503")
    finally:
        for s in held:
            s.close()
    wait_for("room again", lambda: cramped.request("GET", "/healthz", key="").status == 200)


def test_an_idle_connection_is_closed(small):
    with socket.create_connection((small.host, small.port), timeout=20) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(65536).startswith(b"HTTP/1.1 200")
        assert s.recv(1) == b""


def test_a_trusted_proxy_speaks_for_its_client(small):
    reply = small.chat("gpt-x", headers={"x-request-id": "from-the-proxy-1", "x-forwarded-for": "6.6.6.6, 203.0.113.7, 127.0.0.9"})
    assert reply.status == 200 and reply.headers["x-request-id"] == reply.headers["request-id"] == "from-the-proxy-1"
    event = wait_for("its record", lambda: next((e for e in small.audit(event="request.complete", request_id="from-the-proxy-1")), None))
    revealed = small.cli("audit", "reveal", str(event["index"]), "--json").stdout.splitlines()
    assert json.loads(revealed[0])["address"] == "203.0.113.7"
    for bad in ("x" * 65, "a b", "a_b", ""):
        assert small.chat("gpt-x", headers={"x-request-id": bad}).headers["x-request-id"] != bad


def test_every_request_is_recorded_refusals_too(small):
    ids = [small.request("GET", "/nowhere", key="").headers["x-request-id"], small.chat("gpt-x", key="").headers["x-request-id"]]
    for request_id, status in zip(ids, (404, 401)):
        found = wait_for("the record", lambda i=request_id: small.audit(request_id=i))
        assert [e["status"] for e in found] == [status]


def test_not_ready_while_the_vault_is_sealed(small):
    small.cli("vault", "seal")
    reply = wait_for("not ready", lambda: (r := small.request("GET", "/readyz", key="")).status == 503 and r)
    assert reply.json()["error"]["code"] == "vault_sealed" and int(reply.headers["retry-after"]) > 0
    assert small.request("GET", "/healthz", key="").status == 200
    assert small.chat("gpt-x").json()["error"]["code"] == "vault_sealed"
    small.cli("vault", "unseal")
    wait_for("ready again", lambda: small.request("GET", "/readyz", key="").status == 200)


def front(gateway):
    """What `bulkhead status` says of the router: (ready, why not)."""
    listed = json.loads(gateway.cli("status", "--json", check=False).stdout)
    return next((d["ready"], d["detail"]) for d in listed if d["name"] == "router0")


def test_the_front_knows_of_a_seal_without_being_asked(small):
    """Told, not found out: no request comes in between. Whoever starts again is told as well."""
    for change, known in (("seal", (False, "the vault is sealed")), ("unseal", (True, "serving"))):
        small.cli("vault", change)
        wait_for("the router to know", lambda k=known: front(small) == k)
        assert small.request("GET", "/readyz", key="").status == (200 if known[0] else 503)
        for daemon in ("router", "authd"):
            victim = small.pids(daemon)[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(f"{daemon} to be back", lambda d=daemon, v=victim: small.pids(d) not in ([], [v]))
            wait_for("the router to know again", lambda k=known: front(small) == k)


def test_a_stream_in_flight_is_finished_at_the_end(new_gateway):
    gateway = new_gateway()
    stream = gateway.stream("test:slow:30:100")
    events = stream.events()
    next(events)
    gateway.process.send_signal(signal.SIGTERM)
    wait_for("the port closed", lambda: is_refused(gateway))
    assert gateway.pids("router")  # not only when the last stream is over
    assert list(events)[-1] == "[DONE]"
    gateway.stop()


def test_the_last_answer_reaches_who_has_asked_again(new_gateway):
    """A request that the end comes before is dropped; it must not take the tail of the answer before it along, as a reset would."""
    gateway = new_gateway(workers=1)

    def ask(model):
        body = gateway.chat_body(model)
        head = "".join(f"{n}: {v}\r\n" for n, v in gateway.headers().items())
        return f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(20)
        s.connect((gateway.host, gateway.port))
        s.sendall(ask("test:huge:3000000"))
        got = s.recv(1000)
        s.sendall(ask("gpt-x"))
        gateway.process.send_signal(signal.SIGTERM)
        wait_for("the port closed", lambda: is_refused(gateway))
        while piece := s.recv(4096):
            got += piece
    assert len(got) > 3000000 and got.endswith(b"\r\n0\r\n\r\n")
    assert gateway.process.wait(30) == 0
    gateway.stop()


def test_who_has_asked_before_the_end_is_answered(new_gateway):
    """The router may have had no time yet to let a client in, or to read what it asks."""
    gateway = new_gateway(workers=1)
    router, = gateway.pids("router")
    kept, new = gateway.connect(), gateway.connect()
    kept.request("GET", "/healthz")
    kept.getresponse().read()
    halt(router)
    for connection in (kept, new):
        connection.request("POST", "/v1/chat/completions", gateway.chat_body("gpt-x"), gateway.headers())
    gateway.process.send_signal(signal.SIGTERM)
    wait_for("the order", lambda: int(re.search(rb"ShdPnd:\s*(\w+)", proc_read(router, "status")).group(1), 16) & 1 << signal.SIGTERM - 1)
    os.kill(router, signal.SIGCONT)
    for connection in (kept, new):
        reply = connection.getresponse()
        assert reply.status == 200 and json.loads(reply.read())["choices"] and reply.getheader("connection") == "close"
        connection.close()
    gateway.stop()


def is_refused(gateway):
    try:
        socket.create_connection((gateway.host, gateway.port), timeout=2).close()
    except ConnectionError:  # refused, or let in by nobody
        return True
    return False


def test_what_has_no_end_does_not_cost_an_orderly_one(new_gateway):
    """The launcher kills whoever is left after 30 s. Before that clients are told, and everybody stops as ever."""
    gateway = new_gateway(workers=1)
    stream, waiting = gateway.stream("test:slow:100:10000"), gateway.connect(60)
    request_id = stream.response.headers["x-request-id"]
    waiting.request("POST", "/v1/chat/completions", gateway.chat_body("test:hang"), gateway.headers())
    events, last = stream.events(), None
    wait_for("the provider to be asked", lambda: "test:hang" in gateway.provider.journal()[-1]["body"])
    next(events)
    gateway.process.send_signal(signal.SIGTERM)
    with pytest.raises(http.client.IncompleteRead):
        for last in events:
            pass
    reply = waiting.getresponse()
    assert json.loads(last)["error"]["code"] == json.loads(reply.read())["error"]["code"] == "shutting_down" and reply.status == 503
    stream.close()
    waiting.close()
    assert gateway.process.wait(30) == 0 and "drain_timeout" not in gateway.log()
    gateway.stop()
    gateway.start()  # the log outlived the request that it tells of
    assert [(e["event"], e["reason"]) for e in gateway.audit(request_id=request_id) if e["event"].startswith("request")] == \
        [("request.cut", "shutting_down")]
