# SPDX-License-Identifier: Apache-2.0
"""The sandbox's list is no wider than what the daemons do: a busy life of the gateway is recorded, call by call, from the moment each
daemon entered its sandbox. What is in common/sandbox.def and was not seen must be named here, with the reason why it stays.
"""
import collections
import concurrent.futures
import contextlib
import glob
import os
import re
import shutil
import signal

import pytest

import postgres
from capabilities import sees_others
from gateway import INSTRUMENTED, ROOT, Gateway, Provider, scratch, wait_for
from witness import Witness

pytestmark = [
    pytest.mark.skipif(INSTRUMENTED, reason="instrumented builds have no sandbox"),
    pytest.mark.skipif(not shutil.which("strace"), reason="needs strace"),
    pytest.mark.skipif(postgres.MISSING, reason="needs Debian's postgresql"),
    sees_others,
]

ROLES = ["router", "authd", "keyvault", "egress", "dialer", "auditd", "classifier", "shipper"]
PROGRAMS = {"keyvault-egress": "egress", "keyvault-dialer": "dialer", "audit-shipper": "shipper"}

# Permitted and not seen: why it stays. An entry that is no longer permitted is a mistake, too.
ANYWHERE = {
    "brk": "malloc()", "mremap": "realloc() of large blocks", "clock_gettime": "where the vDSO cannot answer",
    "epoll_pwait": "what newer versions of libuv call, and other machines have", "epoll_wait": "what older versions of libuv call",
    "getrandom": "where the vDSO cannot answer", "gettid": "an assertion of ours that fails",
    "tgkill": "an assertion of ours that fails",
    "mprotect": "closes the arena where there are no protection keys", "pkey_free": "gives the key back where there are",
}
REVIEWED = {
    "router": {"setsockopt": "an answer that broke off and has no length is reset"},
    "authd": {name: "SQLite: recovery, other versions" for name in (
        "access", "faccessat", "fchown", "fstat", "fsync", "getcwd", "geteuid", "lseek", "lstat", "readlink", "readlinkat", "stat",
        "unlink", "unlinkat")} | {"futex": "locks of SQLite"},
    "keyvault": {"ftruncate": "a root key that could not be written whole", "fsync": "vault init", "pread64": "vault unseal"},
    "egress": {"fstat": "what newer versions of libc make of fstat()", "newfstatat": "what older versions of libc make of fstat()",
               "futex": "locks of OpenSSL"},
    "dialer": {"futex": "locks of c-ares", "recvfrom": "DNS; the recording has no resolver"},
    "auditd": {name: "libc's other spelling" for name in ("fstat", "newfstatat", "renameat2")}
              | {"lseek": "libc", "fcntl": "libc: a folder that is read", "unlinkat": "a segment that could not be prepared",
                 "madvise": "malloc() of threads", "mprotect": "malloc() of threads", "exit": "a thread", "sched_yield": "libuv"},
    "shipper": {"fstat": "what newer versions of libc make of fstat()", "ppoll": "poll() where there is no such call",
                "getpeername": "curl", "mmap": "malloc() of large blocks, which a slow machine's batches may not need"},
    "classifier": {"fstat": "what newer versions of libc make of fstat()", "newfstatat": "what older versions of libc make of fstat()"},
}
CALLS_MAX = {"keyvault": 31, "egress": 32}


def permitted():
    """{role: names}, as common/sandbox.def has them on this machine."""
    with open(os.path.join(ROOT, "common/sandbox.def"), encoding="utf-8") as f:
        rows = re.findall(r"^(CALL|X86)\((\w+), ([A-Z |]+?)(?:, .*)?\)$", f.read(), re.M)
    names = collections.defaultdict(set)
    for kind, name, who in rows:
        if kind == "X86" and os.uname().machine != "x86_64":
            continue
        for role in ROLES if who == "ALL" else who.lower().split(" | "):
            names[role].add(name)
    return names


# ---- the recording ----

def quietly(act, *args, **more):
    with contextlib.suppress(Exception):  # cut, refused, timed out: the calls count, not the answers
        return act(*args, **more)


def talk(gateway):
    """All that a client and a provider can do."""
    for model in ("gpt-x", "test:leak:7", "test:huge:3000000", "test:unauthorized", "test:cut", "test:reset", "test:silent", "test:headpieces",
                  "test:malformed:noise", "test:redirect", "test:hang", "test:truncate", "wrong-ca:x", "closed:x", "private:x", "nowhere:x"):
        quietly(gateway.chat, model)
    for text in ("x" * 300000, "write to me: a@b.example", "y" * 300000 + " c@d.example"):
        assert gateway.chat("gpt-x", text=text).status == 200
    stream = gateway.stream("test:slow:5:20")
    list(stream.events())
    stream.close()
    gateway.stream("test:slow:50:50").close()  # leaves in the middle
    quietly(gateway.raw, b"GET / HTTP/1.1\r\n", seconds=0.2)
    quietly(gateway.raw, b"\0\1\2", seconds=0.2)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda n: quietly(gateway.chat, f"test:huge:{n * 100000}"), range(48)))
        list(pool.map(lambda n: quietly(gateway.chat, "gpt-x"), range(400)))


def administer(gateway):
    gateway.cli("status")
    gateway.cli("vault", "seal")
    quietly(gateway.chat, "gpt-x")
    gateway.cli("vault", "unseal")
    gateway.add_key()
    made = gateway.make_key()
    gateway.cli("key", "list")
    gateway.cli("key", "revoke", made["id"])
    gateway.cli("audit", "verify")
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)


def fall(gateway):
    """Each daemon dies once, by a signal that leaves it no time, and comes back."""
    for role in ROLES:
        victim = gateway.pids(role)[0]
        os.kill(victim, signal.SIGKILL)
        wait_for("another " + role, lambda victim=victim, role=role: victim not in gateway.pids(role) and gateway.pids(role))
        wait_for("service", lambda: getattr(quietly(gateway.chat, "gpt-x"), "status", 0) == 200, seconds=30)


def read_traces(folder):
    """{role: Counter of calls} after the second filter: the first one, against io_uring, comes before anything is read."""
    used, threads = collections.defaultdict(collections.Counter), {}
    paths = glob.glob(os.path.join(folder, "t.*"))
    texts = {}
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as f:
            texts[int(path.rsplit(".", 1)[1])] = f.read().split("\n")
    for pid, lines in texts.items():
        started = [i for i, line in enumerate(lines) if line.startswith(("execve(", "execveat(")) and line.endswith(" = 0")]
        filters = [i for i, line in enumerate(lines) if line.startswith("seccomp(SECCOMP_SET_MODE_FILTER")]
        if not started or len(filters) < 2:
            continue
        # Where a folder on the way is closed to the daemon's uid execveat() comes next, of an open file, and has no name.
        program = os.path.basename([line for line in lines[:started[-1] + 1] if line.startswith("execve(")][-1].split('"')[1])
        role = PROGRAMS.get(program, program)
        for line in lines[filters[1] + 1:]:
            used[role][line.split("(")[0]] += "(" in line and not line.startswith(("+", "-"))
        for line in lines:
            if line.startswith(("clone(", "clone3(")):
                threads[int(line.rsplit("= ", 1)[1].split()[0])] = role
    for pid, role in threads.items():
        for line in texts.get(pid, []):
            used[role][line.split("(")[0]] += "(" in line and not line.startswith(("+", "-"))
    return {role: +counter for role, counter in used.items()}


@contextlib.contextmanager
def asked_to_witness(gateway, db):
    """A witness, which the shipper meets when it starts anew."""
    with open(os.path.join(gateway.state, "auditd", "vkey"), encoding="utf-8") as f:
        vkey = f.read().strip()
    with Witness("witness.test/one", vkey) as one:
        db.write("policy", f"log {vkey}\n{one.policy_line('one')}quorum one\n", mode=0o644)
        os.kill(gateway.pids("shipper")[0], signal.SIGKILL)
        gateway.chat("gpt-x")
        wait_for("a cosignature", lambda: 200 in one.answers)
        yield
        db.write("policy", "quorum none\n", mode=0o644)


def passfile(db):
    """As libpq wants it, for the shipper."""
    db.role("mirror")
    path = db.write("pgpass", f"*:*:*:mirror:{db.passwords['mirror']}\n")
    os.chown(path, 62109, 62109)
    return path


@pytest.fixture(scope="module")
def used():
    with scratch() as folder, Provider(folder) as provider, postgres.Postgres(folder) as db:
        traces = os.path.join(folder, "traces")
        os.makedirs(traces)
        settings = {"router": {"reply_timeout_ms": 500, "stall_timeout_ms": 500}, "authd": {"guard_email": "redact"},
                    "auditd": {"segment_bytes": 65536},
                    "shipper": {"postgres": db.conninfo("mirror", passfile=passfile(db)), "witness_ms": 200,
                                "witnesses": db.write("policy", "quorum none\n", mode=0o644)}}
        strace = ["strace", "-D", "-ff", "-qq", "-s0", "-e", "signal=none", "-o", os.path.join(traces, "t")]
        gateway = Gateway(folder, provider, settings=settings, prefix=strace)
        with gateway:
            gateway.prepare()
            db.sql(gateway.cli("audit", "mirror-schema").stdout.decode() + "GRANT bulkhead_shipper TO mirror")
            with asked_to_witness(gateway, db):
                talk(gateway)
                administer(gateway)
                fall(gateway)
        with gateway:  # over what is there already; and stopped in order
            wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
        yield read_traces(traces)


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_permitted_that_is_not_used(used, role):
    assert sum(used[role].values()) > 100, "not recorded"
    unused = permitted()[role] - set(used[role]) - set(ANYWHERE) - set(REVIEWED.get(role, {}))
    assert not unused, f"{role} never called {sorted(unused)}"


@pytest.mark.parametrize("role", ROLES)
def test_what_was_reviewed_is_permitted(role):
    assert set(REVIEWED.get(role, {})) <= permitted()[role]


def test_the_recording_is_of_the_sandbox(used):
    """A call beyond the list would have killed; a thread of auditd is born before the second filter, and names itself."""
    for role in ROLES:
        assert set(used[role]) - permitted()[role] <= ({"prctl", "rseq", "set_robust_list"} if role == "auditd" else set())


@pytest.mark.parametrize("role", CALLS_MAX)
def test_the_vault_has_few(role):
    assert len(permitted()[role]) <= CALLS_MAX[role]
