# SPDX-License-Identifier: Apache-2.0
"""L-03, L-05: what an auditor does with a copy of the log: search, export, proofs, policies, with the static program and nothing else."""
import base64
import csv
import functools
import hashlib
import http.server
import io
import itertools
import json
import math
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import urllib.request

import pytest

from capabilities import namespaces
from gateway import AUDITOR, BUILD, INSTRUMENTED, scratch, wait_for
import verify_log

VECTORS = os.environ.get("VECTORS_DIR") or os.path.join(os.path.dirname(__file__), "../../../shared/vectors")
CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
ENTRIES = 3000

pytestmark = pytest.mark.skipif(not os.path.exists(AUDITOR), reason="no static libraries here, so no bulkhead-audit")


def make_log(folder, seed, entries, segment_bytes=131072):
    done = subprocess.run([os.path.join(BUILD, "make_log"), folder, str(seed), str(entries), str(segment_bytes)],
                          capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def auditor(*args, log=None, code=0):
    done = subprocess.run([AUDITOR, *args, *(["--log", log] if log else [])], capture_output=True, timeout=100, check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode() if code == 0 or done.stdout else done.stderr.decode()


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


class Made:
    """A folder of make_log's, and all its records."""

    def __init__(self, folder, seed, entries):
        self.folder = os.path.join(folder, "log")
        self.said = make_log(self.folder, seed, entries)
        self.vkey, self.witness = self.said["vkey"], self.said["witness_vkey"]
        self.records = lines(auditor("export", "--unredacted", log=self.folder))


@pytest.fixture(scope="module")
def made():
    with scratch() as folder:
        yield Made(folder, 2, ENTRIES)


# ---- reading ----

def test_every_record_is_read(made):
    assert [r["index"] for r in made.records] == list(range(ENTRIES))
    assert sum(r["event"] == "log.gap" for r in made.records) == made.said["gaps"]


@pytest.mark.parametrize("options, fits", [
    (["--action", "request.*", "--status", "4xx"], lambda r: r["event"].startswith("request.") and 400 <= r["status"] <= 499),
    (["--tenant", "acme", "--model", "claude*"], lambda r: r.get("tenant") == "acme" and r.get("model", "").startswith("claude")),
    (["--actor", "=*"], lambda r: r.get("actor", "").startswith("=")),
    (["--since", "2026-01-01T00:01", "--until", "2026-01-01T00:02:30"], lambda r: "2026-01-01T00:01" <= r["time"] < "2026-01-01T00:02:30"),
    (["--until", "2025-12-31"], lambda r: False),
])
def test_search(made, options, fits):
    want = [r for r in made.records if fits(r)]
    assert lines(auditor("search", "--json", *options, log=made.folder)) == want
    assert lines(auditor("search", "--json", "--reverse", *options, log=made.folder)) == want[::-1]
    assert lines(auditor("search", "--json", "--limit", "3", *options, log=made.folder)) == want[:3]


def test_search_by_request(made):
    record = next(r for r in made.records if r["event"] == "request.complete")
    assert lines(auditor("search", "--json", "--request-id", record["request_id"], log=made.folder)) == [record]


def test_search_says_what_is_wrong(made):
    assert "nothing is called" in auditor("search", "--action", "no.such", log=made.folder, code=2)
    assert "--since is a time" in auditor("search", "--since", "soon", log=made.folder, code=2)
    assert "--limit" in auditor("search", "--limit", "0", log=made.folder, code=2)
    assert "--log" in auditor("search", log="/nonexistent", code=1)


def test_show(made):
    for index in (0, 255, 256, ENTRIES - 1):
        shown = json.loads(auditor("show", str(index), "--json", log=made.folder))
        assert re.fullmatch("[0-9a-f]{64}", shown.pop("leaf_hash")) and shown == made.records[index]
    assert f"no record {ENTRIES}" in auditor("show", str(ENTRIES), log=made.folder, code=1)
    assert "request_id" in auditor("show", str(next(r["index"] for r in made.records if "request_id" in r)), log=made.folder)


def test_gaps(made):
    said = json.loads(auditor("gaps", "--json", log=made.folder))
    assert (said["gaps"], said["lost"]) == (made.said["gaps"], made.said["lost"]) and len(said["records"]) == said["gaps"] > 0
    assert sum(r["last_seq"] - r["seq"] + 1 for r in said["records"]) == said["lost"]
    assert f"for {said['lost']} missing events" in auditor("gaps", log=made.folder)


def test_sequences_that_end_without_a_word(made):
    last, wanted = {}, []
    for r in made.records:
        before = last.get(r["source"])
        if r["source"] == "auditd":
            if r["event"] == "daemon.stop" and "keyvault" in last:
                last["keyvault"] = {**last["keyvault"], "event": "daemon.stop"}
            continue
        if before and before["boot"] != r["boot"] and before["event"] != "daemon.stop":
            wanted.append({"source": r["source"], "after_seq": before.get("last_seq", before["seq"]), "noticed_at": r["index"]})
        last[r["source"]] = r
    said = json.loads(auditor("gaps", "--json", log=made.folder))
    assert said["ends_without_a_word"] == wanted and wanted
    assert f"{len(wanted)} sequences end without a word" in auditor("gaps", log=made.folder)


def test_stats(made):
    said = json.loads(auditor("stats", "--json", "--since", "2026-01-01T00:01", log=made.folder))
    mine = [r for r in made.records if r["time"] >= "2026-01-01T00:01"]
    requests = [r for r in mine if r["event"].startswith("request.")]
    assert said["records"] == len(mine) and said["requests"] == len(requests)
    assert said["errors"] == sum(r["status"] >= 400 or r["event"] == "request.cut" for r in requests)
    for what in ("tokens_in", "tokens_out", "cost_nano"):
        assert said[what] == sum(r.get(what, 0) for r in requests)
    for what, among in (("action", mine), ("status", requests), ("model", requests), ("tenant", requests)):
        field = {"action": "event"}.get(what, what)
        counts = {}
        for r in among:
            key = str(r.get(field, ""))
            counts[key] = counts.get(key, 0) + 1
        assert {row[what]: row["count"] for row in said["by_" + what]} == counts
        assert [row["count"] for row in said["by_" + what]] == sorted(counts.values(), reverse=True)
    times = sorted(r["latency_us"] for r in requests if r["event"] == "request.complete")
    for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        true = times[math.ceil(part * len(times)) - 1]
        assert true <= said["latency_us"][name] <= true * 33 / 32
    assert said["latency_us"]["max"] == times[-1]


# ---- export ----

def test_export_is_redacted(made):
    private = ("actor", "request_id", "subject", "sealed", "digest")
    for record, full in zip(lines(auditor("export", log=made.folder)), made.records):
        assert record == {k: "redacted" if k in private else v for k, v in full.items()}


def test_csv_has_no_formulas(made):
    """By hand, not by Python's csv: a cell that begins with one of them, behind its quote, is one to a spreadsheet."""
    text = auditor("export", "--format", "csv", "--unredacted", log=made.folder)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == ENTRIES and text.endswith("\r\n")
    assert not [cell for row in rows for cell in row.values() if cell and cell[0] in "=+-@\t\r\n|%"]
    risky = [i for i, r in enumerate(made.records) if r.get("actor", "")[:1] in tuple("=+@") or r.get("model", "").startswith("-")]
    assert risky
    for index in risky:
        for field in ("actor", "model"):
            was = made.records[index].get(field, "")
            assert rows[index][field] == ("'" + was if was[:1] in tuple("=+@-") else was)
    for row, record in zip(rows, made.records):
        assert int(row["index"]) == record["index"] and row["tokens_in"] == str(record.get("tokens_in", "")) and row["event"] == record["event"]


def test_export_to_a_file(made, tmp_path):
    path = tmp_path / "out.csv"
    auditor("export", "--format", "csv", "--output", str(path), "--action", "log.gap", log=made.folder)
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert len(path.read_text().splitlines()) == made.said["gaps"] + 1 and "=cmd" not in path.read_text()
    before = path.read_bytes()
    assert "overwrite" in auditor("export", "--output", str(path), log=made.folder, code=1)
    assert path.read_bytes() == before
    assert "--format" in auditor("export", "--format", "xls", log=made.folder, code=2)
    assert not os.path.exists(tmp_path / "no") and "no" in auditor("export", "--output", str(tmp_path / "no/out"), log=made.folder, code=1)


def test_a_full_disk_leaves_no_half_export(made):
    done = subprocess.run([AUDITOR, "export", "--log", made.folder], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE,  # pylint: disable=consider-using-with
                          timeout=60, check=False)
    assert done.returncode == 1 and b"No space" in done.stderr


# ---- one static program ----

@namespaces
@pytest.mark.skipif(INSTRUMENTED, reason="a sanitizer needs shared libraries")
def test_it_needs_nothing(made, tmp_path):
    """In an empty root, without network, on a copy."""
    out = subprocess.run(["readelf", "-dW", AUDITOR], capture_output=True, text=True, check=True).stdout
    assert "(NEEDED)" not in out and "INTERP" not in subprocess.run(["readelf", "-lW", AUDITOR], capture_output=True, text=True, check=True).stdout
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(AUDITOR, root / "a")
    shutil.copytree(made.folder, root / "log")

    def inside(*args):
        done = subprocess.run(["unshare", "-n", CHROOT, str(root), "/a", *args], capture_output=True, env={}, timeout=60, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    assert json.loads(inside("verify", "--json", "--log", "/log", "--vkey", made.vkey)[1])["good"]
    for args in (["search", "--json", "--status", "5xx"], ["stats", "--json"], ["gaps", "--json"], ["export", "--format", "csv"], ["show", "7"]):
        code, said, _ = inside(*args, "--log", "/log")
        assert code == 0 and said == auditor(*args, log=made.folder)
    code, proof, _ = inside("prove", "7", "--log", "/log")
    (root / "7.tlog-proof").write_text(proof)
    assert inside("check-proof", "/7.tlog-proof", "--vkey", made.vkey)[0] == 0
    assert inside("consistency", "0", "100", "--log", "/log")[0] == 0
    assert inside("verify")[0] == 1 and "present folder" in inside("verify")[2]
    assert inside("nothing")[0] == 2


def test_no_daemon_no_network_in_it():
    symbols = subprocess.run(["nm", AUDITOR], capture_output=True, text=True, check=True).stdout
    if symbols:
        assert not re.search(r" [tT] (connect|admin_open|ipc_connect|config_tree_load|uv_run|yaml_parser_parse)$", symbols, re.M)


@pytest.mark.skipif(INSTRUMENTED, reason="measures")
def test_a_million_in_five_seconds(tmp_path):
    """A fifth of each: CPU seconds, not those of the clock."""
    log = str(tmp_path / "log")
    made = make_log(log, 4, 200000, 64 << 20)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(auditor("verify", "--json", "--vkey", made["vkey"], log=log))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert said["good"] and said["entries"] == 200000
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 1, f"{seconds:.2f} s"


def test_what_is_wrong_is_json_whatever_its_name(tmp_path):
    """A file that does not belong there, in a copy of somebody's."""
    log = str(tmp_path / "log")
    make_log(log, 2, 300)
    with open(os.path.join(os.fsencode(log), b"tile", b"gr\xfc\xdfe"), "wb"):
        pass
    said = json.loads(auditor("verify", "--json", log=log, code=1))
    assert said["good"] is False and "gr??e" in said["why"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_export_that_is_stopped_leaves_nothing(tmp_path_factory, number):
    """A part of a file that looks like all of it is what an auditor must not be given."""
    log, out = str(tmp_path_factory.getbasetemp() / "stopped-log"), tmp_path_factory.mktemp("out") / "records"
    if not os.path.exists(log):
        make_log(log, 4, 200000, 64 << 20)
    with subprocess.Popen([AUDITOR, "export", "--log", log, "--output", str(out)], stderr=subprocess.PIPE) as process:
        wait_for("the file", lambda: out.exists() and out.stat().st_size > 0, step=0.001)
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == -number and b"stopped; " in said and not out.exists(), said


# ---- proofs ----

def test_proofs(made, tmp_path):
    path = tmp_path / "p.tlog-proof"
    for index in (0, 1, 255, 256, 1023, ENTRIES - 1):
        path.unlink(missing_ok=True)
        auditor("prove", str(index), "--output", str(path), log=made.folder)
        said = json.loads(auditor("check-proof", str(path), "--vkey", made.vkey, "--json"))
        assert said["index"] == index and said["signed"] == ENTRIES and said["record"] == made.records[index]
    text = path.read_text()
    assert re.match(r"c2sp\.org/tlog-proof@v1\nextra [A-Za-z0-9+/]+=*\nindex 2999\n([A-Za-z0-9+/]{43}=\n)+\nbulkhead\.made/audit\n3000\n", text)
    for was, now in (("index 2999", "index 2998"), ("\n3000\n", "\n3001\n"), ("@v1", "@v2"), ("\n\n", "\n", )):
        path.write_text(text.replace(was, now, 1))
        auditor("check-proof", str(path), "--vkey", made.vkey, code=1)
    path.write_text(text)
    assert "--vkey" in auditor("check-proof", str(path), code=2)
    assert "no signed checkpoint" in auditor("prove", str(ENTRIES), log=made.folder, code=1)


def policy(tmp_path, *rows):
    path = tmp_path / "policy"
    path.write_text("".join(row + "\n" for row in rows))
    return str(path)


def test_policies(made, tmp_path):
    log, witness = f"log {made.vkey}", f"witness core {made.witness}"
    stranger = "witness other witness.test/w1+fe77f347+BDtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
    proof = tmp_path / "p.tlog-proof"
    auditor("prove", "7", "--output", str(proof), log=made.folder)

    def verdict(*rows, code, args=()):
        path = policy(tmp_path, *rows)
        check = auditor("check-proof", str(proof), "--policy", path, *args, code=code)
        return json.loads(auditor("verify", "--json", "--policy", path, *args, log=made.folder, code=code)), check

    said, _ = verdict(log, witness, "quorum core", code=0)
    assert said["good"] and said["pinned"] and (said["cosigned"], said["witnesses"]) == (1, 1)
    said, _ = verdict(log, witness, stranger, "group g any core other", "quorum g", code=0)
    assert (said["cosigned"], said["witnesses"]) == (1, 2)
    said, check = verdict(log, witness, stranger, "group g all core other", "quorum g", code=1)
    assert "1 of 2 witnesses" in said["why"] and "other is missing" in said["why"] and "quorum" in check
    verdict(witness, "quorum core", code=0, args=("--vkey", made.vkey))
    other_log = "log PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert "not signed by a log of the policy" in verdict(other_log, "quorum none", code=1)[0]["why"]
    said = auditor("verify", "--policy", policy(tmp_path, log, "quorum nobody"), log=made.folder, code=1)
    assert "line 2" in said and "quorum is not defined" in said
    # a policy without a log says nothing about whose log it is
    assert not json.loads(auditor("verify", "--json", "--policy", policy(tmp_path, witness, "quorum core"), log=made.folder))["pinned"]


def test_a_cosignature_by_another_implementation(made):
    """Python's: the core's line, taken apart."""
    with open(os.path.join(made.folder, "checkpoint"), encoding="utf-8") as f:
        text, signatures = f.read().rsplit("\n\n", 1)
    name, key_id, public = made.witness.split("+", 2)
    line = next(base64.b64decode(s.split(" ")[2]) for s in signatures.splitlines() if s.split(" ")[1] == name)
    key = base64.b64decode(public)
    assert key[0] == 4 and line[:4].hex() == key_id == hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]
    message = f"cosignature/v1\ntime {struct.unpack('>Q', line[4:12])[0]}\n{text}\n".encode()
    verify_log.Ed25519PublicKey.from_public_bytes(key[1:]).verify(line[12:], message)


# ---- consistency ----

def test_consistency(made, tmp_path):
    grown, old = str(tmp_path / "log"), tmp_path / "old"
    make_log(grown, 2, ENTRIES)
    shutil.copy(os.path.join(made.folder, "checkpoint"), old)
    for a, b in itertools.product((0, 1, 2, 255, 256, 257, 1000, ENTRIES), repeat=2):
        if a > b:
            auditor("consistency", str(a), str(b), log=made.folder, code=2)
            continue
        said = json.loads(auditor("consistency", str(a), str(b), "--json", "--vkey", made.vkey, log=made.folder))
        assert said["good"] and (said["old_size"], said["size"]) == (a, b)
    auditor("consistency", "7", str(old), log=made.folder)
    auditor("consistency", str(old), str(old), log=made.folder)
    assert "covers 3001" in auditor("consistency", "7", "3001", log=made.folder, code=1)
    assert "cannot" in auditor("consistency", "7", "/dev/zero", log=made.folder, code=1)


def test_a_fork_is_not_consistent(made, tmp_path):
    """Another log under the same key: each is good, and neither grew from the other."""
    fork = str(tmp_path / "fork")
    make_log(fork, 6, ENTRIES + 500)
    assert json.loads(auditor("verify", "--json", "--vkey", made.vkey, log=fork))["good"]
    said = auditor("consistency", os.path.join(made.folder, "checkpoint"), os.path.join(fork, "checkpoint"), "--vkey", made.vkey, log=fork, code=1)
    assert "NOT good" in said and "forked" in said


def test_consistency_of_another_implementations_log(tmp_path):
    """The public log of 15 entries: every pair of its 16 checkpoints, which another implementation made and signed."""
    log = os.path.join(VECTORS, "tlog/log")
    if not os.path.exists(log):
        pytest.skip(f"no {log}")
    with open(os.path.join(VECTORS, "tlog/VKEY"), encoding="ascii") as f:
        vkey = f.read().strip()
    for a, b in itertools.combinations_with_replacement(range(16), 2):
        said = json.loads(auditor("consistency", f"{log}/checkpoint.{a}", f"{log}/checkpoint.{b}", "--json", "--vkey", vkey, log=log))
        assert (said["old_size"], said["size"]) == (a, b)
    # a tile with one bit changed
    shutil.copytree(log, tmp_path / "log")
    tile = tmp_path / "log/tile/0/000.p/15"
    data = bytearray(tile.read_bytes())
    data[40] ^= 1
    tile.chmod(0o644)
    tile.write_bytes(data)
    assert "NOT good" in auditor("consistency", f"{log}/checkpoint.3", f"{log}/checkpoint.9", "--vkey", vkey, log=str(tmp_path / "log"), code=1)


# ---- any static web server ----

class Client:
    """Reads a log as C2SP tlog-tiles over HTTP, and shares nothing with the folder but that."""

    def __init__(self, url, vkey):
        self.url = url
        self.size, self.root = verify_log.open_checkpoint(self.get("checkpoint").decode(), vkey)

    def get(self, path):
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=20) as f:
            return f.read()

    def tile(self, level, n, nodes):
        width = min(256, nodes - 256 * n)
        return self.get(f"tile/{level}/{verify_log.tile_name(n)}" + (f".p/{width}" if width < 256 else "")), width

    def leaves(self):
        for n in range(math.ceil(self.size / 256)):
            data, width = self.tile("entries", n, self.size)
            at = 0
            for _ in range(width):
                length = struct.unpack_from(">H", data, at)[0]
                yield data[at + 2:at + 2 + length]
                at += 2 + length
            assert at == len(data)

    def level(self, level):
        nodes = self.size >> 8 * level
        data = b"".join(self.tile(level, n, nodes)[0] for n in range(math.ceil(nodes / 256)))
        return [data[i:i + 32] for i in range(0, len(data), 32)]


def test_served_by_any_web_server(made):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=made.folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.server_address[1]}", made.vkey)
        hashes = [verify_log.leaf_hash(leaf) for leaf in client.leaves()]
        server_levels = [client.level(0), client.level(1)]
        server.shutdown()
    assert client.size == len(hashes) == ENTRIES and verify_log.root_of(hashes) == client.root
    assert server_levels[0] == hashes
    assert server_levels[1] == [verify_log.root_of(hashes[i:i + 256]) for i in range(0, ENTRIES - 255, 256)]


def test_a_served_copy_is_enough(made, tmp_path):
    """Without segments: everything but verify, which says so."""
    copy = str(tmp_path / "log")
    shutil.copytree(made.folder, copy, ignore=shutil.ignore_patterns("seg"))
    assert lines(auditor("export", "--unredacted", log=copy)) == made.records
    auditor("prove", "7", log=copy)
    auditor("consistency", "7", "1000", log=copy)
    assert "seg" in auditor("verify", log=copy, code=1)


# ---- with a gateway ----

def test_online(gateway):
    request_id = gateway.chat("gpt-x").headers["x-request-id"]
    found = wait_for("the records", lambda: [r for r in lines(gateway.cli("audit", "search", "--request-id", request_id, "--json").stdout)
                                             if r["event"] == "request.complete"])
    shown = json.loads(gateway.cli("audit", "show", str(found[0]["index"]), "--json").stdout)
    assert shown["request_id"] == request_id
    assert gateway.cli_json("audit", "stats", "--since", "1h")["requests"] >= 1
    assert gateway.cli_json("audit", "gaps")["gaps"] == 0
    everything = gateway.audit()
    back = lines(gateway.cli("audit", "search", "--reverse", "--json").stdout)
    assert [r["index"] for r in back][-len(everything):] == [r["index"] for r in everything][::-1]


def test_the_core_is_a_witness(gateway, tmp_path):
    keys = gateway.cli_json("vault", "status")
    path = policy(tmp_path, f"log {keys['vkey']}", f"witness core {keys['witness_vkey']}", "quorum core")
    log = os.path.join(gateway.state, "auditd")
    said = wait_for("a log read between two commits", lambda: (now := json.loads(
        gateway.cli("audit", "verify", "--json", "--policy", path, "--log", log, check=False).stdout))["good"] and now)
    assert said["cosigned"] == 1, said
    assert keys["witness_vkey"].split("+")[0] == keys["vkey"].split("+")[0].replace("/audit", "/witness")
