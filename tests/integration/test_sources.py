# SPDX-License-Identifier: Apache-2.0
"""K-13: provider keys in files that somebody else keeps, taken when they change; the last good one stays when they do not do."""
import os

import pytest

import memscan
from capabilities import sees_others
from gateway import INSTRUMENTED, Gateway, Provider, scratch, wait_for
from mounted import Secret


@pytest.fixture(scope="module")
def world():
    """A gateway whose only key comes from a file."""
    with scratch() as folder, Provider(folder) as provider:
        secret = Secret(os.path.join(folder, "secret"))
        gateway = Gateway(folder, provider)
        entry = {**gateway.all_providers()[0], "key_file": secret.path}
        gateway.providers = [entry]
        with gateway:
            gateway.open_vault()
            gateway.key = gateway.make_key()["key"]
            yield gateway, secret


def version(gateway):
    listed = gateway.cli_json("vault", "list")
    return listed[0]["version"] if listed else 0


def looked_at(gateway, secret):
    """The launcher has seen what is there by now: it told about it, or would have."""
    name = "source.kept"
    count = gateway.log().count(name)
    return lambda: gateway.log().count(name) > count and secret


def test_a_file_is_taken_when_it_comes(world):
    gateway, secret = world
    assert gateway.chat("gpt-x").json()["error"]["code"] == "no_credential"
    secret.write(gateway.provider.key.encode() + b"\n")
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    assert version(gateway) == 1
    wait_for("the records", lambda: gateway.audit(event="vault.seal_credential", credential="local")
             and gateway.audit(event="credential.put", credential="local"))


def test_the_same_key_makes_no_version(world):
    """Neither when it is written again, nor when everything is started again."""
    gateway, secret = world
    secret.write(gateway.provider.key.encode())
    done = gateway.cli("vault", "sync")
    assert not done.stdout and version(gateway) == 1
    gateway.stop()
    gateway.start()
    wait_for("service", lambda: gateway.chat("gpt-x").status == 200)
    gateway.cli("vault", "sync", "local")
    assert version(gateway) == 1


def test_a_swapped_folder_is_taken(world):
    gateway, secret = world
    secret.write(b"sk-rotated-and-wrong")
    wait_for("the new key to be used", lambda: gateway.chat("gpt-x").status == 401)
    secret.write(gateway.provider.key.encode())
    wait_for("the right key again", lambda: gateway.chat("gpt-x").status == 200)
    assert version(gateway) == 3


def test_a_file_written_in_place_is_taken(world):
    """A Vault agent: the same name, another file."""
    gateway, secret = world
    other = os.path.join(secret.folder, "..data", "new")
    for key, status in ((b"sk-another-wrong-one", 401), (gateway.provider.key.encode(), 200)):
        with open(os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as f:
            f.write(key)
        os.rename(other, os.path.join(secret.folder, "..data", "key"))
        wait_for("the key to be used", lambda s=status: gateway.chat("gpt-x").status == s)


@pytest.mark.parametrize("data, mode, told", [
    (b"", 0o400, "empty"), (b"two\nlines", 0o400, "not taken"), (b"with space", 0o400, "not taken"), (b"x" * 5000, 0o400, "5000 bytes"),
    (b"sk-readable-by-all", 0o444, "chmod 0400"), (b"\xff\xfe", 0o400, "not taken")],
    ids=["empty", "lines", "space", "long", "readable", "bytes"])
def test_what_is_no_key_leaves_the_last_good_one(world, data, mode, told):
    gateway, secret = world
    before, seen = version(gateway), looked_at(gateway, secret)
    secret.write(data, mode)
    wait_for("a warning", seen, seconds=30)
    assert told in gateway.log().rsplit("source.kept", 1)[1]
    assert gateway.chat("gpt-x").status == 200 and version(gateway) == before
    if told == "not taken":
        wait_for("the record", lambda: gateway.audit(event="vault.reject", reason="bad_secret", credential="local"))
        assert data not in gateway.log().encode("utf-8", "surrogateescape")
        named = f"the key of local stays as it was; what is in {secret.path} was not taken"
        assert named in gateway.log() and named in gateway.cli("vault", "sync", check=False).stderr.decode()
    secret.write(gateway.provider.key.encode())
    assert gateway.cli("vault", "sync").returncode == 0


def test_a_file_that_goes_away_leaves_the_key(world):
    gateway, secret = world
    before, seen = version(gateway), looked_at(gateway, secret)
    os.rename(secret.path, secret.path + ".away")
    wait_for("a warning", seen)
    assert gateway.chat("gpt-x").status == 200
    refused = gateway.cli("vault", "sync", check=False)
    assert refused.returncode == 1 and secret.path.encode() in refused.stderr
    os.rename(secret.path + ".away", secret.path)
    assert gateway.cli("vault", "sync").returncode == 0 and version(gateway) == before


def test_a_sealed_vault_takes_it_when_it_opens(world):
    gateway, secret = world
    gateway.cli("vault", "seal")
    secret.write(b"sk-while-sealed")
    refused = gateway.cli("vault", "sync", check=False)
    assert refused.returncode == 1 and b"sealed" in refused.stderr
    gateway.cli("vault", "unseal")
    wait_for("the key of meanwhile", lambda: gateway.chat("gpt-x").status == 401)
    secret.write(gateway.provider.key.encode())
    wait_for("the right one", lambda: gateway.chat("gpt-x").status == 200)


@sees_others
@pytest.mark.skipif(INSTRUMENTED, reason="the sanitizers keep freed memory")
def test_only_the_vault_has_read_it(world):
    """Neither the launcher nor the command that it runs: the descriptor crosses, the key does not."""
    gateway, _ = world
    assert gateway.chat("gpt-x").status == 200
    assert not memscan.scan([*gateway.pids(), gateway.process.pid], gateway.provider.key.encode()).found
