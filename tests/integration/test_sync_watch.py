# SPDX-License-Identifier: Apache-2.0
"""`bulkhead vault sync --watch`: what takes keys from mounted files where no `up` does, for it runs in a container of its own."""
import contextlib
import json
import os
import select
import signal
import subprocess
import time

import pytest

from gateway import SLOWER, Gateway, Provider, halt, scratch, wait_for
from mounted import Secret


class Watcher:
    """The command, and what it has said."""

    def __init__(self, gateway, config, *args):
        self.data, self.said = b"", []
        self.process = subprocess.Popen([gateway.program, "vault", "sync", "--watch", "-c", config, *args], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=gateway.folder)

    def lines(self):
        """All of them by now. It says each at once."""
        fd = self.process.stdout.fileno()
        while select.select([fd], [], [], 0)[0] and (part := os.read(fd, 65536)):
            self.data += part
        *whole, self.data = self.data.split(b"\n")
        self.said += [line.decode() for line in whole]
        return self.said

    def hears(self, begin, after=0, seconds=20):
        """How many lines there were when one began so, counting from a line."""
        wait_for(f"the line {begin!r}", lambda: any(line.startswith(begin) for line in self.lines()[after:]), seconds)
        return next(i for i, line in enumerate(self.said) if i >= after and line.startswith(begin)) + 1

    def ends(self, number=signal.SIGTERM):
        """Its exit code, and what it said on standard error."""
        self.process.send_signal(number)
        code = self.process.wait(20 * SLOWER)
        self.lines()
        told = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, told


@contextlib.contextmanager
def watching(world, *args):
    gateway, secret, config = world
    watcher = Watcher(gateway, config, *args)
    try:
        yield watcher, gateway, secret
    except BaseException:
        print("it said", watcher.lines())
        raise
    finally:
        if watcher.process.poll() is None:
            assert watcher.ends() == (0, ""), watcher.said


@pytest.fixture(scope="module", name="world")
def a_gateway_that_watches_nothing():
    """The daemons know of no key_file; the command's configuration has it."""
    with scratch() as folder, Provider(folder) as provider:
        secret = Secret(os.path.join(folder, "secret"))
        gateway = Gateway(folder, provider)
        gateway.providers = gateway.all_providers()[:2]
        config = os.path.join(folder, "watch.yaml")
        with gateway:
            usual, gateway.config = gateway.config, config
            gateway.providers = [{**gateway.providers[0], "key_file": secret.path}, gateway.providers[1]]
            gateway.write_config()
            gateway.config = usual
            gateway.open_vault()
            gateway.key = gateway.make_key()["key"]
            secret.write(provider.key.encode() + b"\n")
            yield gateway, secret, config


def put_right(watcher, gateway, secret):
    """For the next test: the good key is stored, and used."""
    at = len(watcher.lines())
    secret.write(gateway.provider.key.encode())
    watcher.hears('{"credential"' if watcher.said[0][0] == "{" else "Sealed the key of local", at)
    wait_for("the right key to be used", lambda: gateway.chat("gpt-x").status == 200)


def version(gateway):
    listed = gateway.cli_json("vault", "list")
    return listed[0]["version"] if listed else 0


def test_each_change_is_a_line(world):
    with watching(world) as (watcher, gateway, secret):
        assert watcher.hears("Watching 1 file.") == 1
        at = watcher.hears("Sealed the key of local (version 1)")
        wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
        secret.write(b"sk-rotated-and-wrong")
        at = watcher.hears("Sealed the key of local (version 2)", at)
        wait_for("the new key to be used", lambda: gateway.chat("gpt-x").status == 401)
        secret.write(gateway.provider.key.encode())
        at = watcher.hears("Sealed the key of local (version 3)", at)
        wait_for("the right key again", lambda: gateway.chat("gpt-x").status == 200)
        secret.write(gateway.provider.key.encode() + b"\n")  # the same
        secret.write(b"two\nlines")
        at = watcher.hears("The key of local stays as it was: ", at)
        secret.write(b"", 0o400)
        at = watcher.hears("The key of local stays as it was: ", at)
        assert "empty" in watcher.said[-1]
        assert len(watcher.said) == at == 6, watcher.said
        assert version(gateway) == 3 and gateway.chat("gpt-x").status == 200
        secret.write(gateway.provider.key.encode())


def test_what_is_in_force_makes_no_line(world):
    """A start of the container, with the key that was sealed before."""
    with watching(world, "local") as (watcher, gateway, secret):
        watcher.hears("Watching 1 file.")
        os.rename(secret.path, secret.path + ".away")
        watcher.hears("The key of local stays as it was: ")
        os.rename(secret.path + ".away", secret.path)
        assert len(watcher.lines()) == 2 and version(gateway) == 3


def test_a_hundred_swaps_end_with_the_last(world):
    with watching(world) as (watcher, gateway, secret):
        watcher.hears("Watching")
        gateway.provider.change_key("sk-the-last-of-a-hundred")  # so that what was in force before is none of them
        for i in range(100):
            secret.write(b"sk-number-%d" % i)
            time.sleep(0.01)
        secret.write(gateway.provider.key.encode())
        wait_for("the last one", lambda: gateway.chat("gpt-x").status == 200)
        before = version(gateway)
        secret.write(b"sk-wrong-once-more")
        watcher.hears(f"Sealed the key of local (version {before + 1})")
        secret.write(gateway.provider.key.encode())
        watcher.hears(f"Sealed the key of local (version {before + 2})")


def test_json(world):
    with watching(world, "--json") as (watcher, gateway, secret):
        watcher.hears("{")
        at, before = 1, version(gateway)
        for data, key in ((b"sk-wrong", None), (b"", "kept"), (gateway.provider.key.encode(), None)):
            secret.write(data)
            at = watcher.hears('{"credential"', at)
            told = json.loads(watcher.said[at - 1])
            assert told["credential"] == "local" and (key or "version") in told
        assert json.loads(watcher.said[0]) == {"watching": ["local"]}
        assert version(gateway) == before + 2


def test_a_sealed_vault_is_waited_for(world):
    with watching(world) as (watcher, gateway, secret):
        watcher.hears("Watching")
        gateway.cli("vault", "seal")
        secret.write(b"sk-while-sealed")
        at = watcher.hears("Waits: the vault is sealed")
        gateway.cli("vault", "unseal")
        at = watcher.hears("Goes on.", at)
        watcher.hears("Sealed the key of local", at)
        assert len(watcher.said) == 4, "each is said once"
        put_right(watcher, gateway, secret)


@pytest.mark.parametrize("daemon", ["keyvault", "authd"])
def test_a_daemon_that_hangs_and_dies_is_waited_for(world, daemon):
    with watching(world) as (watcher, gateway, secret):
        watcher.hears("Watching")
        pid = gateway.pids(daemon)[0]
        halt(pid)
        secret.write(b"sk-while-away")
        at = watcher.hears(f"Waits: {daemon} ", seconds=40)
        os.kill(pid, signal.SIGKILL)
        at = watcher.hears("Goes on.", at, seconds=40)
        watcher.hears("Sealed the key of local", at)
        put_right(watcher, gateway, secret)


def test_all_of_them_are_started_again(world):
    """Their sockets go, too."""
    with watching(world) as (watcher, gateway, secret):
        watcher.hears("Watching")
        before = version(gateway)
        gateway.stop()
        secret.write(b"sk-while-down")
        at = watcher.hears("Waits: keyvault ")
        gateway.start()
        at = watcher.hears("Goes on.", at, seconds=40)
        watcher.hears(f"Sealed the key of local (version {before + 1})", at)
        put_right(watcher, gateway, secret)


def test_a_log_that_is_away(world):
    """No key is sealed without its record: it stays, and is taken when the log is back."""
    with watching(world) as (watcher, gateway, secret):
        watcher.hears("Watching")
        before = version(gateway)
        pid = gateway.pids("auditd")[0]
        halt(pid)
        secret.write(b"sk-unrecorded")
        at = watcher.hears("The key of local stays as it was: ", seconds=40)
        assert version(gateway) == before
        os.kill(pid, signal.SIGCONT)
        watcher.hears("Sealed the key of local", at, seconds=40)
        put_right(watcher, gateway, secret)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_to(world, number):
    with watching(world) as (watcher, _, _secret):
        watcher.hears("Watching")
        assert watcher.ends(number) == (0, "")


def test_nothing_to_watch(world):
    gateway, _, config = world
    for args in (["local", "-c", gateway.config], ["wrong-name", "-c", config]):
        done = subprocess.run([gateway.program, "vault", "sync", "--watch", *args], capture_output=True, timeout=20, check=False)
        assert done.returncode == 1 and b"no such provider has a key_file" in done.stderr
