# SPDX-License-Identifier: Apache-2.0
"""L-06: a client proves, with nothing but what it has, that an answer is the provider's own; and what no receipt is given for."""
import base64
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading

import msgpack
import pytest
from gateway import AUDITOR, BUILD, frozen, wait_for
from ipc import Peer, metrics, reason_code
from verify_log import FIELDS

PASSED = ("content-type", "content-language", "retry-after", "retry-after-ms", "x-should-retry", "openai-", "anthropic-organization-id",
          "x-upstream-")


def vkey(gateway):
    return gateway.cli_json("vault", "status")["vkey"]


def receipt_of(gateway, request_id, key=None):
    return gateway.request("GET", f"/v1/receipts/{request_id}", key=key)


def has_receipt(gateway, reply, key=None):
    """Most come at the first question: it waits for the checkpoint."""
    return wait_for("the receipt", lambda: (r := receipt_of(gateway, reply.headers["x-request-id"], key)).status == 200 and r.body)


def kept(tmp_path, **files):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return [str(tmp_path / name) for name in files]


def verify(gateway, tmp_path, body, receipt, *options, key=None):
    """What the command says, far from the gateway: an empty folder, no configuration."""
    answer, text = kept(tmp_path, answer=body, receipt=receipt)
    done = gateway.cli("receipt", "verify", answer, text, "--vkey", key or vkey(gateway), *options, "--json", check=False)
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["good"] else 1) and said["good"] == (said["findings"] == [])
    return said


def head_of(reply):
    return (f"HTTP/1.1 {reply.status} OK\r\n" + "".join(f"{k}: {v}\r\n" for k, v in reply.headers.items()) + "\r\n").encode()


def leaf_of(receipt):
    extra = [line for line in receipt.decode().split("\n") if line.startswith("extra ")]
    return dict(zip(FIELDS, msgpack.unpackb(base64.b64decode(extra[0][6:]), raw=True)))


WAITING_MAX = 256  # authd/receipts.c


@pytest.fixture(scope="module")
def answered(gateway):
    """An answer and its receipt."""
    reply = gateway.chat("gpt-x")
    return reply, has_receipt(gateway, reply)


def test_the_providers_own(gateway, answered, tmp_path):
    reply, receipt = answered
    (head,) = kept(tmp_path, head=head_of(reply))
    said = verify(gateway, tmp_path, reply.body, receipt, "--head", head, "--host", "upstream.test")
    assert said["good"] and said["request_id"] == reply.headers["x-request-id"] and said["host"] == "upstream.test"
    assert said["bytes"] == len(reply.body) and said["status"] == 200 and said["replaced"] == 0
    text = gateway.cli("receipt", "verify", str(tmp_path / "answer"), str(tmp_path / "receipt"), "--vkey", vkey(gateway)).stdout
    assert text.startswith(b"good: request ")


@pytest.mark.skipif(not os.path.exists(AUDITOR), reason="no static libraries here, so no bulkhead-audit")
def test_by_the_auditors_program(gateway, answered, tmp_path):
    reply, receipt = answered
    for body, code in ((reply.body, 0), (reply.body + b" ", 1)):
        files = kept(tmp_path, answer=body, receipt=receipt)
        done = subprocess.run([AUDITOR, "receipt", "verify", *files, "--vkey", vkey(gateway)], capture_output=True, check=False, timeout=30)
        assert done.returncode == code, done.stderr
    done = subprocess.run([AUDITOR, "receipt", "verify", *files], capture_output=True, check=False, timeout=30, cwd=tmp_path)
    assert done.returncode == 1 and b"--vkey" in done.stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("stream", [False, True])
def test_as_the_document_says(gateway, tmp_path, stream):
    """With curl and nothing else."""
    url, auth = f"http://{gateway.host}:{gateway.port}/v1", f"Authorization: Bearer {gateway.key}"
    curl = ["curl", "-q", "-sS", "--noproxy", "*", "-H", auth]
    subprocess.run([*curl, "-D", "head", "-o", "answer", f"{url}/chat/completions", "-H", "Content-Type: application/json",
                    "-d", gateway.chat_body("gpt-x", stream=stream)], check=True, cwd=tmp_path, timeout=30)
    lines = (tmp_path / "head").read_text().lower().splitlines()
    request_id = next(line.split(": ")[1] for line in lines if line.startswith("x-request-id: "))
    wait_for("the receipt", lambda: subprocess.run([*curl, "-f", "-o", "receipt", f"{url}/receipts/{request_id}"], check=False, cwd=tmp_path,
                                                   capture_output=True, timeout=30).returncode == 0)
    done = gateway.cli("receipt", "verify", *(str(tmp_path / n) for n in ("answer", "receipt")), "--head", str(tmp_path / "head"),
                       "--vkey", vkey(gateway))
    assert done.stdout.startswith(b"good, body and head: request " + request_id.encode())


def test_at_once(gateway):
    """Whoever has just had the answer may ask: the question waits for the checkpoint."""
    def asked():
        statuses = [receipt_of(gateway, gateway.chat("gpt-x").headers["x-request-id"]).status for _ in range(3)]
        assert set(statuses) <= {200, 404, 503}
        return 200 in statuses
    assert any(asked() for _ in range(3))


def test_a_third_party_computes_the_same(answered):
    """From docs/receipts.md alone."""
    reply, receipt = answered
    leaf = leaf_of(receipt)
    assert leaf["digest"] == hashlib.sha256(reply.body).digest()
    fields = sorted((k, v) for k, v in reply.headers.items() if k.startswith(PASSED))
    assert {"content-type", "x-upstream-request-id", "openai-processing-ms"} <= {k for k, _ in fields}
    text = f"{reply.status}\n" + "".join(f"{k}: {v}\n" for k, v in fields)
    assert leaf["head_digest"] == hashlib.sha256(text.encode()).digest()
    assert receipt.startswith(b"c2sp.org/tlog-proof@v1\n")


def test_streamed(gateway, tmp_path):
    for model in ("gpt-x", "test:bytewise", "test:longevent:200000"):
        conn = gateway.connect()
        conn.request("POST", "/v1/chat/completions", gateway.chat_body(model, stream=True), gateway.headers())
        response = conn.getresponse()
        request_id, body = response.getheader("x-request-id"), response.read()
        conn.close()
        assert body.endswith(b"data: [DONE]\n\n")
        receipt = wait_for("the receipt", lambda request_id=request_id: (r := receipt_of(gateway, request_id)).status == 200 and r.body)
        assert verify(gateway, tmp_path, body, receipt)["good"]
        assert verify(gateway, tmp_path, body[:-1], receipt)["findings"] == ["truncated"]


def test_large_and_bodiless(gateway, tmp_path):
    for model in ("test:huge:3000000", "test:untilclose", "test:error:500", "test:limited"):
        reply = gateway.chat(model)
        (head,) = kept(tmp_path, head=head_of(reply))
        said = verify(gateway, tmp_path, reply.body, has_receipt(gateway, reply), "--head", head)
        assert said["good"] and said["status"] == reply.status, model


def test_altered(gateway, answered, tmp_path):
    reply, receipt = answered
    for at in range(0, len(reply.body), 37):
        body = bytearray(reply.body)
        body[at] ^= 1
        assert verify(gateway, tmp_path, bytes(body), receipt)["findings"] == ["altered"]
    assert verify(gateway, tmp_path, reply.body + b"\n", receipt)["findings"] == ["appended"]
    assert verify(gateway, tmp_path, reply.body[:-1], receipt)["findings"] == ["truncated"]
    assert verify(gateway, tmp_path, reply.body, receipt, "--host", "api.openai.com")["findings"] == ["other_host"]
    assert verify(gateway, tmp_path, reply.body, receipt, "--request-id", "another")["findings"] == ["other_request"]
    for old, new in ((b"up-", b"uq-"), (b"application/json", b"text/html"), (b" 200 ", b" 201 ")):
        (head,) = kept(tmp_path, head=head_of(reply).replace(old, new))
        assert verify(gateway, tmp_path, reply.body, receipt, "--head", head)["findings"] == ["head_altered"]
    (head,) = kept(tmp_path, head=b"")
    assert verify(gateway, tmp_path, reply.body, receipt, "--head", head)["findings"] == ["head_altered"], "as good as none"


@pytest.mark.parametrize("name, says", [("none", "No such file or directory"), (".", "Is a directory"), ("/dev/zero", "File too large")])
def test_a_file_that_cannot_be_read(gateway, tmp_path, name, says):
    (answer,) = kept(tmp_path, answer=b"")
    done = gateway.cli("receipt", "verify", answer, name, "--vkey", vkey(gateway), check=False)
    assert done.returncode == 1 and done.stderr.decode() == f"bulkhead: {name}: {says}\n"


def test_another_answers_receipt(gateway, answered, tmp_path):
    reply, _ = answered
    other = gateway.chat("gpt-y")
    (head,) = kept(tmp_path, head=head_of(reply))
    findings = verify(gateway, tmp_path, reply.body, has_receipt(gateway, other), "--head", head)["findings"]
    assert "other_request" in findings and {"altered", "truncated", "appended"} & set(findings)


def test_forged(gateway, answered, tmp_path):
    """What an auditd could do that does not have the key: every line changed, another log's signature, another proof."""
    reply, receipt = answered
    lines = receipt.split(b"\n")
    seen = set()
    for i, line in enumerate(lines):
        if not line:
            continue
        at = len(line) // 2
        for byte in (b"A", b"1", b"/"):
            changed = b"\n".join(lines[:i] + [line[:at] + byte + line[at + 1:]] + lines[i + 1:])
            if changed == receipt:
                continue
            answer, text = kept(tmp_path, answer=reply.body, receipt=changed)
            done = gateway.cli("receipt", "verify", answer, text, "--vkey", vkey(gateway), "--json", check=False)
            said = json.loads(done.stdout)
            ours = b"\xe2\x80\x94 " + vkey(gateway).split("+")[0].encode() + b" "
            if line.startswith(b"\xe2\x80\x94 ") and not line.startswith(ours):
                continue  # a witness's line: somebody else's to judge
            assert done.returncode == 1 and not said["good"], changed
            seen |= set(said["findings"])
    assert {"bad_signature", "bad_proof", "malformed"} <= seen


def test_another_gateways_key(gateway, answered, new_gateway, tmp_path):
    reply, receipt = answered
    other = new_gateway()
    assert verify(gateway, tmp_path, reply.body, receipt, key=vkey(other))["findings"] == ["other_key"]
    mine = other.chat("gpt-x")
    assert verify(gateway, tmp_path, mine.body, has_receipt(other, mine))["findings"] == ["other_key"]


def test_replaced(gateway, tmp_path):
    """The provider repeats its key: what the client has is not what it sent, and the receipt says so, and that nothing else is different."""
    reply = gateway.chat("test:unauthorized")
    receipt = has_receipt(gateway, reply)
    said = verify(gateway, tmp_path, reply.body, receipt)
    assert said["findings"] == ["replaced"] and said["replaced"] > 0 and said["status"] == 401
    assert verify(gateway, tmp_path, reply.body.replace(b"provided", b"pr0vided"), receipt)["findings"] == ["altered", "replaced"]
    sent = json.dumps({"error": {"message": f"Incorrect API key provided: {gateway.provider.key}.", "type": "invalid_request_error",
                                 "param": None, "code": None}}).encode()
    assert len(sent) == len(reply.body)
    assert leaf_of(receipt)["digest"] != hashlib.sha256(sent).digest(), "something to try guesses of the key on"
    text = gateway.cli("receipt", "verify", *kept(tmp_path, answer=reply.body, receipt=receipt), check=False)
    assert text.returncode == 1 and b"repeated its key" in text.stderr and b"nothing else was changed" in text.stderr


def test_incomplete(gateway, tmp_path):
    for model in ("test:truncate", "test:cut"):
        conn = gateway.connect()
        conn.request("POST", "/v1/chat/completions", gateway.chat_body(model, stream=model.endswith("truncate")), gateway.headers())
        response = conn.getresponse()
        try:
            body = response.read()
        except http.client.IncompleteRead as e:
            body = e.partial
        conn.close()
        request_id = response.getheader("x-request-id")
        receipt = wait_for("the receipt", lambda request_id=request_id: (r := receipt_of(gateway, request_id)).status == 200 and r.body)
        said = verify(gateway, tmp_path, body, receipt)
        assert not said["good"] and "incomplete" in said["findings"] and said["reason"] == "upstream_broken"


def test_no_answer(gateway, tmp_path):
    reply = gateway.chat("test:silent")
    assert reply.status == 502
    assert verify(gateway, tmp_path, reply.body, has_receipt(gateway, reply))["findings"] == ["no_answer", "incomplete"]


class Altering:
    """A captured router, seen from its client: it says what it wants in the provider's place."""

    def __init__(self, gateway, old, new):
        self.gateway, self.old, self.new = gateway, old, new
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join(10)

    @staticmethod
    def pump(source, to, change):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                to.sendall(change(data))

    def serve(self, client):
        with socket.create_connection((self.gateway.host, self.gateway.port), timeout=20) as up:
            asking = threading.Thread(target=self.pump, args=(client, up, lambda data: data), daemon=True)
            asking.start()
            self.pump(up, client, lambda data: data.replace(self.old, self.new))
            client.shutdown(socket.SHUT_RDWR)
            asking.join(10)

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client, contextlib.suppress(OSError):
                    self.serve(client)


def test_a_router_that_alters_the_answer(gateway, tmp_path):
    """It can change what it passes on, and the receipt that it passes on; it cannot make the two agree."""
    with Altering(gateway, b"compartments", b"departments!") as router:
        conn = http.client.HTTPConnection("127.0.0.1", router.port, timeout=20)
        conn.request("POST", "/v1/chat/completions", gateway.chat_body("gpt-x"), gateway.headers(more={"connection": "close"}))
        response = conn.getresponse()
        body = response.read()
        conn.close()
        assert b"departments!" in body
    receipt = wait_for("the receipt", lambda: (r := receipt_of(gateway, response.getheader("x-request-id"))).status == 200 and r.body)
    assert verify(gateway, tmp_path, body, receipt)["findings"] == ["altered"]
    assert verify(gateway, tmp_path, body.replace(b"departments!", b"compartments"), receipt)["good"]
    leaf = base64.b64encode(base64.b64decode(receipt.split(b"\n")[1][6:]).replace(
        leaf_of(receipt)["digest"], hashlib.sha256(body).digest()))
    forged = receipt.replace(receipt.split(b"\n")[1][6:], leaf)
    answer, text = kept(tmp_path, answer=body, receipt=forged)
    done = gateway.cli("receipt", "verify", answer, text, "--vkey", vkey(gateway), "--json", check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["findings"] == ["bad_proof"]


# ---- who gets one ----

def error_of(reply):
    return reply.status, reply.json()["error"]["code"]


def test_only_the_key_that_was_answered(gateway, answered):
    reply, receipt = answered
    request_id = reply.headers["x-request-id"]
    same_tenant, other_tenant = gateway.make_key()["key"], gateway.make_key(tenant="rival")["key"]
    for key in (same_tenant, other_tenant):
        wait_for("the answer", lambda key=key: error_of(receipt_of(gateway, request_id, key)) == (404, "receipt_not_found"))
    assert error_of(receipt_of(gateway, request_id, "bh_sk_" + "b" * 40)) == (401, "invalid_api_key")
    assert receipt_of(gateway, request_id).body.split(b"\n")[1] == receipt.split(b"\n")[1]


def test_unknown(gateway):
    wait_for("the answer", lambda: error_of(receipt_of(gateway, "no-such-request")) == (404, "receipt_not_found"))
    own = receipt_of(gateway, "no-such-request").headers["x-request-id"]  # answered by us, not by a provider
    wait_for("the answer", lambda: error_of(receipt_of(gateway, own)) == (404, "receipt_not_found"))


@pytest.mark.parametrize("path", ["/v1/receipts", "/v1/receipts/", "/v1/receipts/a/b", "/v1/receipts/..", "/v1/receipts/" + "a" * 65,
                                  "/v1/receipts/a%2fb", "/v1/receipts/a_b"])
def test_no_such_path(gateway, path):
    assert error_of(gateway.request("GET", path)) == (404, "not_found")


def test_method_and_short_path(gateway, answered):
    reply, _ = answered
    assert gateway.request("POST", "/v1/receipts/" + reply.headers["x-request-id"], "{}").status == 405
    assert gateway.request("GET", "/receipts/" + reply.headers["x-request-id"]).status == 200


def test_counts_against_the_limit(gateway):
    key = gateway.make_key(rpm=3)["key"]
    reply = gateway.chat("gpt-x", key=key)
    statuses = [receipt_of(gateway, reply.headers["x-request-id"], key) for _ in range(3)]
    assert [r.status for r in statuses].count(429) == 1
    assert statuses[0].headers["x-ratelimit-limit-requests"] == "3" and statuses[0].headers["x-ratelimit-remaining-requests"] == "1"


def test_too_many_at_once(gateway, answered):
    """auditd stands still. Who asks too much is told when to come again, and that is recorded as his."""
    reply, _ = answered
    key = gateway.make_key(tenant="eager", rpm=100000)["key"].encode()
    with frozen(*gateway.pids("auditd")), Peer(gateway, "authd", "router0") as authd:
        for ident in range(1, WAITING_MAX + 2):
            authd.send("RECEIPT", ident, credential=key, address="127.0.0.1", request_id=f"eager-{ident}", wanted="req-1")
        denied = authd.expect("DENY", ident=WAITING_MAX + 1)
    assert reason_code(denied["reason"]) == "overloaded" and denied["retry_after_ms"] > 0
    assert denied["tenant"] == "eager" and denied["principal"] and denied["subject"]
    wait_for("an end of what waits", seconds=30, condition=lambda: gateway.cli(
        "receipt", "get", reply.headers["x-request-id"], check=False).returncode == 0)


def test_asking_is_recorded(gateway, answered):
    reply, _ = answered
    asked = receipt_of(gateway, reply.headers["x-request-id"])
    found = wait_for("the record", lambda: gateway.audit(request_id=asked.headers["x-request-id"]))
    assert [(e["event"], e["resource"], e["status"]) for e in found] == [("request.complete", "/v1/receipts/", 200)]


def test_an_operator_gets_anybodys(gateway, answered, tmp_path):
    reply, _ = answered
    text = gateway.cli("receipt", "get", reply.headers["x-request-id"]).stdout
    assert verify(gateway, tmp_path, reply.body, text)["good"]
    assert gateway.cli("receipt", "get", "no-such-request", check=False).returncode == 1


# ---- when something is not there ----

def test_sealed_vault_and_lost_index(new_gateway, tmp_path):
    """The newest records are not signed while the vault is sealed; old receipts need no index on disk, nor the auditd that made it."""
    gateway = new_gateway()
    reply = gateway.chat("gpt-x")
    receipt = has_receipt(gateway, reply)
    assert verify(gateway, tmp_path, reply.body, receipt)["good"]
    key = vkey(gateway)
    gateway.stop()
    folder = os.path.join(gateway.state, "auditd", "receipts")
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    os.rmdir(folder)
    gateway.start()
    wait_for("the vault", lambda: gateway.chat("gpt-x").status == 200)
    assert vkey(gateway) == key and verify(gateway, tmp_path, reply.body, has_receipt(gateway, reply))["good"]
    assert gateway.verify().returncode == 0


def test_not_signed_yet(new_gateway):
    """A checkpoint that takes long: said within the time that a question may take, with when to ask again."""
    gateway = new_gateway(settings={"auditd": {"checkpoint_ms": 60000}})
    for _ in range(2):
        wait_for("an answer", lambda: gateway.chat("gpt-x").status == 200)
    asked = gateway.chat("gpt-x").headers["x-request-id"]
    reply = wait_for("an answer in time", lambda: (r := receipt_of(gateway, asked)).status != 503 and r)  # 200 ms of room on the way
    assert error_of(reply) == (404, "receipt_pending") and reply.headers["retry-after"] == "2"
    assert b"ask again" in gateway.cli("receipt", "get", "no-such-request", check=False).stderr


def test_without_auditd(new_gateway):
    gateway = new_gateway()
    reply = gateway.chat("gpt-x")
    receipt = has_receipt(gateway, reply)
    for pid in gateway.pids("auditd"):
        os.kill(pid, signal.SIGKILL)
    asked = receipt_of(gateway, reply.headers["x-request-id"])
    assert asked.status in (200, 404, 503), "said at once, whatever it is"
    assert wait_for("it again", lambda: (r := receipt_of(gateway, reply.headers["x-request-id"])).status == 200 and r.body).split(b"\n")[1] == \
        receipt.split(b"\n")[1]


def test_of_an_older_block(new_gateway, tmp_path):
    """auditd's index has a file for each 65,536 records: that of an older block is sorted when somebody first asks for what is in it."""
    gateway = new_gateway()
    for _ in range(200):
        reply = gateway.chat("gpt-x")
    storm = [os.path.join(BUILD, "storm_clients"), str(gateway.port), gateway.key, "20000", "16", *kept(tmp_path, needles=b"00ff00ff\n")]

    def so_many():
        """In the signed log, which is what is searched. Refusals may become a gap, where it does not keep up."""
        subprocess.run([*storm, "no such model=1"], capture_output=True, check=True, timeout=100)
        return metrics(gateway, "auditd")["bulkhead_audit_signed_size"] > 66000

    wait_for("the records", so_many, seconds=100)
    pids = gateway.pids("auditd")
    assert has_receipt(gateway, reply) and gateway.pids("auditd") == pids
