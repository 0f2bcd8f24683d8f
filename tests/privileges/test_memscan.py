# SPDX-License-Identifier: Apache-2.0
"""The key search must be able to find: a process that holds the secret in each disguise, and one that does not."""
import io
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
    "raw, first half": "secret[:len(secret) // 2]",
    "base64 at 0, first half": "base64.b64encode(secret[:-1])",
    "base64url at 1, second half": 'base64.urlsafe_b64encode(b"x" + secret[len(secret) // 2:])',
}


LOCKED = """
import ctypes, mmap, sys
arena = mmap.mmap(-1, 4096)
arena.madvise({advice})
ctypes.CDLL(None).mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(arena))), ctypes.c_size_t(4096))
sys.stdin.buffer.raw.readinto(arena)
{more}
print("ready", flush=True)
sys.stdout.close()
import time
time.sleep(60)
"""


def search(program, secret):
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write(secret)
        process.stdin.close()
        assert process.stdout.readline() == b"ready\n"
        report = memscan.scan([process.pid], SECRET)
        assert report.scanned[process.pid] > 1 << 20
        return report
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def found_in(program, secret):
    return {form for _, _, form in search(program, secret).found}


@pytest.mark.parametrize("form", FORMS)
def test_finds(form):
    assert form in found_in(HOLDER.replace("{form}", FORMS[form]), SECRET)


def test_finds_nothing_where_nothing_is():
    assert not found_in(HOLDER.replace("{form}", "len(secret)"), b"something quite different")


def test_an_arena_without_memfd_secret_is_told_from_other_memory():
    """Locked, not dumped, not inherited: what common/secret.c falls back to. Locked alone is no arena."""
    arena = search(LOCKED.format(advice="mmap.MADV_DONTDUMP", more="arena.madvise(mmap.MADV_DONTFORK)"), SECRET)
    assert "raw" in {form for _, _, form in arena.in_arena} and "raw" not in {form for _, _, form in arena.found}
    assert "raw" in found_in(LOCKED.format(advice="mmap.MADV_DONTDUMP", more=""), SECRET)


def test_base64_cores_are_in_every_text():
    for before in range(12):
        for after in range(5):
            text = memscan.base64.b64encode(b"a" * before + SECRET + b"z" * after)
            assert any(core in text for core in memscan.base64_cores(SECRET))


@pytest.mark.parametrize("name, flags, arena", [
    ("", "rd wr mr mw me dc lo dd", True),
    ("", "rd wr mr mw me lo dd", False),
    ("/secretmem (deleted)", "rd wr sh mr mw ms lo dc dd", True),
    ("/secretmem (deleted)", "rd wr sh mr mw ms dc dd", True),  # Linux 6.12
])
def test_what_an_arena_is_known_by(monkeypatch, name, flags, arena):
    smaps = f"7fff90bf4000-7fff90bf8000 rw-s 00000000 00:0c 24  {name}\nSize: 16 kB\nVmFlags: {flags} \n"
    monkeypatch.setattr(memscan, "open", lambda *_args, **_more: io.StringIO(smaps), raising=False)
    assert list(memscan.mappings(1)) == [(0x7fff90bf4000, 0x7fff90bf8000, "rw-s", name, arena)]
