# SPDX-License-Identifier: Apache-2.0
"""Where the kernel lacks what the daemons can do without, as Debian 12's does in part: the same service, and a word about what it is worth."""
import json
import os
import shutil

import pytest

import memscan
from capabilities import sees_others
from gateway import BUILD, INSTRUMENTED

pytestmark = pytest.mark.skipif(INSTRUMENTED, reason="instrumented builds have no sandbox, and keep freed memory")


@pytest.fixture(scope="module")
def gateway(new_gateway):
    return new_gateway(workers=1, prefix=[os.path.join(BUILD, "older_kernel")])


def test_it_serves_and_says_what_confines_it(gateway):
    assert gateway.chat("gpt-x").status == 200
    said = {e["daemon"]: e["confinement"] for e in map(json.loads, filter(lambda line: '"daemon.confined"' in line, gateway.log().splitlines()))}
    assert len(said) >= 7
    for daemon, words in said.items():
        assert "seccomp(" in words and "no-landlock no-dump no-mdwe" in words, daemon
    for daemon in ("keyvault", "egress", "authd"):
        assert "arena(mlock+mprotect)" in said[daemon]
    assert "mlock+mprotect" in gateway.cli("vault", "status").stdout.decode()


@sees_others
def test_the_key_is_in_the_arena_alone(gateway):
    """Where root can read it now, and nobody else."""
    report = memscan.scan(gateway.pids(), gateway.provider.key.encode())
    assert not report.found and {gateway.pids()[pid] for pid, _, _ in report.in_arena} == {"egress"}


@sees_others
@pytest.mark.skipif(not shutil.which("gcore"), reason="needs gdb")
def test_a_core_holds_no_key(gateway, tmp_path):
    """Its pages are marked as not to be dumped."""
    victim, = gateway.pids("egress")
    done = memscan.write_core(victim, str(tmp_path / "core"), everything=False)
    data = (tmp_path / f"core.{victim}").read_bytes()
    assert b"upstream.test" in data, done.stderr
    assert not [name for name, form in memscan.forms(gateway.provider.key.encode()).items() if form in data]
