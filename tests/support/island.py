# SPDX-License-Identifier: Apache-2.0
"""A network of its own: a namespace whose loopback has any address that a test wants, public ones among them. Nothing leaves it.

    with Island(["198.41.0.4", "10.1.2.3"]) as island:
        server = island.run(make_server)      # sockets and processes made there live there
"""
import concurrent.futures
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(addresses):
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for command in ["link set lo up"] + [f"addr add {a}/{128 if ':' in a else 32} dev lo" for a in addresses]:
        subprocess.run(["ip", *command.split()], check=True)


class Island:
    """One thread lives there; its children, and what it opens, do as well."""

    def __init__(self, addresses):
        self.pool = concurrent.futures.ThreadPoolExecutor(1, initializer=enter, initargs=(addresses,))

    def run(self, function, *args, **named):
        return self.pool.submit(function, *args, **named).result()

    def __enter__(self):
        self.run(os.getpid)
        return self

    def __exit__(self, *_):
        self.pool.shutdown()
