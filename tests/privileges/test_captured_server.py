# SPDX-License-Identifier: Apache-2.0
"""The other end of each edge is captured: a server says what it must not to the daemon that has connected to it."""
import contextlib
import os
import random
import signal
import socket
import struct

import pytest

from gateway import SLOWER, wait_for
from ipc import Peer, ROLES, role_of, worker_of
from test_captured import EDGES, lies, wrong_direction

SAMPLE = 3  # of each kind: whoever is told nonsense comes back ever later, up to 2 s


@pytest.fixture(scope="module")
def gateway(new_gateway):
    return new_gateway(workers=1, settings={"restart_pause_ms": 100})


class Server(Peer):
    """A connection to an edge, from the server's side."""

    def __init__(self, gateway, listener, server, client, **other):  # pylint: disable=super-init-not-called
        self.server, self.client, self.buffer = server, client, b""
        self.socket, _ = listener.accept()
        self.socket.settimeout(10 * SLOWER)
        self.send("HELLO", 0, **{"role": ROLES.index(role_of(server)), "worker": worker_of(server), "boot": os.urandom(16), "build": "captured",
                                 "schema": int(gateway.cli_json("version")["schema"], 16), **other})


@contextlib.contextmanager
def in_place_of_server(gateway, server, client):
    """A listener where the launcher looks for the edge's, which has its own back in the end."""
    path = os.path.join(gateway.run_dir, f"{server}.{client}.sock")
    own = os.stat(path)
    os.rename(path, path + ".own")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.settimeout(20 * SLOWER)
        listener.bind(path)
        os.chmod(path, 0o660)
        os.chown(path, own.st_uid, own.st_gid)
        listener.listen()
        for pid in gateway.pids(role_of(server)):
            os.kill(pid, signal.SIGKILL)
        try:
            yield listener
        finally:
            os.rename(path + ".own", path)


@pytest.mark.parametrize("server, client", EDGES)
def test_lies_of_a_server_are_hung_up_on(gateway, server, client):
    """A captured classifier cannot even say REPLY_HEAD to its router; the daemon that hears it lives and asks the launcher for another."""
    before = gateway.pids(role_of(client))
    draw = random.Random(f"{server} {client}")
    told = [case for all_of_them in (wrong_direction(client, server), lies(client, server))
            for case in draw.sample(sorted(all_of_them), SAMPLE)]
    if server == "classifier0":
        told += [case for case in wrong_direction(client, server) if case[0] == "REPLY_HEAD"]
    with in_place_of_server(gateway, server, client) as listener:
        for what, body in told:
            with Server(gateway, listener, server, client) as peer:
                peer.expect("HELLO")
                with contextlib.suppress(ConnectionError):
                    peer.send_body(body)
                assert peer.hung_up(), what
        with Server(gateway, listener, server, client) as peer:
            with contextlib.suppress(ConnectionError):
                peer.socket.sendall(draw.choice([bytes(4), struct.pack(">I", 1 << 24)]))
            assert peer.hung_up(), "a frame of no length, or of any"
        other = draw.choice([{"role": (ROLES.index(role_of(server)) + 1) % 7}, {"schema": 1}])
        with Server(gateway, listener, server, client, **other) as peer:
            assert peer.hung_up(), other
        assert gateway.pids(role_of(client)) == before
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200, 30)
    wait_for("all of them", lambda: all(d["ready"] for d in gateway.status_anyway()), 30)
    assert gateway.pids(role_of(client)) == before
    assert "SIGABRT" not in gateway.log() and "SIGSEGV" not in gateway.log() and "SIGSYS" not in gateway.log()
