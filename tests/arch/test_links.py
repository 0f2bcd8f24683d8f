# SPDX-License-Identifier: Apache-2.0
"""What each program is linked with, against a table: a library in a process is code that a captured peer can reach."""
import os
import re
import subprocess

import pytest

from sources import BUILD, ROOT

BASE = {"c", "uv"}
ALLOWED = {
    "router": BASE | {"llhttp", "msgpack", "sodium"},
    "authd": BASE | {"msgpack", "sodium", "nettle", "sqlite3"},
    "keyvault": BASE | {"msgpack", "sodium", "nettle"},
    "keyvault-egress": BASE | {"msgpack", "sodium", "nettle", "ssl", "crypto", "llhttp"},
    "keyvault-dialer": BASE | {"msgpack", "cares"},
    "auditd": BASE | {"msgpack", "sodium", "nettle"},
    "audit-shipper": BASE | {"msgpack", "sodium", "nettle", "pq", "curl", "ssl", "crypto", "cares"},
    "classifier": BASE | {"msgpack", "hs"},
    "bulkhead": BASE | {"msgpack", "sodium", "nettle", "yaml-0", "jansson"},
}
# The C++ runtime comes with Vectorscan, the C runtime's helpers with the compiler.
RUNTIME = {"classifier": {"stdc++", "m", "gcc_s"}}


def needed(program):
    out = subprocess.run(["readelf", "-dW", program], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"\(NEEDED\).*\[(?:lib)?([^\]]+?)\.so", out)
    return {re.sub(r"^msgpack(-c|c)?$", "msgpack", n) for n in names if not n.startswith("ld-linux")}


@pytest.mark.parametrize("program", ALLOWED)
def test_links_what_its_job_needs(program):
    path = os.path.join(ROOT, BUILD, "bin", program)
    allowed = ALLOWED[program] | RUNTIME.get(program, set())
    assert needed(path) <= allowed


@pytest.mark.parametrize("program", ALLOWED)
def test_hardened(program):
    path = os.path.join(ROOT, BUILD, "bin", program)
    out = subprocess.run(["readelf", "-hldW", path], capture_output=True, text=True, check=True).stdout
    assert "DYN (" in out, "position-independent"
    assert "GNU_RELRO" in out and re.search(r"\(FLAGS_1\).*\bNOW\b", out), "full RELRO"
    assert re.search(r"GNU_STACK.*RW ", out), "stack not executable"
    symbols = subprocess.run(["readelf", "--dyn-syms", "-W", path], capture_output=True, text=True, check=True).stdout
    assert "__stack_chk_fail" in symbols
    assert not re.search(r"\b(fork|vfork|execve|execvp|system|popen|posix_spawn|dlopen)@", symbols) or program == "bulkhead"
