# SPDX-License-Identifier: Apache-2.0
"""K-10: every scheme end to end against a provider that checks it, and access tokens through everything that can happen to them."""
import base64
import concurrent.futures
import json
import os
import signal
import time

import pytest

import memscan
from capabilities import sees_others
from gateway import INSTRUMENTED, halt, wait_for
from schemes import AWS, BASIC, CLIENT, ROBOT


def expect_good(auth, name):
    auth.add(name)
    reply = wait_for(f"an answer through {name}", lambda: (r := auth.chat(name)).status == 200 and r)
    assert "ship" in reply.json()["choices"][0]["message"]["content"]
    return auth.provider.journal()[-1]


# ---- each scheme ----

def test_basic(auth):
    sent = expect_good(auth, "basic")
    assert ["authorization", "Basic " + base64.b64encode(BASIC.encode()).decode()] in sent["fields"]


def test_sigv4(auth):
    """The stand-in verifies with code of its own, session token and content type signed."""
    sent = expect_good(auth, "sigv4")
    assert sent["authorized"]
    assert [v for n, v in sent["fields"] if n == "x-amz-security-token"] == [AWS["token"]]
    assert AWS["secret"] not in json.dumps(sent)
    big = auth.chat("sigv4", text="x" * 200000)
    assert big.status == 200, "the whole body is signed, also one that crosses as a memfd"


def test_google(auth):
    expect_good(auth, "google")
    call = auth.calls()[-1]
    assert call["claims"]["iss"] == ROBOT and call["claims"]["kid"] == "0123abcd"
    assert call["claims"]["scope"] == "https://www.googleapis.com/auth/cloud-platform"


def test_refresh_token(auth):
    expect_good(auth, "refresh")
    form = auth.calls()[-1]["form"]
    assert (form["grant_type"], form["refresh_token"]) == ("refresh_token", CLIENT["refresh_token"])


def test_client_credentials(auth):
    expect_good(auth, "client")
    assert auth.calls()[-1]["form"] == {"grant_type": "client_credentials", "scope": "one two"}


def test_client_credentials_in_the_form(auth):
    auth.say(in_form=True)
    expect_good(auth, "form")
    assert auth.calls()[-1]["form"]["client_secret"] == CLIENT["client_secret"]


def test_pins(auth):
    auth.add("pinned")
    auth.add("pinnedca")
    auth.add("mispinned")
    for _ in range(3):  # resumed sessions too
        assert wait_for("the pinned", lambda: auth.chat("pinned").status) == 200
        assert auth.chat("pinnedca").status == 200
        reply = auth.chat("mispinned")
        assert (reply.status, reply.json()["error"]["code"]) == (502, "tls_failed")
    assert "none of the pinned public keys" in auth.gateway.log()


def test_pins_of_the_token_service(auth):
    expect_good(auth, "tokenpinned")
    auth.add("tokenmispinned")
    seen = len(auth.calls())
    reply = auth.chat("tokenmispinned")
    assert (reply.status, reply.json()["error"]["code"]) == (502, "tls_failed")
    assert len(auth.calls()) == seen


# ---- secrets that are none ----

@pytest.mark.parametrize("name, text, says", [
    ("basic", "no-colon", "USER:PASSWORD"),
    ("sigv4", "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\n", "aws_secret_access_key"),
    ("sigv4", "AKIAIOSFODNN7EXAMPLE", "line 1 is not NAME = VALUE"),
    ("google", "{}", "no usable type"),
    ("google", '{"type": "authorized_user"}', "authorized_user"),
    ("refresh", "client_secret = x\n", "refresh_token"),
    ("client", "refresh_token = x\n", "line 1: the names are client_secret"),
])
def test_a_secret_of_the_wrong_shape_is_refused(auth, name, text, says):
    done = auth.gateway.cli("vault", "add", name, stdin=text.encode(), check=False)
    assert done.returncode == 1 and says in done.stderr.decode(), done.stderr.decode()


# ---- one call for all ----

@pytest.mark.parametrize("name", ["google", "refresh", "client"])
def test_fifty_at_once_make_one_call(auth, name):
    """Through both workers."""
    auth.say(mode="slow:0.5", rotate=True)
    auth.add(name)
    assert auth.together(name, 50) == [200] * 50
    assert len(auth.calls()) == 1


def test_a_token_is_renewed_before_it_runs_out(auth):
    auth.say(life=4)
    auth.add("client")
    assert auth.chat("client").status == 200

    def tokens():
        return {dict(e["fields"])["authorization"] for e in auth.provider.journal()}

    wait_for("another token", lambda: auth.chat("client").status == 200 and len(tokens()) > 1, 15)
    assert all(e["authorized"] for e in auth.provider.journal())
    assert len(auth.calls()) <= 3


def test_401_takes_another_token_once(auth):
    auth.add("client")
    assert auth.chat("client").status == 200
    auth.revoke()
    assert auth.chat("client").status == 401
    seen = [auth.chat("client").status for _ in range(20)]
    assert seen.count(401) <= 1, "the other worker had a copy of its own"
    assert len(auth.calls()) == 2
    auth.revoke()  # the second one too: it is believed, but not at once
    assert auth.chat("client").status == 401
    assert 401 in [auth.chat("client").status for _ in range(10)]
    assert len(auth.calls()) <= 4, "at most one for each worker, none for each request"


# ---- a service that misbehaves ----

AGAIN_SECONDS = {"denied": 10}  # else one: keyvault/tokens.h


@pytest.mark.parametrize("mode, status, code", [
    ("down", 503, "token_unavailable"), ("huge", 502, "token_invalid"), ("garbage", 502, "token_invalid"),
    ("redirect", 502, "token_invalid"), ("denied", 502, "token_denied"), ("error500", 503, "token_unavailable"),
])
def test_bad_service(auth, mode, status, code):
    auth.say(mode=mode)
    auth.add("client")
    began = time.monotonic()
    replies = [auth.chat("client") for _ in range(4)]
    assert {(r.status, r.json()["error"]["code"]) for r in replies} == {(status, code)}
    calls, seconds = len(auth.calls()), time.monotonic() - began
    assert 1 <= calls <= 1 + seconds // AGAIN_SECONDS.get(mode, 1), "nobody tries again at once"
    assert not auth.provider.journal(), "nothing was sent to the provider"
    wait_for("the record", lambda: auth.gateway.audit(event="egress.token", credential="client")[-1].get("reason") == code)
    assert auth.chat("local").status == 200
    if mode != "denied":
        auth.say(mode="")
        wait_for("a token", lambda: auth.chat("client").status == 200)


def test_slow_service_has_a_deadline(auth):
    auth.say(mode="slow")
    auth.add("client")
    reply = auth.chat("client", timeout=40)
    assert (reply.status, reply.json()["error"]["code"]) == (503, "token_unavailable")


# ---- rotation ----

def test_a_rotated_refresh_token_is_stored_and_used(auth):
    auth.say(rotate=True, life=4)
    auth.add("refresh")
    version = auth.stored_version("refresh")
    assert auth.chat("refresh").status == 200
    assert auth.stored_version("refresh") == version + 1
    wait_for("three calls", lambda: auth.chat("refresh").status == 200 and len(auth.calls()) >= 3, 20)
    used = [c["form"]["refresh_token"] for c in auth.calls()]
    assert len(set(used)) == len(used), "none is used twice"
    wait_for("the records", lambda: len(auth.gateway.audit(event="vault.reseal_credential", credential="refresh")) >= 2)


def frozen(auth, daemon):
    """Stops a daemon; whoever talks to it waits."""
    pids = auth.gateway.pids(daemon)
    for pid in pids:
        halt(pid)
    return pids


def kill(auth, daemon, pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(f"another {daemon}", lambda: set(auth.gateway.pids(daemon)).isdisjoint(pids) and
             len(auth.gateway.pids(daemon)) == len(pids))


@pytest.mark.parametrize("victim", ["keyvault", "authd", "both"])
def test_kill_9_while_a_new_refresh_token_is_on_its_way(auth, victim):
    """The service has replaced the refresh token; core, store, or both are killed before they could take the new one."""
    auth.say(rotate=True, mode="slow:1")
    auth.add("refresh")
    first = auth.stored_version("refresh")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(auth.chat, "refresh", timeout=60)
        wait_for("the call", auth.calls)
        names = {"both": ["keyvault", "authd"]}.get(victim, [victim])
        pids = {name: frozen(auth, name) for name in names}
        wait_for("the new refresh token", lambda: "status" in auth.calls()[-1])
        for name in names:
            kill(auth, name, pids[name])
        waiting.result()
    auth.say(mode="")
    wait_for("the new version", lambda: auth.stored_version("refresh") == first + 1, 30)
    wait_for("service", lambda: auth.chat("refresh").status == 200, 30)
    # Nothing depends on what a process remembers: the next call uses what is on disk.
    for name in ("egress", "keyvault"):
        kill(auth, name, auth.gateway.pids(name))
    wait_for("service after all of them", lambda: auth.chat("refresh").status == 200, 30)
    used = [c["form"]["refresh_token"] for c in auth.calls()]
    assert len(set(used)) == len(used), "none is used twice"
    assert auth.knows()["refresh_token"] not in used


def test_kill_9_of_the_worker_that_makes_the_call(auth):
    """Without rotation nothing is lost: another one takes over."""
    auth.say(mode="slow:1")
    auth.add("refresh")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(auth.chat, "refresh", timeout=60)
        wait_for("the call", auth.calls)
        kill(auth, "egress", auth.gateway.pids("egress"))
        waiting.result()
    auth.say(mode="")
    wait_for("service", lambda: auth.chat("refresh").status == 200, 30)


def test_the_vault_is_sealed_during_a_call(auth):
    auth.say(mode="slow")
    auth.add("client")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(auth.chat, "client", timeout=60)
        wait_for("the call", auth.calls)
        auth.gateway.cli("vault", "seal")
        assert waiting.result().status == 503
    auth.gateway.cli("vault", "unseal")
    auth.say(mode="")
    wait_for("service", lambda: auth.chat("client").status == 200)


def test_a_replaced_credential_takes_another_token(auth):
    auth.add("client")
    assert auth.chat("client").status == 200
    auth.add("client")
    wait_for("a call with the new secret", lambda: auth.chat("client").status == 200 and len(auth.calls()) == 2)


# ---- what must not be seen ----

@pytest.mark.seconds(400)
@sees_others
@pytest.mark.skipif(INSTRUMENTED, reason="the sanitizers keep freed memory")
def test_tokens_are_only_in_the_arenas(auth):
    """Before the tests below: what a provider tells its clients of tokens that are no longer in use is in its answers."""
    auth.say(rotate=True, life=6)
    names = ("basic", "sigv4", "google", "refresh", "client")
    for name in names:
        auth.add(name)
    for _ in range(5):
        assert [auth.chat(name).status for name in names] == [200] * len(names)
    with open(os.path.join(auth.folder, "robot.json"), encoding="ascii") as f:
        pem = json.load(f)["private_key"].split("\n")
    secrets = [AWS["secret"], AWS["token"], BASIC.split(":")[1], CLIENT["client_secret"], CLIENT["refresh_token"],
               auth.knows()["refresh_token"], pem[5], *auth.provider.control("GET", "/journal")["live"][-6:]]
    gateway = auth.gateway
    processes = {**gateway.pids(), gateway.process.pid: "launcher"}
    report = memscan.scan(processes, *(secret.encode() for secret in secrets))
    found = [f"{processes[pid]}: {form} in {where}" for pid, where, form in report.found]
    assert not found, "\n".join(found)
    for name in os.listdir(gateway.state):
        for folder, _, files in os.walk(os.path.join(gateway.state, name)):
            for file in files:
                with open(os.path.join(folder, file), "rb") as f:
                    data = f.read()
                assert not any(s.encode() in data for s in secrets), file
    assert not any(s in gateway.log() for s in secrets)


def test_an_echoed_token_is_removed(auth):
    auth.add("client")
    reply = auth.gateway.chat("client:test:unauthorized")
    assert reply.status == 401 and b"Incorrect API key provided" in reply.body
    assert auth.chat("client").status == 200
    tokens = auth.provider.control("GET", "/journal")["live"]
    assert not any(t.encode() in reply.body for t in tokens)


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("name, secrets", [
    ("basic", [BASIC, BASIC.partition(":")[2], base64.b64encode(BASIC.encode()).decode()]),
    ("sigv4", [AWS["secret"], AWS["token"]]),
    ("local", ["the key itself"]), ("google", ["a token"]), ("refresh", ["a token"]), ("client", ["a token"]), ("form", ["a token"])])
def test_every_secret_of_a_scheme_is_removed(auth, name, secrets, status):
    """A user's password without its name, a signing key that was never sent, the session token beside it: each by itself."""
    auth.say(in_form=name == "form")
    if name != "local":
        auth.add(name)
    model = f"{name}:test:confess:{status}" if name != "local" else f"test:confess:{status}"
    reply = wait_for("an answer", lambda: (r := auth.gateway.chat(model)).status == status and r)
    secrets = {"the key itself": [auth.provider.key], "a token": auth.provider.control("GET", "/journal")["live"]}.get(secrets[0], secrets)
    told = json.dumps(reply.headers) + reply.body.decode()
    assert secrets and all(s and s not in told and json.dumps(s)[1:-1] not in told for s in secrets), told
    assert len(reply.json()["error"]["said"]) == 5, "in its place are as many bytes of another kind"
    wait_for("the record", lambda: auth.gateway.audit(event="egress.scrub", credential=name if name != "local" else "local"))
