# SPDX-License-Identifier: Apache-2.0
"""R-02: the npm `openai` client, unmodified, against the running gateway."""
import json
import os
import shutil
import subprocess

import pytest

from gateway import ROOT, SLOWER, wait_for
from provider import WORDS

HERE = os.path.join(ROOT, "tests/clients")
SENTENCE = " ".join(WORDS)

pytestmark = pytest.mark.skipif(not shutil.which("node") or not os.path.exists(os.path.join(HERE, "node_modules/openai")),
                                reason="run `make clients-deps`")


@pytest.fixture
def client(gateway, provider):
    def run(scenario, key=None):
        before = gateway.pids()
        env = {**os.environ, "BASE_URL": f"http://{gateway.host}:{gateway.port}/v1", "KEY": key or gateway.key}
        done = subprocess.run(["node", "openai.mjs", scenario], cwd=HERE, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60 * SLOWER, check=False)
        assert done.returncode == 0, done.stderr
        assert gateway.pids() == before, "nobody died of it: a crash would cut and cancel as well"
        return json.loads(done.stdout)
    return run


def test_chat(client):
    seen = client("chat")
    assert seen["content"] == SENTENCE and seen["id"] and seen["usage"]["total_tokens"] == 11 + len(WORDS)


def test_stream(client):
    seen = client("stream")
    assert seen["content"] == SENTENCE and seen["finish"] == "stop" and seen["usage"]["completion_tokens"] == len(WORDS)


def test_stream_helper(client):
    assert client("helper")["content"] == SENTENCE


@pytest.mark.parametrize("scenario", ["abort", "abortInSilence"])
def test_abort_mid_stream(client, gateway, provider, scenario):
    """While tokens come, when a write would tell too; and while none comes."""
    before = gateway.pids()
    assert client(scenario)["pieces"] >= 3, "and those that it had when it left"
    wait_for("the provider to be left", lambda: provider.journal()[0]["ended"] == "peer left")
    assert gateway.pids() == before


def test_models(client):
    assert client("models")["names"] == ["gpt-x", "gpt-y"]


def test_truncated_stream_is_an_error(client):
    def some_had_come():
        """So that it could not be refused any more; the provider leaves a gateway 50 ms to take it before the reset."""
        seen = client("truncated")
        assert seen["error"]
        return seen["content"]
    wait_for("a stream of which some had come", some_had_come)


@pytest.mark.parametrize("scenario, name, status, code", [
    ("unauthorized", "AuthenticationError", 401, "invalid_api_key"), ("notFound", "NotFoundError", 404, "not_found"),
    ("badRequest", "BadRequestError", 400, "model_required"), ("tooLarge", "APIError", 413, "request_too_large")])
def test_errors(client, scenario, name, status, code):
    seen = client(scenario)
    assert (seen["name"], seen["status"], seen["code"]) == (name, status, code)
    assert seen["requestID"] and seen["type"]


def test_model_not_found(client, gateway):
    seen = client("modelNotFound", gateway.make_key(models="gpt-*")["key"])
    assert (seen["name"], seen["status"], seen["code"]) == ("NotFoundError", 404, "model_not_found")


def test_limited_with_retry_after(client, gateway):
    seen = client("limited", gateway.make_key(rpm=2)["key"])
    assert (seen["name"], seen["status"], seen["code"]) == ("RateLimitError", 429, "rate_limit_exceeded")
    assert 1 <= int(seen["retryAfter"]) <= 60


def test_receipt(client, gateway, tmp_path):
    """L-06 for who has nothing but the client: the receipt by its own means, whoever checks it by the command."""
    seen = client("receipt")
    answer, receipt = tmp_path / "answer", tmp_path / "receipt"
    receipt.write_text(seen["text"])
    vkey = gateway.cli_json("vault", "status")["vkey"]
    for body, code in ((seen["body"], 0), (seen["body"] + " ", 1)):
        answer.write_text(body)
        done = gateway.cli("receipt", "verify", str(answer), str(receipt), "--vkey", vkey, check=False)
        assert done.returncode == code, done.stdout


def test_retry_after_is_heeded(client):
    assert 900 <= client("retried")["ms"] < 10000
