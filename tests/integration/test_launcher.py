# SPDX-License-Identifier: Apache-2.0
"""`bulkhead up`: what it starts, how it restarts it, what it refuses, and that it leaves nothing behind."""
import contextlib
import json
import os
import pty
import resource
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from capabilities import SEES_OTHERS, sees_others
from gateway import (BUILD, INSTRUMENTED, ROOT, Gateway, Provider, children_of, free_port, halt, is_alive, proc_read, program_for_all,
                     read_until, scratch, wait_for)

ROLES = ["router", "authd", "keyvault", "egress", "dialer", "auditd", "classifier"]
ROOT_UID = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT_UID, reason="uids of their own need root")

PROVIDERS = [{"name": "local", "base_url": "https://upstream.test/v1"}]


@pytest.fixture(name="small", scope="module")
def fixture_small():
    with scratch() as folder, Gateway(folder, providers=PROVIDERS) as gateway:
        yield gateway


def status_of(gateway, name):
    done = gateway.cli("status", "--json", check=False)
    import json  # pylint: disable=import-outside-toplevel
    return next((row for row in json.loads(done.stdout) if row["name"] == name), None)


def field(pid, name):
    for line in proc_read(pid, "status").decode().splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1].split()
    return []


def test_ready_line_and_processes(small):
    assert small.ready_line == f"ready: http://127.0.0.1:{small.port}"
    running = list(small.pids().values())
    assert {role: running.count(role) for role in ROLES} == \
        {"router": 2, "authd": 1, "keyvault": 1, "egress": 2, "dialer": 1, "auditd": 1, "classifier": 2}
    wait_for("the hint", lambda: "hint: the vault" in small.log())


@needs_root
def test_a_program_that_its_uid_may_not_run():
    with scratch() as folder:
        program = program_for_all(folder)
        os.chmod(os.path.join(folder, "bin", "authd"), 0o700)
        with pytest.raises(AssertionError) as ended, Gateway(folder, providers=PROVIDERS, program=program):
            pass
        assert f"authd: {folder}/bin/authd: Permission denied (it runs as a uid of its own: chmod 755)" in str(ended.value)


def test_somebody_at_a_terminal_reads_words():
    """Elsewhere it is a JSON line for each event."""
    with scratch() as folder:
        gateway = Gateway(folder, providers=PROVIDERS, workers=1)
        gateway.port = free_port()
        gateway.write_config()
        master, slave = pty.openpty()
        with subprocess.Popen([gateway.program, "up", "-c", gateway.config], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                              cwd=folder, start_new_session=True) as process:
            os.close(slave)
            seen = read_until(master, b"hint: the vault has no root key")
            os.kill(next(pid for pid in children_of(process.pid) if proc_read(pid, "comm") == b"classifier\n"), signal.SIGKILL)
            seen += read_until(master, b'Z launcher error: a daemon ended without being told to; it is restarted: instance="classifier0"')
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # EIO: nobody has the terminal any more
                while True:
                    seen += os.read(master, 4096)
        os.close(master)
        assert process.returncode == 0 and b"{" not in seen and seen.count(b"\n") < 6, seen.decode()


@pytest.mark.parametrize("words, ready", [(["up"], b"ready: http"), (["run", "classifier"], b"ready: classifier")])
def test_a_variable_that_overrides_nothing_is_warned_of(words, ready):
    """Not those that this project reads itself, nor those that Kubernetes makes for a service."""
    with scratch() as folder:
        gateway = Gateway(folder, providers=PROVIDERS, workers=1)
        gateway.port = free_port()
        gateway.write_config()
        env = {**os.environ, "BULKHEAD_BUILD": "build/release", "BULKHEAD_CONFIG": gateway.config, "BULKHEAD_PORT": "tcp://10.0.0.1:8080",
               "BULKHEAD_RESTART_PAUSE_MS": "100", "BULKHEAD_ROUTR_LISTEN": "127.0.0.1:1"}
        with subprocess.Popen([gateway.program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              cwd=folder, env=env, start_new_session=True) as process:
            started = read_until(process.stdout.fileno(), b"\n")
            process.send_signal(signal.SIGINT)
            log = process.communicate(timeout=20)[1].decode()
        strays = [json.loads(line) for line in log.splitlines() if "config.stray" in line]
        assert started.startswith(ready) and process.returncode == 0, log
        assert [(e["level"], e["daemon"], e["variable"], e["nearest"]) for e in strays] == \
            [("warning", "launcher", "BULKHEAD_ROUTR_LISTEN", "BULKHEAD_ROUTER_LISTEN")], log


@needs_root
def test_identity_of_each_role(small):
    uids = {}
    for pid, role in small.pids().items():
        uids.setdefault(role, set()).update(field(pid, "Uid"))
        assert role == "auditd" or field(pid, "Uid") == field(pid, "Gid"), "auditd's group is the shipper's"
        assert field(pid, "Groups") == []
        for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(field(pid, cap)[0], 16) == 0, f"{role}: {cap}"
    assert all(len(u) == 1 and u != {"0"} for u in uids.values())
    assert len(set.union(*uids.values())) == len(ROLES)


def test_confinement_of_each_process(small):
    for pid in small.pids():
        assert field(pid, "NoNewPrivs") == ["1"]
        assert field(pid, "Seccomp") == ["2"]


def limits(pid):
    return {line[:26].strip(): line[26:].split()[:2] for line in proc_read(pid, "limits").decode().splitlines()[1:]}


@needs_root
def test_no_core_files(small):
    for pid in small.pids():
        assert limits(pid)["Max core file size"] == ["0", "0"]


@needs_root
def test_sockets_belong_to_server_and_client(small):
    uid_base = 62100
    for name in os.listdir(small.run_dir):
        st = os.stat(os.path.join(small.run_dir, name))
        server, client, _ = name.split(".")
        assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o660
        assert st.st_uid == uid_base + ROLES.index(server.rstrip("0123456789"))
        assert st.st_gid == (0 if client == "admin" else uid_base + ROLES.index(client.rstrip("0123456789")))


@pytest.mark.parametrize("role", ROLES)
def test_restarts_what_was_killed(small, role):
    before = small.pids(role)
    os.kill(before[0], signal.SIGKILL)
    wait_for(f"a new {role}", lambda: len(small.pids(role)) == len(before) and before[0] not in small.pids(role))
    row = wait_for("its answer", lambda: [r for r in [status_of(small, role + ("0" if len(before) > 1 else ""))] if r and r["up"]])[0]
    assert row["up"]
    assert f'"how":"killed by SIGKILL"' in small.log()


def test_what_cannot_be_started_for_a_moment_is_started_later(small):
    """Descriptors, processes or memory may be short just when a daemon died: that is not the end of all others."""
    launcher, before = small.process.pid, small.pids()
    dialer, = small.pids("dialer")
    limits_before = resource.prlimit(launcher, resource.RLIMIT_NOFILE)
    resource.prlimit(launcher, resource.RLIMIT_NOFILE, (3, limits_before[1]))
    os.kill(dialer, signal.SIGKILL)
    try:
        wait_for("an attempt", lambda: "dialer does not start: Too many open files" in small.log())
    finally:
        resource.prlimit(launcher, resource.RLIMIT_NOFILE, limits_before)
    wait_for("a new dialer", lambda: small.pids("dialer") not in ([], [dialer]))
    assert set(before) - set(small.pids()) == {dialer}


def test_says_that_seccomp_killed(small):
    """SIGSYS from outside looks the same as SIGSYS from the filter."""
    pid = small.pids("dialer")[0]
    os.kill(pid, signal.SIGSYS)
    wait_for("the report", lambda: "killed by seccomp (SIGSYS)" in small.log())
    wait_for("a new dialer", lambda: small.pids("dialer") not in ([], [pid]))


def test_second_up_is_refused(small):
    done = subprocess.run([os.path.join(BUILD, "bin", "bulkhead"), "up", "-c", small.config], capture_output=True, timeout=20,
                          check=False)
    assert done.returncode == 1
    assert b"another bulkhead runs in" in done.stderr
    assert done.stdout == b""
    assert small.cli("vault", "status").returncode == 0


def test_leaves_nothing_behind_and_starts_again():
    with scratch() as folder:
        for number in (signal.SIGINT, signal.SIGTERM):
            with Gateway(folder, providers=PROVIDERS) as gateway:
                gateway.stop(number)
            assert not os.path.exists(gateway.run_dir)


def test_drains_what_is_under_way(new_gateway):
    """Ctrl-C in the middle of a stream: the stream ends in order, new connections are not taken, and then all is gone."""
    gateway = new_gateway()
    stream = gateway.stream("test:slow:50:40")
    events = stream.events()
    first = [next(events) for _ in range(3)]
    gateway.process.send_signal(signal.SIGINT)
    rest = list(events)
    assert len(first + rest) >= 40 and rest[-1] == "[DONE]"
    assert gateway.process.wait(20) == 0
    gateway.stop()
    gateway.start()  # the log outlived the request that it tells of
    assert gateway.audit(event="request.complete", model="test:slow:50:40", status=200)
    assert gateway.verify().returncode == 0


def test_who_does_not_end_does_not_take_the_log_along(new_gateway):
    """Killed at the end of its time, alone: those behind it end in order."""
    gateway = new_gateway(workers=1)
    halt(gateway.pids("router")[0])
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(45) == 0 and "drain_timeout" in gateway.log()
    gateway.stop()
    gateway.start()
    stopped = {e["actor"] for e in gateway.audit(event="daemon.stop")}
    assert stopped >= {"authd", "egress"} and gateway.verify().returncode == 0


def test_second_signal_does_not_wait(new_gateway):
    gateway = new_gateway()
    stream = gateway.stream("test:slow:50:4000")
    next(stream.events())
    gateway.process.send_signal(signal.SIGINT)
    wait_for("the door to be shut", lambda: '"event":"daemon.stop"' in gateway.log())
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.process.wait(20) == 0
    stream.close()
    gateway.stop()


def test_a_closed_terminal_is_one_word(new_gateway):
    """It tells its shell and whom it shows, and the shell tells them too: that drains, and does not kill."""
    gateway = new_gateway()
    stream = gateway.stream("test:slow:50:40")
    events = stream.events()
    next(events)
    gateway.process.send_signal(signal.SIGHUP)
    wait_for("the door to be shut", lambda: '"event":"daemon.stop"' in gateway.log())
    gateway.process.send_signal(signal.SIGHUP)
    assert list(events)[-1] == "[DONE]"
    assert gateway.process.wait(20) == 0
    gateway.stop()


def test_nohup():
    with scratch() as folder, Gateway(folder, providers=PROVIDERS, workers=1, prefix=["nohup"]) as gateway:
        before = gateway.pids("dialer")
        gateway.process.send_signal(signal.SIGHUP)
        os.kill(before[0], signal.SIGKILL)  # after that: who drains starts nobody
        wait_for("a new dialer", lambda: gateway.pids("dialer") not in ([], before))


def test_signals_that_whoever_started_it_had_blocked():
    """They stay so across exec(): deaths must be noticed all the same, and a word to end be heard, by each of them."""
    deaf = [sys.executable, "-c", "import os, signal as s, sys; s.pthread_sigmask(0, s.valid_signals()); os.execv(sys.argv[1], sys.argv[1:])"]
    with scratch() as folder, Gateway(folder, providers=PROVIDERS, workers=1, prefix=deaf) as gateway:
        assert all(field(pid, "SigBlk") == ["0" * 16] for pid in (gateway.process.pid, *gateway.pids()))
        before = gateway.pids("dialer")
        os.kill(before[0], signal.SIGKILL)
        wait_for("a new dialer", lambda: gateway.pids("dialer") not in ([], before))
        gateway.stop(signal.SIGTERM)


@pytest.mark.skipif(INSTRUMENTED or not shutil.which("strace"), reason="needs strace, and programs that it may follow")
def test_a_stop_before_anybody_is_a_program_of_its_own():
    """A child that was just forked is told to end: that is no second word to the launcher, which would kill all of them."""
    slowly = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=execve", "-e", "inject=execve:delay_enter=700000"]
    with scratch() as folder:
        gateway = Gateway(folder, providers=PROVIDERS, workers=1)
        gateway.port = free_port()
        gateway.write_config()
        with open(os.path.join(folder, "log"), "wb") as log, \
                subprocess.Popen([*slowly, gateway.program, "up", "-c", gateway.config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=log, start_new_session=True) as process:
            try:
                wait_for("all to be forked", lambda: len(children_of(process.pid)) == len(ROLES))
                assert {proc_read(pid, "comm") for pid in children_of(process.pid)} == {b"bulkhead\n"}, "too late to prove anything"
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 0
            finally:
                process.kill()  # when any of that did not hold; its children die with it
        assert "SIG" not in gateway.log() and not os.path.isdir(gateway.run_dir)


@pytest.mark.skipif(INSTRUMENTED or not shutil.which("strace"), reason="needs strace, and programs that it may follow")
@pytest.mark.skipif(ROOT_UID and not SEES_OTHERS, reason="strace cannot read what root's launcher says")
def test_the_folders_of_a_state_are_durable_before_anything_in_them():
    """A power failure must not take the log with the folder's name, which nobody but its maker can sync."""
    with scratch() as folder:
        trace = os.path.join(folder, "trace")
        with Gateway(folder, providers=PROVIDERS, workers=1, prefix=["strace", "-D", "-qq", "-y", "-e", "trace=mkdir,syncfs", "-o", trace]) as gateway:
            with open(trace, encoding="utf-8") as f:
                calls = f.read().splitlines()
        for name in ("authd", "keyvault", "auditd"):
            path = os.path.join(gateway.state, name)
            made = next(i for i, call in enumerate(calls) if call.startswith("mkdir(") and path in call and call.endswith("= 0"))
            assert any(call.startswith("syncfs(") and path in call and call.endswith("= 0") for call in calls[made:]), (name, calls)


def test_children_die_with_the_launcher():
    with scratch() as folder, Gateway(folder, providers=PROVIDERS) as gateway:
        pids = gateway.pids()
        gateway.process.kill()
        gateway.process.wait(10)
        wait_for("the end of the daemons", lambda: not any(is_alive(pid) for pid in pids))
        gateway.process.stdout.close()
        gateway.log_file.close()
        gateway.start()  # stale sockets are in the way of nobody


def start_in_vain(folder, providers, **egress):
    """How `bulkhead up` ends when the egress cannot begin."""
    gateway = Gateway(folder, providers=providers, settings={"egress": egress} if egress else None)
    gateway.port = 0
    gateway.write_config()
    done = subprocess.run([os.path.join(BUILD, "bin", "bulkhead"), "up", "-c", gateway.config], capture_output=True, timeout=60,
                          check=False)
    if b"ready:" in done.stdout:
        pytest.skip("this machine locks a gigabyte")
    assert done.returncode == 1
    assert b"egress0 does not start" in done.stderr or b"egress1 does not start" in done.stderr
    return done.stderr


def test_gives_up_on_what_cannot_start():
    """Too little may be locked: how much it takes, how much it is, and what to set."""
    with scratch() as folder:
        said = start_in_vain(folder, PROVIDERS, arena_bytes=1073741824)
        assert b"1048576 KiB cannot be locked, the limit is " in said
        assert b"LimitMEMLOCK=1048576K" in said and b"ulimit -l 1048576" in said


def test_an_arena_too_small_for_the_credentials():
    """Refused at start, not at the request that finds no room."""
    with scratch() as folder:
        providers = [{**PROVIDERS[0], "name": f"p{i}"} for i in range(32)]
        said = start_in_vain(folder, providers, arena_bytes=131072)
        assert b"131072 is too small for 32 providers; set it to 638976 or more" in said


def test_a_ca_file_without_a_certificate():
    with scratch() as folder:
        mistaken = os.path.join(folder, "ca.csr")
        with open(mistaken, "w", encoding="ascii") as f:
            f.write("-----BEGIN CERTIFICATE REQUEST-----\n")
        said = start_in_vain(folder, [{**PROVIDERS[0], "ca_file": mistaken}])
        assert b"providers.ca_file" in said and f"no certificate (PEM) can be read from {mistaken}".encode() in said


def test_the_least_arena_does_for_a_key():
    """What is accepted at start serves requests: a key is as long as those of the large providers, or a little longer."""
    with scratch() as folder, Provider(folder, ("sk-proj-" + "aB3_-" * 40)[:200]) as provider:
        gateway = Gateway(folder, provider, settings={"egress": {"arena_bytes": 131072}})
        gateway.providers = gateway.all_providers()[:1]
        with gateway:
            gateway.prepare()
            assert gateway.chat("gpt-x").status == 200


@needs_root
def test_not_root():
    """Everything works under one uid, and it says what that costs."""
    with scratch() as folder:
        os.chown(folder, 65534, 65534)
        gateway = Gateway(folder, providers=PROVIDERS)
        gateway.port = 0
        gateway.write_config()
        nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        bulkhead = program_for_all(folder)
        process = subprocess.Popen([*nobody, bulkhead, "up", "-c", gateway.config], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   cwd=folder)
        try:
            assert process.stdout.readline().startswith(b"ready: http://127.0.0.1:")
            done = subprocess.run([*nobody, bulkhead, "vault", "init", "-c", gateway.config], capture_output=True, timeout=30,
                                  check=False)
            assert done.returncode == 0, done.stderr
            status = subprocess.run([*nobody, bulkhead, "status", "-c", gateway.config], capture_output=True, timeout=30, check=False)
            assert status.returncode == 0, status.stdout + status.stderr
            stranger = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"]
            done = subprocess.run([*stranger, bulkhead, "vault", "seal", "-c", gateway.config], capture_output=True, timeout=30,
                                  check=False)
            assert done.returncode == 1 and b"is not yours to ask" in done.stderr
        finally:
            process.terminate()
            said = process.communicate(timeout=40)[1]
        assert process.returncode == 0
        assert b"not root, so all daemons share uid 65534" in said


@sees_others
def test_without_the_first_three_descriptors():
    """As old ways of starting a daemon leave it: nothing of the launcher's own may stand in their place, nor be handed on."""
    with scratch() as folder:
        gateway = Gateway(folder, providers=PROVIDERS, workers=1, settings={"restart_pause_ms": 100})
        gateway.port = free_port()
        gateway.write_config()
        with subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", gateway.program, "up", "-c", gateway.config]) as gateway.process:
            try:
                wait_for("all to be up", lambda: all(row["up"] for row in gateway.status_anyway()))
                for pid in (gateway.process.pid, *gateway.pids()):
                    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}, proc_read(pid, "comm")
                before = gateway.pids("dialer")
                os.kill(before[0], signal.SIGKILL)  # of which the launcher would like to tell
                wait_for("a new dialer", lambda: gateway.pids("dialer") not in ([], before))
            finally:
                gateway.process.terminate()
            assert gateway.process.wait(20) == 0


@needs_root
def test_root_with_the_capabilities_of_the_unit_only():
    """What packaging/bulkhead.service leaves to root is enough, also to open the log to the shipper's group."""
    with open(os.path.join(ROOT, "packaging", "bulkhead.service"), encoding="utf-8") as f:
        unit = next(line for line in f if line.startswith("CapabilityBoundingSet=")).split("=")[1].split()
    left = ",".join("+" + name.removeprefix("CAP_").lower() for name in unit)
    with scratch() as folder:
        prefix = ["setpriv", "--bounding-set", "-all," + left, "--inh-caps=-all", "--no-new-privs"]
        with Gateway(folder, providers=PROVIDERS, workers=1, prefix=prefix) as gateway:
            st = os.stat(os.path.join(gateway.state, "auditd"))
            assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (62105, 62109, 0o750)


def run_refused(folder, text, *args):
    config = os.path.join(folder, "bulkhead.yaml")
    with open(config, "w", encoding="utf-8") as f:
        f.write(text)
    return subprocess.run([os.path.join(BUILD, "bin", "bulkhead"), *(args or ["up"]), "-c", config], capture_output=True, timeout=20,
                          check=False)


def test_refuses_with_one_line_that_says_what_to_do():
    with scratch() as folder:
        cases = {
            "router: { lisen: x }": b"bulkhead.yaml:1: unknown key 'lisen' in router; did you mean 'listen'?",
            "router: { listen: '192.0.2.1:80' }": b"cannot listen on 192.0.2.1:80",
            "providers: [{ name: x, base_url: 'https://x.test', ca_file: ./none.pem }]": b"none.pem of provider 'x' cannot be read",
        }
        for text, said in cases.items():
            done = run_refused(folder, text)
            assert done.returncode == 1 and said in done.stderr and done.stderr.count(b"\n") <= (1 if ROOT_UID else 2), done.stderr
            assert done.stdout == b""
        done = run_refused(folder, "", "run", "nobody")
        assert done.returncode == 2 and b"no daemon 'nobody'" in done.stderr
        done = run_refused(folder, "", "run", "router", "--worker", "9")
        assert done.returncode == 2


@needs_root
def test_refuses_a_state_folder_of_another_uid():
    with scratch() as folder:
        os.makedirs(os.path.join(folder, "state", "authd"))
        done = run_refused(folder, "")
        assert done.returncode == 1 and b"belongs to uid 0" in done.stderr and b"chown -R 62101:62101" in done.stderr


def test_says_why_a_run_folder_cannot_be_made():
    """Not that it is not there, which is why it was to be made."""
    with scratch() as folder:
        done = run_refused(folder, "run_dir: /sys/bulkhead")
        assert done.returncode == 1 and b"run_dir /sys/bulkhead: it is not there and cannot be made: " in done.stderr
        assert b"No such file" not in done.stderr


def test_a_command_with_another_configuration_says_where_it_looked():
    """As root's shell has it, when only the unit was told of the folders."""
    with scratch() as folder:
        done = run_refused(folder, "run_dir: ./elsewhere", "vault", "init")
        assert done.returncode == 1 and f"keyvault does not run in {folder}/elsewhere: ".encode() in done.stderr


def test_two_cannot_have_one_state():
    """With a run_dir and a port of its own the second would write into the log of the first."""
    with scratch() as folder, scratch() as elsewhere, Gateway(folder, providers=PROVIDERS, workers=1) as gateway:
        other = Gateway(elsewhere, providers=PROVIDERS, workers=1)
        other.port, other.state = 0, gateway.state
        other.write_config()
        done = subprocess.run([other.program, "up", "-c", other.config], capture_output=True, timeout=20, check=False)
        assert done.returncode == 1 and b"is in use by another bulkhead" in done.stderr, done.stderr
        assert done.stdout == b"" and not os.path.exists(other.run_dir)
        assert gateway.cli("vault", "init").returncode == 0
        wait_for("a log that is good", lambda: gateway.verify().returncode == 0)


@pytest.mark.parametrize("mode, owner, says", [(0o777, 0, b"others could put their sockets into it"),
                                               (0o755, 65533, b"belongs to uid 65533")])
def test_refuses_a_run_folder_of_others(mode, owner, says):
    """Who can put a socket of his own there is told the next passphrase."""
    if owner and not ROOT_UID:
        pytest.skip("needs root")
    with scratch() as folder:
        run = os.path.join(folder, "run")
        os.mkdir(run)
        os.chmod(run, mode)
        os.chown(run, owner or os.geteuid(), -1)
        done = run_refused(folder, "")
        assert done.returncode == 1 and says in done.stderr and not os.listdir(run)
