# SPDX-License-Identifier: Apache-2.0
"""No mutable variable at file scope: nothing of ours in .data, .bss or thread storage, but for a reviewed list."""
import os
import re
import subprocess

from sources import BUILD, ROOT, files, is_test

REVIEWED = {
    "auditd/main.c: a.0",  # the one struct of the daemon, inside main()
}


def mutable_symbols(path):
    out = subprocess.run(["objdump", "-t", path], capture_output=True, text=True, check=True).stdout
    for line in out.split("\n"):
        found = re.match(r"^[0-9a-f]+ (.{7}) (\S+)\s+([0-9a-f]+)\s+(?:\.hidden )?(\S+)$", line)
        if found and "O" in found.group(1) and re.match(r"\.(data|bss|tdata|tbss)(\.|$)|\*COM\*", found.group(2)) and \
           not found.group(2).startswith(".data.rel.ro"):
            yield found.group(4)


def test_no_mutable_globals():
    bad, seen = [], 0
    for path in files(suffixes=(".c",)):
        built = os.path.join(ROOT, BUILD, path[:-2] + ".o")
        if is_test(path) or path == "proto/docgen.c" or not os.path.exists(built):
            continue
        seen += 1
        bad += [f"{path}: {name}" for name in mutable_symbols(built) if f"{path}: {name}" not in REVIEWED]
    assert seen > 0
    assert not bad, "\n".join(bad)
