# SPDX-License-Identifier: Apache-2.0
"""P-01, P-02: what the classifier finds in a request, and what is done about it."""
import json

import pytest

from gateway import frozen, wait_for
from ipc import metrics

EMAIL, PHONE, CARD = "anna.muster@example.org", "+49 170 1234567", "4111 1111 1111 1111"
NOT_A_CARD = "4111 1111 1111 1112"  # the last digit is wrong


@pytest.fixture(scope="module")
def gateway(new_gateway):
    return new_gateway(settings={"authd": {"guard_email": "redact", "guard_phone": "flag", "guard_card": "block"}})


def sent(gateway):
    return json.loads(gateway.provider.journal()[-1]["body"])["messages"][0]["content"]


def test_email_is_replaced(gateway, provider):
    assert gateway.chat("gpt-x", text=f"write to {EMAIL}, or {EMAIL}!").status == 200
    assert sent(gateway) == "write to <EMAIL>, or <EMAIL>!"


def test_an_escaped_email_is_replaced(gateway, provider):
    body = '{"model":"gpt-x","messages":[{"role":"user","content":"to \\u0061nna.muster\\u0040example.org now"}]}'
    assert gateway.request("POST", "/v1/chat/completions", body).status == 200
    assert sent(gateway) == "to <EMAIL> now"


def test_what_tools_say_stays_json(gateway, provider):
    """Their arguments and answers are JSON in a string: what stands before a finding there is an escape, and stays one."""
    said = {"text": f"first line\n{EMAIL}\tand <{EMAIL}>"}
    body = {"model": "gpt-x", "messages": [
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "mail", "arguments": json.dumps(said)}}]},
        {"role": "tool", "tool_call_id": "1", "content": json.dumps({"result": json.dumps(said)})}]}
    assert gateway.request("POST", "/v1/chat/completions", json.dumps(body)).status == 200
    call, answer = json.loads(provider.journal()[-1]["body"])["messages"]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"text": "first line\n<EMAIL>\tand <<EMAIL>>"}
    assert json.loads(json.loads(answer["content"])["result"]) == {"text": "first line\n<EMAIL>\tand <<EMAIL>>"}


def test_phone_is_flagged_and_passes(gateway, provider):
    assert gateway.chat("gpt-x", text=f"call {PHONE}").status == 200
    assert sent(gateway) == f"call {PHONE}"


def test_card_is_blocked(gateway, provider):
    reply = gateway.chat("gpt-x", text=f"my card is {CARD}, keep it safe")
    assert reply.status == 400 and reply.json()["error"]["code"] == "content_blocked"
    assert not provider.journal() and CARD not in reply.body.decode()


def test_what_is_blocked_was_admitted(gateway):
    """It counts against the limit, as docs/keys.md says."""
    key = gateway.make_key(rpm=2)["key"]
    assert [gateway.chat("gpt-x", text=CARD, key=key).status for _ in range(3)] == [400, 400, 429]


def test_a_number_that_is_no_card_passes(gateway, provider):
    assert gateway.chat("gpt-x", text=f"order {NOT_A_CARD}").status == 200


def test_findings_across_a_large_body(gateway, provider):
    """Above 64 KiB the body travels as a memfd."""
    text = "x " * 60000 + EMAIL + " y" * 60000
    assert gateway.chat("gpt-x", text=text, timeout=60).status == 200
    assert sent(gateway) == text.replace(EMAIL, "<EMAIL>")


def test_a_list_of_addresses(gateway, provider):
    """As many findings as there may be: libc sorts them in another way than a few."""
    assert gateway.chat("gpt-x", text=f"{EMAIL} " * 512).status == 200
    assert sent(gateway) == "<EMAIL> " * 512


def test_clean_text_passes_byte_for_byte(gateway, provider):
    body = '{ "model":"gpt-x", "messages":[{"role":"user","content":"nothing \\/ to \\u00e9 see"}]}'
    assert gateway.request("POST", "/v1/chat/completions", body).status == 200
    assert provider.journal()[0]["body"] == body


def counted(gateway):
    """Texts that were read, and those that were not."""
    both = [metrics(gateway, f"classifier{lane}") for lane in range(gateway.workers)]
    return [sum(m[f"bulkhead_classifier_{name}_total"] for m in both) for name in ("scans", "late")]


def test_a_text_that_nobody_waits_for_is_not_read(gateway):
    """Its client was refused while others' texts were read: it is in nobody's way."""
    scans, late = counted(gateway)
    with frozen(*gateway.pids("classifier")):
        reply = gateway.chat("gpt-x", text="x" * 100000)
        assert reply.status == 503 and reply.json()["error"]["code"] == "classifier_unavailable"
    assert wait_for("the text", lambda: sum(counted(gateway)) > scans + late)
    assert counted(gateway) == [scans, late + 1]
    assert gateway.chat("gpt-x").status == 200
