#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for an AI provider: HTTPS, the OpenAI chat API, and every kind of misbehaviour that a gateway must survive.

    provider.py FOLDER        certificates are made in FOLDER, which also holds key.txt, the keys that it takes, a line each

Prints one JSON line with its ports when it listens: `tls` is the provider, `wrong_name`, `wrong_ca` and `tls11` are the same with
something wrong about the connection, `token` is its token service (token_service.py), `control` is a plain HTTP port for tests (GET /journal,
POST /reset, POST /revoke: no access token is in force any more).

The model's name chooses what happens: `gpt-anything` answers politely, `test:MODE[:ARGUMENT]` does what MODES below says. Each
request is recorded as it arrived: head bytes, body, whether the key was right, and how it ended.
"""
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import certs  # noqa: E402  pylint: disable=wrong-import-position
from token_service import TokenService, sigv4_ok  # noqa: E402  pylint: disable=wrong-import-position

WORDS = ("The ship is divided into compartments, so that one which floods does not sink the rest. "
         "Your key lies behind a wall of its own.").split(" ")
BODY_BYTES_MAX = 32 << 20


class Gone(Exception):
    """The peer closed the connection."""


class Connection:
    """One connection: a task reads all the time, so that a peer that leaves is noticed while an answer is under way."""

    def __init__(self, provider, reader, writer):
        self.provider, self.reader, self.writer = provider, reader, writer
        self.buffer, self.more, self.gone = bytearray(), asyncio.Event(), asyncio.Event()
        self.trap = None

    async def pump(self):
        with contextlib.suppress(ConnectionError, ssl.SSLError, OSError):
            while data := await self.reader.read(65536):
                self.buffer += data
                self.more.set()
        self.gone.set()
        self.more.set()

    async def wait_more(self):
        if self.gone.is_set():
            raise Gone
        self.more.clear()
        await self.more.wait()

    async def take_head(self):
        while b"\r\n\r\n" not in self.buffer:
            await self.wait_more()
        end = self.buffer.index(b"\r\n\r\n") + 4
        head = bytes(self.buffer[:end])
        del self.buffer[:end]
        return head

    async def take(self, n):
        while len(self.buffer) < n:
            await self.wait_more()
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    async def send(self, *parts):
        if self.gone.is_set():
            raise Gone
        try:
            self.writer.write(b"".join(p.encode() if isinstance(p, str) else p for p in parts))
            await self.writer.drain()
        except (ConnectionError, ssl.SSLError) as e:
            raise Gone from e

    async def pause(self, seconds):
        """Waits, but not for a peer that has left."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.gone.wait(), seconds)
            raise Gone

    def abort(self):
        """A connection reset, without the TLS farewell."""
        self.writer.transport.abort()

# Answers that are not HTTP as it should be, by what is wrong with them.
MALFORMED = {
    "status": "HTTP/1.1 twohundred OK\r\ncontent-length: 2\r\n\r\n{}",
    "bareCR": "HTTP/1.1 200 OK\r\nx-abc:\rtransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{}",
    "bareLF": "HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
    "fold": "HTTP/1.1 200 OK\r\nx-abc: 1\r\n folded\r\ncontent-length: 2\r\n\r\n{}",
    "both": "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "twolengths": "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
    "chunk": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "negative": "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
    "version": "HTTP/3.7 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "gzip": "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
    "noise": "\0\1\2\3 this is not HTTP\r\n\r\n",
    "bighead": "HTTP/1.1 200 OK\r\n" + "".join(f"x-{i}: {'y' * 1000}\r\n" for i in range(200)) + "\r\n",
    "upgrade": "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
}


class Exchange:
    """One request and its answer."""

    def __init__(self, conn, head, body, entry):
        self.conn, self.head, self.entry = conn, head, entry
        try:
            self.request = json.loads(body)
        except ValueError:
            self.request = {}
        self.model = str(self.request.get("model", ""))
        self.stream = bool(self.request.get("stream"))
        self.key = self.sent_key()
        self.keep = True

    def sent_key(self):
        """What an echo would hold: the key, or the token that came in its place."""
        token = self.sent_bearer()
        return token if token in self.conn.provider.tokens.live else self.conn.provider.key

    def sent_bearer(self):
        first = {n.lower(): v for n, v in self.entry["fields"]}
        return first.get("authorization", "").removeprefix("Bearer ")

    # ---- writing ----
    async def head_out(self, status, reason, *fields, length=None):
        fields = ["content-type: " + ("text/event-stream" if self.stream and status == 200 else "application/json"),
                  f"x-request-id: up-{self.entry['n']}", "openai-processing-ms: 5", *fields]
        fields.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
        await self.conn.send(f"HTTP/1.1 {status} {reason}\r\n", "\r\n".join(fields), "\r\n\r\n")

    async def chunk(self, data):
        data = data.encode() if isinstance(data, str) else data
        await self.conn.send(f"{len(data):x}\r\n", data, "\r\n")

    async def event(self, value):
        await self.chunk(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n")

    async def json_out(self, status, reason, value, *fields):
        body = json.dumps(value).encode()
        await self.head_out(status, reason, *fields, length=len(body))
        await self.conn.send(body)

    def piece(self, delta, finish=None):
        return {"id": f"chatcmpl-{self.entry['n']}", "object": "chat.completion.chunk", "created": int(time.time()),
                "model": self.model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    def usage(self):
        return {"prompt_tokens": 11, "completion_tokens": len(WORDS), "total_tokens": 11 + len(WORDS)}

    def completion(self, content):
        return {"id": f"chatcmpl-{self.entry['n']}", "object": "chat.completion", "created": int(time.time()),
                "model": self.model, "usage": self.usage(),
                "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}

    async def error_out(self, status, reason, kind, text, *fields):
        await self.json_out(status, reason, {"error": {"message": text, "type": kind, "param": None, "code": None}}, *fields)

    # ---- polite answers ----
    async def tokens(self, count, seconds):
        await self.event(self.piece({"role": "assistant", "content": ""}))
        for i in range(count):
            await self.event(self.piece({"content": ("" if i == 0 else " ") + WORDS[i % len(WORDS)]}))
            if seconds:
                await self.conn.pause(seconds)

    async def finish(self):
        await self.event(self.piece({}, "stop"))
        if (self.request.get("stream_options") or {}).get("include_usage"):
            await self.event(dict(self.piece({}), choices=[], usage=self.usage()))
        await self.event("[DONE]")
        await self.conn.send("0\r\n\r\n")

    async def mode_polite(self, seconds=0.0, count=len(WORDS)):
        if not self.stream:
            await self.conn.pause(seconds)
            return await self.json_out(200, "OK", self.completion(" ".join(WORDS)))
        await self.head_out(200, "OK")
        await self.tokens(count, seconds)
        await self.finish()

    async def mode_slow(self, ms="30", count=str(len(WORDS))):
        """Tokens at a pace: test:slow:MILLISECONDS:COUNT."""
        await self.mode_polite(int(ms) / 1000, int(count))

    async def mode_echo(self):
        """Answers with the request's own body as content."""
        await self.json_out(200, "OK", self.completion(json.dumps(self.request)))

    async def mode_witness(self, pieces="8", ms="4"):
        """Says which request this is and under which key it came, at once or in pieces."""
        text = self.request["messages"][0]["content"]
        content = f"{text} {hashlib.sha256(self.sent_bearer().encode()).hexdigest()[:16]}"
        await self.conn.pause(int(ms) / 1000)
        if not self.stream:
            return await self.json_out(200, "OK", self.completion(content))
        await self.head_out(200, "OK")
        for i in range(int(pieces)):
            await self.event(self.piece({"content": f"{i}:{content};"}))
            await self.conn.pause(int(ms) / 1000)
        await self.finish()

    async def mode_bytewise(self):
        """A stream in which every byte is a chunk and a TLS record of its own."""
        await self.head_out(200, "OK")
        for value in (self.piece({"content": "slowly"}), self.piece({}, "stop")):
            for byte in f"data: {json.dumps(value)}\n\n".encode():
                await self.chunk(bytes([byte]))
        for byte in b"data: [DONE]\n\n":
            await self.chunk(bytes([byte]))
        await self.conn.send("0\r\n\r\n")

    async def mode_huge(self, size="3000000"):
        await self.json_out(200, "OK", self.completion("x" * int(size)))

    async def mode_longevent(self, size="100000"):
        """A stream whose first event is longer than any window."""
        await self.head_out(200, "OK")
        await self.event(self.piece({"content": "x" * int(size)}))
        await self.finish()

    async def mode_dear(self, what, count="1"):
        """A stream of events that are as long as may be, and dear to read: nothing but names, or lines that end with CR."""
        await self.head_out(200, "OK")
        event = {"names": b"data: " + b'"usage' * 166000, "lines": b"a\r" * 500000}[what] + b"\n\n"
        for _ in range(int(count)):
            await self.chunk(event)
        await self.finish()

    async def mode_interim(self):
        await self.conn.send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await self.mode_polite()

    async def mode_trailers(self):
        self.stream = False
        body = json.dumps(self.completion("with trailers")).encode()
        await self.head_out(200, "OK", "trailer: x-echo")
        await self.chunk(body[:20])
        await self.chunk(body[20:])
        await self.conn.send(f"0\r\nx-echo: {self.key}\r\n\r\n")

    async def mode_idleclose(self, ms="0"):
        """Says keep-alive, answers, and closes at once, or a moment later."""
        await self.json_out(200, "OK", self.completion("bye"), "connection: keep-alive")
        await self.conn.pause(int(ms) / 1000)
        self.keep = False

    async def mode_trap(self, size="0"):
        """Answers politely; the next request on this connection meets a reset when SIZE bytes of its body have come."""
        self.conn.trap = int(size)
        await self.mode_polite()

    async def mode_thinking(self, seconds="600"):
        """A line end now and then, so that nobody on the way takes the silence for the end; then the answer."""
        self.stream = False
        await self.head_out(200, "OK")
        await self.chunk(b"\n")
        await self.conn.pause(float(seconds))
        await self.chunk(json.dumps(self.completion("thought over")).encode())
        await self.conn.send("0\r\n\r\n")

    async def mode_untilclose(self):
        """A body without a length, ended by the close of the connection, as HTTP/1.0 did."""
        body = json.dumps(self.completion("until close")).encode()
        await self.conn.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n", body)
        self.keep = False

    # ---- documented errors ----
    async def mode_unauthorized(self):
        """401 with the key in header and body."""
        await self.error_out(401, "Unauthorized", "invalid_request_error", f"Incorrect API key provided: {self.key}.",
                             f"www-authenticate: Bearer {self.key}", f"x-echo: {self.key}")

    async def mode_limited(self, seconds="7"):
        await self.error_out(429, "Too Many Requests", "rate_limit_error", "Slow down.", f"retry-after: {seconds}")

    async def mode_error(self, status="500"):
        await self.error_out(int(status), "Error", "server_error", "The model has a headache.")

    async def mode_headpieces(self):
        """The key in a head that comes in three pieces, each a TLS record of its own."""
        body = json.dumps(self.completion("in pieces")).encode()
        await self.conn.send(f"HTTP/1.1 200 OK\r\nx-echo: {self.key}\r\n")
        await self.conn.pause(0.05)
        await self.conn.send(f"x-echo-again: {self.key}\r\ncontent-type: application/json\r\n")
        await self.conn.pause(0.05)
        await self.conn.send(f"content-length: {len(body)}\r\n\r\n", body)

    async def mode_redirect(self, status="302", to="elsewhere.test"):
        to = to.replace(".port.", ":")
        await self.json_out(int(status), "Found", {}, f"location: https://{to}/{urllib.parse.quote(self.key)}",
                            f"refresh: 0; url=https://{to}/", f"content-location: https://{to}/")

    async def mode_elsewhere(self, to):
        """A good answer that names another place to go, in every field that some client follows."""
        to = to.replace(".port.", ":")
        await self.json_out(200, "OK", self.completion("elsewhere"), f'alt-svc: h2="{to}", h3="{to}"', f"location: https://{to}/",
                            f"link: <https://{to}/>; rel=preconnect", f"alt-used: {to}", f"x-openai-base-url: https://{to}/v1")

    async def mode_confess(self, status="200"):
        """Tells all that the gateway could have sent under the schemes of several secrets, whole and in parts."""
        settings, sent = self.conn.provider.tokens.settings(), dict((n.lower(), v) for n, v in self.entry["fields"])
        basic, aws = settings.get("basic", ":"), settings.get("sigv4", {})
        said = [sent.get("authorization", "").rpartition(" ")[2], basic, basic.partition(":")[2], aws.get("secret", ""), aws.get("token", "")]
        await self.json_out(int(status), "Said", {"error": {"message": " ".join(said), "said": said}},
                            *(f"x-request-{i}: {text}" for i, text in enumerate(said)))

    # ---- the key, in every disguise ----
    async def mode_leak(self, size="7"):
        """The key raw, base64 (three alignments), URL-encoded and JSON-escaped, cut into pieces of SIZE bytes."""
        raw = self.key.encode()
        forms = [raw.decode(), urllib.parse.quote(self.key, safe=""), json.dumps(self.key)[1:-1]]
        forms += [base64.b64encode(b"#" * i + raw + b"#" * i).decode() for i in range(3)]
        forms += ["".join(f"%{b:02X}" for b in raw), "".join(f"\\u{b:04x}" for b in raw)]
        text = "data: " + json.dumps(self.piece({"content": "see:"})) + "\n\n" + "".join(f"data: {f}\n\n" for f in forms)
        text = (text + "data: [DONE]\n\n").encode()
        await self.head_out(200, "OK", f"x-echo: {self.key}", f"x-echo-base64: {forms[3]}")
        for i in range(0, len(text), int(size)):
            await self.chunk(text[i:i + int(size)])
            if i % (int(size) * 16) == 0:
                await self.conn.pause(0.001)
        await self.conn.send("0\r\n\r\n")

    # ---- broken answers ----
    async def mode_truncate(self, count="3"):
        """A stream that stops in the middle: the connection closes in good order, the chunked body does not end."""
        await self.head_out(200, "OK")
        await self.tokens(int(count), 0)
        self.keep = False

    async def mode_reset(self, count="3"):
        """The same, by connection reset."""
        await self.head_out(200, "OK")
        await self.tokens(int(count), 0)
        await self.conn.pause(0.05)
        self.conn.abort()
        self.keep = False

    async def mode_nodone(self, finish=None):
        """Framing ends in order, but the stream never said [DONE]; perhaps that the model has finished."""
        await self.head_out(200, "OK")
        await self.tokens(3, 0)
        if finish:
            await self.event(self.piece({}, finish))
            await self.event(dict(self.piece({}), choices=[], usage=self.usage()))
        await self.conn.send("0\r\n\r\n")

    async def mode_ragged(self, ms="0"):
        """A whole stream, but for the end of its framing, at once or a moment later."""
        await self.head_out(200, "OK")
        await self.tokens(3, 0)
        await self.event("[DONE]")
        await self.conn.pause(int(ms) / 1000)
        self.conn.abort()
        self.keep = False

    async def mode_complaint(self, ms="0"):
        """A stream that says what is wrong instead of [DONE]."""
        await self.head_out(200, "OK")
        await self.tokens(1, 0)
        await self.event({"error": {"message": "The context is too long.", "type": "invalid_request_error", "code": "context_length_exceeded"}})
        await self.conn.pause(int(ms) / 1000)
        await self.conn.send("0\r\n\r\n")

    async def mode_cut(self):
        """Fewer bytes than content-length promised."""
        body = json.dumps(self.completion("cut short")).encode()
        await self.head_out(200, "OK", length=len(body) + 100)
        await self.conn.send(body)
        self.keep = False

    async def mode_cuthead(self):
        await self.conn.send("HTTP/1.1 200 OK\r\ncontent-type: applic")
        self.keep = False

    async def mode_silent(self):
        """Closes without a byte."""
        self.keep = False

    async def mode_malformed(self, kind="status"):
        await self.conn.send(MALFORMED[kind])
        await self.conn.pause(5)

    async def mode_hang(self):
        await self.conn.pause(600)

    async def mode_stall(self):
        """A few tokens, then nothing, for ever."""
        await self.head_out(200, "OK")
        await self.tokens(2, 0)
        await self.conn.pause(600)

    async def answer(self):
        _, found, rest = (":" + self.model).partition(":test:")  # behind a provider's name, too
        name, *arguments = rest.split(":") if found else ["polite"]
        mode = getattr(self, "mode_" + name, None)
        if mode is None:
            return await self.error_out(404, "Not Found", "invalid_request_error", f"The model {name} does not exist.")
        await mode(*arguments)


class Provider:
    def __init__(self, folder):
        self.folder, self.journal, self.open = folder, [], set()
        self.accepted = 0
        self.tokens = TokenService(folder)
        self.read_key()

    def read_key(self):
        with open(os.path.join(self.folder, "key.txt"), encoding="ascii") as f:
            self.keys = f.read().split()
        self.key = self.keys[0]

    def authorized(self, line, first, body):
        """By any of the schemes: the key itself, an access token that is in force, user and password, a signature."""
        value = first.get("authorization", "")
        settings = self.tokens.settings()
        if value.startswith("Bearer "):
            return value[7:] in self.keys or value[7:] in self.tokens.live
        if value.startswith("Basic "):
            return base64.b64decode(value[6:]).decode() == settings.get("basic")
        return "sigv4" in settings and sigv4_ok(line, first, body, **settings["sigv4"])

    async def serve_one(self, conn):
        head = await conn.take_head()
        lines = head.decode("latin-1").split("\r\n")
        fields = [tuple(x.strip() for x in line.split(":", 1)) for line in lines[1:] if ":" in line]
        first = {}
        for name, value in reversed(fields):
            first[name.lower()] = value
        entry = {"n": len(self.journal), "head": head.decode("latin-1"), "line": lines[0], "fields": fields,
                 "authorized": False, "connection": conn.number, "body": "", "ended": "open"}
        if lines[0].startswith("POST /token"):
            body = await conn.take(int(first.get("content-length", "0")))
            await self.tokens.serve_one(conn, lines[0], first, body)
            return False
        self.journal.append(entry)
        if conn.trap is not None:
            await conn.take(conn.trap)
            entry["ended"] = "reset"
            conn.abort()
            return False
        body = await conn.take(min(int(first.get("content-length", "0")), BODY_BYTES_MAX))
        entry["body"] = body.decode("utf-8", "replace")
        entry["authorized"] = self.authorized(lines[0], first, body)
        exchange = Exchange(conn, head, body, entry)
        try:
            if not entry["authorized"]:
                await exchange.error_out(401, "Unauthorized", "invalid_request_error", "Incorrect API key provided.")
            elif lines[0] != "POST /v1/chat/completions HTTP/1.1":
                await exchange.error_out(404, "Not Found", "invalid_request_error", "Unknown path.")
            else:
                await exchange.answer()
            entry["ended"] = "complete" if exchange.keep else "closed"
        except Gone:
            entry["ended"] = "peer left"
            raise
        return exchange.keep

    async def serve(self, reader, writer):
        conn = Connection(self, reader, writer)
        self.accepted += 1
        conn.number = self.accepted
        self.open.add(conn.number)
        pump = asyncio.create_task(conn.pump())
        try:
            while await self.serve_one(conn):
                pass
        except Gone:
            pass
        finally:
            pump.cancel()
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)
            self.open.discard(conn.number)

    async def control(self, reader, writer):
        """A toy HTTP server, one request a connection."""
        line = await reader.readline()
        while (await reader.readline()).strip():
            pass
        method, path = line.decode().split(" ")[:2]
        if method == "POST" and path == "/reset":
            self.journal = []
            self.tokens.journal, self.tokens.spent = [], set()
        if method == "POST" and path == "/revoke":
            self.tokens.live = {}
        if method == "POST" and path == "/key":
            self.read_key()
        value = {"journal": self.journal, "open": sorted(self.open), "accepted": self.accepted, "tokens": self.tokens.journal,
                 "live": sorted(self.tokens.live)}
        body = json.dumps(value).encode()
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


def context(pem, tls11=False):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(pem)
    if tls11:
        ctx.set_ciphers("ALL:@SECLEVEL=0")
        ctx.minimum_version = ctx.maximum_version = ssl.TLSVersion.TLSv1_1
    return ctx


async def main(folder):
    files = certs.make_all(folder)
    provider = Provider(folder)
    listeners = {
        "tls": context(files["good"]),
        "wrong_name": context(files["wrong_name"]),
        "wrong_ca": context(files["wrong_ca"]),
        "tls11": context(files["good"], tls11=True),
        "plain": None,
        "token": context(files["token"]),
    }
    ports = {}
    asyncio.get_running_loop().set_exception_handler(lambda loop, what: None)
    for name, ctx in listeners.items():
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=ctx, backlog=1024)
        ports[name] = server.sockets[0].getsockname()[1]
    control = await asyncio.start_server(provider.control, "127.0.0.1", 0)
    ports["control"] = control.sockets[0].getsockname()[1]
    with socket.socket() as s:  # a port at which nobody listens, nor can as long as it is ours
        s.bind(("127.0.0.1", 0))
        ports["closed"] = s.getsockname()[1]
        print(json.dumps({"ports": ports, "ca": files["ca"]}), flush=True)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()


if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore")
    asyncio.run(main(sys.argv[1]))
