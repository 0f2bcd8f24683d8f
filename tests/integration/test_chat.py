# SPDX-License-Identifier: Apache-2.0
"""R-01, R-03: a chat through all daemons, streamed and not, and what the provider gets to see of it."""
import contextlib
import http.client
import json
import socket

import h11
import pytest

from gateway import wait_for
from provider import WORDS

SENTENCE = " ".join(WORDS)


def text_of(events):
    return "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in events
                   if e != "[DONE]" and json.loads(e)["choices"])


def test_chat(gateway, provider):
    reply = gateway.chat("gpt-x")
    assert reply.status == 200
    assert reply.json()["choices"][0]["message"]["content"] == SENTENCE
    assert reply.json()["usage"]["total_tokens"] == 11 + len(WORDS)
    assert reply.headers["content-type"].startswith("application/json")
    assert len(provider.journal()) == 1


def test_chat_streamed(gateway, provider):
    stream = gateway.stream("gpt-x")
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    events = list(stream.events())
    assert events[-1] == "[DONE]" and events.count("[DONE]") == 1
    assert text_of(events) == SENTENCE
    assert provider.journal()[0]["ended"] == "complete"


def test_tokens_arrive_one_by_one(gateway):
    """The first token is here long before the last one is sent."""
    stream = gateway.stream("test:slow:100:200")
    events = stream.events()
    next(events)
    first = json.loads(next(events))
    assert first["choices"][0]["delta"]["content"] == "The"
    assert gateway.provider.journal()[-1]["ended"] == "open"
    stream.close()


def test_bytewise_stream_is_put_together(gateway):
    events = list(gateway.stream("test:bytewise").events())
    assert text_of(events) == "slowly" and events[-1] == "[DONE]"


def test_what_the_provider_sees(gateway, provider):
    """K-07, R-13: the head is built in the vault; nothing of the client's head passes but what is meant to."""
    reply = gateway.chat("gpt-x", headers={"x-evil": "1", "cookie": "a=b", "host": "evil.test", "x-forwarded-host": "evil.test",
                                           "proxy-authorization": "Basic eA=="})
    assert reply.status == 200
    seen = provider.journal()[0]
    assert seen["authorized"]
    assert gateway.key not in json.dumps(seen)
    assert "evil" not in seen["head"] and "a=b" not in seen["head"]
    names = [name.lower() for name, _ in seen["fields"]]
    assert len(names) == len(set(names)), "no field twice"
    fields = {name.lower(): value for name, value in seen["fields"]}
    assert fields["host"] == f"upstream.test:{provider.ports['tls']}"
    assert fields["content-length"] == str(len(seen["body"].encode()))
    assert "transfer-encoding" not in fields
    assert fields.get("accept-encoding", "identity") == "identity"
    assert json.loads(seen["body"])["messages"] == [{"role": "user", "content": "hello"}]


def test_another_parser_reads_the_same_request(gateway, provider):
    gateway.chat("gpt-x", text="grüße, 世界 \u0000 \"quoted\"")
    seen = provider.journal()[0]
    conn = h11.Connection(h11.SERVER)
    conn.receive_data(seen["head"].encode("latin-1") + seen["body"].encode())
    request = conn.next_event()
    assert request.method == b"POST" and request.target == b"/v1/chat/completions"
    data = conn.next_event()
    assert bytes(data.data).decode() == seen["body"]
    assert isinstance(conn.next_event(), h11.EndOfMessage)


def test_body_passes_byte_for_byte(gateway, provider):
    body = '{ "messages":[ {"role":"user","content":"h\\u00e9\\n"} ],\r\n "x": 1.50e+3 , "model" : "gpt-x" }'
    assert gateway.request("POST", "/v1/chat/completions", body).status == 200
    assert provider.journal()[0]["body"] == body


@pytest.mark.parametrize("size", [1, 65000, 65535, 65536, 65537, 200_000, 3_000_000, 10_000_000])
def test_large_requests(gateway, provider, size):
    reply = gateway.chat("test:slow:0", text="x" * size, timeout=60)
    assert reply.status == 200
    assert json.loads(provider.journal()[0]["body"])["messages"][0]["content"] == "x" * size


@pytest.mark.parametrize("size", [1, 60_000, 70_000, 3_000_000])
def test_large_answers(gateway, size):
    reply = gateway.chat(f"test:huge:{size}", timeout=60)
    assert reply.json()["choices"][0]["message"]["content"] == "x" * size


def test_a_slow_client_gets_all_of_a_large_answer(gateway):
    """More than every buffer on the way can hold, read late: the credit of the lane holds the provider back."""
    conn = gateway.connect(60)
    conn.request("POST", "/v1/chat/completions", gateway.chat_body("test:huge:20000000"), gateway.headers())
    response = conn.getresponse()
    others = [gateway.chat("gpt-x").status for _ in range(5)]
    assert others == [200] * 5
    assert len(json.loads(response.read())["choices"][0]["message"]["content"]) == 20_000_000
    conn.close()


@pytest.mark.parametrize("size", [60_000, 70_000, 500_000])
def test_a_long_event_passes_whole(gateway, size):
    """Longer than the window of the lane, so the router must ask for more while it holds it back."""
    events = list(gateway.stream(f"test:longevent:{size}").events())
    assert len(json.loads(events[0])["choices"][0]["delta"]["content"]) == size and events[-1] == "[DONE]"


def test_an_endless_event_is_refused(gateway):
    events = []
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        events = list(gateway.stream("test:longevent:5000000").events())
    assert "[DONE]" not in events


def test_chunked_request_body(gateway, provider):
    conn = gateway.connect()
    body = gateway.chat_body("gpt-x").encode()
    conn.request("POST", "/v1/chat/completions", iter([body[:10], body[10:]]), gateway.headers(), encode_chunked=True)
    assert conn.getresponse().status == 200
    assert provider.journal()[0]["body"].encode() == body


def test_expect_continue(gateway):
    body = gateway.chat_body("gpt-x").encode()
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\nExpect: 100-continue\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    with socket.create_connection((gateway.host, gateway.port), timeout=20) as s:
        s.sendall(head)
        assert s.recv(1000).startswith(b"HTTP/1.1 100")
        s.sendall(body)
        assert s.recv(12) == b"HTTP/1.1 200"


def test_an_offer_of_http_2_is_passed_over(gateway):
    """Java's own client and `curl --http2` make it with every request, and wait for the answer in either."""
    reply = gateway.chat("gpt-x", headers={"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAAB"})
    assert reply.status == 200 and "upgrade" not in reply.headers
    assert not [n for n, _ in gateway.provider.journal()[-1]["fields"] if n.lower() in ("upgrade", "http2-settings")]


def test_an_offer_of_tls_is_passed_over(gateway):
    """Apache's HttpClient makes it from 5.4 on with every GET and HEAD, and goes on in plain HTTP where nobody takes it up."""
    offer = {"connection": "Upgrade", "upgrade": "TLS/1.2"}
    for method, path in (("GET", "/v1/models"), ("GET", "/readyz"), ("HEAD", "/healthz")):
        reply = gateway.request(method, path, headers=offer)
        assert reply.status == 200 and "upgrade" not in reply.headers, path


def test_keep_alive(gateway):
    conn = gateway.connect()
    for _ in range(20):
        conn.request("POST", "/v1/chat/completions", gateway.chat_body("gpt-x"), gateway.headers())
        sock = conn.sock
        response = conn.getresponse()
        assert response.status == 200 and response.read()
        assert conn.sock is sock, "the connection was kept"
    conn.close()


def test_upstream_connections_are_reused(gateway):
    before = gateway.provider.control("GET", "/")["accepted"]
    for _ in range(20):
        assert gateway.chat("gpt-x").status == 200
    assert gateway.provider.control("GET", "/")["accepted"] - before <= 2


def test_a_pooled_connection_that_died_is_no_error(gateway):
    for _ in range(5):
        assert gateway.chat("test:idleclose").status == 200
        number = gateway.provider.journal()[-1]["connection"]
        wait_for("the provider to close it", lambda number=number: number not in gateway.provider.control("GET", "/")["open"])
        assert gateway.chat("gpt-x").status == 200


def test_pipelined_requests_are_answered_in_order(gateway):
    data = b""
    for i in range(5):
        body = gateway.chat_body("test:echo", text=f"number {i}").encode()
        data += (f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
                 f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                 + ("Connection: close\r\n" if i == 4 else "") + "\r\n").encode() + body
    got = gateway.raw(data, 20)
    assert got.count(b"HTTP/1.1 200") == 5
    places = [got.index(f"number {i}".encode()) for i in range(5)]
    assert places == sorted(places)


def test_http_10_client(gateway):
    body = gateway.chat_body("gpt-x").encode()
    got = gateway.raw((f"POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
                       f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body, 20)
    head = got.split(b"\r\n\r\n")[0].lower()
    assert b" 200 " in head.split(b"\r\n")[0] and b"transfer-encoding" not in head


def test_models(gateway):
    reply = gateway.request("GET", "/v1/models")
    assert reply.status == 200
    value = reply.json()
    assert value["object"] == "list" and [m["id"] for m in value["data"]] == ["gpt-x", "gpt-y"], "names, never patterns"
    assert all(m["object"] == "model" and m["owned_by"] == "local" for m in value["data"])
    for model in value["data"]:
        assert gateway.chat(model["id"]).status == 200
    mine = gateway.make_key(models="gpt-y,gpt-z,local*")["key"]
    assert [m["id"] for m in gateway.request("GET", "/v1/models", key=mine).json()["data"]] == ["gpt-y", "gpt-z"]


def test_health_needs_no_key(gateway):
    assert gateway.request("GET", "/healthz", key="").status == 200
    assert gateway.request("GET", "/readyz", key="").status == 200
    assert gateway.request("HEAD", "/healthz", key="").body == b""
    assert gateway.raw(b"GET /readyz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 "), "as HAProxy asks, if told no more than the path"


def test_request_ids(gateway):
    first, second = gateway.chat("gpt-x"), gateway.chat("gpt-x")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    mine = gateway.chat("gpt-x", headers={"x-request-id": "mine"})
    assert mine.headers["x-request-id"] != "mine", "only trusted proxies may choose it"


def test_security_headers(gateway):
    headers = gateway.chat("gpt-x").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "no-store" in headers["cache-control"]


def test_disconnect_cancels_upstream(gateway, provider):
    stream = gateway.stream("test:slow:50:2000")
    next(stream.events())
    stream.close()
    wait_for("the provider to be left", lambda: provider.journal()[0]["ended"] == "peer left", 5)


def test_disconnect_before_the_answer_cancels_upstream(gateway, provider):
    conn = gateway.connect()
    conn.request("POST", "/v1/chat/completions", gateway.chat_body("test:hang"), gateway.headers())
    wait_for("the request to arrive", lambda: provider.journal(), 5)
    conn.close()
    wait_for("the provider to be left", lambda: provider.journal()[0]["ended"] == "peer left", 5)


def test_two_hundred_at_once(gateway):
    streams = [gateway.stream("test:slow:20:20", timeout=60) for _ in range(200)]
    for stream in streams:
        events = list(stream.events())
        assert events[-1] == "[DONE]" and len(events) == 23
        stream.close()


def test_interim_answers_are_passed_over(gateway):
    assert gateway.chat("test:interim").status == 200


def test_body_without_length(gateway):
    """Ended by the close of the connection, in good order by TLS."""
    reply = gateway.chat("test:untilclose")
    assert reply.status == 200 and reply.json()["choices"][0]["message"]["content"] == "until close"


def test_a_late_reader_is_not_needed_for_the_next(gateway):
    with pytest.raises((http.client.IncompleteRead, ConnectionError, ValueError)):
        stream = gateway.stream("test:reset")
        assert "[DONE]" not in list(stream.events())
        raise ValueError("ended with an error event")
    assert gateway.chat("gpt-x").status == 200
