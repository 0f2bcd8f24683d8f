# SPDX-License-Identifier: Apache-2.0
"""L-05: the log's mirror in Postgres. What is signed comes there once, whatever dies in between; who may not, cannot."""
import glob
import json
import os
import subprocess

import pytest

import postgres
from gateway import scratch, wait_for
from log_copy import copy_log
from postgres import Postgres, SqlError

pytestmark = pytest.mark.skipif(postgres.MISSING, reason="needs Debian's postgresql")


def apply_schema(gateway, db):
    db.sql(gateway.cli("audit", "mirror-schema").stdout.decode())


@pytest.fixture(scope="module")
def db():
    with scratch() as folder, Postgres(folder) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(new_gateway, db):
    """With a mirror; the schema is there before its first record."""
    db.sql("CREATE ROLE bulkhead_shipper; CREATE ROLE bulkhead_reader; CREATE ROLE bulkhead_auditor")
    password = db.role("mirror", "bulkhead_shipper")
    db.role("auditor", "bulkhead_auditor")
    made = new_gateway(prepare=False, settings={
        "shipper": {"postgres": db.conninfo("mirror"), "password_file": password, "batch_rows": 16}})
    apply_schema(made, db)
    return made.prepare()


def shipper(gateway):
    return next(d for d in gateway.status_anyway() if d["name"] == "shipper")


def signed(gateway):
    """Size and root of the checkpoint."""
    with open(os.path.join(gateway.state, "auditd", "checkpoint"), encoding="utf-8") as f:
        _, size, root, *_ = f.read().split("\n")
    return int(size), root


def signed_size(gateway):
    return signed(gateway)[0]


def mirrored(db, where="true"):
    return int(db.sql(f"SELECT count(*) FROM bulkhead.records WHERE {where}")[0][0])


def settled(gateway, db):
    """Everything that is signed is there."""
    wait_for("the mirror", lambda: mirrored(db) >= signed_size(gateway) and shipper(gateway)["ready"], seconds=30)
    return mirrored(db)


def test_every_record_is_there(gateway, db):
    request_id = gateway.chat("gpt-x").headers["x-request-id"]
    wait_for("both witnesses", lambda: mirrored(db, f"request_id = '{request_id}'") == 2)
    rows = db.sql(f"SELECT event, source, tenant, status, model, encode(leaf_hash, 'hex'), time > now() - interval '1 hour' "
                  f"FROM bulkhead.records WHERE request_id = '{request_id}' ORDER BY event")
    assert [r[0] for r in rows] == ["egress.use", "request.complete"]
    assert rows[1][2:5] == ["acme", "200", "gpt-x"] and rows[1][6] == "t" and len(rows[1][5]) == 64
    settled(gateway, db)
    assert db.sql("SELECT min(idx), max(idx) + 1 - count(*) FROM bulkhead.records") == [["0", "0"]]


@pytest.mark.parametrize("when", ["first", "next"])
def test_the_newest_checkpoint_is_there(gateway, db, when):
    """Of those signed between two looks of the shipper the newest speaks for all."""
    before = signed_size(gateway)
    gateway.chat("gpt-x")
    wait_for(f"the {when} checkpoint", lambda: signed_size(gateway) > before)
    settled(gateway, db)
    size, root = signed(gateway)
    assert wait_for("it in the mirror", lambda: db.sql(
        f"SELECT consistent FROM bulkhead.checkpoints WHERE size = {size} AND note LIKE '%{root}%'")) == [["t"]]


def test_verify_mirror(gateway, db):
    settled(gateway, db)
    done = check(gateway, db)
    assert done.returncode == 0 and done.stdout.startswith(b"good: "), done.stdout + done.stderr


def test_verify_mirror_for_programs(gateway, db):
    settled(gateway, db)
    done = check(gateway, db, "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0 and said == {"good": True, "rows": said["rows"], "signed": said["signed"], "by_hash": 0, "gone": 0,
                                             "differences": 0} and 0 < said["rows"] <= said["signed"]
    db.sql("INSERT INTO bulkhead.records (log, idx) VALUES (1, 1000000)")
    try:
        done = check(gateway, db, "--json")
    finally:
        db.sql("DELETE FROM bulkhead.records WHERE idx = 1000000")
    said = json.loads(done.stdout)
    assert done.returncode == 1 and not said["good"] and said["differences"] == 1 and b"row 1000000: not in the log" in done.stderr


def test_verify_mirror_says_what_it_cannot_say(gateway, db):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([gateway.program, "audit", "verify-mirror", "--postgres", db.conninfo("auditor"), "--password-file",
                               os.path.join(db.folder, "auditor.pw"), "-c", gateway.config], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and b"standard output: No space left on device" in done.stderr


def test_verify_mirror_of_a_log_that_grows(gateway, db):
    """What came to the log and its mirror after it was begun is no difference."""
    settled(gateway, db)
    with db.locked("bulkhead.logs"):  # which it asks first, and the shipper when it connects
        checking = subprocess.Popen([gateway.program, "audit", "verify-mirror", "--postgres", db.conninfo("auditor"), "--password-file",
                                     os.path.join(db.folder, "auditor.pw"), "-c", gateway.config], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for("its question", lambda: db.locks("bulkhead.logs", granted=False))
        before = mirrored(db)
        gateway.chat("gpt-x")
        wait_for("more", lambda: mirrored(db) > before)
        settled(gateway, db)
    out, err = checking.communicate(timeout=60)
    assert checking.returncode == 0 and out.startswith(b"good: "), out + err


@pytest.mark.parametrize("names", ["checkpoint", "tile/entries/000*/*"])
def test_verify_says_what_it_cannot_read(gateway, db, tmp_path, names):
    """A link is not followed; a file that this user may not read comes the same way."""
    settled(gateway, db)
    copy_log(gateway, tmp_path)
    for path in (p for pattern in (names, "tile/entries/000") for p in glob.glob(os.path.join(tmp_path, pattern))):
        if os.path.isfile(path):
            os.rename(path, path + ".away")
            os.symlink(path + ".away", path)
    done = check(gateway, db, "--log", str(tmp_path))
    assert done.returncode == 1 and b" cannot be read: Too many levels of symbolic links" in done.stderr, done.stdout + done.stderr


# ---- who may do what ----

@pytest.mark.parametrize("statement", [
    "UPDATE bulkhead.records SET actor = 'nobody'", "DELETE FROM bulkhead.records", "TRUNCATE bulkhead.records",
    "SELECT count(*) FROM bulkhead.records", "SELECT * FROM bulkhead.logs", "SELECT * FROM bulkhead.checkpoints",
    "UPDATE bulkhead.checkpoints SET note = ''", "DELETE FROM bulkhead.checkpoints", "TRUNCATE bulkhead.checkpoints",
    "DELETE FROM bulkhead.logs", "UPDATE bulkhead.logs SET vkey = ''", "INSERT INTO bulkhead.logs (origin, vkey) VALUES ('x', 'y')",
    "INSERT INTO bulkhead.reader_tenants VALUES ('mirror', 'acme')", "DROP TABLE bulkhead.records",
    "ALTER TABLE bulkhead.records DISABLE ROW LEVEL SECURITY", "CREATE TABLE bulkhead.mine (a int)",
    "INSERT INTO bulkhead.records (log, idx) VALUES (1, 0) ON CONFLICT (log, idx) DO UPDATE SET actor = 'nobody'",
    "WITH gone AS (DELETE FROM bulkhead.records RETURNING 1) SELECT 1", "COPY bulkhead.records TO STDOUT", "SET ROLE bulkhead_auditor"])
def test_the_shipper_can_only_add(gateway, db, statement):
    before = settled(gateway, db)
    with pytest.raises(SqlError, match="permission denied|must be owner"):
        db.sql(statement, user="mirror")
    assert mirrored(db) >= before and mirrored(db, "actor = 'nobody'") == 0


def test_it_can_add(gateway, db):
    """Otherwise the refusals above prove nothing. A row that is there stays what it is."""
    settled(gateway, db)
    db.sql("INSERT INTO bulkhead.records (log, idx, actor) VALUES (1, 0, 'nobody') ON CONFLICT DO NOTHING", user="mirror")
    assert mirrored(db, "actor = 'nobody'") == 0
    db.sql("INSERT INTO bulkhead.records (log, idx, actor) VALUES (2, 0, 'somebody') ON CONFLICT DO NOTHING", user="mirror")
    assert mirrored(db, "actor = 'somebody'") == 1
    db.sql("DELETE FROM bulkhead.records WHERE log = 2")


def test_a_reader_sees_its_tenants(gateway, db):
    for tenant in ("north", "south"):
        assert gateway.chat("gpt-x", key=gateway.make_key(tenant=tenant)["key"]).status == 200
    wait_for("their records", lambda: mirrored(db, "tenant = 'north'") and mirrored(db, "tenant = 'south'"))
    for tenant in ("north", "south"):
        db.role(f"reads_{tenant}", "bulkhead_reader")
        db.sql(f"INSERT INTO bulkhead.reader_tenants VALUES ('reads_{tenant}', '{tenant}')")
    db.role("reads_nothing", "bulkhead_reader")
    db.role("stranger")
    for tenant, other in (("north", "south"), ("south", "north")):
        reader = f"reads_{tenant}"
        assert db.sql("SELECT DISTINCT tenant FROM bulkhead.records", user=reader) == [[tenant]]
        assert db.sql("SELECT * FROM bulkhead.reader_tenants", user=reader) == [[reader, tenant]]
        for trick in (f"INSERT INTO bulkhead.reader_tenants VALUES ('{reader}', '{other}')", "SET ROLE bulkhead_auditor",
                      "UPDATE bulkhead.reader_tenants SET tenant = '" + other + "'", f"SET ROLE reads_{other}",
                      "DELETE FROM bulkhead.records", "SELECT * FROM bulkhead.checkpoints", "SET SESSION AUTHORIZATION owner",
                      "SELECT * FROM bulkhead.mirror_open('x', 'y')", "ALTER TABLE bulkhead.records NO FORCE ROW LEVEL SECURITY"):
            with pytest.raises(SqlError, match="permission denied|must be owner"):
                db.sql(trick, user=reader)
        # A function that tells what it is given: it is not asked about rows that are not the reader's.
        leak = ("CREATE FUNCTION pg_temp.tell(t text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', t; "
                "RETURN true; END $$; SELECT DISTINCT tenant FROM bulkhead.records WHERE pg_temp.tell(tenant)")
        assert db.sql(leak, user=reader) == [[tenant]]
    assert db.sql("SELECT count(*) FROM bulkhead.records", user="reads_nothing") == [["0"]]
    with pytest.raises(SqlError, match="permission denied"):
        db.sql("SELECT count(*) FROM bulkhead.records", user="stranger")


def test_the_schema_may_be_applied_again(gateway, db):
    before = settled(gateway, db)
    apply_schema(gateway, db)
    assert mirrored(db) >= before
    gateway.chat("gpt-x")
    wait_for("one more", lambda: mirrored(db) > before)


# ---- whether it is what the log says ----

def check(gateway, db, *args):
    return gateway.cli("audit", "verify-mirror", "--postgres", db.conninfo("auditor"), "--password-file",
                       os.path.join(db.folder, "auditor.pw"), *args, check=False)


@pytest.mark.parametrize("damage, named", [
    ("UPDATE bulkhead.records SET actor = 'nobody' WHERE idx = 3", "row 3: differs from the log in actor"),
    ("UPDATE bulkhead.records SET tenant = NULL WHERE idx = 4", "row 4: differs from the log in tenant"),
    ("UPDATE bulkhead.records SET leaf_hash = sha256('x') WHERE idx = 5", "row 5: differs from the log in leaf_hash"),
    ("UPDATE bulkhead.records SET time_ns = time_ns + 1 WHERE idx = 2", "row 2: differs from the log in time_ns"),
    ("UPDATE bulkhead.records SET event = 'key.revoke' WHERE idx = 1", "row 1: differs from the log in event"),
    ("DELETE FROM bulkhead.records WHERE idx BETWEEN 2 AND 4", "rows 2 to 4: missing"),
    ("DELETE FROM bulkhead.records WHERE idx = 0", "rows 0 to 0: missing"),
    ("INSERT INTO bulkhead.records (log, idx) VALUES (1, 1000000)", "row 1000000: not in the log"),
    ("INSERT INTO bulkhead.checkpoints VALUES (1, 2, sha256('x'), true, '')", "the mirror's checkpoint of this size: the log was forked"),
    ("INSERT INTO bulkhead.checkpoints VALUES (1, 3, sha256('x'), false, '')", "row 3: a checkpoint of this size was signed that does not")])
def test_every_change_is_named(gateway, db, damage, named):
    settled(gateway, db)
    db.sql("CREATE TABLE records_before AS SELECT * FROM bulkhead.records")
    db.sql(damage)
    try:
        done = check(gateway, db)
        assert done.returncode == 1 and named in done.stderr.decode(), done.stdout + done.stderr
        assert b"NOT good" in done.stderr
    finally:
        columns = ", ".join(r[0] for r in db.sql("SELECT column_name FROM information_schema.columns WHERE table_schema = 'bulkhead' "
                                                 "AND table_name = 'records' AND is_generated = 'NEVER'"))
        db.sql(f"DELETE FROM bulkhead.records WHERE idx <= (SELECT max(idx) FROM records_before) OR idx > 900000;"
               f"INSERT INTO bulkhead.records ({columns}) SELECT {columns} FROM records_before; DROP TABLE records_before;"
               f"DELETE FROM bulkhead.checkpoints WHERE root = sha256('x')")
    assert check(gateway, db).returncode == 0


def test_verify_needs_to_see_everything(gateway, db):
    password = db.role("half", "bulkhead_reader")
    done = gateway.cli("audit", "verify-mirror", "--postgres", db.conninfo("half"), "--password-file", password, check=False)
    assert done.returncode == 1 and b"run `bulkhead" not in done.stdout and done.stderr
    done = gateway.cli("audit", "verify-mirror", "--postgres", db.conninfo("half") + " password=x", check=False)
    assert done.returncode == 2 and b"--password-file" in done.stderr
