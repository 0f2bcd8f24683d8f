# SPDX-License-Identifier: Apache-2.0
"""Calls that this code base does without."""
import re

import pytest

from sources import code, files, is_test, text

# Pattern -> the files where it is right.
BANNED = {
    r"\b(strcpy|strcat|sprintf|vsprintf|strtok|alloca|gets|atoi|atol|rand|system|popen|tmpnam)\s*\(": r"$^",
    r"\b(strncpy|strncat|strtok_r|setjmp|longjmp)\s*\(": r"$^",
    r"\b(memcmp|bcmp)\s*\(": r"common/base\.h|authd/token\.c",
    r"\b(printf|vprintf|puts|putchar|perror)\s*\(": r"cli/.*",
    r"\bfprintf\s*\(": r"cli/.*|common/err\.c",
    r"\bgoto\b": r"$^",
    r"\b(getenv|setenv|secure_getenv)\s*\(": r"cli/.*|common/daemon.*\.c",
    r"\bpthread_create\s*\(": r"$^",
    r"\b(usleep|sleep|nanosleep)\s*\(": r"$^",
}


@pytest.mark.parametrize("pattern", BANNED)
def test_not_called(pattern):
    bad = []
    for path in files():
        if is_test(path) or re.fullmatch(BANNED[pattern], path):
            continue
        for found in re.finditer(pattern, code(path)):
            bad.append(f"{path}:{code(path).count(chr(10), 0, found.start()) + 1}: {found.group(0)}")
    assert not bad, "\n".join(bad)


def test_no_leftovers():
    word = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    bad = [p for p in files() + files("tests", "bench", suffixes=(".c", ".h", ".py", ".mjs", ".sh")) if word.search(text(p))
           and not p.endswith("test_banned.py")]
    assert not bad, "\n".join(bad)


def test_conditional_compilation_is_rare():
    lines = sum(text(p).count("\n") for p in files() if not is_test(p))
    conditions = sum(len(re.findall(r"^\s*#\s*if", text(p), re.M)) for p in files() if not is_test(p))
    assert conditions <= max(20, lines // 500)
