# SPDX-License-Identifier: Apache-2.0
"""K-03: root, tenant and credential keys are replaced while requests run; whatever is killed meanwhile, nothing is lost and the
rotation goes on. And one provider key takes over from another."""
import contextlib
import json
import os
import signal
import sqlite3
import struct
import subprocess

import pytest

from gateway import BUILD, frozen, wait_for
from load import Load

STEPS = ["pending", "acknowledged", "active", "rewrapped", "verified", "retired"]
TENANTS = [f"t{i}" for i in range(24)]


@contextlib.contextmanager
def database(gateway):
    with contextlib.closing(sqlite3.connect(os.path.join(gateway.state, "authd", "authd.db"))) as db, db:
        yield db


def rows(gateway):
    """{(id, version): sealed bytes}, of a gateway that is stopped."""
    with database(gateway) as db:
        return {(i, v): b for i, v, b in db.execute("SELECT id, version, blob FROM credentials WHERE blob IS NOT NULL")}


def parts(blob):
    """Generation, name of the tenant's key, and where the secret itself begins: keyvault/seal.h."""
    length = struct.unpack(">H", blob[4:6])[0]
    at = 6 + length
    return struct.unpack(">I", blob[at:at + 4])[0], blob[at + 36:at + 52], blob[at + 124:]


def key_table(gateway):
    """[(tenant, state, id)], of the newer half of keyvault/keys: keyvault/keys_table.c."""
    with open(os.path.join(gateway.state, "keyvault", "keys"), "rb") as f:
        data = f.read()
    halves = [data[:2 << 20], data[2 << 20:]]
    half = max((h for h in halves if h[:4] == b"BHK1"), key=lambda h: h[4:12])
    n = struct.unpack(">I", half[300:304])[0]
    return [(row[25:90].rstrip(b"\0").decode(), row[16], row[:16]) for row in (half[304 + 162 * i:] for i in range(n))]


def every_key(gateway):
    """All wrapped keys that lie anywhere in the file, as bytes to search for."""
    with open(os.path.join(gateway.state, "keyvault", "keys"), "rb") as f:
        return f.read()


def rotate(gateway, *args):
    """To its end; what was printed."""
    out = gateway.cli("vault", "rotate", *args, "--json").stdout
    return [json.loads(line) for line in out.splitlines()]


def steps(gateway, what):
    return [e["reason"] for e in gateway.audit(event="vault.rotate", resource=what)]


@pytest.fixture(scope="module")
def many(new_gateway):
    """A credential for all and one for each of many tenants."""
    gateway = new_gateway(prepare=False)
    gateway.open_vault()
    gateway.add_key()
    for tenant in TENANTS:
        gateway.cli("vault", "add", "local", "--tenant", tenant, stdin=gateway.provider.key.encode())
    gateway.key = gateway.make_key()["key"]
    gateway.keys = {t: gateway.make_key(tenant=t)["key"] for t in TENANTS[:2]}
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    return gateway


def all_is_well(gateway):
    assert gateway.chat("gpt-x").status == 200
    assert all(gateway.chat("gpt-x", key=key).status == 200 for key in gateway.keys.values())
    assert gateway.cli_json("vault", "status")["credentials"] == len(TENANTS) + 1
    assert not gateway.audit(event="vault.reject")


# ---- who uses which ----

def test_a_tenant_uses_its_own_key(many):
    listed = {(c["provider"], c["tenant"]): c for c in many.cli_json("vault", "list")}
    assert listed[("local", "t0")]["credential"] == "local@t0" and listed[("local", "*")]["credential"] == "local"
    many.cli("vault", "add", "local", "--tenant", "t5", stdin=b"sk-another-key-of-t5")
    key = many.make_key(tenant="t5")["key"]
    wait_for("the tenant's own key to be used", lambda: many.chat("gpt-x", key=key).status == 401)
    assert many.chat("gpt-x").status == 200, "the others' key is another"
    many.cli("vault", "rm", "local", "--tenant", "t5")
    wait_for("the key for all to be used", lambda: many.chat("gpt-x", key=key).status == 200)
    many.cli("vault", "add", "local", "--tenant", "t5", stdin=many.provider.key.encode())
    wait_for("its own again", lambda: many.chat("gpt-x", key=key).status == 200)


def test_a_tenants_key_moved_to_another(many):
    """Somebody who writes the database gives one tenant's row to another tenant."""
    many.stop()
    with database(many) as db:
        (other,) = db.execute("SELECT blob FROM credentials WHERE id = 'local@t1'").fetchone()
        (own,) = db.execute("SELECT blob FROM credentials WHERE id = 'local@t0'").fetchone()
        db.execute("UPDATE credentials SET blob = ? WHERE id = 'local@t0'", (other,))
    many.start()
    wait_for("the refusal", lambda: many.audit(event="vault.reject", credential="local@t0"))
    assert many.chat("gpt-x", key=many.keys["t0"]).json()["error"]["code"] == "no_credential"
    many.stop()
    with database(many) as db:
        db.execute("UPDATE credentials SET blob = ? WHERE id = 'local@t0'", (own,))
    many.start()
    wait_for("service", lambda: many.chat("gpt-x", key=many.keys["t0"]).status == 200)


# ---- rotation ----

@pytest.mark.parametrize("what", ["root", "tenant", "credential"])
def test_rotation_under_load(new_gateway, what):
    gateway = new_gateway(prepare=False)
    gateway.open_vault()
    gateway.add_key()
    for tenant in TENANTS[:8]:
        gateway.cli("vault", "add", "local", "--tenant", tenant, stdin=gateway.provider.key.encode())
    gateway.key = gateway.make_key()["key"]
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    vkey = gateway.cli_json("vault", "status")["vkey"]
    gateway.stop()
    before, table, file = rows(gateway), key_table(gateway), every_key(gateway)
    with open(os.path.join(gateway.state, "keyvault", "root.key"), "rb") as f:
        root = f.read()
    gateway.start()
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    with Load(gateway) as load:
        for _ in range(3):
            assert rotate(gateway, "--what", what)[-1] == {"step": "retired"}
    assert set(load.outcomes) == {"200"} and load.outcomes["200"] > 10, load.outcomes
    assert not load.wrong
    assert steps(gateway, what) == 3 * STEPS
    assert gateway.cli_json("vault", "status")["vkey"] == vkey, "the log's verifier key stays"
    gateway.stop()
    after = rows(gateway)
    assert after.keys() == before.keys()
    if what == "tenant":
        old = {parts(b)[1] for b in before.values()}
        assert not old & {parts(b)[1] for b in after.values()}
        assert all(parts(before[i])[2] == parts(after[i])[2] for i in after), "the secrets themselves are not touched"
        assert len(key_table(gateway)) == len(table) and all(state == 2 for _, state, _ in key_table(gateway))
        assert all(name in file and name not in every_key(gateway) for _, _, name in table), "wiped from both halves"
    elif what == "credential":
        assert all(parts(after[i])[0] == parts(before[i])[0] + 3 for i in after)
        assert not {parts(b)[2] for b in before.values()} & {parts(b)[2] for b in after.values()}
    else:
        assert after == before
        with open(os.path.join(gateway.state, "keyvault", "root.key"), "rb") as f:
            assert f.read() != root
        assert os.path.getsize(os.path.join(gateway.state, "keyvault", "root.next")) == 0
    gateway.start()
    wait_for("service after a restart", lambda: gateway.chat("gpt-x").status == 200)
    if what != "root":
        old_rows_are_refused(gateway, before)


def old_rows_are_refused(gateway, before):
    gateway.stop()
    with database(gateway) as db:
        db.execute("UPDATE credentials SET blob = ? WHERE id = 'local'", (before[("local", 1)],))
    gateway.start()
    wait_for("the refusal", lambda: gateway.audit(event="vault.reject", credential="local"))
    assert gateway.chat("gpt-x").json()["error"]["code"] == "no_credential"


def test_one_tenant_only(many):
    many.stop()
    before = rows(many)
    many.start()
    rotate(many, "--what", "tenant", "--tenant", "t3")
    rotate(many, "--what", "credential", "--tenant", "t4")
    many.stop()
    after = rows(many)
    many.start()
    wait_for("service", lambda: many.chat("gpt-x").status == 200)
    changed = {i for (i, v), blob in after.items() if blob != before[(i, v)]}
    assert changed == {"local@t3", "local@t4"}
    nobody = many.cli("vault", "rotate", "--what", "tenant", "--tenant", "nobody", check=False)
    assert nobody.returncode == 1 and b"nothing" in nobody.stderr


def test_without_the_log_nothing_is_rotated(many):
    with frozen(many.pids("auditd")[0]):
        refused = many.cli("vault", "rotate", "--what", "tenant", check=False)
        assert refused.returncode == 1 and b"audit_unavailable" in refused.stderr
    wait_for("the log", lambda: many.cli("vault", "rotate", check=False).returncode == 0)


# ---- kill -9 at every step ----

def watched(gateway):
    """The rotation that is under way, None when there is none; a core that is away is waited for."""
    done = gateway.cli("vault", "rotate", "--json", check=False)
    return done.returncode == 0


def kill_at(gateway, target, what, step):
    """Begins a rotation and kills when the log has the record of a step: just before, in, or after its effect."""
    seen = len(steps(gateway, what))
    rate = ["--rate", "100"] if what != "root" else []
    with subprocess.Popen([os.path.join(BUILD, "bin", "bulkhead"), "vault", "rotate", "--what", what, *rate, "-c", gateway.config],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as cli:
        wait_for(f"step {step}", lambda: step in steps(gateway, what)[seen:], step=0.001)
        victim = cli.pid if target == "cli" else gateway.pids(target)[0]
        os.kill(victim, signal.SIGKILL)

        def ended():
            """The record comes before its effect: a core that died between the first and its effect knows of no rotation."""
            never_begun = (target, step) == ("keyvault", "pending") and gateway.pids("keyvault") not in ([], [victim])
            return watched(gateway) and (never_begun or "retired" in steps(gateway, what)[seen:])

        wait_for("the end of the rotation", ended, seconds=30)
        cli.kill()
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)


@pytest.mark.seconds(240)
@pytest.mark.parametrize("target", ["keyvault", "authd", "cli"])
@pytest.mark.parametrize("what", ["root", "tenant", "credential"])
def test_killed_at_every_step(many, target, what):
    for step in STEPS:
        kill_at(many, target, what, step)
    wait_for("all of them", lambda: many.cli_json("vault", "status")["credentials"] == len(TENANTS) + 1)
    assert all(e["credential"] == "local@t0" for e in many.audit(event="vault.reject"))  # from the test above
    assert many.chat("gpt-x").status == 200
    wait_for("each", lambda: all(many.chat("gpt-x", key=key).status == 200 for key in many.keys.values()))
    many.stop()
    assert all(state == 2 for _, state, _ in key_table(many)), "no key but active ones"
    active = {name for _, _, name in key_table(many)}
    assert {parts(b)[1] for b in rows(many).values()} <= active
    many.start()
    wait_for("service", lambda: many.chat("gpt-x").status == 200)
    assert many.verify().returncode == 0


# ---- one provider key takes over from another ----

def test_a_provider_key_rolls_over(new_gateway):
    gateway = new_gateway()
    provider, old = gateway.provider, gateway.provider.key
    gateway.cli("vault", "add", "local", "--overlap", stdin=b"sk-the-successor-0123456789")
    assert [c["version"] for c in gateway.cli_json("vault", "list") if c["credential"] == "local"] == [1, 2]
    assert gateway.chat("gpt-x").status == 200
    with Load(gateway) as load:
        wait_for("some answers", lambda: load.outcomes["200"] > 20)
        provider.change_key("sk-the-successor-0123456789")
        wait_for("the switch", lambda: gateway.audit(event="credential.switch", credential="local"))
        wait_for("the removal of the old one",
                 lambda: [c["version"] for c in gateway.cli_json("vault", "list") if c["credential"] == "local"] == [2], seconds=15)
        enough = load.outcomes["200"] + 20
        wait_for("more answers", lambda: load.outcomes["200"] > enough)
    assert set(load.outcomes) == {"200"} and not load.wrong, load.outcomes
    assert gateway.audit(event="credential.remove", credential="local", reason="superseded")
    # The old one is void for ever.
    gateway.stop()
    gateway.start()
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    assert old != provider.key


def test_a_replaced_key_costs_no_request(new_gateway):
    """Most of the requests wait for the one connection when their key is replaced: they go with the new one."""
    gateway = new_gateway(workers=1, settings={"egress": {"pool_max": 1}})
    with Load(gateway, threads=8, model="test:slow:2:20") as load:
        for _ in range(10):
            seen = load.outcomes["200"]
            wait_for("some answers", lambda s=seen: load.outcomes["200"] > s + 8)
            gateway.add_key()
    assert set(load.outcomes) == {"200"} and not load.wrong, load.outcomes
    gateway.cli("vault", "rm", "local")
    wait_for("its end", lambda: gateway.chat("gpt-x").json().get("error", {}).get("code") == "no_credential")


def test_a_key_in_its_time_only(new_gateway):
    gateway = new_gateway()
    gateway.cli("vault", "add", "local", "--valid-from", "12h", stdin=gateway.provider.key.encode())
    wait_for("the refusal", lambda: gateway.chat("gpt-x").status == 503)
    assert gateway.chat("gpt-x").json()["error"]["code"] == "no_credential"
    gateway.cli("vault", "add", "local", "--valid-until", "90d", stdin=gateway.provider.key.encode())
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    past = gateway.cli("vault", "add", "local", "--valid-until", "2020-01-01", stdin=b"sk-x", check=False)
    assert past.returncode == 2


# ---- a row of the past ----

def test_rolled_back_over_a_restart(new_gateway):
    """The core itself is restarted between the two: only what it wrote down can tell."""
    gateway = new_gateway()
    gateway.stop()
    old = rows(gateway)[("local", 1)]
    gateway.start()
    gateway.add_key()
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    gateway.stop()
    with database(gateway) as db:
        db.execute("UPDATE credentials SET blob = ?, version = 1 WHERE id = 'local'", (old,))
    gateway.start()
    wait_for("the refusal", lambda: gateway.audit(event="vault.reject", credential="local", reason="rollback"))
    assert gateway.chat("gpt-x").json()["error"]["code"] == "no_credential"
    gateway.add_key()  # version 2 again by the database, which the core has seen
    gateway.add_key()
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
