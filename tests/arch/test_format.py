# SPDX-License-Identifier: Apache-2.0
"""clang-format decides about layout. Its versions disagree with each other, so only the one that was used may judge."""
import subprocess

import pytest

from sources import ROOT, files

FORMAT_VERSION = "14."


def test_laid_out_by_clang_format():
    version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=True).stdout
    if f"version {FORMAT_VERSION}" not in version:
        pytest.skip(f"laid out by clang-format {FORMAT_VERSION}x, here is {version.strip()}")
    out = subprocess.run(["clang-format", "--dry-run", *files(), *files("tests", suffixes=(".c", ".h"))], cwd=ROOT,
                         capture_output=True, text=True, check=True).stderr
    bad = sorted({line.split(":")[0] for line in out.split("\n") if "clang-format-violations" in line})
    assert not bad, "run `make format`: " + " ".join(bad)
