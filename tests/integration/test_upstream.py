# SPDX-License-Identifier: Apache-2.0
"""Providers that misbehave: refused by name, never passed off as an answer; the key never comes back (K-08, K-12, R-03)."""
import concurrent.futures
import http.client
import json

import pytest

import memscan
from gateway import INSTRUMENTED, Gateway, Provider, frozen, scratch, wait_for
from ipc import metrics


def assert_refused(reply, status, code):
    assert reply.status == status, reply.body
    assert reply.json()["error"]["code"] == code


@pytest.mark.parametrize("model, code", [
    ("wrong-name:x", "tls_failed"), ("wrong-ca:x", "tls_failed"), ("tls11:x", "tls_failed"),
    ("private:x", "address_denied"), ("localname:x", "address_denied"), ("closed:x", "connect_failed")])
def test_connection_refused(gateway, provider, model, code):
    assert_refused(gateway.chat(model), 502, code)
    assert not provider.journal(), "not a byte of a request arrived"


@pytest.mark.parametrize("kind", ["status", "bareCR", "bareLF", "fold", "both", "twolengths", "negative", "version", "noise",
                                  "bighead", "upgrade", "gzip"])
def test_malformed_answer(gateway, kind):
    assert_refused(gateway.chat(f"test:malformed:{kind}"), 502, "upstream_invalid")


def read_all(stream):
    """The events, and whether the body ended in order."""
    events = []
    try:
        for event in stream.events():
            events.append(event)
    except (http.client.IncompleteRead, ConnectionError, ValueError):
        return events, False
    return events, True


@pytest.mark.parametrize("mode", ["truncate", "truncate:0", "reset", "nodone"])
def test_truncated_stream_never_ends_well(gateway, mode):
    stream = gateway.stream(f"test:{mode}")
    if stream.status == 502:
        return  # it broke before a byte of it had left
    events, complete = read_all(stream)
    assert "[DONE]" not in events
    assert not complete or "error" in json.loads(events[-1])


@pytest.mark.parametrize("ms", [0, 50])
def test_a_stream_that_breaks_behind_its_last_event_is_whole(gateway, ms):
    """As its provider's own clients take it: everything was said, and there is nothing to try again."""
    stream = gateway.stream(f"test:ragged:{ms}")
    events, complete = read_all(stream)
    assert (stream.status, events[-1], complete) == (200, "[DONE]", True)


def test_a_stream_that_says_only_that_it_has_finished_is_whole(gateway):
    """As Perplexity's do; the framing says that nothing more comes."""
    stream = gateway.stream("test:nodone:stop")
    events, complete = read_all(stream)
    assert (stream.status, complete, len(events)) == (200, True, 6) and "error" not in json.loads(events[-1])


@pytest.mark.parametrize("ms", [0, 50])
def test_a_streams_own_error_is_not_replaced(gateway, ms):
    """Many end with it and without [DONE]. The client is to hear what the provider said: a 502 it would only repeat."""
    stream = gateway.stream(f"test:complaint:{ms}")
    events, complete = read_all(stream)
    assert (stream.status, complete) == (200, True)
    assert json.loads(events[-1])["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("mode", ["cut", "malformed:chunk"])
def test_cut_answer_is_refused_whole(gateway, mode):
    """A client knows what to do with a refusal, and not with half an object."""
    assert_refused(gateway.chat(f"test:{mode}"), 502, "upstream_broken" if mode == "cut" else "upstream_invalid")


def test_a_sign_of_life_is_not_held(gateway):
    assert gateway.chat("test:thinking:0").json()["choices"][0]["message"]["content"] == "thought over"
    conn = gateway.connect()
    conn.request("POST", "/v1/chat/completions", gateway.chat_body("test:thinking"), gateway.headers())
    response = conn.getresponse()
    assert response.status == 200 and response.read1(1) == b"\n"
    conn.close()


@pytest.mark.parametrize("mode", ["cuthead", "silent"])
def test_no_answer(gateway, mode):
    assert_refused(gateway.chat(f"test:{mode}"), 502, "upstream_broken")


def test_redirect_is_not_followed(gateway, provider):
    reply = gateway.chat("test:redirect")
    assert_refused(reply, 502, "upstream_redirect")
    assert "location" not in reply.headers and len(provider.journal()) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 500, 503, 529])
def test_documented_errors_pass(gateway, status):
    reply = gateway.chat(f"test:error:{status}")
    assert reply.status == status and reply.json()["error"]["message"] == "The model has a headache."


def test_provider_limit_passes_with_retry_after(gateway):
    reply = gateway.chat("test:limited:7")
    assert reply.status == 429 and reply.headers["retry-after"] == "7"


def assert_no_key(key, *texts):
    for name, form in memscan.forms(key.encode()).items():
        for text in texts:
            assert form not in text, f"{name} of the key came through"


@pytest.mark.parametrize("model", ["test:unauthorized", "test:redirect", "test:trailers"])
def test_echoed_key_is_removed(gateway, model):
    reply = gateway.chat(model)
    assert_no_key(gateway.provider.key, reply.body, json.dumps(reply.headers).encode(), str(reply.headers).encode())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 31, 100, 5000])
@pytest.mark.parametrize("stream", [False, True])
def test_echoed_key_is_removed_from_any_pieces(gateway, size, stream):
    conn = gateway.connect()
    conn.request("POST", "/v1/chat/completions", gateway.chat_body(f"test:leak:{size}", stream=stream), gateway.headers())
    response = conn.getresponse()
    body = response.read()
    assert response.status == 200 and b"see:" in body
    assert_no_key(gateway.provider.key, body, str(response.getheaders()).encode())
    conn.close()


@pytest.fixture(scope="module")
def one_lane(new_gateway):
    """With one connection after the other, each of which the next request finds."""
    return new_gateway(workers=1)


@pytest.mark.parametrize("what, count", [("names", 1), ("lines", 40)])
def test_a_dear_stream_is_in_nobodys_way(one_lane, what, count):
    """What it costs grows with its length: with the length's square it was minutes, in which the router served nobody."""
    stream = one_lane.stream(f"test:dear:{what}:{count}")
    assert one_lane.chat("gpt-x").status == 200
    events, complete = read_all(stream)
    assert complete and events[-1] == "[DONE]"


def test_an_answer_above_the_limit_is_cut(new_gateway):
    gateway = new_gateway(settings={"router": {"stream_bytes_max": 1048576}})
    try:
        reply = gateway.chat("test:huge:3000000")
        assert_refused(reply, 502, "upstream_too_large")
    except (http.client.IncompleteRead, ConnectionError):
        pass
    assert gateway.chat("gpt-x").status == 200


@pytest.mark.parametrize("taken, sent", [(0, 5), (65536, 6000000)])
def test_what_has_left_is_never_sent_again(one_lane, taken, sent):
    """K-07's other half: what a provider may have acted on is not repeated behind the client's back, on a kept connection either."""
    provider = one_lane.provider
    assert one_lane.chat(f"test:trap:{taken}").status == 200
    trapped = provider.journal()[-1]
    assert_refused(one_lane.chat("gpt-x", text="x" * sent), 502, "upstream_broken")
    met = provider.journal()[trapped["n"] + 1:]
    assert [(e["ended"], e["connection"]) for e in met] == [("reset", trapped["connection"])]
    assert one_lane.chat("gpt-x").status == 200


def test_no_connection_left_is_not_the_providers_fault(new_gateway):
    """It was never asked: all that may be open to it are others'."""
    narrow = new_gateway(workers=1, settings={"egress": {"pool_max": 2, "connect_timeout_ms": 500}})
    streams = [narrow.stream("test:stall") for _ in range(2)]
    assert_refused(narrow.chat("gpt-x"), 503, "overloaded")
    for stream in streams:
        stream.close()
    assert wait_for("one to be free", lambda: narrow.chat("gpt-x").status == 200)


def test_a_connection_that_closed_unseen_costs_nothing(one_lane):
    """The egress finds the close and the next request side by side: of that nothing has left, so it gets another connection."""
    egress, provider = one_lane.pids("egress")[0], one_lane.provider
    for _ in range(5):
        assert one_lane.chat("test:idleclose:300").status == 200
        last = provider.journal()[-1]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with frozen(egress):
                wait_for("the provider to close it", lambda last=last: last["connection"] not in provider.control("GET", "/")["open"])
                reply = pool.submit(one_lane.chat, "gpt-x")
                wait_for("the request to be on its way",
                         lambda: metrics(one_lane, "router0")['bulkhead_router_requests{state="OPEN"}'] == 1)
            assert reply.result().status == 200
        assert len(provider.journal()) == last["n"] + 2, "once"


def test_few_descriptors():
    """What lies idle for some providers leaves room for the others', and for large bodies: the egress has no more descriptors than that."""
    few = ["sh", "-c", 'ulimit -n 80; exec "$@"', "sh"]
    with scratch() as folder, Provider(folder) as provider:
        gateway = Gateway(folder, provider, workers=1, prefix=few)
        names = ["local", "p1", "p2", "p3"]
        gateway.providers = [{**gateway.all_providers()[0], "name": name} for name in names]
        with gateway:
            gateway.prepare()
            for name in names:
                with concurrent.futures.ThreadPoolExecutor(20) as pool:
                    replies = list(pool.map(lambda _, name=name: gateway.chat(f"{name}:test:slow:50:6"), range(20)))
                assert [reply.status for reply in replies] == [200] * 20, name
            assert gateway.chat("gpt-x", text="x" * 300000).status == 200
            assert "ipc.peer_dropped" not in gateway.log()


def test_more_keys_than_there_is_room_for():
    """Each tenant has a provider key of its own, and the egress room for one or two: those that nobody uses now are had again later."""
    keys = [f"sk-proj-{i}-" + "aB3_-" * 38 for i in range(4)]
    with scratch() as folder, Provider(folder, keys[0]) as provider:
        provider.also_takes(*keys[1:])
        gateway = Gateway(folder, provider, workers=1, settings={"egress": {"arena_bytes": 131072}})
        gateway.providers = gateway.all_providers()[:1]
        with gateway:
            gateway.open_vault()
            tenants = []
            for i, key in enumerate(keys):
                gateway.cli("vault", "add", "local", "--tenant", f"t{i}", stdin=key.encode())
                tenants.append(gateway.make_key(tenant=f"t{i}")["key"])
            for _ in range(2):
                for gateway.key in tenants:
                    assert gateway.chat("gpt-x").status == 200
            assert "egress.arena_full" not in gateway.log()
        assert all(key in entry["head"] for key, entry in zip(keys * 2, provider.journal(), strict=True))


@pytest.mark.skipif(INSTRUMENTED, reason="timing")
def test_no_daemon_died(gateway):
    """After all of the above, the same processes are there."""
    log = gateway.log()
    assert "SIGSYS" not in log and "SIGSEGV" not in log and "SIGABRT" not in log
