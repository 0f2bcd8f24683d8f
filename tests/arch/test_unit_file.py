# SPDX-License-Identifier: Apache-2.0
"""packaging/bulkhead.service is one that systemd understands, with either way of giving it the root key."""
import json
import os
import re
import shutil
import subprocess

import pytest

from sources import BUILD, ROOT


def test_a_shell_and_the_unit_mean_the_same_folders(tmp_path):
    """A command reads the file and not the unit's environment; what docs/service.md puts into the file is what systemd makes."""
    with open(os.path.join(ROOT, "packaging", "bulkhead.service"), encoding="ascii") as f:
        unit = f.read()
    assert not re.search("^Environment.*BULKHEAD_", unit, re.M)
    with open(os.path.join(ROOT, "docs", "service.md"), encoding="utf-8") as f:
        (tmp_path / "bulkhead.yaml").write_text(re.search("```yaml\n(.*?)```", f.read(), re.S).group(1))
    shown = json.loads(subprocess.run([os.path.join(ROOT, BUILD, "bin", "bulkhead"), "config", "show", "--json", "-c", str(tmp_path / "bulkhead.yaml")],
                                      capture_output=True, check=True).stdout)
    (state,), (run,) = re.findall("^StateDirectory=(.*)$", unit, re.M), re.findall("^RuntimeDirectory=(.*)$", unit, re.M)
    assert (shown["state_dir"], shown["run_dir"]) == (f"/var/lib/{state}", f"/run/{run}")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("credential", ["", "LoadCredential=", "LoadCredentialEncrypted="])
def test_systemd_understands_it(tmp_path, credential):
    with open(os.path.join(ROOT, "packaging", "bulkhead.service"), encoding="ascii") as f:
        text = f.read().replace("/usr/bin/bulkhead", "/bin/true").replace("Documentation=man:bulkhead(1)\n", "")
    if credential:
        assert f"\n#{credential}bulkhead.root:" in text
        text = text.replace(f"\n#{credential}", f"\n{credential}")
    unit = tmp_path / "bulkhead.service"
    unit.write_text(text, encoding="ascii")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "bulkhead" not in done.stderr, done.stderr
