# SPDX-License-Identifier: Apache-2.0
"""A Postgres of the test's own: a cluster in a scratch folder, on a private port, as an unprivileged user, with passwords and TLS.

    with Postgres(folder) as db:
        db.sql("SELECT 1")                       # as the owner
        db.sql("SELECT 1", user="mirror")        # as a role made by db.role()
"""
import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess

from certs import make_ca, make_server
from gateway import Late, SLOWER, children_of, free_port, is_alive, stops_on_failure, uninterrupted, wait_for

BIN = max(glob.glob("/usr/lib/postgresql/*/bin"), default=None, key=lambda p: int(p.split("/")[4]))
MISSING = BIN is None
DATABASE = "audit"


class SqlError(AssertionError):
    """What psql says when a statement fails."""


class Postgres:
    def __init__(self, folder):
        self.folder, self.data = os.path.join(folder, "postgres"), os.path.join(folder, "postgres", "data")
        self.port, self.process, self.passwords = free_port(), None, {"owner": "owner's password"}
        self.user = "postgres" if os.geteuid() == 0 else None
        self.ca = os.path.join(self.folder, "ca.pem")

    def __enter__(self):
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        self.write("pw", self.passwords["owner"])
        make_server(self.folder, "db", "localhost", make_ca(self.folder, "ca"))
        self.own(self.folder)
        self.run("initdb", "-D", self.data, "-U", "owner", "-A", "scram-sha-256", "--pwfile", os.path.join(self.folder, "pw"),
                 "-E", "UTF8", "--locale=C", "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as f:
            # A killed process loses nothing that the kernel has: fsync is for power, which stays on here.
            f.write(f"port={self.port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\nfsync=off\nmax_connections=20\n"
                    f"ssl=on\nssl_cert_file='{self.folder}/db.crt'\nssl_key_file='{self.folder}/db.key'\nshared_buffers=16MB\n")
        with stops_on_failure(self.stop):
            self.start()
            self.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- life ----
    def start(self):
        with uninterrupted():
            self.process = subprocess.Popen([os.path.join(BIN, "postgres"), "-D", self.data], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=open(os.path.join(self.folder, "log"), "ab"),
                                            start_new_session=True, user=self.user, group=self.user, extra_groups=[] if self.user else None)
        wait_for("Postgres", lambda: self.answers() or self.check_alive(), seconds=30)

    def check_alive(self):
        assert self.process.poll() is None, self.log()

    def answers(self):
        with contextlib.suppress(SqlError):
            return self.sql("SELECT 1", database="postgres") == [["1"]]

    def kill(self):
        """At once, and all of it: its children have sessions of their own, and one that lives keeps the next server from starting."""
        os.kill(self.process.pid, signal.SIGSTOP)  # so that no more come
        everybody = [self.process.pid, *children_of(self.process.pid)]
        for pid in everybody:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        wait_for("its children to be gone", lambda: not any(is_alive(pid) for pid in everybody))
        self.process = None

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(20 * SLOWER)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise Late("Postgres did not end") from None
        self.process = None

    # ---- use ----
    def sql(self, text, user="owner", database=DATABASE, check=True):
        """Rows of text."""
        done = subprocess.run([os.path.join(BIN, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-F", "\x1f", "-h", "127.0.0.1", "-p",
                               str(self.port), "-U", user, "-d", database, "-f", "-"], input=text.encode(), capture_output=True,
                              env={"PGPASSWORD": self.passwords[user], "PGCONNECT_TIMEOUT": "5"}, timeout=60 * SLOWER, check=False)
        if done.returncode != 0:
            raise SqlError(done.stderr.decode())
        return [line.split("\x1f") for line in done.stdout.decode().split("\n")[:-1]] if check else None

    @contextlib.contextmanager
    def locked(self, table):
        """Nobody else can so much as read it."""
        with subprocess.Popen([os.path.join(BIN, "psql"), "-Xq", "-h", "127.0.0.1", "-p", str(self.port), "-U", "owner", "-d", DATABASE],
                              stdin=subprocess.PIPE, env={"PGPASSWORD": self.passwords["owner"]}) as session:
            try:
                session.stdin.write(f"BEGIN; LOCK TABLE {table};\n".encode())
                session.stdin.flush()
                wait_for("the lock", lambda: self.locks(table, granted=True))
                yield
            finally:
                session.stdin.close()  # it ends, and its transaction with it

    def locks(self, table, granted):
        """How many hold a lock on it, or wait for one."""
        return int(self.sql(f"SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND granted = {granted}")[0][0])

    def role(self, name, *groups):
        """A role that logs in, in these groups; returns the file with its password."""
        self.passwords[name] = f"password of {name}"
        self.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{self.passwords[name]}'" + (" IN ROLE " + ", ".join(groups) if groups else ""))
        return self.write(f"{name}.pw", self.passwords[name] + "\n", mode=0o644)

    def conninfo(self, user, **more):
        more = {"sslmode": "verify-full", "sslrootcert": self.ca, "host": "localhost", **more}
        return f"port={self.port} dbname={DATABASE} user={user} " + " ".join(f"{k}={v}" for k, v in more.items())

    # ---- files ----
    def write(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def own(self, path):
        if self.user:
            found = pwd.getpwnam(self.user)
            for where, _, names in os.walk(path):
                for name in (".", *names):
                    os.chown(os.path.join(where, name), found.pw_uid, found.pw_gid)

    def run(self, program, *args):
        subprocess.run([os.path.join(BIN, program), *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
                       user=self.user, group=self.user, extra_groups=[] if self.user else None)

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-4000:]
