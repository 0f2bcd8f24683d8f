# SPDX-License-Identifier: Apache-2.0
"""Limits that hang together in different tables."""
import re

from sources import text

WORKERS = {"ROUTER", "EGRESS", "CLASSIFIER"}


def one(pattern, path):
    (number,) = re.findall(pattern, text(path), re.M)
    return int(number)


def peers_of(role, workers):
    """How many connections the busiest instance of a role has, the operator's apart."""
    n = 0
    for server, client, pairing in re.findall(r"^EDGE\((\w+), (\w+), (\w+),", text("proto/edges.def"), re.M):
        if client != "CLI" and role in (server, client):
            other = client if role == server else server
            n += workers if pairing == "ALL" and other in WORKERS else 1
    return n


def test_status_has_room_for_all_peers():
    """With as many workers as can be configured."""
    workers = one(r'F\(workers, U64, "\d+", \d+, (\d+),', "common/config.def")
    most = max(peers_of(role, workers) for role in re.findall(r"^ROLE\((\w+),", text("proto/roles.def"), re.M))
    assert most > workers
    assert one(r"L\(peer_status, peers, (\d+),", "proto/messages.def") >= most
    assert one(r"^#define ADMIN_PEERS_MAX (\d+)", "common/ipc_admin.c") >= most
