# SPDX-License-Identifier: Apache-2.0
"""What these tests may do beyond an ordinary user; root in a container may less than root."""
import pytest


def status(field):
    with open("/proc/self/status", encoding="ascii") as f:
        return next(line.split()[1] for line in f if line.startswith(field + ":"))


CAPABILITIES = int(status("CapEff"), 16)  # capabilities(7)
SEES_OTHERS = bool(CAPABILITIES >> 19 & 1)
NAMESPACES = bool(CAPABILITIES >> 21 & 1)
FILTERED = status("Seccomp") == "2"  # as in a container
sees_others = pytest.mark.skipif(not SEES_OTHERS, reason="looks into other users' processes: needs root and CAP_SYS_PTRACE")
namespaces = pytest.mark.skipif(not NAMESPACES, reason="a namespace of its own: needs root and CAP_SYS_ADMIN")
