# SPDX-License-Identifier: Apache-2.0
"""packaging/bulkhead.service is one that systemd understands, with either way of giving it the root key."""
import os
import shutil
import subprocess

import pytest

from sources import ROOT


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
