# SPDX-License-Identifier: Apache-2.0
"""Pages printed from tables say what the tables say."""
import os

from generated import pages
from sources import BUILD, ROOT


def test_generated_pages_are_up_to_date():
    stale = []
    for path, text in pages(BUILD).items():
        full = os.path.join(ROOT, path)
        if not os.path.exists(full) or open(full, encoding="utf-8").read() != text:  # pylint: disable=consider-using-with
            stale.append(path)
    assert not stale, "run `make docs`: " + " ".join(stale)
