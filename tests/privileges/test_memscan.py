# SPDX-License-Identifier: Apache-2.0
"""The key search must be able to find: a process that holds the secret in each disguise, and one that does not."""
import subprocess
import sys

import pytest

import memscan

SECRET = b'sk-find-me/with+all="sorts\\of%things&0123456789'

HOLDER = """
import sys, base64, json, urllib.parse
secret = sys.stdin.buffer.read()
kept = {form}
del secret
print("ready", flush=True)
sys.stdout.close()
import time
time.sleep(60)
"""

FORMS = {
    "raw": 'b"<" + secret + b">"',
    "base64 at 0": "base64.b64encode(secret)",
    "base64 at 1": 'base64.b64encode(b"x" + secret)',
    "base64 at 2": 'base64.b64encode(b"Bearer: " + secret)',
    "base64url at 0": "base64.urlsafe_b64encode(secret)",
    "URL-encoded": 'urllib.parse.quote(secret.decode(), safe="").encode()',
    "JSON-escaped": "json.dumps(secret.decode()).encode()",
    "hex": "secret.hex()",
    "first half": "secret[:len(secret) // 2]",
}


def found_in(program, secret):
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write(secret)
        process.stdin.close()
        assert process.stdout.readline() == b"ready\n"
        report = memscan.scan([process.pid], SECRET)
        assert report.scanned[process.pid] > 1 << 20
        return {form for _, _, form in report.found}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("form", FORMS)
def test_finds(form):
    assert form in found_in(HOLDER.replace("{form}", FORMS[form]), SECRET)


def test_finds_nothing_where_nothing_is():
    assert not found_in(HOLDER.replace("{form}", "len(secret)"), b"something quite different")


def test_base64_cores_are_in_every_text():
    for before in range(12):
        for after in range(5):
            text = memscan.base64.b64encode(b"a" * before + SECRET + b"z" * after)
            assert any(core in text for core in memscan.base64_cores(SECRET))
