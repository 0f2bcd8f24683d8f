# SPDX-License-Identifier: Apache-2.0
"""K-04, A-01, A-02, A-04: gateway keys from their making to their end, as an operator and a client meet them."""
import concurrent.futures
import os
import signal

import pytest

from gateway import frozen, wait_for
from ipc import Peer


def code_of(reply):
    return reply.json()["error"]["code"] if reply.status != 200 else None


def listed(gateway, made):
    return next(k for k in gateway.cli_json("key", "list") if k["id"] == made["id"])


def test_a_key_is_shown_once_and_kept_nowhere(gateway):
    made = gateway.make_key(name="ci", models="gpt-*,o1", rpm=5)
    assert made["key"].startswith("bh_sk_") and len(made["key"]) == 53
    assert made["prefix"] == made["key"][:15]
    assert gateway.chat("gpt-x", key=made["key"]).status == 200
    row = listed(gateway, made)
    assert (row["prefix"], row["tenant"], row["name"], row["models"], row["rpm"], row["revoked"]) == \
        (made["prefix"], "acme", "ci", "gpt-*,o1", 5, 0)
    secret = made["key"][15:].encode()
    assert secret not in gateway.cli("key", "list").stdout
    for folder, _, names in os.walk(gateway.state):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                assert secret not in f.read(), name
    assert made["key"] not in gateway.log()


def test_every_key_is_listed_once(gateway):
    made = [gateway.make_key()["id"] for _ in range(60)]
    ids = [k["id"] for k in gateway.cli_json("key", "list")]
    assert len(ids) == len(set(ids)) and [i for i in ids if i in made] == made


def test_a_key_without_a_limit_of_its_own_has_the_default_and_not_none(gateway):
    made = gateway.cli_json("key", "create", "--name", "no-limit")
    row, = [line for line in gateway.cli("key", "list").stdout.decode().splitlines() if line.startswith(made["id"])]
    assert row.split()[5:7] == ["default", "default"]
    same, = [k for k in gateway.cli_json("key", "list") if k["id"] == made["id"]]
    assert same["rpm"] == same["concurrent"] == 0


@pytest.mark.parametrize("options", [("--models", "a b"), ("--models", "gpt-*,"), ("--models", "*-mini"), ("--tenant", "*"),
                                     ("--tenant", "../acme"), ("--name", "a\nb")])
def test_what_a_key_cannot_be(gateway, options):
    before = len(gateway.cli_json("key", "list"))
    done = gateway.cli("key", "create", *options, check=False)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert len(gateway.cli_json("key", "list")) == before


def test_two_keys_during_a_rotation(gateway):
    old, new = gateway.make_key(), gateway.make_key()
    assert gateway.chat("gpt-x", key=old["key"]).status == gateway.chat("gpt-x", key=new["key"]).status == 200
    gateway.cli("key", "revoke", old["id"])
    assert code_of(gateway.chat("gpt-x", key=old["key"])) == "revoked_api_key"
    assert gateway.chat("gpt-x", key=new["key"]).status == 200


def test_revoked_stays_revoked(gateway):
    made = gateway.make_key()
    gateway.cli("key", "revoke", made["id"])
    when = listed(gateway, made)["revoked"]
    assert when > 0
    gateway.cli("key", "revoke", made["id"])
    assert listed(gateway, made)["revoked"] == when
    kill(gateway, "authd")
    wait_for("authd to answer", lambda: code_of(gateway.chat("gpt-x", key=made["key"])) == "revoked_api_key")


def kill(gateway, daemon):
    before = gateway.pids(daemon)
    os.kill(before[0], signal.SIGKILL)
    wait_for(f"another {daemon}", lambda: (now := gateway.pids(daemon)) and now != before)


def test_keys_outlive_authd(gateway):
    made = gateway.make_key()
    kill(gateway, "authd")
    seen = []

    def served():
        seen.append(gateway.chat("gpt-x", key=made["key"]))
        return seen[-1].status == 200

    wait_for("service to resume", served)
    for reply in seen[:-1]:
        assert reply.status == 503 and "retry-after" in reply.headers, reply.body


def test_a_thousand_at_once_admit_exactly_the_limit(gateway):
    """Refused calls take nothing; whoever waits as long as Retry-After says is let in (that part is a unit test's)."""
    key = gateway.make_key(rpm=100)["key"]

    def many(_):
        conn = gateway.connect()
        statuses = []
        for _ in range(25):
            conn.request("POST", "/v1/chat/completions", gateway.chat_body("gpt-x"), gateway.headers(key))
            response = conn.getresponse()
            response.read()
            statuses.append(response.status)
        conn.close()
        return statuses

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        statuses = [s for part in pool.map(many, range(40)) for s in part]
    assert len(statuses) == 1000
    assert statuses.count(200) == 100 and statuses.count(429) == 900


def ask(peer, key, number, request_id="req-1"):
    peer.send("AUTHORIZE", number, credential=key.encode(), address="127.0.0.1", model="gpt-x", request_id=request_id,
              call=number + 1)


def test_two_routers_share_one_limit(gateway):
    """A thousand questions under way at once, without waiting for one answer."""
    key = gateway.make_key(rpm=100)["key"]
    with Peer(gateway, "authd", "router0") as one, Peer(gateway, "authd", "router1") as other:
        for number in range(500):
            ask(one, key, number)
            ask(other, key, number)
        answers = [peer.expect("PERMIT", "DENY") for peer in (one, other) for _ in range(500)]
    denied = [fields for name, fields in answers if name == "DENY"]
    assert len(denied) == 900 and all(0 < fields["retry_after_ms"] <= 60000 for fields in denied)


def test_a_router_with_a_request_id_that_is_none_is_broken(gateway):
    with Peer(gateway, "authd", "router0") as peer:
        ask(peer, gateway.key, 1, "a b")
        assert peer.hung_up()
    with Peer(gateway, "authd", "router0") as peer:
        ask(peer, gateway.key, 1)
        assert peer.expect("PERMIT")["tenant"] == "acme"


def test_limit_headers(gateway):
    key = gateway.make_key(rpm=2)["key"]
    first, second, third = (gateway.chat("gpt-x", key=key) for _ in range(3))
    assert [r.status for r in (first, second, third)] == [200, 200, 429]
    for reply, remaining in ((first, "1"), (second, "0"), (third, "0")):
        assert reply.headers["x-ratelimit-limit-requests"] == "2"
        assert reply.headers["x-ratelimit-remaining-requests"] == remaining
    assert 0 < int(third.headers["retry-after"]) <= 60


def test_limits_are_the_keys_own(gateway):
    one, other = gateway.make_key(rpm=1)["key"], gateway.make_key(rpm=1)["key"]
    assert gateway.chat("gpt-x", key=one).status == 200
    assert gateway.chat("gpt-x", key=one).status == 429
    assert gateway.chat("gpt-x", key=other).status == 200


def test_a_refused_model_takes_nothing(gateway):
    key = gateway.make_key(models="gpt-*", rpm=1)["key"]
    for _ in range(5):
        assert code_of(gateway.chat("o1", key=key)) == "model_not_found"
    assert gateway.chat("gpt-x", key=key).status == 200


def test_models_of_a_key(gateway):
    key = gateway.make_key(models="gpt-4,o1")["key"]
    reply = gateway.request("GET", "/v1/models", key=key)
    assert [m["id"] for m in reply.json()["data"]] == ["gpt-4", "o1"]


def test_a_list_of_many_models_holds_nobody_up(new_gateway):
    """As many rules as there may be, and a key of as many names: a list of models is made of both, and counts against no limit."""
    rules = [{"match": f"m{i}", "providers": ["local"]} for i in range(255)] + [{"match": "*", "providers": ["local"]}]
    many = new_gateway(workers=1, settings={"models": rules})
    names = [f"{i:x}" for i in range(0x100, 0x200)]
    key = many.make_key(models=",".join(names))["key"]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        lists = [pool.submit(many.request, "GET", "/v1/models", key=key) for _ in range(32)]
        assert many.chat("gpt-x").status == 200
        assert all([m["id"] for m in made.result().json()["data"]] == names for made in lists)


def test_without_the_log_nothing_changes(gateway):
    made = gateway.make_key()
    before = gateway.cli_json("key", "list")
    pid = gateway.pids("auditd")[0]
    with frozen(pid):
        for args in (("key", "create"), ("key", "revoke", made["id"]), ("vault", "rm", "local")):
            done = gateway.cli(*args, check=False)
            assert done.returncode == 1 and b"audit_unavailable" in done.stderr, args
        assert gateway.cli_json("key", "list") == before
        assert gateway.chat("gpt-x", key=made["key"]).status == 200
    wait_for("the log", lambda: gateway.cli("key", "revoke", made["id"], check=False).returncode == 0)


def test_what_was_done_is_recorded(gateway):
    made = gateway.make_key()
    gateway.cli("key", "revoke", made["id"])
    for code in ("key.create", "key.revoke"):
        events = wait_for(code, lambda: gateway.audit(event=code, resource=made["id"]))
        assert len(events) == 1 and events[0]["actor"] == f"uid:{os.getuid()}" and events[0]["tenant"] == "acme"


def test_sealed_is_503_and_never_401(gateway):
    made = gateway.make_key()
    gateway.cli("vault", "seal")
    try:
        reply = gateway.chat("gpt-x", key=made["key"])
        assert (reply.status, code_of(reply)) == (503, "vault_sealed") and int(reply.headers["retry-after"]) > 0
        done = gateway.cli("key", "create", check=False)
        assert done.returncode == 1 and b"(sealed)" in done.stderr
    finally:
        gateway.cli("vault", "unseal")
    wait_for("an open vault", lambda: gateway.chat("gpt-x", key=made["key"]).status == 200)


def test_a_stream_of_a_key_that_was_revoked_while_authd_was_away(gateway, provider):
    """authd dies, comes back, and the key is revoked before the router has found it again: the stream is cut all the same."""
    made = gateway.make_key()
    stream = gateway.stream("test:slow:200:100", key=made["key"])
    next(stream.events())
    kill(gateway, "authd")
    wait_for("the key to be revoked", lambda: gateway.cli("key", "revoke", made["id"], check=False).returncode == 0)
    wait_for("the provider to be left", lambda: provider.journal()[0]["ended"] == "peer left")
    stream.close()
