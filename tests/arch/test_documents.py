# SPDX-License-Identifier: Apache-2.0
"""Files of the tree that a program prints: the tree must have what it prints now."""
import os
import subprocess

import pytest

from sources import BUILD, ROOT

PRINTED = {
    "docs/CONFIG.md": ["config", "show", "--markdown"],
    "docs/bulkhead.1": ["help", "--man"],
    "packaging/bulkhead.bash": ["help", "--completion"],
    "packaging/bulkhead.yaml": ["config", "show", "--example"],
}


def bulkhead(*args):
    return subprocess.run([os.path.join(ROOT, BUILD, "bin", "bulkhead"), *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", PRINTED)
def test_is_as_printed(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        assert f.read() == bulkhead(*PRINTED[path]).stdout, f"run: bulkhead {' '.join(PRINTED[path])} > {path}"


def test_example_is_good():
    done = bulkhead("config", "check", "-c", os.path.join(ROOT, "packaging/bulkhead.yaml"))
    assert done.returncode == 0, done.stderr


def test_what_is_shown_is_a_configuration(tmp_path):
    """`config show` of what `config show` printed is the same again."""
    first = bulkhead("config", "show", "-c", os.path.join(ROOT, "packaging/bulkhead.yaml")).stdout
    copy = tmp_path / "bulkhead.yaml"
    copy.write_text(first)
    assert bulkhead("config", "show", "-c", str(copy)).stdout == first


def test_completion_is_bash():
    subprocess.run(["bash", "-n", os.path.join(ROOT, "packaging/bulkhead.bash")], check=True)
