# SPDX-License-Identifier: Apache-2.0
"""Files of 500 lines, headers of 120, functions of 60, lines of 120 columns: hard limits; good code stays far below."""
import re

from sources import files, is_test, text

FILE_LINES_MAX = 500
HEADER_LINES_MAX = 120
FUNCTION_LINES_MAX = 60
COLUMNS_MAX = 120
TABLE_COLUMNS_MAX = 160  # rows of .def tables and other lines that are laid out by hand

# Headers that say more than a table of contents, and how long each may be.
HEADER_EXCEPTIONS = {"proto/proto.h": 150, "common/ipc_internal.h": 150}


def functions(path):
    """(name, lines) of every function: a brace in column 0 opens and closes it."""
    lines = text(path).split("\n")
    begin = None
    for i, line in enumerate(lines):
        if line == "{":
            begin = i
        elif line == "}" and begin is not None:
            head = " ".join(lines[max(0, begin - 3):begin])
            names = re.findall(r"(\w+)\(", head)
            yield (names[0] if names else f"line {begin}"), i - begin - 1
            begin = None


def test_files():
    bad = [f"{p}: {n} lines" for p in files() for n in [text(p).count("\n")]
           if n > (HEADER_EXCEPTIONS.get(p, HEADER_LINES_MAX) if p.endswith(".h") else FILE_LINES_MAX)]
    assert not bad, "\n".join(bad)


def test_functions():
    bad = [f"{p}: {name}: {n} lines" for p in files() for name, n in functions(p)
           if n > FUNCTION_LINES_MAX and not (is_test(p) and name == "main")]
    assert not bad, "\n".join(bad)


def test_columns():
    bad = [f"{p}:{i}" for p in files() for i, line in enumerate(text(p).split("\n"), 1)
           if len(line.expandtabs(8)) > (TABLE_COLUMNS_MAX if re.search(r"[\"{]", line) else COLUMNS_MAX)]
    assert not bad, "\n".join(bad)


def test_every_file_names_its_licence():
    bad = [p for p in files(suffixes=(".c", ".h", ".def")) if "SPDX-License-Identifier: Apache-2.0" not in text(p)[:60]]
    assert not bad, "\n".join(bad)
