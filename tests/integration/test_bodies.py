# SPDX-License-Identifier: Apache-2.0
"""R-07: large request bodies. They are taken from those alone whose key is known, and so many bytes of them at a time."""
import contextlib
import json
import socket

import pytest

from capabilities import sees_others
from gateway import open_files, wait_for

MIB = 1 << 20
UNKNOWN = "bh_sk_" + "a" * 48


@pytest.fixture(scope="module")
def narrow(new_gateway):
    return new_gateway(workers=1, settings={"router": {"bodies_bytes_max": 10 * MIB}})


def head(key, *fields):
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *fields, "", ""]).encode()


def body_of(size):
    text = json.dumps({"model": "gpt-x", "messages": [{"role": "user", "content": ""}]})
    return text.replace('""', '"' + "x" * (size - len(text)) + '"').encode()


def bodies_held(gateway):
    return sum("memfd:body" in file for file in open_files(gateway.pids("router")[0]).values())


@contextlib.contextmanager
def sent(gateway, *parts):
    with socket.create_connection((gateway.host, gateway.port), timeout=20) as s:
        for part in parts:
            s.sendall(part)
        yield s


def answer(s):
    got = b""
    while b"\r\n\r\n" not in got:
        part = s.recv(65536)
        assert part, got
        got += part
    return got


def test_nobody_is_told_to_go_on(narrow):
    with sent(narrow, head(UNKNOWN, "Expect: 100-continue", f"Content-Length: {9 * MIB}")) as s:
        got = answer(s)
        assert got.startswith(b"HTTP/1.1 401 ") and b"connection: close\r\n" in got
    request_id = got.split(b"x-request-id: ")[1].split(b"\r\n")[0].decode()
    record = wait_for("its record", lambda: narrow.audit(request_id=request_id))
    assert [(r["event"], r["reason"]) for r in record] == [("request.refuse", "invalid_api_key")]


@sees_others
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_nothing_large_is_kept_for_nobody(narrow, framing):
    piece = b"x" * 70000
    if framing == "length":
        parts = head(UNKNOWN, f"Content-Length: {9 * MIB}"), piece
    else:
        parts = head(UNKNOWN, "Transfer-Encoding: chunked"), f"{9 * MIB:x}\r\n".encode() + piece, piece
    with contextlib.ExitStack() as stack:
        for s in [stack.enter_context(sent(narrow, *parts)) for _ in range(20)]:
            assert answer(s).startswith(b"HTTP/1.1 401 ")
        assert bodies_held(narrow) == 0


def test_who_sends_all_the_same_hears_why(narrow):
    """Clients that read no answer before they have sent everything."""
    reply = narrow.request("POST", "/v1/chat/completions", body_of(8 * MIB), UNKNOWN)
    assert reply.status == 401 and json.loads(reply.body)["error"]["code"] == "invalid_api_key"


def test_a_large_body_in_chunks_of_a_known_key_arrives_whole(narrow):
    body = body_of(3 * MIB)
    conn = narrow.connect()
    conn.request("POST", "/v1/chat/completions", (body[i:i + 50000] for i in range(0, len(body), 50000)), narrow.headers(),
                 encode_chunked=True)
    assert conn.getresponse().status == 200
    conn.close()
    assert narrow.provider.journal()[-1]["body"].encode() == body


@contextlib.contextmanager
def all_but_the_last_byte(gateway, body):
    """A connection over which it has come; none of an earlier test is in its way."""
    with sent(gateway, head(gateway.key, "Expect: 100-continue", f"Content-Length: {len(body)}")) as s:
        assert answer(s).startswith(b"HTTP/1.1 100 ")
        s.sendall(body[:-1])
        room = 10 * MIB - (len(body) - 1)
        wait_for("it to have come", lambda: offer(gateway, room + 1).startswith(b"HTTP/1.1 503 "))
        assert offer(gateway, room).startswith(b"HTTP/1.1 100 ")
        yield s


def offer(gateway, size):
    """What is said to who offers a body of this size. It is not sent."""
    with sent(gateway, head(gateway.key, "Expect: 100-continue", f"Content-Length: {size}")) as s:
        return answer(s)


def test_so_many_bytes_at_a_time(narrow):
    with all_but_the_last_byte(narrow, body_of(9 * MIB)) as s:
        got = offer(narrow, 5 * MIB)
        assert got.startswith(b"HTTP/1.1 503 ") and b"retry-after: " in got and b"overloaded" in got
        assert narrow.chat("gpt-x").status == 200  # small ones are none of these
        s.sendall(b"}")
        assert answer(s).startswith(b"HTTP/1.1 200 ")
    assert narrow.request("POST", "/v1/chat/completions", body_of(5 * MIB)).status == 200


def test_a_length_that_was_not_told_is_counted_as_it_comes(narrow):
    with all_but_the_last_byte(narrow, body_of(9 * MIB)):
        conn = narrow.connect()
        with contextlib.closing(conn):
            conn.request("POST", "/v1/chat/completions", (b"[" * 65536 for _ in range(48)), narrow.headers(), encode_chunked=True)
            assert conn.getresponse().status == 503


@sees_others
def test_an_answer_that_takes_long_holds_no_body(narrow):
    def begun():
        stream = narrow.stream("test:slow:30:100", text="x" * MIB)
        return stream.status == 200 and stream

    events = wait_for("the body before it to be let go", begun).events()
    next(events)
    assert bodies_held(narrow) == 0
    assert list(events)[-1] == "[DONE]"


@sees_others
def test_a_large_body_behind_its_head_leaves_no_descriptor(narrow):
    body = body_of(70000)
    for _ in range(3):
        with sent(narrow, head(narrow.key, "Expect: 100-continue", f"Content-Length: {len(body)}", "Connection: close")) as s:
            assert answer(s).startswith(b"HTTP/1.1 100 ")  # so the head was read alone
            s.sendall(body)
            assert answer(s).startswith(b"HTTP/1.1 200 ")
    wait_for("every body to be let go", lambda: bodies_held(narrow) == 0)


def test_a_closed_vault_takes_none(new_gateway):
    closed = new_gateway(prepare=False, workers=1)
    with sent(closed, head(UNKNOWN, "Expect: 100-continue", f"Content-Length: {9 * MIB}")) as s:
        got = answer(s)
        assert got.startswith(b"HTTP/1.1 503 ") and b"retry-after: " in got
