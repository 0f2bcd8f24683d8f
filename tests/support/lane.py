# SPDX-License-Identifier: Apache-2.0
"""What a router says to authd and to its egress, said by a test: permit(), open_exchange(). And mint(): a grant as authd would make it, by
whoever has the edge key, as a captured authd has."""
import hashlib
import hmac
import itertools
import time

from ipc import reason_code, record_of

PATH = "/v1/chat/completions"
IDS = itertools.count(1001)


def permit(gateway, authd, model="gpt-x", body_bytes=1000, request_id=None, key=None):
    """PERMIT's fields, for a connection to authd as a router."""
    ident = next(IDS)
    request_id = request_id or f"captured-{ident}"
    authd.send("AUTHORIZE", ident, credential=(key or gateway.key).encode(), address="127.0.0.1", endpoint=0, model=model,
               request_id=request_id, body_bytes=body_bytes, call=ident)
    name, fields = authd.expect("PERMIT", "DENY", ident=ident)
    assert name == "PERMIT", fields
    return fields


def renew(authd, grant):
    """A grant, or the reason why there is none."""
    ident = next(IDS)
    authd.send("RENEW", ident, grant=grant)
    name, fields = authd.expect("RENEWED", "DENY", ident=ident)
    return fields["grant"] if name == "RENEWED" else reason_code(fields["reason"])


def send_open(gateway, egress, grant, model="gpt-x", **other):
    """The stream's number."""
    body = gateway.chat_body(model).encode()
    fields = {"grant": grant, "route": 0, "method": 1, "path": PATH, "body_bytes": len(body), "body": body,
              "headers": [{"name": "content-type", "value": "application/json"}], **other}
    ident = next(IDS)
    egress.send("OPEN", ident, **fields)
    return ident


def open_exchange(gateway, egress, grant, **other):
    """The egress's answer to OPEN: (message, fields, stream)."""
    ident = send_open(gateway, egress, grant, **other)
    name, answer = egress.expect("REPLY_HEAD", "BROKEN", ident=ident)
    return name, answer, ident


def refused(answer):
    name, fields, _ = answer
    assert name == "BROKEN", "the egress took it"
    assert fields["sent"] == 0
    return reason_code(fields["reason"])


def monotonic_ms():
    return time.monotonic_ns() // 1000000


def mint(edge_key, number=0, **other):
    """`edge_key`: an EDGE_KEY's fields; `other`: fields of the grant or of its one route."""
    route = {"credential": "local", "host": "upstream.test", "port": 443, "method": 1, "path": PATH}
    grant = {"epoch": edge_key["epoch"], "lane": edge_key["lane"], "series": edge_key["series"], "number": number, "renewed": 0,
             "request_id": f"minted-{number}", "tenant": "acme", "principal": "key_minted", "body_bytes_max": 100000,
             "expires_ms": monotonic_ms() + 30000}
    for name, value in other.items():
        (route if name in route else grant)[name] = value
    record = record_of("grant", {**grant, "routes": [route]})
    return hmac.new(edge_key["key"], b"bulkhead grant 1" + record, hashlib.sha256).digest() + record
