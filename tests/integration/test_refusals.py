# SPDX-License-Identifier: Apache-2.0
"""R-07, R-08, A-04: what the front refuses, in the shape that OpenAI's clients understand."""
import json
import re
import socket
import time

import pytest

from gateway import wait_for


def assert_error(reply, status, code, retry=False):
    assert reply.status == status, reply.body
    error = reply.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert error["code"] == code
    assert ("retry-after" in reply.headers) == retry
    assert reply.headers["x-request-id"]


def test_no_key(gateway):
    reply = gateway.chat("gpt-x", key="")
    assert_error(reply, 401, "missing_api_key")
    assert reply.headers["www-authenticate"] == "Bearer"  # some clients give no answer to who asked without it


@pytest.mark.parametrize("key", ["wrong", "sk-proj-something", "bh_sk_" + "a" * 40, "bh_sk_"])
def test_wrong_key(gateway, key):
    assert_error(gateway.chat("gpt-x", key=key), 401, "invalid_api_key")


def test_a_key_with_one_character_changed(gateway):
    for i in (8, len(gateway.key) // 2, len(gateway.key) - 1):
        key = gateway.key[:i] + ("a" if gateway.key[i] != "a" else "b") + gateway.key[i + 1:]
        assert_error(gateway.chat("gpt-x", key=key), 401, "invalid_api_key")


def test_key_in_query(gateway):
    reply = gateway.request("POST", f"/v1/chat/completions?api_key={gateway.key}", gateway.chat_body("gpt-x"), key="")
    assert reply.status in (400, 401) and gateway.key not in reply.body.decode()


@pytest.mark.parametrize("path", ["/v1", "/v1/chat", "/v1/chat/completions/", "/v1//chat/completions", "/admin",
                                  "/v1/../v1/chat/completions", "/v1/%63hat/completions", "/v1/embeddings"])
def test_unknown_path(gateway, path):
    assert_error(gateway.request("POST", path, "{}"), 404, "not_found")


def test_wrong_method(gateway):
    for method, path, allow in (("POST", "/", "GET, HEAD"), ("GET", "/v1/chat/completions", "POST"), ("POST", "/models", "GET"),
                                ("DELETE", "/v1/receipts/a-1", "GET")):
        reply = gateway.request(method, path, "{}" if method == "POST" else None)
        assert_error(reply, 405, "method_not_allowed")
        assert reply.headers["allow"] == allow
    assert "allow" not in gateway.request("GET", "/nowhere").headers


BAD_JSON = {
    "empty": "",
    "words": "hello",
    "open": '{"model":"gpt-x"',
    "twice": '{"model":"gpt-x","model":"gpt-y","messages":[]}',
    "twice, escaped": '{"model":"gpt-x","\\u006dodel":"gpt-y","messages":[]}',
    "deep": '{"model":"gpt-x","messages":' + "[" * 2000 + "]" * 2000 + "}",
    "trailing": '{"model":"gpt-x","messages":[]} x',
    "array": "[]",
    "control character": '{"model":"gpt-x","messages":["\n"]}',
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json(gateway, provider, name):
    assert_error(gateway.request("POST", "/v1/chat/completions", BAD_JSON[name]), 400, "invalid_json")
    assert not provider.journal()


def test_bad_utf8(gateway):
    body = b'{"model":"gpt-x","messages":[{"role":"user","content":"\xff\xfe"}]}'
    reply = gateway.request("POST", "/v1/chat/completions", body)  # as PowerShell and others send what they are not told to encode
    assert_error(reply, 400, "invalid_json")
    assert "UTF-8" in reply.json()["error"]["message"]


def test_capital_letters(gateway):
    """As Go and C# spell the names of their own fields when nobody has told them others."""
    reply = gateway.request("POST", "/v1/chat/completions", '{"Model":"gpt-x","Messages":[]}')
    assert_error(reply, 400, "invalid_json")
    assert "small letters" in reply.json()["error"]["message"]


@pytest.mark.parametrize("body, code", [
    ('{"messages":[]}', "model_required"), ('{"model":"","messages":[]}', "invalid_model_name"),
    ('{"model":"../etc","messages":[]}', "invalid_model_name"), ('{"model":"a b","messages":[]}', "invalid_model_name"),
    ('{"model":"%s","messages":[]}' % ("x" * 300), "invalid_model_name")])
def test_bad_model(gateway, body, code):
    reply = gateway.request("POST", "/v1/chat/completions", body)
    assert reply.status == 400 and reply.json()["error"]["code"] in (code, "model_required", "invalid_model_name")


def test_a_bad_model_is_not_in_the_log(gateway):
    """What is no model's name is a client's text, and may be anybody's address."""
    for name in ("mail to anna@example.org ", "\\u006dail to anna@example.org "):
        for repeat in (1, 20):
            reply = gateway.request("POST", "/v1/chat/completions", '{"model":"%s"}' % (name * repeat))
            assert_error(reply, 400, "invalid_model_name")
            event, = wait_for("its record", lambda r=reply: gateway.audit(request_id=r.headers["x-request-id"]))
            assert "model" not in event, event


def test_model_that_the_key_may_not_use(gateway, provider):
    key = gateway.make_key(models="gpt-*,o1")["key"]
    assert gateway.chat("gpt-4", key=key).status == 200
    assert gateway.chat("o1", key=key).status == 200
    provider.reset()
    assert_error(gateway.chat("o1-mini", key=key), 404, "model_not_found")
    assert_error(gateway.chat("claude", key=key), 404, "model_not_found")
    assert not provider.journal()


def test_too_large(gateway):
    assert_error(gateway.chat("gpt-x", text="x" * (10 << 20), timeout=60), 413, "request_too_large")


def test_too_large_is_refused_by_its_length_alone(gateway):
    got = gateway.raw((f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
                       "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n").encode(), 5)
    assert got.startswith(b"HTTP/1.1 413")


def test_too_large_in_chunks(gateway):
    """Without a length: only the counting tells."""
    conn = gateway.connect()
    conn.request("POST", "/v1/chat/completions", (b"[" * 65536 for _ in range(161)), gateway.headers(), encode_chunked=True)
    response = conn.getresponse()
    assert response.status == 413 and json.loads(response.read())["error"]["code"] == "request_too_large"
    conn.close()


def test_head_too_large(gateway):
    got = gateway.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"y" * 40000 + b"\r\n\r\n", 5)
    assert got.startswith(b"HTTP/1.1 431")
    got = gateway.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: y\r\n" * 150 + b"\r\n", 5)
    assert got.startswith(b"HTTP/1.1 431")


def test_head_too_large_for_the_provider(gateway, provider):
    """What goes on to it must fit into one record of TLS, with the key: the egress knows, and it is not the provider's fault."""
    fields = {f"x-stainless-{i}": "y" * 8000 for i in range(3)}
    assert_error(gateway.chat("gpt-x", headers=fields), 431, "header_too_large")
    assert not provider.journal()
    del fields["x-stainless-2"]
    assert gateway.chat("gpt-x", headers=fields).status == 200


def test_media_type(gateway):
    reply = gateway.request("POST", "/v1/chat/completions", gateway.chat_body("gpt-x"), headers={"content-type": "text/xml"})
    assert_error(reply, 415, "unsupported_media_type")
    reply = gateway.request("POST", "/v1/chat/completions", gateway.chat_body("gpt-x"), headers={"content-encoding": "gzip"})
    assert_error(reply, 415, "unsupported_media_type")


def test_rate_limit(gateway):
    """Exactly N in the window; refused calls do not count; Retry-After is computed."""
    key = gateway.make_key(rpm=5)["key"]
    replies = [gateway.chat("gpt-x", key=key) for _ in range(8)]
    assert [r.status for r in replies] == [200] * 5 + [429] * 3
    assert_error(replies[-1], 429, "rate_limit_exceeded", retry=True)
    assert 50 <= int(replies[-1].headers["retry-after"]) <= 60
    assert replies[0].headers["x-ratelimit-limit"] == "5"
    assert [r.headers["x-ratelimit-remaining"] for r in replies[:5]] == ["4", "3", "2", "1", "0"]


def test_revoked_key(gateway):
    made = gateway.make_key()
    assert gateway.chat("gpt-x", key=made["key"]).status == 200
    gateway.cli("key", "revoke", made["id"])
    reply = gateway.chat("gpt-x", key=made["key"])
    assert reply.status == 401 and reply.json()["error"]["code"] in ("revoked_api_key", "invalid_api_key")


def test_revoking_cuts_what_is_in_flight(gateway, provider):
    made = gateway.make_key()
    stream = gateway.stream("test:slow:50:2000", key=made["key"])
    events = stream.events()
    next(events)
    gateway.cli("key", "revoke", made["id"])
    wait_for("the provider to be left", lambda: provider.journal()[0]["ended"] == "peer left", 5)


# ---- what llhttp lets through and we do not ----

def request_lines(head):
    return head.replace("\n", "\r\n").encode("latin-1")


TRAPS = {
    "bare CR hides a field": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nX-Abc:\rTransfer-Encoding: chunked\r\n\r\n",
    "lower-case bare CR": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Abc:\rxTransfer-Encoding: chunked\r\n\r\n",
    "bare LF request line": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "bare LF in fields": b"GET /healthz HTTP/1.1\r\nHost: x\nX-A: 1\r\n\r\n",
    "NUL": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
    "obs-fold": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n 2\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "HTTP/2.0": b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "no version": b"GET /healthz \r\nHost: x\r\n\r\n",
    "two spaces": b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "length and chunked": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "list of lengths": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
    "signed length": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
    "chunked twice": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity, chunked": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "chunked on HTTP/1.0": b"POST /v1/models HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    "empty name": b"GET /healthz HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
    "fragment": b"GET /healthz#x HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute form": b"GET http://evil.test/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "upgrade": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS to a plain port\r\n\r\n",
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap(gateway, name):
    """Refused, and the connection closed behind it: what follows is never taken for a request."""
    followed = TRAPS[name] + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    got = gateway.raw(followed, 5)
    assert got.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 405", b"HTTP/1.1 505", b"HTTP/1.1 501")), got[:200]
    assert len(re.findall(rb"HTTP/1\.1 \d\d\d ", got)) == 1, got


CHUNK_TRAPS = {
    "extension": b"5;x=y\r\n{\"a\":\r\n0\r\n\r\n",
    "no CRLF after data": b"2\r\n{}0\r\n\r\n",
    "bare LF": b"2\n{}\n0\n\n",
    "huge size": b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "hex prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", CHUNK_TRAPS)
def test_chunk_trap(gateway, provider, name):
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").encode()
    got = gateway.raw(head + CHUNK_TRAPS[name] + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 5)
    assert got.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")) and len(re.findall(rb"HTTP/1\.1 \d\d\d ", got)) == 1, got
    assert not provider.journal()


# ---- time ----

@pytest.fixture(scope="module")
def hasty(new_gateway):
    return new_gateway(settings={"router": {"head_timeout_ms": 500, "body_timeout_ms": 700, "idle_timeout_ms": 900,
                                            "reply_timeout_ms": 1000, "stall_timeout_ms": 1000}})


def test_slow_head(hasty):
    began = time.monotonic()
    got = hasty.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n", 10)
    assert got.startswith(b"HTTP/1.1 408") and time.monotonic() - began < 5


def test_slow_body(hasty):
    got = hasty.raw((f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {hasty.key}\r\n"
                     "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{").encode(), 10)
    assert got.startswith(b"HTTP/1.1 408")


def test_idle_connection_is_closed(hasty):
    with socket.create_connection((hasty.host, hasty.port), timeout=10) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        data = s.recv(4096)
        assert data.startswith(b"HTTP/1.1 200")
        while data:
            data = s.recv(4096)


def test_silent_provider(hasty):
    assert_error(hasty.chat("test:hang"), 504, "upstream_timeout", retry=True)


def test_stalled_stream(hasty):
    """Never a clean end: an error event or a broken connection."""
    stream = hasty.stream("test:stall")
    events = []
    try:
        for event in stream.events():
            events.append(event)
    except Exception:  # noqa: BLE001  pylint: disable=broad-except
        events.append("broken")
    assert "[DONE]" not in events
    assert events[-1] == "broken" or "error" in json.loads(events[-1])
