# SPDX-License-Identifier: Apache-2.0
"""How many requests of a key are under way at a time: over all workers, and whatever way a request ends."""
import concurrent.futures
import contextlib
import os
import signal
import socket

import pytest

from gateway import frozen, wait_for
from ipc import Peer, metrics

SLOW = "test:slow:50:2000"


@pytest.fixture(scope="module")
def limited(new_gateway):
    return new_gateway(settings={"authd": {"concurrent_default": 3}})


@contextlib.contextmanager
def streams(gateway, n, key):
    with contextlib.ExitStack() as stack:
        for _ in range(n):
            stream = gateway.stream(SLOW, key=key)
            stack.callback(stream.close)
            assert stream.status == 200
            next(stream.events())
        yield


def under_way(gateway):
    return metrics(gateway, "authd")["bulkhead_calls_under_way"]


def none_left(gateway):
    wait_for("all to have ended", lambda: under_way(gateway) == 0)


def test_so_many_and_no_more(gateway):
    key = gateway.make_key(rpm=100, concurrent=2)["key"]
    with streams(gateway, 2, key):
        refused = gateway.chat("gpt-x", key=key)
        assert refused.status == 429 and refused.json()["error"]["code"] == "concurrency_limit_exceeded"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert refused.headers["retry-after"] == "1" and refused.headers["x-ratelimit-remaining"] == "98"
        assert gateway.chat("gpt-x").status == 200, "another key's"
        record = wait_for("its record", lambda: gateway.audit(request_id=refused.headers["x-request-id"]))
        assert [(r["event"], r["reason"]) for r in record] == [("request.refuse", "concurrency_limit_exceeded")]
    none_left(gateway)
    for _ in range(5):
        assert gateway.chat("gpt-x", key=key).status == 200


def test_it_is_one_limit_for_all_workers(gateway):
    """Twenty connections, which the kernel spreads over the workers."""
    key = gateway.make_key(concurrent=5)["key"]
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = list(pool.map(lambda _: gateway.stream(SLOW, key=key), range(20)))
        for stream in asked:
            stack.callback(stream.close)
        assert sorted(s.status for s in asked) == [200] * 5 + [429] * 15
    none_left(gateway)


def test_the_default_and_a_key_of_its_own(limited):
    with streams(limited, 3, limited.key):
        assert limited.chat("gpt-x").status == 429
        assert limited.request("GET", "/v1/models").status == 200, "not a call"
        with streams(limited, 4, limited.make_key(concurrent=4)["key"]):
            assert under_way(limited) == 7
    none_left(limited)


def test_however_it_ends(limited):
    """What the provider, the client and the gateway may do to it; each of them three times, which is all that the key may have."""
    for model in ("gpt-x", "test:slow:1:3", "test:error:500", "test:untilclose", "test:cut", "closed:x", "no such model", "wrong-ca:x"):
        for _ in range(4):
            assert limited.chat(model).json().get("error", {}).get("code") != "concurrency_limit_exceeded", model
    none_left(limited)


def test_a_client_that_does_not_wait_for_the_permit(limited):
    body = limited.chat_body("gpt-x").encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {limited.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    before = metrics(limited, "authd")["bulkhead_permits_total"]
    with frozen(*limited.pids("authd")):
        for _ in range(3):
            with socket.create_connection((limited.host, limited.port)) as s:
                s.sendall(head.encode() + body)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, once it has asked
                wait_for("the question", lambda: waits_for_authd(limited))
    wait_for("them to be permitted", lambda: metrics(limited, "authd")["bulkhead_permits_total"] == before + 3)
    none_left(limited)
    assert limited.chat("gpt-x").status == 200


def waits_for_authd(gateway):
    return any(metrics(gateway, f"router{lane}")['bulkhead_router_requests{state="AUTHORIZE"}'] for lane in range(gateway.workers))


def test_a_router_that_dies(limited):
    with streams(limited, 3, limited.key):
        assert limited.chat("gpt-x").status == 429
        for pid in limited.pids("router"):
            os.kill(pid, signal.SIGKILL)
        none_left(limited)
        wait_for("service", lambda: service(limited))
    none_left(limited)


def service(gateway):
    with contextlib.suppress(OSError):
        return gateway.chat("gpt-x").status == 200


def test_a_captured_router_ends_its_own_calls_alone(limited):
    """And those that it never ends are counted while it is there."""
    def ask(peer, number, call):
        peer.send("AUTHORIZE", number, credential=limited.key.encode(), address="127.0.0.1", model="gpt-x", request_id="r", call=call)
        return peer.expect("PERMIT", "DENY", ident=number)[0]

    with Peer(limited, "authd", "router0") as one, Peer(limited, "authd", "router1") as other:
        assert [ask(one, n, 7) for n in (1, 2)] == ["PERMIT"] * 2, "the same number twice is two calls"
        assert [ask(other, n, n) for n in (1, 2)] == ["PERMIT", "DENY"]
        for call in (7, 2, 3, (1 << 64) - 1):
            other.send("SETTLE", 0, request_id="r", call=call)
        assert ask(other, 3, 3) == "DENY"
        one.send("SETTLE", 0, request_id="r", call=7)
        assert ask(one, 4, 8) == "PERMIT" and ask(one, 5, 9) == "DENY"
    none_left(limited)
