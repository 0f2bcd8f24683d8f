# SPDX-License-Identifier: Apache-2.0
"""Secrets typed at a terminal: not shown, asked for twice when new, and Ctrl-C leaves the terminal as it was."""
import pytest

from gateway import PASSPHRASE, Gateway, scratch
from terminal import answer

@pytest.fixture(scope="module", name="fresh")
def fixture_fresh():
    with scratch() as folder, Gateway(folder, providers=[{"name": "local", "base_url": "https://upstream.test/v1"}],
                                      settings={"keyvault": {"unseal": "passphrase"}}) as gateway:
        yield gateway


def test_there_is_nothing_to_unseal(fresh):
    code, shown = answer(fresh, ["vault", "unseal"])
    assert code == 1 and b"vault init" in shown and b"Passphrase" not in shown


def test_two_that_differ(fresh):
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", b"one secret\r"), (b"Once more", b"another secret\r"))
    assert code == 1 and b"differ; nothing was done" in shown and b"secret" not in shown
    assert fresh.cli_json("vault", "status")["state"] == "uninitialised"


@pytest.mark.parametrize("keys", [b"half\x03", b"\x03"])
def test_ctrl_c(fresh, keys):
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", keys))
    assert code == 1 and b"cancelled; nothing was done" in shown


def test_one_that_is_too_short_is_not_asked_for_again(fresh):
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", b"seven77\r"))
    assert code == 1 and b"a passphrase has 8 to 1024 bytes; nothing was done" in shown and b"Once more" not in shown


def test_nothing_typed(fresh):
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", b"\r"))
    assert code == 1 and b"is empty; nothing was done" in shown


def test_typed_with_corrections(fresh):
    keys = b"wrong\x15correct horsee\x7f battery staple\r"
    code, shown = answer(fresh, ["vault", "init"], (b"New passphrase", keys), (b"Once more", b"correct horse battery staple\r"))
    assert code == 0, shown
    assert b"horse" not in shown
    fresh.cli("vault", "seal")
    fresh.cli("vault", "unseal", stdin=PASSPHRASE)


def test_nobody_types_a_passphrase_for_nothing(fresh):
    """Needs the vault that the test above made."""
    code, shown = answer(fresh, ["vault", "init"])
    assert code == 1 and b"already; nothing was changed" in shown and b"passphrase" not in shown


def test_an_open_vault_says_so_first(fresh):
    """Needs the vault that the test above made."""
    code, shown = answer(fresh, ["vault", "unseal"])
    assert code == 0 and shown.strip() == b"The vault is open already."
    assert fresh.cli_json("vault", "unseal") == {"result": "The vault is open already."}


@pytest.mark.parametrize("key", [b"\x03", b"\x04"])
def test_who_gives_up_at_a_share_leaves_none_on_the_screen(fresh, key):
    """Needs the vault that the test above made."""
    code, shown = answer(fresh, ["vault", "backup", "--shares", "3", "--threshold", "2"],
                         (b"Passphrase", b"correct horse battery staple\r"), (b"Enter clears the screen", b"\r"), (b"Share 2 of 3", key))
    assert code == 1 and b"not all shares were shown" in shown
    assert b"Share 3" not in shown and b"bhsh" not in shown[shown.rindex(b"\x1b[3J"):], "wiped off"


def test_provider_key(fresh):
    code, shown = answer(fresh, ["vault", "add", "local"], (b"Provider key", b"sk-typed\r"))
    assert code == 0 and b"sk-typed" not in shown
