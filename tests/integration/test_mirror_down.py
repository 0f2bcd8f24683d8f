# SPDX-License-Identifier: Apache-2.0
"""L-05: a mirror that is dead, slow, full, wrong or killed delays its rows, and never anything else; afterwards none is missing."""
import os
import signal

import pytest

import postgres
from gateway import frozen, is_alive, scratch, wait_for
from load import Load
from postgres import Postgres

pytestmark = pytest.mark.skipif(postgres.MISSING, reason="needs Debian's postgresql")
OWN_UIDS = os.geteuid() == 0  # otherwise what is closed to the shipper is closed to all of them


@pytest.fixture(scope="module")
def db():
    with scratch() as folder, Postgres(folder) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(new_gateway, db):
    """Started while its database is down."""
    password = db.role("mirror")
    db.kill()  # and started by the first test: these belong together
    return new_gateway(workers=1, settings={"shipper": {"postgres": db.conninfo("mirror"), "password_file": password, "batch_rows": 7}})


def detail(gateway):
    row = next(d for d in gateway.status_anyway() if d["name"] == "shipper")
    return f"{'ready' if row['ready'] else 'not ready'}: {row['detail']}"


def says(gateway, *words):
    return wait_for(f"status to say {words}", lambda: all(w in detail(gateway) for w in words), seconds=40, step=0.2)


def signed_size(gateway):
    with open(os.path.join(gateway.state, "auditd", "checkpoint"), encoding="utf-8") as f:
        return int(f.read().split("\n")[1])


def whole(gateway, db):
    """Everything that is signed is there, once."""
    size = signed_size(gateway)
    wait_for("the mirror", lambda: int(db.sql("SELECT coalesce(max(idx) + 1, 0) FROM bulkhead.records")[0][0]) >= size, seconds=60, step=0.2)
    assert db.sql("SELECT min(idx), max(idx) + 1 - count(*) FROM bulkhead.records") == [["0", "0"]]
    wait_for("readiness", lambda: detail(gateway).startswith("ready: mirroring"))


def test_one_mistake_after_the_other(gateway, db):
    """What an operator meets on the way to a mirror: each says what to do, and none keeps the gateway from serving."""
    says(gateway, "not ready", "nobody listens there")
    assert gateway.chat("gpt-x").status == 200
    db.start()
    says(gateway, "not ready", "run `bulkhead audit mirror-schema | psql DATABASE`")
    db.sql(gateway.cli("audit", "mirror-schema").stdout.decode())
    says(gateway, "not ready", "GRANT bulkhead_shipper")
    db.sql("GRANT bulkhead_shipper TO mirror; ALTER ROLE mirror PASSWORD 'another'")
    says(gateway, "not ready", "Postgres refuses the role or its password", "password_file")
    db.write("mirror.pw", "another\n", mode=0o644)  # read anew at each attempt
    whole(gateway, db)
    db.sql("ALTER TABLE bulkhead.records DROP COLUMN tokens_in")
    gateway.chat("gpt-x")
    says(gateway, "not ready", "schema is of another version")
    db.sql(gateway.cli("audit", "mirror-schema").stdout.decode())
    whole(gateway, db)
    assert gateway.chat("gpt-x").status == 200


def test_a_password_that_comes_in_a_file_of_its_own(gateway, db):
    """As editors and Kubernetes exchange a file: by another of the same name. One that is closed to the shipper has it start anew once."""
    for mode in (0o644, 0o600) if OWN_UIDS else (0o644,):
        db.sql(f"ALTER ROLE mirror PASSWORD 'another {mode}'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mirror'")
        says(gateway, "not ready", "Postgres refuses the role or its password")
        path = os.path.join(db.folder, "mirror.pw")
        old = gateway.pids("shipper")
        os.rename(db.write("mirror.new", f"another {mode}\n", mode=mode), path)
        if mode == 0o600:
            shipper = wait_for("it to start anew", lambda old=old: [p for p in gateway.pids("shipper") if p not in old])
            says(gateway, "not ready", "set shipper.password_file")
            gateway.chat("gpt-x")
            says(gateway, "not ready", "set shipper.password_file")
            assert gateway.pids("shipper") == shipper
            os.chmod(path, 0o644)
        whole(gateway, db)


def test_postgres_killed_under_load(gateway, db):
    with Load(gateway) as load:
        for _ in range(3):
            seen = load.outcomes["200"]
            wait_for("load", lambda seen=seen: load.outcomes["200"] > seen + 40)
            db.kill()
            seen = load.outcomes["200"]
            wait_for("load", lambda seen=seen: load.outcomes["200"] > seen + 40)
            db.start()
    assert set(load.outcomes) == {"200"}, load.outcomes
    whole(gateway, db)


def test_the_shipper_killed_under_load(gateway, db):
    with Load(gateway) as load:
        for _ in range(4):
            seen = load.outcomes["200"]
            wait_for("load", lambda seen=seen: load.outcomes["200"] > seen + 20)
            victim = wait_for("it", lambda: gateway.pids("shipper"))[0]
            os.kill(victim, signal.SIGKILL)
            wait_for("another", lambda victim=victim: gateway.pids("shipper") not in ([], [victim]))
    assert set(load.outcomes) == {"200"}, load.outcomes
    whole(gateway, db)


def test_a_full_disk(gateway, db):
    db.sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = "
           "'disk_full'; END $$; CREATE TRIGGER refuse BEFORE INSERT ON bulkhead.records EXECUTE FUNCTION refuse()")
    gateway.chat("gpt-x")
    says(gateway, "not ready", "the disk of Postgres is full")
    assert gateway.chat("gpt-x").status == 200
    db.sql("DROP TRIGGER refuse ON bulkhead.records")
    whole(gateway, db)


def test_a_database_that_hangs(gateway, db):
    """Stopped, not dead: connections stay open and say nothing."""
    backends = [int(row[0]) for row in db.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'mirror'")]
    assert backends
    with frozen(*backends, db.process.pid):
        for _ in range(3):
            assert gateway.chat("gpt-x").status == 200
        assert "records" in detail(gateway), "it still answers"
        gateway.make_key()
    whole(gateway, db)


def test_backends_ended_by_an_operator(gateway, db):
    for _ in range(3):
        gateway.chat("gpt-x")
        db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mirror'")
    whole(gateway, db)


def test_rows_that_somebody_removed_from_the_end_come_back(gateway, db):
    whole(gateway, db)
    db.sql("BEGIN; LOCK TABLE bulkhead.records IN EXCLUSIVE MODE; "  # a row that came meanwhile would stand beyond a hole
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mirror'; DELETE FROM bulkhead.records WHERE idx > 5; COMMIT")
    whole(gateway, db)


def test_a_row_that_is_further_on_than_the_log(gateway, db):
    """Whoever may add rows cannot have those before it passed over: status says so until it is gone, also when the log has grown that far."""
    whole(gateway, db)
    size = signed_size(gateway)
    db.sql(f"INSERT INTO bulkhead.records (log, idx) VALUES (1, {size + 20}); "
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mirror'")
    says(gateway, "not ready", "records that this log does not have: `bulkhead audit verify-mirror` names them")
    for _ in range(20):
        assert gateway.chat("gpt-x").status == 200
    wait_for("the log to be longer", lambda: signed_size(gateway) > size + 30)
    says(gateway, "not ready", "records that this log does not have")
    db.sql(f"DELETE FROM bulkhead.records WHERE idx = {size + 20}")
    whole(gateway, db)


@pytest.mark.skipif(not OWN_UIDS, reason="uids of their own need root")
def test_what_the_shipper_may_not_read(gateway, db):
    """A folder of an earlier build, or one that was brought back: status says what to do, until it is done."""
    whole(gateway, db)
    path, shipper = os.path.join(gateway.state, "auditd", "tile"), gateway.pids("shipper")
    mode = os.stat(path).st_mode
    os.chmod(path, 0o700)
    try:
        assert gateway.chat("gpt-x").status == 200
        says(gateway, "not ready", "not open to the shipper's group")
    finally:
        os.chmod(path, mode)
    whole(gateway, db)
    assert gateway.pids("shipper") == shipper


def test_a_mirror_that_remembers_another_log(gateway, db):
    """The third memory: it says so, keeps the checkpoint as evidence, and adds no row until the right log is back."""
    whole(gateway, db)
    db.sql("BEGIN; DELETE FROM bulkhead.checkpoints; INSERT INTO bulkhead.checkpoints VALUES (1, 4, sha256('x'), true, 'of another past'); "
           "COMMIT; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mirror'")
    says(gateway, "not ready", "the log was forked: 4 records")
    before = int(db.sql("SELECT count(*) FROM bulkhead.records")[0][0])
    assert gateway.chat("gpt-x").status == 200
    wait_for("the evidence", lambda: db.sql("SELECT 1 FROM bulkhead.checkpoints WHERE NOT consistent"))
    assert int(db.sql("SELECT count(*) FROM bulkhead.records")[0][0]) == before
    db.sql("DELETE FROM bulkhead.checkpoints WHERE root = sha256('x') OR NOT consistent; "
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mirror'")
    os.kill(gateway.pids("shipper")[0], signal.SIGKILL)
    whole(gateway, db)


@pytest.mark.parametrize("wrong, said", [
    ({"host": "127.0.0.1"}, "check sslmode= and sslrootcert="),  # the certificate is localhost's
    ({"sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}, "check sslmode= and sslrootcert="),
    ({"host": "localhost", "password": "in-the-open"}, "password"),
    ({"host": "/var/run/postgresql"}, "reached over TCP"),
    ({"host": "nobody.invalid"}, "not ready"),
    ({"port": 1}, "nobody listens there")])
def test_what_is_refused(new_gateway, db, wrong, said):
    """Over TLS to the right server or not at all; the gateway starts all the same, or says at once what is wrong."""
    conninfo = db.conninfo("mirror", **wrong)
    if "port" in wrong:
        conninfo = conninfo.replace(f"port={db.port} ", "", 1)
    if "password" in wrong:
        with pytest.raises(AssertionError, match="password_file"):
            new_gateway(prepare=False, workers=1, settings={"shipper": {"postgres": conninfo}})
        return
    made = new_gateway(prepare=False, workers=1,
                       settings={"shipper": {"postgres": conninfo, "password_file": os.path.join(db.folder, "mirror.pw")}})
    made.open_vault()
    says(made, "not ready", said)
    shipper = made.pids("shipper")
    assert shipper and is_alive(shipper[0])
    wait_for("a signed log", lambda: made.verify().returncode == 0)
