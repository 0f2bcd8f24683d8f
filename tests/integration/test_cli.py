# SPDX-License-Identifier: Apache-2.0
"""What an operator sees who types something, right or wrong: the counters of all daemons, and refusals that say what to do."""
import json
import os
import re
import signal
import subprocess

import pytest

from gateway import BUILD, INSTRUMENTED, halt, wait_for

BULKHEAD = os.path.join(BUILD, "bin", "bulkhead")


def families(page):
    """{family: [its samples]} of a page in the text format, in which a family must stand together under one TYPE."""
    found = {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in found and kind in ("counter", "gauge"), line
            found[name] = []
        else:
            sample = re.fullmatch(r'([a-z_]+)\{daemon="[a-z]+\d*"(?:,[a-z]+="[^"]*")*\} \d+', line)
            assert sample and sample[1] == list(found)[-1], line
            found[sample[1]].append(line)
    return found


def test_metrics_of_all_daemons_are_one_page(gateway):
    assert gateway.chat("gpt-x").status == 200
    page = families(gateway.cli("metrics").stdout.decode())
    daemons = [d["name"] for d in gateway.status()]
    assert page["bulkhead_up"] == [f'bulkhead_up{{daemon="{name}"}} 1' for name in daemons]
    assert 'bulkhead_vault_open{daemon="keyvault"} 1' in page["bulkhead_vault_open"]
    assert {"bulkhead_egress_scrubbed_total", "bulkhead_dialer_dials_total"} <= page.keys(), "which the documents speak of"
    assert sum(int(line.split()[-1]) for line in page["bulkhead_router_requests_total"] if 'status="200"' in line) >= 1

    same = gateway.cli_json("metrics")
    assert {"daemon": "auditd", "metric": "bulkhead_up", "value": 1} in same
    assert len(same) == sum(map(len, page.values()))


def test_metrics_without_one_daemon(gateway):
    """A page with a hole that it names: a scrape must not fail when it matters most."""
    dialer, = gateway.pids("dialer")
    halt(dialer)
    try:
        page = families(gateway.cli("metrics").stdout.decode())
    finally:
        os.kill(dialer, signal.SIGCONT)
    assert 'bulkhead_up{daemon="dialer"} 0' in page["bulkhead_up"] and "bulkhead_dialer_dials_total" not in page


@pytest.mark.parametrize("words", [["key", "revoke", "key_nix"], ["vault", "rm", "nix"], ["audit", "erase", "--subject", "sub_nix"]])
def test_an_id_that_is_none(gateway, words):
    refused = gateway.cli(*words, check=False)
    assert refused.returncode == 1 and b"no such id; `bulkhead key list` and `bulkhead vault list` show" in refused.stderr


@pytest.mark.parametrize("words, says", [
    (["key", "crate"], b"no command 'key crate'; see `bulkhead help key`\n"),
    (["kye"], b"no command 'kye'; see `bulkhead help`\n"),
    (["vault", "add", "local", "key.txt"], b"'key.txt' is too much; see `bulkhead help vault add`\n"),
    (["audit", "erase"], b"whose? --subject sub_...;"),
    (["vault", "rotate", "--tenant", "acme"], b"--tenant begins no rotation by itself: say which, by --what KIND\n"),
    (["vault", "rotate", "--no-wait"], b"--no-wait begins no rotation by itself"),
    (["key", "create", "--expires", "36500d"], b"--expires must be before 2106-02-07"),
    (["audit", "reveal", "3", "x"], b"INDEX must be a number; 'x' is none"),
    (["audit", "tail", "--from", "3", "-n", "2"], b"say either --from INDEX or --lines N"),
    (["vault", "add", "local", "--valid-from", "90d", "--valid-until", "12h"], b"the key could never be used\n"),
    (["key", "create", "--tenant", ""], b"--tenant is empty: it needs NAME"),
    (["audit", "export", "--tenant="], b"--tenant is empty: it needs PATTERN"),  # not everybody's
    (["vault", "rotate", "--what", "tenant", "--tenant", ""], b"--tenant is empty: it needs NAME"),
    (["receipt", "verify", "answer", "receipt", "--request-id", ""], b"--request-id is empty: it needs ID"),
    (["-c", "", "status"], b"-c needs a file"),
    (["vault", "revoke-grants", "--tenant", "acme", "--tenant", "other"], b"--tenant is given twice; it takes one NAME"),
    (["audit", "tail", "-n", "3", "--lines=4"], b"-n|--lines is given twice; it takes one N"),
])
def test_what_is_no_command(gateway, words, says):
    refused = gateway.cli(*words, check=False)
    assert refused.returncode == 2 and says in refused.stderr


@pytest.mark.parametrize("words, says", [
    (["key", "create", "--models", "gpt-4o," * 150], b"models must have 1 to 1024 bytes"),
    (["key", "create", "--name", "n" * 65], b"name must have 0 to 64 bytes"),
    (["audit", "erase", "--subject", "s" * 33], b"subject must have 1 to 32 bytes"),
    (["key", "revoke", "k" * 65], b"key_id must have 1 to 64 bytes")])
def test_an_argument_that_is_too_long_is_named(gateway, words, says):
    refused = gateway.cli(*words, check=False)
    assert refused.returncode == 1 and refused.stderr == b"bulkhead: " + says + b"\n"


def test_who_follows_is_in_nobodys_way(gateway):
    """As many as can wait for the next record, and one more, who is told; who only asks what is there is answered."""
    followers = [subprocess.Popen([gateway.program, "audit", "tail", "-f", "-c", gateway.config], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE) for _ in range(17)]
    try:
        refused, = wait_for("one too many", lambda: [f for f in followers if f.poll() is not None], 30)
        assert refused.returncode == 1 and b"too many readers wait already" in refused.stderr.read()
        assert b"leaf_hash" in gateway.cli("audit", "show", "1").stdout
    finally:
        for follower in followers:
            follower.kill()
            follower.communicate()


def test_a_help_that_nobody_can_read():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BULKHEAD, "key", "create", "--help"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and b"standard output: No space left on device" in done.stderr


def test_what_nothing_is_known_of_is_not_zero(gateway):
    """No price, no latency: of requests that were refused, for instance."""
    assert gateway.request("POST", "/v1/embeddings", "{}").status == 404
    wait_for("its record", lambda: gateway.audit(event="request.refuse", reason="not_found"))
    said = gateway.cli("audit", "stats", "--action", "request.refuse").stdout.decode()
    assert re.search(r"^cost +unknown: no price_in", said, re.M) and re.search(r"^latency +none", said, re.M), said
    assert re.search(r"^404 +1 +0 +0 +-$", said, re.M), said


def test_no_configuration(tmp_path):
    def says(*words):
        return subprocess.run([BULKHEAD, *words], capture_output=True, cwd=tmp_path, env={}, check=False).stderr.decode()

    if not os.path.exists("/etc/bulkhead/bulkhead.yaml"):
        assert "there is no ./bulkhead.yaml and no /etc/bulkhead/bulkhead.yaml; name one with -c FILE" in says("status")
    assert "there is no nix.yaml; name one with -c FILE" in says("-c", "nix.yaml", "status")


@pytest.mark.skipif(INSTRUMENTED, reason="instrumented builds have no sandbox")
def test_detail_is_what_a_narrow_terminal_shows_of_status(gateway):
    wait_for("service", lambda: gateway.cli("status", check=False).returncode == 0)
    rows = gateway.cli("status").stdout.decode().splitlines()
    assert rows[0].split()[-2:] == ["DETAIL", "CONFINEMENT"]
    assert all(row.index("seccomp") == rows[0].index("CONFINEMENT") for row in rows[1:])


@pytest.mark.parametrize("words", [["key", "create"], ["key", "create", "--json"], ["audit", "tail"], ["audit", "tail", "-f"],
                                   ["vault", "status"]])
def test_what_could_not_be_written_is_no_success(gateway, words):
    """A key that is shown once, to a full disk."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BULKHEAD, *words, "-c", gateway.config], stdout=full, stderr=subprocess.PIPE, timeout=20, check=False)
    assert done.returncode == 1 and (b"written" in done.stderr or b"No space left" in done.stderr), done
    if words[0] == "key":
        made = re.search(rb"bulkhead: key (key_[\w-]+) is made and could not be written", done.stderr)[1].decode()
        assert made in {row["id"] for row in gateway.cli_json("key", "list")} and b"It is shown this once" not in done.stderr


def test_json_of_a_name_that_is_no_utf8(tmp_path):
    """In a home of odd bytes; what is no UTF-8 becomes '?', and it is JSON."""
    config = os.path.join(os.fsencode(tmp_path), b"gr\xfc\xdfe.yaml")
    with open(config, "wb"):
        pass
    done = subprocess.run([BULKHEAD, "config", "check", "--json", "-c", config], capture_output=True, timeout=20, check=False)
    assert done.returncode == 0 and json.loads(done.stdout) == {"file": os.path.join(str(tmp_path), "gr??e.yaml"), "good": True}
