# SPDX-License-Identifier: Apache-2.0
"""Pages printed from tables say what the tables say."""
import os
import re

from generated import pages
from sources import BUILD, ROOT


def test_generated_pages_are_up_to_date():
    stale = []
    for path, text in pages(BUILD).items():
        full = os.path.join(ROOT, path)
        if not os.path.exists(full) or open(full, encoding="utf-8").read() != text:  # pylint: disable=consider-using-with
            stale.append(path)
    assert not stale, "run `make docs`: " + " ".join(stale)


def test_threats_name_tests_that_exist():
    """THREATS.md stands or falls with the tests that it names: `file::test`, or `::test` in the file named before it."""
    with open(os.path.join(ROOT, "THREATS.md"), encoding="utf-8") as f:
        named = re.findall(r"`(?:tests/)?((?:[a-z]+/)*[a-z_]*)(?:::(test_[a-z0-9_]+))?`", f.read())
    file, missing, seen = None, [], 0
    for path, test in named:
        if path.endswith("_test") or "/test_" in path:
            found = [p for p in (f"tests/{path}.py", f"{path}.c") if os.path.exists(os.path.join(ROOT, p))]
            file = found[0] if found else None
            missing += [] if found else [path]
        if test and file:
            seen += 1
            with open(os.path.join(ROOT, file), encoding="utf-8") as f:
                missing += [] if f"def {test}(" in f.read() else [f"{file}::{test}"]
    assert seen > 20 and not missing, missing


def test_every_field_that_passes_is_in_the_documents():
    """What a client tells a provider through us, and what it is told: nobody should have to read the code for that."""
    with open(os.path.join(ROOT, "docs/providers.md"), encoding="utf-8") as f:
        said = f.read()
    with open(os.path.join(ROOT, "router/fields.c"), encoding="utf-8") as f:
        up = re.findall(r'F\("([a-z_-]+)"\)', f.read())
    with open(os.path.join(ROOT, "proto/passed.def"), encoding="utf-8") as f:
        down = re.findall(r'^PASSED\("[a-z-]+", "([a-z-]+)"\)', f.read(), re.M)
    assert len(up) > 10 and len(down) > 10
    missing = [name for name in up + down if f"`{name}`" not in said and not name.startswith("x-upstream-ratelimit-")]
    assert not missing, missing
