# SPDX-License-Identifier: Apache-2.0
"""Calls that this code base does without."""
import re

import pytest

from sources import code, files, is_test, text

# Pattern -> the files where it is right.
BANNED = {
    r"\b(strcpy|strcat|sprintf|vsprintf|strtok|alloca|gets|atoi|atol|rand|system|popen|tmpnam)\s*\(": r"$^",
    r"\b(strncpy|strncat|strtok_r|setjmp|longjmp)\s*\(": r"$^",
    r"\b(printf|vprintf|puts|putchar|perror)\s*\(": r"cli/.*|proto/docgen\.c",
    r"\bfprintf\s*\((?!stderr)": r"cli/.*",
    r"\bgoto\b": r"$^",
    r"\b(getenv|setenv|secure_getenv)\s*\(": r"cli/.*|common/daemon.*\.c",
    r"\bpthread_create\s*\(": r"$^",
    r"\b(usleep|sleep|nanosleep)\s*\(": r"cli/.*|auditd/verify\.c",
}


# memcmp() stops at the first difference, so it must never see a MAC, a key or anything else that a peer could guess byte by byte.
# These calls were read and compare public bytes; one more in any file is a failure until it was read as well.
MEMCMP_REVIEWED = {
    "auditd/checkpoint.c": 1,
    "auditd/format.c": 1,
    "auditd/producers.c": 3,
    "auditd/proof.c": 1,
    "auditd/pruner.c": 1,
    "auditd/receipt.c": 1,
    "auditd/recover.c": 1,
    "auditd/verify.c": 3,
    "authd/credentials.c": 1,
    "classifier/recognise.c": 1,
    "cli/args.c": 1,
    "cli/audit_csv.c": 2,
    "cli/config_env.c": 1,
    "cli/config_tree.c": 1,
    "cli/vault.c": 1,
    "common/address.c": 2,
    "common/base.h": 1,
    "common/head_digest.c": 1,
    "common/json_scan.c": 1,
    "common/note.c": 3,
    "common/secret.c": 1,
    "keyvault/age.c": 2,
    "keyvault/age_armor.c": 1,
    "keyvault/bech32.c": 1,
    "keyvault/dialer/message.c": 1,
    "keyvault/dialer/registry.c": 1,
    "keyvault/dialer/tcp.c": 1,
    "keyvault/egress/head.c": 2,
    "keyvault/egress/permit.c": 1,
    "keyvault/egress/reply.c": 1,
    "keyvault/egress/scrub.c": 3,
    "keyvault/egress/sigv4.c": 1,
    "keyvault/keys.c": 1,
    "keyvault/keys_tenant.c": 2,
    "keyvault/marks.c": 1,
    "keyvault/root.c": 1,
    "keyvault/rotate.c": 2,
    "keyvault/rotation.c": 1,
    "keyvault/seal.c": 1,
    "keyvault/share.c": 1,
    "keyvault/store.c": 1,
    "keyvault/vault.c": 1,
    "keyvault/vault_credentials.c": 3,
    "keyvault/witness.c": 2,
    "router/endpoint.c": 1,
    "router/http_head.c": 1,
    "router/proxies.c": 1,
    "router/request_relay.c": 1,
    "router/sse.c": 1,
}


def test_memcmp_only_on_public_bytes():
    counts = {p: len(re.findall(r"\b(memcmp|bcmp)\s*\(", code(p))) for p in files() if not is_test(p)}
    bad = [f"{p}: {n} calls, {MEMCMP_REVIEWED.get(p, 0)} reviewed" for p, n in counts.items() if n > MEMCMP_REVIEWED.get(p, 0)]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("pattern", BANNED)
def test_not_called(pattern):
    bad = []
    for path in files():
        if is_test(path) or re.fullmatch(BANNED[pattern], path):
            continue
        for found in re.finditer(pattern, code(path)):
            bad.append(f"{path}:{code(path).count(chr(10), 0, found.start()) + 1}: {found.group(0)}")
    assert not bad, "\n".join(bad)


def test_no_leftovers():
    word = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")  # in halves: this file is searched too
    ours = files() + files("tests", "bench", suffixes=(".c", ".h", ".def", ".py", ".mjs", ".sh"))
    bad = [p for p in ours if word.search(text(p)) and "node_modules" not in p]
    assert not bad, "\n".join(bad)


def test_conditional_compilation_is_rare():
    lines = sum(text(p).count("\n") for p in files() if not is_test(p))
    conditions = sum(len(re.findall(r"^\s*#\s*if", text(p), re.M)) for p in files() if not is_test(p))
    assert conditions <= max(20, lines // 500)
