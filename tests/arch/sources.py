# SPDX-License-Identifier: Apache-2.0
"""The tree as the architecture tests see it: C files by folder, their code without comments and strings."""
import functools
import os
import re

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("BULKHEAD_BUILD", "build/release")
FOLDERS = ["proto", "common", "router", "authd", "keyvault", "auditd", "classifier", "cli"]


@functools.cache
def files(*folders, suffixes=(".c", ".h")):
    """Paths relative to the root, sorted."""
    found = []
    for folder in folders or FOLDERS:
        for where, _, names in os.walk(os.path.join(ROOT, folder)):
            found += [os.path.relpath(os.path.join(where, n), ROOT) for n in names if n.endswith(suffixes)]
    return sorted(found)


@functools.cache
def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


@functools.cache
def code(path):
    """The text with comments and the insides of literals blanked; line numbers stay."""
    literal_or_comment = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(literal_or_comment, blank, text(path), flags=re.S)


def is_test(path):
    return path.endswith("_test.c") or path.startswith("tests/")
