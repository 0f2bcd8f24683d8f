# SPDX-License-Identifier: Apache-2.0
"""A command of `bulkhead` on a terminal, and somebody who types when asked."""
import os
import pty
import subprocess
import termios
import time

from gateway import BUILD, wait_for

BULKHEAD = os.path.join(BUILD, "bin", "bulkhead")


class Terminal:
    """A command whose standard streams are a terminal, and somebody who types when asked."""

    def __init__(self, gateway, *args):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave, self.shown = slave, b""
        # It is the command's own: what Ctrl-C does there, it does here.
        self.process = subprocess.Popen(["setsid", "--ctty", BULKHEAD, *args, "-c", gateway.config], stdin=slave, stdout=slave,
                                        stderr=slave)

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
