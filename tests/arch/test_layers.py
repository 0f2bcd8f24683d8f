# SPDX-License-Identifier: Apache-2.0
"""Includes go daemon -> common -> proto, and each foreign library is the business of few files."""
import re

from sources import files, is_test, text

# Folder -> what it may include. The longest folder that a path begins with counts.
MAY_INCLUDE = {
    "proto": ["proto/", "common/base.h", "common/bytes16.h"],
    "common": ["common/", "proto/"],
    "router": ["router/", "common/", "proto/"],
    "authd": ["authd/", "common/", "proto/"],
    "keyvault": ["keyvault/", "common/", "proto/"],
    "keyvault/egress": ["keyvault/egress/", "common/", "proto/"],
    "keyvault/dialer": ["keyvault/dialer/", "common/", "proto/"],
    "auditd": ["auditd/", "common/", "proto/"],
    # The one resolver of the tree is the dialer's.
    "auditd/shipper": ["auditd/shipper/", "auditd/leaf.h", "auditd/tile.h", "auditd/tree.h", "keyvault/dialer/resolve.h", "common/", "proto/"],
    "classifier": ["classifier/", "common/", "proto/"],
    "cli": ["cli/", "common/", "proto/", "auditd/verify.h", "auditd/leaf.h", "auditd/format.h", "auditd/proof.h",
            "auditd/entries.h", "auditd/tile.h", "auditd/receipt.h", "auditd/retained.h",
            "auditd/shipper/schema.h"],
}

# Header -> the files that may include it.
LIBRARY_HEADERS = {
    r"sqlite3\.h": r"authd/store_sqlite.*\.[ch]",
    r"openssl/.*": r"keyvault/egress/.*|auditd/shipper/pg\.c",
    r"libpq-fe\.h": r"auditd/shipper/(pg|check)\.c",
    r"curl/.*": r"auditd/shipper/http\.c",
    r"hs(/.*)?\.h|hs.*\.h": r"classifier/.*",
    r"yaml\.h": r"cli/.*",
    r"jansson\.h": r"cli/.*",
    r"ares.*\.h": r"keyvault/dialer/.*",
    r"llhttp\.h": r"router/.*|keyvault/egress/.*",
    r"sodium\.h": r"keyvault/.*|authd/.*|auditd/.*|cli/audit.*|common/(base64|hmac|note|grant|secret|audit_client)\.[ch]",
    r"nettle/.*": r"common/(sha256|hmac)\.c|keyvault/fernet\.c",
    r"msgpack\.h": r"proto/.*",
}

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def includes(path):
    return INCLUDE.findall(text(path))


def rule_of(path):
    return MAY_INCLUDE[max((folder for folder in MAY_INCLUDE if path.startswith(folder + "/")), key=len)]


def test_includes_go_down():
    bad = [f"{path} includes {name}" for path in files() if not is_test(path)
           for kind, name in includes(path) if kind == '"' and not name.startswith(tuple(rule_of(path)))]
    assert not bad, "\n".join(bad)


def test_core_of_the_vault_and_its_helpers_are_apart():
    bad = [f"{path} includes {name}" for path in files("keyvault") if path.count("/") == 1 and not is_test(path)
           for kind, name in includes(path) if name.startswith(("keyvault/egress/", "keyvault/dialer/"))]
    assert not bad, "\n".join(bad)


def test_includes_are_root_qualified():
    bad = [f"{path} includes {name}" for path in files() for kind, name in includes(path) if kind == '"' and "/" not in name]
    assert not bad, "\n".join(bad)


def test_libraries_are_the_business_of_few_files():
    bad = []
    for path in files():
        for kind, name in includes(path):
            for header, where in LIBRARY_HEADERS.items():
                if kind == "<" and re.fullmatch(header, name) and not re.fullmatch(where, path) and not is_test(path):
                    bad.append(f"{path} includes <{name}>")
    assert not bad, "\n".join(bad)
