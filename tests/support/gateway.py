# SPDX-License-Identifier: Apache-2.0
"""A running gateway and its provider stand-in, in a scratch folder: what the integration tests, the demo and the clients share.

    with scratch() as folder, Provider(folder) as provider, Gateway(folder, provider) as gateway:
        gateway.open_vault()
        key = gateway.make_key()

Nothing here sleeps for luck: every wait has a condition and a deadline. Leaving a `with` block proves that nothing is left: no
process, no socket, no file.
"""
import contextlib
import dataclasses
import http.client
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("BULKHEAD_BUILD", "build/release"))
BIN = os.path.join(BUILD, "bin")
# The auditor's program; where there are no static libraries to make it of, the operator's has the same commands.
AUDITOR = os.path.join(BIN, "bulkhead-audit")
AUDIT = [AUDITOR] if os.path.exists(AUDITOR) else [os.path.join(BIN, "bulkhead"), "audit"]
INSTRUMENTED = os.path.basename(BUILD) != "release"
SLOWER = 5 if INSTRUMENTED else 1
PASSPHRASE = b"correct horse battery staple\n"  # as it is typed
TMPDIR_MAX = 40  # bytes; the 107 of a socket's path must also hold a folder's name and the socket's
PROVIDER_KEY = 'sk-test-Zm9v/bar+baz="quux\\%41-' + "0123456789abcdef"

DAEMONS = {"router": "router", "authd": "authd", "keyvault": "keyvault", "egress": "keyvault-egress",
           "dialer": "keyvault-dialer", "auditd": "auditd", "classifier": "classifier"}
PROGRAMS = {**DAEMONS, "shipper": "audit-shipper"}  # with what runs only where it is configured


class Late(AssertionError):
    """A deadline passed."""


@contextlib.contextmanager
def frozen(*pids):
    """Processes that stand still meanwhile; some may be gone at the end."""
    for pid in pids:
        halt(pid)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def wait_for(what, condition, seconds=10.0, step=0.02):
    """The first true value of condition(), polled; Late when there is none in time."""
    deadline = time.monotonic() + seconds * SLOWER
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Late(f"waited {seconds * SLOWER:.0f} s for {what}")
        time.sleep(step)


@contextlib.contextmanager
def scratch():
    """A folder that other uids may enter, whose files they may read; removed at the end."""
    os.umask(0o022)
    short = len(tempfile.gettempdir()) <= TMPDIR_MAX
    folder = None
    try:
        with uninterrupted():
            folder = tempfile.mkdtemp(prefix="bulkhead-", dir=None if short else "/tmp")
        os.chmod(folder, 0o755)
        yield folder
    finally:
        if folder:
            shutil.rmtree(folder)


@contextlib.contextmanager
def stops_on_failure(stop):
    """For what must be ended when its __enter__ does not finish, since then nobody calls its __exit__."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(AssertionError):  # the first failure is the one to tell
            stop()
        raise


@contextlib.contextmanager
def uninterrupted():
    """Ctrl-C waits for the end of the body: Popen() interrupted has a child that nobody knows, mkdtemp() such a folder."""
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if callable(signal.getsignal(n))]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    caught = []
    before = {n: signal.signal(n, lambda number, _: caught.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        before[caught[0]](caught[0], None)


def program_for_all(folder, **replaced):
    """`bulkhead` with its daemons beside it where every uid can start them: the tree itself may lie in a home of mode 0700.
    In place of some daemons, programs of the build's that the tests have linked."""
    programs = shutil.copytree(BIN, os.path.join(folder, "bin"))
    for name, other in replaced.items():
        shutil.copy(os.path.join(BUILD, other), os.path.join(programs, name))
    for name in (".", *os.listdir(programs)):
        os.chmod(os.path.join(programs, name), 0o755)
    return os.path.join(programs, "bulkhead")


# ---- processes, as /proc shows them ----

def proc_read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as f:
            return f.read()
    except OSError:
        return b""


def halt(pid):
    """Stops a process, and comes back when it stands (or is gone): of two signals on their way the lower number arrives first."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(f"process {pid} to stand still", lambda: proc_read(pid, "stat").rpartition(b") ")[2][:1] not in (b"R", b"S", b"D"))


def open_files(pid):
    """What each descriptor leads to; one that is closed meanwhile is left out. Of a daemon, only root may look."""
    files = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            files[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return files


def parent_of(pid):
    stat = proc_read(pid, "stat").decode("latin-1")
    return int(stat.rsplit(")", 1)[1].split()[1]) if stat else 0


def is_alive(pid):
    stat = proc_read(pid, "stat").decode("latin-1")
    return bool(stat) and stat.rsplit(")", 1)[1].split()[0] != "Z"


def born(pid):
    """When it was, which tells it from another that has got its number since."""
    stat = proc_read(pid, "stat").decode("latin-1")
    return int(stat.rsplit(")", 1)[1].split()[19]) if stat else None


def read_until(fd, end, seconds=20):
    """What a terminal or a pipe brings, up to these bytes."""
    data = b""
    while end not in data:
        assert select.select([fd], [], [], seconds * SLOWER)[0], data
        data += os.read(fd, 4096)
    return data


def children_of(pid):
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and parent_of(int(p)) == pid]


class Provider:
    """tests/support/provider.py as a process."""

    def __init__(self, folder, key=PROVIDER_KEY):
        self.folder, self.key, self.process = os.path.join(folder, "provider"), key, None

    def __enter__(self):
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        self.write_key()
        with stops_on_failure(self.stop):  # Ctrl-C may come at any line
            with uninterrupted():
                self.process = subprocess.Popen(
                    [sys.executable, os.path.join(ROOT, "tests/support/provider.py"), self.folder],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
            said = json.loads(self.process.stdout.readline())
        self.ports, self.ca = said["ports"], said["ca"]
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)  # and the openssl that it may have called just now
        self.process.wait(10)
        self.process.stdout.close()

    def write_key(self, *more):
        with open(os.path.join(self.folder, "key.txt"), "w", encoding="ascii") as f:
            f.write("\n".join((self.key, *more)))

    def change_key(self, key):
        """The only one that it takes from now on."""
        self.key = key
        self.write_key()
        self.control("POST", "/key")

    def also_takes(self, *keys):
        self.write_key(*keys)
        self.control("POST", "/key")

    def control(self, method, path):
        conn = http.client.HTTPConnection("127.0.0.1", self.ports["control"], timeout=10)
        conn.request(method, path)
        value = json.loads(conn.getresponse().read())
        conn.close()
        return value

    def journal(self):
        return self.control("GET", "/journal")["journal"]

    def reset(self):
        self.control("POST", "/reset")


@dataclasses.dataclass
class Reply:
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


class Stream:
    """An answer read event by event."""

    def __init__(self, conn, response):
        self.conn, self.response = conn, response
        self.status, self.headers = response.status, lower(response.getheaders())

    def events(self):
        """The data of each event; ends when the body ends in order, raises http.client.IncompleteRead when it does not."""
        event = []
        while True:
            line = self.response.readline()
            if not line:
                # readline() hides a chunked body that broke off; read() does not, but for one that broke between two chunks
                if self.response.chunked and self.response.chunk_left is not None:
                    raise http.client.IncompleteRead(b"")
                self.response.read()
                return
            line = line.rstrip(b"\r\n")
            if line.startswith(b"data:"):
                event.append(line[5:].strip())
            elif not line and event:
                yield b"\n".join(event).decode()
                event = []

    def close(self):
        if self.conn.sock:
            self.conn.sock.close()
        self.response.close()
        self.conn.close()


def lower(headers):
    return {k.lower(): v for k, v in headers}


class Gateway:
    """`bulkhead up` in a folder of its own."""

    def __init__(self, folder, provider=None, settings=None, workers=2, providers=None, prefix=(), program=None):
        self.program = program or os.path.join(BIN, "bulkhead")
        self.folder, self.provider = folder, provider
        self.config = os.path.join(folder, "bulkhead.yaml")
        self.state, self.run_dir = os.path.join(folder, "state"), os.path.join(folder, "run")
        self.settings, self.workers, self.providers, self.prefix = settings or {}, workers, providers, list(prefix)
        self.process, self.host, self.port, self.key = None, "127.0.0.1", None, None

    # ---- life ----
    def write_config(self):
        """JSON is YAML: every section is one line of it."""
        sections = {"router": {"listen": f"{self.host}:{self.port}", "workers": self.workers},
                    "state_dir": self.state, "run_dir": self.run_dir, "keyvault": {"unseal": "key_file"},
                    "providers": self.providers or self.all_providers(), "models": self.models()}
        for name, values in self.settings.items():
            sections[name] = {**sections.get(name, {}), **values} if isinstance(values, dict) else values
        with open(self.config, "w", encoding="utf-8") as f:
            f.writelines(f"{name}: {json.dumps(value)}\n" for name, value in sections.items())

    def all_providers(self):
        """The stand-in under several names: as it should be, and with one thing wrong each."""
        ports, ca = self.provider.ports, self.provider.ca
        entry = {"dialect": "openai", "auth": "bearer", "ca_file": ca}
        listed = [{"name": name, "base_url": f"https://upstream.test:{ports[port]}/v1", "connect_to": "127.0.0.1", **entry}
                  for name, port in (("local", "tls"), ("wrong-name", "wrong_name"), ("wrong-ca", "wrong_ca"),
                                     ("tls11", "tls11"), ("closed", "closed"))]
        listed += [{"name": name, "base_url": f"https://{host}:{ports['tls']}/v1", **entry}
                   for name, host in (("private", "127.0.0.1"), ("localname", "localhost"))]
        return listed

    def models(self):
        """The provider's name before a colon chooses it; anything else goes to the first."""
        names = [p["name"] for p in self.providers or self.all_providers()]
        return [{"match": f"{name}:*", "providers": [name]} for name in names[1:]] + \
            [{"match": "*", "providers": names[:1], "names": ["gpt-x", "gpt-y"], "price_in": 0.15, "price_out": "0.6"}]

    def __enter__(self):
        self.port = self.port or free_port()
        self.write_config()
        with stops_on_failure(self.stop):
            self.start()
        return self

    def __exit__(self, kind, value, trace):
        with uninterrupted():
            if kind not in (None, KeyboardInterrupt):
                log = self.log()
                sys.stderr.write("".join(line for line in log[:-8000].splitlines(True) if '"level":"info"' not in line) + log[-8000:])
            self.stop()

    def start(self, seconds=20):
        self.log_file = open(os.path.join(self.folder, "log"), "ab")  # pylint: disable=consider-using-with
        with uninterrupted():
            self.process = subprocess.Popen([*self.prefix, self.program, "up", "-c", self.config],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log_file,
                                            cwd=self.folder, start_new_session=True)
        self.ready_line = self.read_line("ready:", seconds)

    def read_line(self, begin, seconds):
        """The first line of standard output that begins so."""
        deadline, data = time.monotonic() + seconds * SLOWER, b""
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"bulkhead up ended with {self.process.returncode}:\n{data.decode()}{self.log()}")
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                data += os.read(self.process.stdout.fileno(), 4096)
                for line in data.decode().split("\n")[:-1]:
                    if line.startswith(begin):
                        return line
        raise Late(f"no line {begin} in {seconds} s:\n{data.decode()}{self.log()}")

    def stop(self, number=signal.SIGINT, seconds=20):
        """Ends it as Ctrl-C would; proves that nothing is left."""
        if self.process is None:
            return
        pids = {(pid, born(pid)): name for pid, name in self.pids().items()}
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(seconds * SLOWER)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise Late(f"bulkhead up did not end in {seconds} s:\n{self.log()[-4000:]}") from None
        finally:
            for (pid, birth), name in pids.items():
                with contextlib.suppress(ProcessLookupError):
                    if not is_alive(pid) or born(pid) != birth:
                        continue
                    os.kill(pid, signal.SIGKILL)
                    raise AssertionError(f"{name}, process {pid}, was left behind")
            self.process.stdout.close()
            self.log_file.close()
            self.process = None
        assert code == 0, f"bulkhead up ended with {code}:\n{self.log()[-4000:]}"
        left = os.listdir(self.run_dir) if os.path.isdir(self.run_dir) else []
        assert not left, f"left in the run folder: {left}"

    def log(self):
        path = os.path.join(self.folder, "log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()

    # ---- processes ----
    def pids(self, daemon=None):
        """{pid: daemon} of the running daemons, or the pids of one."""
        found = {}
        for pid in children_of(self.process.pid) if self.process else []:
            program = proc_read(pid, "comm").decode().strip()  # not exe, which hides what is not dumpable from its own user
            for name, binary in PROGRAMS.items():
                if program == binary and is_alive(pid):
                    found[pid] = name
        return found if daemon is None else sorted(pid for pid, name in found.items() if name == daemon)

    def pid_of(self, daemon, worker):
        """Of a worker: who it is stands in its command line, `--worker N`."""
        return next(pid for pid in self.pids(daemon) if proc_read(pid, "cmdline").split(b"\0")[-2] == str(worker).encode())

    # ---- operator ----
    def cli(self, *args, stdin=b"", check=True):
        done = subprocess.run([self.program, *args, "-c", self.config], input=stdin, capture_output=True,
                              timeout=30 * SLOWER, cwd=self.folder, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"bulkhead {' '.join(args)}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
        return done

    def cli_json(self, *args, stdin=b""):
        return json.loads(self.cli(*args, "--json", stdin=stdin).stdout)

    def status(self):
        return self.cli_json("status")

    def status_anyway(self):
        """Of all daemons, ready or not."""
        return json.loads(self.cli("status", "--json", check=False).stdout)

    def open_vault(self):
        self.cli("vault", "init")

    def add_key(self, name="local", key=None):
        self.cli("vault", "add", name, stdin=(key or self.provider.key).encode())

    def make_key(self, models="*", rpm=1000000, tenant="acme", **options):
        args = [x for k, v in options.items() for x in ("--" + k, str(v))]
        return self.cli_json("key", "create", "--tenant", tenant, "--models", models, "--rpm", str(rpm), *args)

    def prepare(self):
        """A vault with the stand-in's key for every provider, and a gateway key for `chat`."""
        self.open_vault()
        for entry in self.providers or self.all_providers():
            self.add_key(entry["name"])
        self.key = self.make_key()["key"]
        wait_for("the first good answer", lambda: self.chat("gpt-x").status == 200)
        return self

    def audit(self, **match):
        """Events of the log whose fields are as asked."""
        events = [json.loads(line) for line in self.cli("audit", "tail", "--from", "0", "--json").stdout.splitlines() if line]
        return [e for e in events if all(e.get(k) == v for k, v in match.items())]

    def verify(self):
        return self.cli("audit", "verify", check=False)

    # ---- client ----
    def connect(self, timeout=20.0):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout * SLOWER)

    def request(self, method, path, body=None, key=None, headers=None, timeout=20.0):
        conn = self.connect(timeout)
        try:
            conn.request(method, path, body, self.headers(key, headers))
            response = conn.getresponse()
            return Reply(response.status, lower(response.getheaders()), response.read())
        finally:
            conn.close()

    def headers(self, key=None, more=None):
        key = self.key if key is None else key
        return {**({"authorization": f"Bearer {key}"} if key else {}), "content-type": "application/json", **(more or {})}

    @staticmethod
    def chat_body(model, stream=False, text="hello", **more):
        return json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], **more})

    def chat(self, model, text="hello", key=None, timeout=20.0, headers=None, **more):
        return self.request("POST", "/v1/chat/completions", self.chat_body(model, text=text, **more), key, headers, timeout)

    def stream(self, model, key=None, timeout=20.0, **more):
        conn = self.connect(timeout)
        conn.request("POST", "/v1/chat/completions", self.chat_body(model, stream=True, **more), self.headers(key))
        return Stream(conn, conn.getresponse())

    def raw(self, data, seconds=5.0):
        """Sends bytes as they are; all that comes back until the gateway closes or is silent so long."""
        with socket.create_connection((self.host, self.port), timeout=seconds * SLOWER) as s:
            s.sendall(data)
            got = b""
            with contextlib.suppress(socket.timeout, ConnectionError):
                while part := s.recv(65536):
                    got += part
            return got


RESERVED = []  # as long as this process lives


def free_port():
    """None of those that the kernel gives to whoever asks for any, who could have it while the gateway is down; and no other's who
    asks here, in whatever process."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        end = int(f.read().split()[0])
    while True:
        port = random.SystemRandom().randrange(10000, max(end, 20000))
        mark = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError), socket.socket() as s:
            mark.bind(f"\0bulkhead test port {port}")
            s.bind(("127.0.0.1", port))
            RESERVED.append(mark)
            return port
        mark.close()
