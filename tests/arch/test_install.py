# SPDX-License-Identifier: Apache-2.0
"""`make install` puts everything where it belongs, and nothing anywhere else."""
import fnmatch
import os
import stat
import subprocess

from sources import BUILD, FOLDERS, ROOT, files


def installed(folder, umask):
    """{path below PREFIX: mode} after `make install`, of what is built already."""
    by_itself = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", "-s", "-o", "all", "install", f"BUILD={os.path.basename(BUILD)}", f"DESTDIR={folder}", "PREFIX=/opt/b"],
                          cwd=ROOT, env=by_itself, umask=umask, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done.stderr
    top = os.path.join(folder, "opt", "b")
    return {os.path.relpath(os.path.join(where, name), top): stat.S_IMODE(os.stat(os.path.join(where, name)).st_mode)
            for where, folders, names in os.walk(top) for name in [*folders, *names]}


def test_into_a_folder_with_a_space_for_everybody_to_read(tmp_path):
    """os.stat() also proves that each link leads to a file."""
    there = set(os.listdir(ROOT))
    modes = installed(str(tmp_path / "a space"), 0o077)
    assert os.listdir(tmp_path) == ["a space"] and set(os.listdir(ROOT)) == there
    assert {"bin/bulkhead", "libexec/bulkhead/router", "share/man/man1/bulkhead.1", "share/doc/bulkhead/docs/service.md",
            "lib/systemd/system/bulkhead.service"} <= set(modes)
    assert set(modes.values()) == {0o755, 0o644}
    with open(tmp_path / "a space/opt/b/lib/systemd/system/bulkhead.service", encoding="ascii") as f:
        assert "\nExecStart=/opt/b/bin/bulkhead up " in f.read()


def let_in(path):
    """By .dockerignore: the last line that fits decides."""
    with open(os.path.join(ROOT, ".dockerignore"), encoding="ascii") as f:
        lines = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    top = path.split("/")[0]
    for line in reversed(lines):
        if fnmatch.fnmatchcase(top, line.removeprefix("!")):
            return line.startswith("!")
    return True


def test_the_image_is_made_of_the_sources_alone():
    """`COPY . .` in Dockerfile: what docs/compose.md has people put beside it would stay in a layer of the build."""
    assert not [p for p in ("key.txt", "passphrase.txt", "bulkhead.yaml", "your.key", "state/keyvault/root.key", ".git/config", "build/x") if let_in(p)]
    sources = files(*FOLDERS, "mk", "docs", "packaging", suffixes=("",)) + [n for n in os.listdir(ROOT) if n.endswith(".md")] + ["LICENSE", "Makefile"]
    assert len(sources) > 500
    assert not [p for p in sources if not let_in(p) and not p.startswith(("tests/", "bench/"))]
