#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The pages that are printed from tables: `generated.py BUILD write` writes them, `make check` compares them."""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
ROLES = ["ROUTER", "AUTHD", "KEYVAULT", "EGRESS", "DIALER", "AUDITD", "CLASSIFIER", "SHIPPER"]

SANDBOX_HEAD = """# System calls that each daemon keeps

Printed from common/sandbox.def by `make docs`. Everything that is not in a daemon's column kills it. Rows for one call are
alternatives; several conditions in a row must all hold. Argument numbers count from 0.

"""


def sandbox():
    with open(os.path.join(ROOT, "common/sandbox.def"), encoding="utf-8") as f:
        rows = re.findall(r"^(?:CALL|X86)\((\w+), ([A-Z |]+?)(?:, (.*))?\)$", f.read(), re.M)
    lines = ["| call | condition | " + " | ".join(r.lower() for r in ROLES) + " |", "|---|---|" + "---|" * len(ROLES)]
    counts = {role: set() for role in ROLES}
    for name, who, conditions in rows:
        roles = ROLES if who == "ALL" else who.split(" | ")
        for role in roles:
            counts[role].add(name)
        marks = " | ".join("x" if role in roles else " " for role in ROLES)
        lines.append(f"| {name} | {conditions.replace('|', chr(92) + '|') if conditions else ''} | {marks} |")
    lines.append("| **calls on x86-64** | | " + " | ".join(str(len(counts[role])) for role in ROLES) + " |")
    return SANDBOX_HEAD + "\n".join(lines) + "\n"


def output(build, *argv):
    return subprocess.run([os.path.join(ROOT, build, "bin", argv[0]), *argv[1:]], capture_output=True, text=True, check=True).stdout


def pages(build):
    return {
        "docs/PROTOCOL.md": output(build, "docgen", "protocol"),
        "docs/REASONS.md": output(build, "docgen", "reasons"),
        "docs/EVENTS.md": output(build, "docgen", "events"),
        "docs/CONFIG.md": output(build, "bulkhead", "config", "show", "--markdown"),
        "docs/bulkhead.1": output(build, "bulkhead", "help", "--man"),
        "packaging/bulkhead.bash": output(build, "bulkhead", "help", "--completion"),
        "packaging/bulkhead.yaml": output(build, "bulkhead", "config", "show", "--example"),
        "docs/SANDBOX.md": sandbox(),
    }


if __name__ == "__main__":
    for path, text in pages(sys.argv[1]).items():
        with open(os.path.join(ROOT, path), "w", encoding="utf-8") as out:
            out.write(text)
        print(path)
