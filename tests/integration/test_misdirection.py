# SPDX-License-Identifier: Apache-2.0
"""K-07: nothing that a client or a provider says changes where a key goes.

A thief stands by: a second provider, configured, permitted by the dialer, with a certificate that we trust. Whatever is said, no
connection reaches it. The words are those that have moved keys in public gateways: Host and its relatives, custom-host headers,
api_base and its relatives in the body, models that are URLs or paths, request targets in absolute form, redirects, Alt-Svc.
"""
import json
import os

import pytest

from gateway import Gateway, Provider, scratch, wait_for

THIEF_KEY = "sk-thief-0123456789abcdef0123456789"


class Aimed(Gateway):
    """One name leads to the thief, so that the tests can tell whether he is there; everything else does not."""

    def models(self):
        return [{"match": "the-thief-himself", "providers": ["thief"]}, {"match": "*", "providers": ["local"]}]


@pytest.fixture(scope="module")
def world():
    with scratch() as folder:
        other = os.path.join(folder, "other")
        os.makedirs(other)
        os.chmod(other, 0o755)
        with Provider(folder) as good, Provider(other, key=THIEF_KEY) as thief:
            providers = [{"name": name, "base_url": f"https://upstream.test:{p.ports['tls']}/v1", "connect_to": "127.0.0.1", "ca_file": p.ca,
                          "dialect": "openai", "auth": "bearer"} for name, p in (("local", good), ("thief", thief))]
            with Aimed(folder, good, providers=providers) as gateway:
                gateway.open_vault()
                gateway.add_key("local", good.key)
                gateway.add_key("thief", THIEF_KEY)
                gateway.key = gateway.make_key()["key"]
                wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
                yield gateway, good, thief


@pytest.fixture
def aim(world):
    """The gateway and the thief's address; afterwards, what has arrived where."""
    gateway, good, thief = world
    good.reset()
    before = thief.control("GET", "/journal")["accepted"]
    yield gateway, f"127.0.0.1:{thief.ports['tls']}"
    seen = thief.control("GET", "/journal")
    assert not seen["journal"] and seen["accepted"] == before, "the thief was called"
    for entry in good.journal():
        assert entry["line"] == "POST /v1/chat/completions HTTP/1.1"
        assert [v for k, v in entry["fields"] if k.lower() == "host"] == [f"upstream.test:{good.ports['tls']}"]
        assert [v for k, v in entry["fields"] if k.lower() == "authorization"] == [f"Bearer {good.key}"]


HEADERS = """
Host: {thief}|X-Host: {thief}|X-Forwarded-Host: {thief}|X-Forwarded-Server: {thief}|X-Original-Host: {thief}|X-HTTP-Host-Override: {thief}
Forwarded: host={thief};proto=https|X-Original-URL: https://{thief}/|X-Rewrite-URL: https://{thief}/|X-Forwarded-Prefix: //{thief}
X-Portkey-Custom-Host: https://{thief}/v1|X-Portkey-Config: {{"custom_host":"https://{thief}/v1"}}|X-Portkey-Provider: thief
X-Custom-Host: {thief}|Helicone-Target-URL: https://{thief}|Helicone-OpenAI-Api-Base: https://{thief}/v1|X-Target-Url: https://{thief}
X-LiteLLM-Api-Base: https://{thief}/v1|X-Api-Base: https://{thief}/v1|Api-Base: https://{thief}/v1|X-Base-Url: https://{thief}/v1
OpenAI-Base-URL: https://{thief}/v1|OpenAI-Organization: https://{thief}|OpenAI-Project: {thief}|X-Upstream: {thief}|X-Upstream-Url: https://{thief}
X-Azure-Endpoint: https://{thief}|X-Vertex-Endpoint: https://{thief}|CF-AIG-Custom-Host: {thief}|X-Route: thief|X-Provider: thief
Destination: https://{thief}/|Proxy: https://{thief}|Proxy-Host: {thief}|Location: https://{thief}/|Alt-Used: {thief}|Referer: https://{thief}/
X-Amzn-Bedrock-Endpoint: https://{thief}|X-Stainless-Base-Url: https://{thief}|X-Claude-Code-Base: https://{thief}|User-Agent: https://{thief}
X-HTTP-Method-Override: CONNECT|X-Envoy-Original-Path: https://{thief}/|X-Forwarded-For: {thief}|Via: 1.1 {thief}|Session_id: https://{thief}
""".replace("|", "\n").split("\n")


@pytest.mark.parametrize("line", [line for line in HEADERS if line], ids=lambda line: line.split(":")[0])
def test_a_header(aim, line):
    gateway, thief = aim
    name, value = line.format(thief=thief).split(": ", 1)
    reply = gateway.chat("gpt-x", headers={name: value})
    assert reply.status in (200, 400), reply.body


BODIES = {
    "api_base": "https://{thief}/v1", "base_url": "https://{thief}/v1", "api_url": "https://{thief}/v1", "url": "https://{thief}/v1",
    "endpoint": "https://{thief}/v1", "azure_endpoint": "https://{thief}", "host": "{thief}", "custom_host": "https://{thief}/v1",
    "provider": "thief", "custom_llm_provider": "thief", "model_provider": "thief", "deployment_id": "../../thief",
    "api_version": "/../../../x?", "organization": "https://{thief}", "proxy": "https://{thief}", "aws_bedrock_runtime_endpoint": "https://{thief}",
    "vertex_location": "{thief}/", "extra_headers": {"Host": "{thief}"}, "headers": {"Host": "{thief}", "Authorization": "x"},
    "extra_body": {"api_base": "https://{thief}"}, "metadata": {"api_base": "https://{thief}"}, "callback": "https://{thief}",
    "fallbacks": [{"model": "thief", "api_base": "https://{thief}"}], "webhook": "https://{thief}",
    "user_config": {"model_list": [{"model_name": "gpt-x", "litellm_params": {"model": "openai/gpt-x", "api_base": "https://{thief}/v1"}}]},
    "config": {"targets": [{"custom_host": "https://{thief}/v1"}]}, "router": {"base_url": "https://{thief}"},
}


def fill(value, thief):
    return json.loads(json.dumps(value).replace("{thief}", thief))


@pytest.mark.parametrize("field", BODIES)
def test_a_field_of_the_body(aim, field):
    gateway, thief = aim
    reply = gateway.chat("gpt-x", **{field: fill(BODIES[field], thief)})
    assert reply.status in (200, 400), reply.body


MODELS = ["https://{thief}/v1", "http://{thief}", "//{thief}/v1", "openai/https://{thief}/v1", "thief", "thief/gpt-x", "thief:gpt-x", "local/../thief",
          "../../thief", "..%2f..%2fthief", "..%252f..%252fthief", "gpt-x/../../..", "gpt-x?api_base=https://{thief}", "gpt-x#@{thief}",
          "gpt-x@{thief}", "@{thief}", "{thief}", "gpt-x\r\nHost: {thief}", "gpt-x HTTP/1.1\r\nHost: {thief}\r\n\r\n", "gpt-x\u0000{thief}",
          "\\\\{thief}\\v1", "gpt-x;host={thief}", "azure/{thief}", "\u2025/{thief}", "*", "", "gpt-x\u2044{thief}", "x" * 300]


@pytest.mark.parametrize("model", MODELS, ids=range(len(MODELS)))
def test_a_model(aim, model):
    gateway, thief = aim
    reply = gateway.chat(model.replace("{thief}", thief))
    assert reply.status in (200, 400, 403, 404), reply.body


TARGETS = ["http://{thief}/v1/chat/completions", "https://{thief}/v1/chat/completions", "//{thief}/v1/chat/completions", "{thief}", "@{thief}/v1/chat/completions",
           "/v1/chat/completions@{thief}", "https://gw@{thief}/v1/chat/completions", "/https://{thief}/v1/chat/completions", "\\\\{thief}\\v1\\chat\\completions",
           "/v1/chat/completions?api_base=https://{thief}/v1", "/v1/chat/completions?base_url=https://{thief}&host={thief}", "/v1/../v1/chat/completions",
           "/v1/chat/completions/../../..//{thief}", "/v1/chat%2fcompletions", "/v1/%2e%2e/v1/chat/completions", "/v1//chat/completions",
           "/v1/chat/completions;host={thief}", "/v1/chat/completions#@{thief}", "*", "/proxy/{thief}/v1/chat/completions", "/v1/proxy/https://{thief}"]


def raw(gateway, line, hosts, more=""):
    body = gateway.chat_body("gpt-x")
    head = f"{line} HTTP/1.1\r\n" + "".join(f"Host: {host}\r\n" for host in hosts)
    return gateway.raw((head + f"Authorization: Bearer {gateway.key}\r\nContent-Type: application/json\r\nConnection: close\r\n{more}"
                        f"Content-Length: {len(body)}\r\n\r\n{body}").encode("latin-1"))


@pytest.mark.parametrize("method", ["POST", "CONNECT"])
@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
def test_a_target(aim, target, method):
    gateway, thief = aim
    answer = raw(gateway, f"{method} {target.format(thief=thief)}", ["gw.test"])
    assert answer.startswith(b"HTTP/1.1 ") and answer[9:12] in (b"200", b"400", b"404", b"405", b"501"), answer[:200]
    assert method == "POST" or answer[9:10] != b"2", "a tunnel"


@pytest.mark.parametrize("hosts", [["{thief}", "gw.test"], ["gw.test", "{thief}"], ["{thief}"], ["gw.test@{thief}"], ["gw.test, {thief}"], [], [""],
                                   ["gw.test\r\n {thief}"], ["gw.test\t{thief}"], ["gw.test/../{thief}"], ["https://{thief}"]], ids=range(11))
def test_host_fields(aim, hosts):
    gateway, thief = aim
    answer = raw(gateway, "POST /v1/chat/completions", [h.format(thief=thief) for h in hosts])
    assert answer.startswith(b"HTTP/1.1 ") and answer[9:12] in (b"200", b"400"), answer[:200]
    assert len(hosts) < 2 or answer[9:12] == b"400", "two hosts"


def test_a_second_request_behind_the_body(aim):
    """What the first does not own belongs to nobody but the next one, which has no key of its own."""
    gateway, thief = aim
    inner = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {thief}\r\nX-Api-Base: https://{thief}\r\nContent-Length: 2\r\n\r\n{{}}"
    answer = gateway.raw((f"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {gateway.key}\r\nContent-Type: application/json\r\n"
                          f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{inner}").encode(), seconds=2)
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"content-length: ") == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
def test_a_redirect(aim, status):
    gateway, thief = aim
    reply = gateway.chat(f"test:redirect:{status}:{thief.replace(':', '.port.')}")
    assert reply.status == 502 and reply.json()["error"]["code"] == "upstream_redirect"
    assert not {"location", "refresh", "content-location"} & set(reply.headers)
    assert gateway.chat("gpt-x").status == 200


def test_an_alternative_service(aim):
    gateway, thief = aim
    for _ in range(3):
        reply = gateway.chat(f"test:elsewhere:{thief.replace(':', '.port.')}")
        assert reply.status == 200 and thief not in str(reply.headers)
        assert not {"alt-svc", "location", "link", "alt-used", "x-openai-base-url"} & set(reply.headers)


def test_the_thief_can_be_reached(world):
    """The rest proves nothing unless he stands where he could be called. He gets his own key, by the operator's own rule."""
    gateway, good, thief = world
    good.reset()
    thief.reset()
    wait_for("the thief", lambda: gateway.chat("the-thief-himself").status == 200)
    assert [entry["authorized"] for entry in thief.journal()] == [True] and not good.journal()
    thief.reset()
