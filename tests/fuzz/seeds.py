#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the fuzz harnesses start from: `seeds.py FOLDER` writes FOLDER/NAME/*. From nothing a fuzzer does not find its way into a
format with lengths, checksums and line ends within a minute, and then a clean minute says nothing.

Made, not kept: of the tables of proto/, and of the inputs that the integration tests use.
"""
import base64
import hashlib
import os
import struct
import sys

import msgpack

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "../support"), os.path.join(HERE, "../integration")]
from ipc import FIELDS, MESSAGES, ROLES, body_of, pack_items, record_of  # noqa: E402  pylint: disable=wrong-import-position
from provider import MALFORMED  # noqa: E402  pylint: disable=wrong-import-position
from test_refusals import BAD_JSON, CHUNK_TRAPS, TRAPS  # noqa: E402  pylint: disable=wrong-import-position
from verify_log import crc32c  # noqa: E402  pylint: disable=wrong-import-position

ROUTE = {"credential": "openai", "host": "api.openai.com", "port": 443, "method": 1, "path": "/v1/chat/completions"}
GRANT = {"epoch": 1, "lane": 0, "series": 1, "number": 70000, "renewed": 0, "request_id": "r-1", "tenant": "acme", "principal": "key_1",
         "body_bytes_max": 10485760, "expires_ms": 2**40, "routes": [ROUTE, {**ROUTE, "credential": "local", "port": 8443}]}
BINDING = {**{f.name: f.smallest() for f in FIELDS["binding"]}, "tenant": "*", "credential": "local", "version": 1, "provider": "local", "scheme": "https", "host": "upstream.test",
           "port": 443, "path_prefix": "/", "methods": 3, "header": "authorization", "prefix": "Bearer ", "not_before": 0,
           "not_after": 0}

CHAT = '{"model":"gpt-x","stream":true,"messages":[{"role":"user","content":"hello"}],"n":1.5e+9,"x":[true,false,null,-0]}'
JSON = [CHAT, '"\\ud83d\\ude00 \\u00e9 \\n\\"\\\\ \u00e9 \U0001f600"', '{"Model":1}', '{"\\u006dodel":"a"}', '{"model\\u0000x":1}',
        '{"model":"a","model":"b"}', '{"a":[[],{},[{"b":{}}]]}', "[1,-2,0.5,1e9,1E-9,-0,01]", '{"a":1,}', "[1,]", '[1}', '{"stream":tru',
        '{"max_tokens":18446744073709551616}', '"tab\there"', '{"m\\u017fdel":1,"\\u212aey":2}']
PERSONAL = ['{"a":"write to jane.doe@example.com or +49 30 1234567","b":"4111 1111 1111 1111","c":4111111111111111}',
            '{"a":"j\\u0061ne@ex\\u0061mple.com, \\ud83d\\ude00 5500-0055-5555-5559","jane@example.com":"+1 (212) 555-0123"}',
            '["4111111111111111@example.com","a@b.example.org a@b.example.org"]']
SSE = ["data: a\r\n\r\ndata:b\r\rdata: c\n\n", "data: a\r\ndata: b\r\n\r\ndata: [DONE]\r\n\r\n", ": comment\nevent: x\ndata: y\n\n\n\ndata:",
       "data: a\r", "\r\n\n\rdata:  two\n\n"]
REPLIES = ["HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: up-1\r\ncontent-length: 2\r\n\r\n{}",
           "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nretry-after: 7\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nx: y\r\n\r\n",
           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n",
           "HTTP/1.0 200 OK\r\n\r\nuntil the close", "HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 302 Found\r\nlocation: x\r\n\r\n",
           "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: a\x01b\r\n\r\n{}", "HTTP/1.1 600 Odd\r\ncontent-length: 1\r\n\r\nx",
           "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
           "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + 2 * ("190\r\n" + "x" * 400 + "\r\n") + "0\r\n\r\n"]
REQUESTS = [b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A:  padded \t\r\n\r\n",
            b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: x:80\r\nContent-Length: 5\r\nConnection: keep-alive, close\r\n\r\nhello",
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HEAD / HTTP/1.0\r\nhost: x\r\n\r\n"]
HEAD_CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SECRETS = [b"sk-find-me/with+all=\"sorts\\of%things&0123", b"33333333", b"aaaaaaaaa", b"ab", b"sk-\"\\%/+ <>&'`~"]

# The token and key of the Fernet specification, and a second key; the token without its HMAC.
FERNET_KEYS = [b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=", b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
HELLO_TOKEN = b"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
HELLO_RAW = base64.urlsafe_b64decode(HELLO_TOKEN)[:-32]

# As `curl -D` keeps them.
HEADS_KEPT = [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Upstream-Request-Id: 7\r\nX-Request-Id: r\r\n\r\n",
              b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/2 200\nx-upstream-request-id:7 \ncontent-type:\ttext/plain\n", b"HTTP/1.1 2", b": \r\r\n",
              b"HTTP/1.0 200\nretry-after: 1\nretry-after: 2\ncontent-type: application/octet-stream"]
# PeterNeumann of the Go documentation of signed notes, and a key whose seed is 32 zeros.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_NOTE = ("If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann "
              "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")
ZERO_PUBLIC = bytes.fromhex("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29")


def b64(data):
    return base64.b64encode(data).decode()


def key_id(name, public, kind=b"\1"):
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def vkey(name, kind=b"\1", public=ZERO_PUBLIC):
    return f"{name}+{key_id(name, public, kind).hex()}+{b64(kind + public)}"


def policies():
    witnesses = [vkey("fuzz.test/w", b"\4")] + [vkey(f"w{n}", b"\4", bytes([n]) * 32) for n in range(3)]
    lines = [f"log {vkey('fuzz.test/log')} https://log.test/", "# comment", ""] + [f"witness w{n} {key}" for n, key in enumerate(witnesses)]
    for groups in ("quorum w0", "quorum none", "group g 2 w0 w1 w2\nquorum g", "group g any w0 w1\n group\th all g w2 w3\nquorum h"):
        yield ("\n".join(lines) + "\n" + groups + "\n").encode()


def forged(name, signer, ident):
    """A proof of the only leaf of a tree, whole in every way but for its signature."""
    root = hashlib.sha256(b"\0leaf").digest()
    return (f"c2sp.org/tlog-proof@v1\nextra {b64(b'leaf')}\nindex 0\n\n{name}\n1\n{b64(root)}\n\n"
            f"— {signer} {b64(ident + bytes(64))}\n").encode()


def frame(body):
    return struct.pack(">I", len(body)) + body


def value_of(field, large):
    """A legal value, the least there is or nearly the most."""
    if field.kind == "LIST":
        item = {f.name: f.smallest() for f in FIELDS[field.item]}
        return [item] * (min(field.high, 17) if large else 0)
    size = min(field.high, 300) if large else field.low
    return {"U64": field.high if large else field.low, "STR": "b" * size, "BIN": b"b" * size}[field.kind]


def parts_of(fields, values):
    return [msgpack.packb(item, use_bin_type=True) for item in pack_items(fields, values)]


def array_of(parts):
    return (bytes([0x90 | len(parts)]) if len(parts) < 16 else b"\xdc" + struct.pack(">H", len(parts))) + b"".join(parts)


def longer(part):
    """The same value in a form that is not the shortest; None where there is no easy one."""
    first = part[0]
    if first < 0x80:
        return b"\xcc" + part
    if 0xa0 <= first < 0xc0:
        return bytes([0xd9, first & 31]) + part[1:]
    if 0x90 <= first < 0xa0:
        return bytes([0xdc, 0, first & 15]) + part[1:]
    return {0xc4: b"\xc5\0", 0xd9: b"\xda\0", 0xcc: b"\xcd\0"}[first] + part[1:] if first in (0xc4, 0xd9, 0xcc) else None


def not_shortest(parts):
    """One array for each kind of value in it."""
    seen = set()
    for i, part in enumerate(parts):
        if longer(part) and longer(part)[0] not in seen:
            seen.add(longer(part)[0])
            yield array_of([*parts[:i], longer(part), *parts[i + 1:]])


def messages():
    for number, senders, receivers, fields in MESSAGES.values():
        pair = bytes([ROLES.index(min(senders)) | ROLES.index(min(receivers)) << 4])
        for large in (False, True):
            parts = [bytes([number]) if number < 128 else bytes([0xcc, number]), b"\1", *parts_of(fields, [value_of(f, large) for f in fields])]
            yield pair + array_of(parts)
            yield from (pair + body for body in not_shortest(parts))


def entry(leaf, index, place, filler=b"\0"):
    whole = struct.pack("<4sIIIQ", b"BBE1", len(leaf), 0, place, index) + leaf
    whole += filler * (-len(whole) % 8)
    return whole[:8] + struct.pack("<I", crc32c(whole)) + whole[12:]


def segment_head():
    head = (struct.pack("<8sIIQQ", b"BBDSEG01", 0, 1, 1, 2) + bytes(8) + struct.pack("<Q", 40) + bytes(64) + bytes(26)).ljust(8192, b"\0")
    return head[:8] + struct.pack("<I", crc32c(head)) + head[12:]


def prefixes():
    """A whole tile, with its bundle and without; the leaves behind it; a second tile; a hash that is another."""
    leaves = [bytes([i]) for i in range(256)]
    tile = b"".join(hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves)
    bundle = b"".join(b"\0\1" + leaf for leaf in leaves)
    for size, there, lengths, files in ((256, 1, (128, 0, 0, 0), tile), (256, 5, (128, 0, 12, 0), tile + bundle),
                                        (261, 13, (128, 0, 12, 1), tile + bundle + bundle[:64]), (5, 4, (0, 0, 1, 0), bundle[:64]),
                                        (512, 15, (128, 128, 12, 12), tile + tile + bundle + bundle),
                                        (256, 5, (128, 0, 12, 0), bytes(32) + tile[32:] + bundle)):
        yield size.to_bytes(2, "big") + bytes([there, *lengths]) + files


def token(raw):
    body = "bh_sk_" + base64.b32encode(raw).decode().lower()
    bits = crc32c(body.encode()) << 3
    return (body + "".join("abcdefghijklmnopqrstuvwxyz234567"[bits >> 30 - 5 * i & 31] for i in range(7))).encode()


def sealed(packed):
    return b"BHV1" + struct.pack(">H", len(packed)) + packed + bytes(32) + bytes(24) + b"sk-1" + bytes(16)


def scrub_seeds():
    for secrets in [[secret] for secret in SECRETS] + [SECRETS[:2]]:
        begin = bytes([len(secrets) - 1]) + b"".join(bytes([len(secret)]) + secret for secret in secrets)
        for form in range(0, 60, 3):
            text = b"see: " + b"".join(bytes([0xff, form + k, 1]) + b" and " for k in range(3)) + bytes([0xff, form, 6])
            yield begin + text + b"\x07\x2a"


def all_seeds():
    with open(os.path.join(HERE, "../../packaging/bulkhead.yaml"), "rb") as f:
        example = f.read()
    grant, binding = record_of("grant", GRANT), record_of("binding", BINDING)
    items = [{"key": key, "value": value} for key, value in (("router.listen", "127.0.0.1:1"), ("providers.0.name", "a"),
                                                             ("models.256.match", "*"), ("models.0.match", "*"))]
    return {
        "bundle": [struct.pack(">H", 3) + b"one" + struct.pack(">H", 300) + b"2" * 300, b"\0\0" * 9, b"\xff\xff" + b"x" * 70, bytes(range(256)) * 8],
        "classify": [s.encode() for s in PERSONAL + JSON],
        "config": [example, b'providers: [{"name": "openai"}, {"name": "local", "base_url": "https://a.test:1/v1"}]\n'
                   b'models: [{"match": "*", "providers": ["local", "openai"]}]\n', body_of("CONFIG", 0, items=items)],
        "fernet": [HELLO_TOKEN, b"v1:" + HELLO_TOKEN, *FERNET_KEYS, *(bytes([key]) + HELLO_RAW for key in range(3)),
                   b"\0" + HELLO_RAW + bytes(16)],
        "frame": [b"\x03" + frame(b"one") + frame(b"two!") + frame(b"3" * 300), b"\x10" + frame(b"x") + b"\0\2\0\1x", b"\x01\0\0\0\0",
                  b"\x20" + frame(b"y")[:3]],
        "grant": [grant, record_of("grant", {**GRANT, "routes": []}), grant + b"\0",
                  *not_shortest(parts_of(FIELDS["grant"], [GRANT[f.name] for f in FIELDS["grant"]]))],
        "http_head": REQUESTS + list(TRAPS.values()) + [HEAD_CHUNKED + body for body in CHUNK_TRAPS.values()],
        "json_scan": [s.encode() for s in JSON + list(BAD_JSON.values())],
        "log_proof": [forged("PeterNeumann", "PeterNeumann", bytes.fromhex("c74f20a3")),
                      forged("fuzz.test/log", "fuzz.test/log", key_id("fuzz.test/log", ZERO_PUBLIC)),
                      forged("fuzz.test/log", "somebody", b"abcd"),
                      b"c2sp.org/tlog-proof@v1\nextra bGVhZg==\nindex 0\n" + (b64(bytes(32)) + "\n").encode() * 70 + b"\n", b"\0\x40c", b"\1\0x"],
        "note": [PETER.encode(), b"a+b" + PETER.encode(), PETER_NOTE.encode(), b"origin\n0\n" + b64(bytes(32)).encode() + b"\n",
                 b"origin\n18446744073709551615\n" + b64(b"\xff" * 32).encode() + b"\nmore\n", vkey("fuzz.test/w", b"\4").encode(),
                 PETER_NOTE.encode() + "— fuzz.test/w ".encode() + b64(key_id("fuzz.test/w", ZERO_PUBLIC, b"\4") + bytes(72)).encode() + b"\n"],
        "prefix": list(prefixes()),
        "proto": list(messages()),
        "receipt": [bytes([len(head)]) + head + b'{"a": 1}' for head in HEADS_KEPT],
        "reply": [bytes([m, c]) + text.encode("latin-1") for text in REPLIES + list(MALFORMED.values()) for m, c in ((2, 6), (3, 0))
                  if len(text) < 4000],
        "scrub": list(scrub_seeds()),
        "sealed_credential": [sealed(binding), sealed(binding)[:-17], b"\0\6ab", b"\0\xa0a"],
        "segment_recovery": [b"\x28" + entry(b"leaf", 40, 0) + entry(b"another leaf", 41, 1) + bytes(64), b"\0" + segment_head(),
                             b"\x28" + entry(b"leaf", 40, 0) + b"torn",
                             b"\x28" + entry(b"leaf", 40, 0, b"x") + bytes(8), b"\1\0\x18\1", b"\1\0\x08\1\0\x60\x40"],
        "sse": [bytes([step]) + text.encode() for text in SSE for step in (1, 3)],
        "tlog_policy": list(policies()),
        "token": [token(bytes(25)), token(bytes(range(25))), b"BH_SK_" + token(bytes(25))[6:]],
    }


def main():
    for name, inputs in all_seeds().items():
        folder = os.path.join(sys.argv[1], name)
        os.makedirs(folder, exist_ok=True)
        for i, data in enumerate(inputs):
            with open(os.path.join(folder, f"{i:03}"), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
