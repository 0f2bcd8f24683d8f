# SPDX-License-Identifier: Apache-2.0
"""What `bulkhead` prints of itself is of use."""
import os
import subprocess

from sources import BUILD, ROOT

def bulkhead(*args):
    return subprocess.run([os.path.join(ROOT, BUILD, "bin", "bulkhead"), *args], capture_output=True, text=True, check=False)


def test_example_is_good():
    done = bulkhead("config", "check", "-c", os.path.join(ROOT, "packaging/bulkhead.yaml"))
    assert done.returncode == 0, done.stderr


def test_a_configuration_that_serves_nothing_is_told_so(tmp_path):
    """It is good, as far as it goes; whoever forgot `models` would look for his mistake in his keys."""
    file = tmp_path / "bulkhead.yaml"
    file.write_text("providers: [{ name: openai }]\n")
    assert "no model can be asked for" in bulkhead("config", "check", "-c", str(file)).stdout
    file.write_text("providers: [{ name: openai }]\nmodels: [{ match: '*', providers: [openai] }]\n")
    assert "no model can be asked for" not in bulkhead("config", "check", "-c", str(file)).stdout


def test_what_is_shown_is_a_configuration(tmp_path):
    """`config show` of what `config show` printed is the same again."""
    first = bulkhead("config", "show", "-c", os.path.join(ROOT, "packaging/bulkhead.yaml")).stdout
    copy = tmp_path / "bulkhead.yaml"
    copy.write_text(first)
    assert bulkhead("config", "show", "-c", str(copy)).stdout == first


def test_completion_is_bash():
    subprocess.run(["bash", "-n", os.path.join(ROOT, "packaging/bulkhead.bash")], check=True)


def completed(*words):
    """What bash would offer behind these words."""
    script = 'source "$1"; shift; COMP_WORDS=("$@" ""); COMP_CWORD=$#; _bulkhead; printf "%s\\n" "${COMPREPLY[@]}"'
    return subprocess.run(["bash", "-c", script, "bash", os.path.join(ROOT, "packaging/bulkhead.bash"), *words],
                          check=True, capture_output=True, text=True).stdout.split()


def test_completion_tells_a_command_from_one_whose_name_it_begins():
    assert "--policy" in completed("bulkhead", "audit", "verify") and "--postgres" not in completed("bulkhead", "audit", "verify")
    assert "--postgres" in completed("bulkhead", "audit", "verify-mirror")
    assert "--keys-file" in completed("bulkhead", "vault", "rotate-fernet")
    assert "--overlap" in completed("bulkhead", "vault", "add", "openai")
    assert "import-fernet" in completed("bulkhead", "vault")


def test_completion_passes_over_what_stands_in_front():
    assert "import-fernet" in completed("bulkhead", "-c", "bulkhead.yaml", "--json", "vault")
    assert "--overlap" in completed("bulkhead", "vault", "--json", "add", "-c", "x")
    assert not completed("bulkhead", "-c")  # files
