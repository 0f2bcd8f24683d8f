# SPDX-License-Identifier: Apache-2.0
"""What a captured egress can do to the other lanes' access tokens: slow them by one lease, and no more."""
import contextlib
import os
import signal
import threading

import pytest

from gateway import halt, wait_for
from ipc import Peer
from lane import open_exchange, permit
from schemes import started

TOKENS_MAX = 1024  # keyvault/tokens.h
TOKEN_BYTES_MAX = 4096  # TOKEN_PUT


@contextlib.contextmanager
def in_place_of_egress1(auth):
    """Its place at the core. The process itself is stopped, or it would come back and take it."""
    pid = auth.gateway.pid_of("egress", 1)
    halt(pid)
    try:
        with Peer(auth.gateway, "keyvault", "egress1") as peer:
            peer.socket.settimeout(60)
            yield peer
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("both lanes", lambda: all(auth.gateway.chat("gpt-x").status == 200 for _ in range(8)))


@pytest.fixture(name="captured")
def captured_egress(auth):
    with in_place_of_egress1(auth) as peer:
        yield peer


def lane0(auth, name):
    """An exchange through the other lane, as its router makes it: REPLY_HEAD's or BROKEN's fields."""
    with Peer(auth.gateway, "authd", "router0") as authd, Peer(auth.gateway, "egress0", "router0") as egress:
        egress.socket.settimeout(40)
        return open_exchange(auth.gateway, egress, permit(auth.gateway, authd, model=f"{name}:gpt-x")["grant"])[1]


def in_order(peer):
    """The core has handled all that was said before."""
    peer.send("UNSEAL", 77, credential="local")
    peer.expect("UNSEALED", "REFUSED", ident=77)


def hold(peer, credential, lease=5):
    peer.send("TOKEN_HOLD", 0, credential=credential, lease=lease, version=1)


def test_leases_of_credentials_that_are_not(auth, captured):
    """As many as the core keeps: another lane's still has its place."""
    auth.add("client")
    for i in range(TOKENS_MAX + 100):
        hold(captured, f"x{i}")
    in_order(captured)
    assert lane0(auth, "client").get("status") == 200


def taken(peer, credential):
    """The core's answer to a request for a token."""
    peer.send("TOKEN_TAKE", 9, credential=credential, serial=0)
    return peer.expect("TOKEN", "TOKEN_LEASE", "TOKEN_NONE", "REFUSED", ident=9)


def put(peer, credential, lease, token, life_ms=86400000):
    """The core's answer to what came of a lease."""
    peer.send("TOKEN_PUT", 9, credential=credential, lease=lease, version=1, life_ms=life_ms, token=token, secret=b"")
    return peer.expect("TOKEN", "TOKEN_NONE", "REFUSED", ident=9)


@contextlib.contextmanager
def meanwhile(again):
    """Calls it over and over."""
    over = threading.Event()

    def work():
        while not over.wait(0.1):
            again()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.seconds(90)
@pytest.mark.parametrize("name", ["client", "refresh"])
def test_a_lease_that_nobody_gave(auth, captured, name):
    auth.add(name)
    hold(captured, name)
    in_order(captured)
    with meanwhile(lambda: hold(captured, name)):
        assert lane0(auth, name).get("status") == 200


@pytest.mark.seconds(90)
@pytest.mark.parametrize("name", ["client", "refresh"])
def test_a_lease_that_is_not_given_back(auth, captured, name):
    """It ends when it ends, however often it is held anew."""
    auth.add(name)
    kind, given = taken(captured, name)
    assert kind == "TOKEN_LEASE"
    with meanwhile(lambda: hold(captured, name, given["lease"])):
        assert lane0(auth, name).get("status") == 200


@pytest.mark.seconds(90)
def test_a_lease_that_one_comes_back_for(auth, captured):
    """Of a secret that is replaced by use: who has lost his connection with it may be about to report."""
    auth.add("refresh")
    kind, given = taken(captured, "refresh")
    assert kind == "TOKEN_LEASE"

    def again():
        with Peer(auth.gateway, "keyvault", "egress1") as peer:
            hold(peer, "refresh", given["lease"])
            in_order(peer)
    with meanwhile(again):
        assert lane0(auth, "refresh").get("status") == 200


@pytest.mark.seconds(90)
def test_a_token_that_nobody_asked_for(auth, captured):
    """Once no lease of another core can be in force any more, without one nothing is put in place of what others are to use."""
    auth.add("client")
    mine = {"lease": 5, "token": b"mine", "life_ms": 1}

    def refused():
        kind, fields = put(captured, "client", **mine)
        return kind == "REFUSED" and fields["reason"] == "rollback"
    wait_for("the first moment to be over", refused, seconds=30)
    with meanwhile(lambda: put(captured, "client", **mine)):
        assert lane0(auth, "client").get("status") == 200
    assert refused()


def test_connections_leave_the_room_of_everything_else(auth):
    """Each takes room in the core's arena before a word is said: as many as it likes, and the operator and the other lanes are heard."""
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(Peer(auth.gateway, "keyvault", "egress1", hello=False))
        auth.gateway.cli("vault", "status")
        egress0 = auth.gateway.pid_of("egress", 0)
        os.kill(egress0, signal.SIGKILL)
        auth.add("basic")
        wait_for("the other egress", lambda: lane0(auth, "basic").get("status") == 200, seconds=20)
    wait_for("both lanes", lambda: all(auth.gateway.chat("gpt-x").status == 200 for _ in range(8)))


def test_tokens_leave_the_room_of_everything_else():
    """As big as they may be, of each credential, for as long as may be: the core seals, unseals, talks to who comes and keeps others' tokens."""
    with started(workers=2, settings={"keyvault": {"arena_bytes": 65536}}) as auth:
        tenants = [f"t{i}" for i in range(64)]
        for tenant in tenants:
            auth.gateway.cli("vault", "add", "client", "--tenant", tenant, stdin=b"client_secret=x\n")
        with in_place_of_egress1(auth) as captured:
            for tenant in tenants:
                kind, given = taken(captured, f"client@{tenant}")
                assert kind == "TOKEN_LEASE"
                assert put(captured, f"client@{tenant}", given["lease"], token=b"x" * TOKEN_BYTES_MAX)[0] == "TOKEN"
            for name in ("basic", "client", "refresh"):
                auth.add(name)
                assert lane0(auth, name).get("status") == 200
            egress0 = auth.gateway.pid_of("egress", 0)
            os.kill(egress0, signal.SIGKILL)
            wait_for("the other egress", lambda: lane0(auth, "client").get("status") == 200, seconds=30)
