# SPDX-License-Identifier: Apache-2.0
"""K-01, K-11: what an operator does with the vault, and what clients get meanwhile."""
import os
import stat

import pytest

from gateway import PASSPHRASE, wait_for
from ipc import metrics


# A key of some other gateway: its checksum is right, so that it is not refused for its looks.
WELL_FORMED = "bh_sk_u42glmv3rm2xj44gfjqvu2mg4qw4je2psiazvz7vfxwzcii"


@pytest.fixture(scope="module")
def fresh(new_gateway):
    """Started for the first time: no root key, no provider key."""
    return new_gateway(prepare=False)


def assert_sealed(reply):
    assert reply.status == 503 and reply.json()["error"]["code"] == "vault_sealed"
    assert int(reply.headers["retry-after"]) >= 1


def test_first_steps_in_order(fresh):
    assert_sealed(fresh.chat("gpt-x", key=WELL_FORMED))
    assert fresh.request("GET", "/healthz", key="").status == 200
    assert fresh.request("GET", "/readyz", key="").status == 503
    refused = fresh.cli("vault", "add", "local", stdin=b"sk-early", check=False)
    assert refused.returncode == 1 and refused.stderr.count(b"\n") == 1

    fresh.cli("vault", "init")
    again = fresh.cli("vault", "init", check=False)
    assert again.returncode == 1

    fresh.key = fresh.make_key()["key"]
    reply = fresh.chat("gpt-x")
    assert reply.status == 503 and reply.json()["error"]["code"] == "no_credential"

    fresh.add_key()
    wait_for("the key to be of use", lambda: fresh.chat("gpt-x").status == 200)
    assert fresh.request("GET", "/readyz", key="").status == 200


def test_seal_and_unseal(fresh):
    fresh.cli("vault", "seal")
    wait_for("the gateway to be sealed", lambda: fresh.chat("gpt-x").status == 503)
    assert_sealed(fresh.chat("gpt-x"))
    assert fresh.cli_json("vault", "status")["state"] == "sealed"
    fresh.cli("vault", "unseal")
    wait_for("the vault to be open", lambda: fresh.chat("gpt-x").status == 200)


def test_a_seal_wipes(new_gateway):
    """By the arenas' own count, since nobody else can see into them."""
    gateway = new_gateway(prepare=False, workers=1)

    def core():
        return metrics(gateway, "keyvault")['bulkhead_vault_arena_bytes{state="used"}']

    def egress():
        return metrics(gateway, "egress0")["bulkhead_egress_arena_bytes"]

    without_keys = egress()
    gateway.prepare()
    assert gateway.chat("gpt-x").status == 200
    opened = core()
    assert egress() > without_keys
    gateway.cli("vault", "seal")
    assert core() < opened
    wait_for("the egress to hold no key", lambda: egress() == without_keys)


def test_listing_shows_no_key(fresh):
    for args in (["vault", "list"], ["vault", "list", "--json"], ["key", "list"], ["key", "list", "--json"], ["status"]):
        out = fresh.cli(*args).stdout
        assert out and fresh.provider.key.encode() not in out and fresh.key.encode() not in out


def test_replacing_a_key(fresh, tmp_path):
    fresh.add_key(key="sk-a-wrong-key")
    wait_for("the wrong key to be used", lambda: fresh.chat("gpt-x").status == 401)
    fresh.add_key()
    wait_for("the right key to be used", lambda: fresh.chat("gpt-x").status == 200)
    versions = [c["version"] for c in fresh.cli_json("vault", "list")]
    assert max(versions) >= 3


def test_removing_a_key(fresh):
    fresh.cli("vault", "rm", "local")
    wait_for("the key to be gone", lambda: fresh.chat("gpt-x").status == 503)
    assert fresh.chat("gpt-x").json()["error"]["code"] == "no_credential"
    fresh.add_key()
    wait_for("the key to be back", lambda: fresh.chat("gpt-x").status == 200)


def test_state_is_private(fresh):
    for where, folders, files in os.walk(fresh.state):
        for name in folders + files:
            mode = os.lstat(os.path.join(where, name)).st_mode
            if where == fresh.state:
                shared = name == "auditd" and os.geteuid() == 0  # the shipper has a uid of its own then, and reads the log
                assert stat.S_IMODE(mode) == (0o750 if shared else 0o700), name
    with open(os.path.join(fresh.state, "keyvault", "root.key"), "rb") as f:
        assert len(f.read()) >= 32


def test_key_is_nowhere_on_disk(fresh):
    """K-01: sealed at rest. The gateway key is not there either, only its HMAC (K-04)."""
    for where, _, files in os.walk(fresh.folder):
        if "/provider" in where or where == fresh.run_dir:
            continue
        for name in files:
            with open(os.path.join(where, name), "rb") as f:
                data = f.read()
            for secret in (fresh.provider.key.encode(), fresh.key.encode()):
                assert secret not in data, os.path.join(where, name)


def test_restart_keeps_all(fresh):
    fresh.stop()
    fresh.start()
    wait_for("service", lambda: fresh.chat("gpt-x").status == 200)
    assert fresh.verify().returncode == 0


def test_exit_codes(fresh):
    assert fresh.cli("status").returncode == 0
    assert fresh.cli("no-such-command", check=False).returncode == 2
    assert fresh.cli("key", "revoke", check=False).returncode == 2
    missing = fresh.cli("key", "revoke", "nothing", check=False)
    assert missing.returncode == 1 and missing.stderr.count(b"\n") == 1


@pytest.fixture(scope="module")
def with_passphrase(new_gateway):
    return new_gateway(prepare=False, settings={"keyvault": {"unseal": "passphrase"}})


def test_passphrase(with_passphrase):
    gateway = with_passphrase
    gateway.cli("vault", "init", stdin=PASSPHRASE)
    gateway.add_key()
    gateway.key = gateway.make_key()["key"]
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    gateway.cli("vault", "seal")
    wrong = gateway.cli("vault", "unseal", stdin=b"wrong horse\n", check=False)
    assert wrong.returncode == 1
    assert_sealed(gateway.chat("gpt-x"))
    gateway.cli("vault", "unseal", stdin=PASSPHRASE)
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    wait_for("the record of the failure", lambda: gateway.audit(event="vault.unseal_fail"))
