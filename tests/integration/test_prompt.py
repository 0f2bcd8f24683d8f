# SPDX-License-Identifier: Apache-2.0
"""Secrets typed at a terminal: not shown, asked for twice when new, and Ctrl-C leaves the terminal as it was."""
import os
import pty
import subprocess
import termios
import time

import pytest

from gateway import BUILD, Gateway, scratch, wait_for

BULKHEAD = os.path.join(BUILD, "bin", "bulkhead")


@pytest.fixture(scope="module", name="fresh")
def fixture_fresh():
    with scratch() as folder, Gateway(folder, providers=[{"name": "local", "base_url": "https://upstream.test/v1"}],
                                      settings={"keyvault": {"unseal": "passphrase"}}) as gateway:
        yield gateway


class Terminal:
    """A command whose standard streams are a terminal, and somebody who types when asked."""

    def __init__(self, gateway, *args):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave, self.shown = slave, b""
        self.process = subprocess.Popen([BULKHEAD, *args, "-c", gateway.config], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True)

    def wait_for(self, text):
        deadline = time.monotonic() + 20
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            self.shown += os.read(self.master, 4096)

    def wait_until_mute(self):
        """What is typed before the echo is off is thrown away, as it should be."""
        wait_for("the echo to be off", lambda: not termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def type(self, keys):
        os.write(self.master, keys)

    def end(self):
        code = self.process.wait(60)
        os.set_blocking(self.master, False)
        try:
            self.shown += os.read(self.master, 65536)
        except BlockingIOError:
            pass
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return code


def answer(gateway, args, *typed):
    """Types each text when the next prompt has come."""
    terminal = Terminal(gateway, *args)
    for prompt, keys in typed:
        terminal.wait_for(prompt)
        terminal.wait_until_mute()
        terminal.type(keys)
    return terminal.end(), terminal.shown


def test_two_that_differ(fresh):
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", b"one secret\r"), (b"Once more", b"another secret\r"))
    assert code == 1 and b"differ; nothing was done" in shown and b"secret" not in shown
    assert fresh.cli_json("vault", "status")["state"] == "uninitialised"


@pytest.mark.parametrize("keys", [b"half\x03", b"\x03"])
def test_ctrl_c(fresh, keys):
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", keys))
    assert code == 1 and b"cancelled" in shown.lower() or b"canceled" in shown.lower()


def test_nothing_typed(fresh):
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", b"\r"))
    assert code == 1 and b"is empty; nothing was done" in shown


def test_typed_with_corrections(fresh):
    keys = b"wrong\x15correct horsee\x7f battery staple\r"
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", keys), (b"Once more", b"correct horse battery staple\r"))
    assert code == 0, shown
    assert b"horse" not in shown
    fresh.cli("vault", "seal")
    fresh.cli("vault", "unseal", stdin=b"correct horse battery staple\n")


def test_provider_key(fresh):
    code, shown = answer(fresh, ["vault", "add", "local"], (b"Provider key", b"sk-typed\r"))
    assert code == 0 and b"sk-typed" not in shown
