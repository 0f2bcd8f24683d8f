# SPDX-License-Identifier: Apache-2.0
"""Fixtures for everything under tests/: a gateway shared by the tests of a module, and a factory for those that need their own."""
import contextlib
import os
import re
import signal
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from gateway import PASSPHRASE, Gateway, Provider, SLOWER, scratch, wait_for  # noqa: E402  pylint: disable=wrong-import-position
from schemes import started  # noqa: E402  pylint: disable=wrong-import-position

TEST_SECONDS_MAX = 120
# The files that take longest, of those that are run side by side: one of them begun last would be waited for by itself.
LONGEST = ["chaos", "captured_egress", "rotation", "witnesses", "two_verifiers", "killed", "auth", "lives", "sync_watch", "sources", "retention",
           "custody", "residue", "receipts", "captured_tally", "captured_server", "mirror_down", "captured", "syscalls", "unseal"]


def place(item):
    name = item.path.stem.removeprefix("test_")
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def pytest_collection_modifyitems(items):
    items.sort(key=place)  # otherwise as they were


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """No test, set-up included, may hang."""
    marker = item.get_closest_marker("seconds")
    seconds = (marker.args[0] if marker else TEST_SECONDS_MAX) * SLOWER

    def too_late(*_):
        pytest.fail(f"took more than {seconds} s", pytrace=True)

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# What a shell may hold for other programs' clients and libraries: nothing here is asked through a proxy, or as somebody else.
STEERS_CLIENTS = re.compile(r"(.*_proxy|(PG|OPENAI_|ANTHROPIC_|NODE_|SSL_CERT_|GIT_).*)$", re.IGNORECASE)


def pytest_configure(config):
    for name in filter(STEERS_CLIENTS.match, list(os.environ)):
        del os.environ[name]
    # Under nohup, or behind a shell's &, these are ignored, and would be by every program that a test starts and signals.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # for some CI runners start programs from a thread that blocks them
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "seconds(n): a limit of its own for a long test")


@pytest.fixture(scope="module")
def new_gateway():
    """A function that starts a prepared gateway with settings of its own; all end with the module."""
    with contextlib.ExitStack() as stack:

        def start(prepare=True, **settings):
            folder = stack.enter_context(scratch())
            provider = stack.enter_context(Provider(folder))
            gateway = stack.enter_context(Gateway(folder, provider, **settings))
            return gateway.prepare() if prepare else gateway

        yield start


@pytest.fixture(scope="module")
def gateway(new_gateway):
    return new_gateway()


@pytest.fixture(scope="module")
def guarded(new_gateway):
    """Opened by a passphrase."""
    gateway = new_gateway(prepare=False, settings={"keyvault": {"unseal": "passphrase"}})
    gateway.cli("vault", "init", stdin=PASSPHRASE)
    gateway.add_key()
    gateway.key = gateway.make_key()["key"]
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    return gateway


@pytest.fixture
def provider(gateway):
    gateway.provider.reset()
    return gateway.provider


@pytest.fixture(scope="module", name="shared_auth")
def started_auth():
    with started(workers=2) as running:
        yield running


@pytest.fixture
def auth(shared_auth):
    """A gateway with a provider for each scheme of tests/support/schemes.py, as if nothing had happened yet."""
    shared_auth.begin()
    return shared_auth
