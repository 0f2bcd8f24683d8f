# SPDX-License-Identifier: Apache-2.0
"""docker-compose.yml and Dockerfile give each daemon what proto/roles.def and proto/edges.def say, and nothing more."""
import os
import re

from sources import ROOT

UID_BASE = 62100
OPERATOR = "cli"
NETWORKED = {"router", "dialer", "shipper"}
# Containers whose group is not their role's: the log is the shipper's group's to read.
GROUPS = {"auditd": "shipper"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


ROLES = {name: int(number) for name, number in re.findall(r'^ROLE\(\w+, "(\w+)", (\d+)\)', read("proto/roles.def"), re.M)}
DAEMONS = set(ROLES) - {OPERATOR, "launcher"}


def uid(role):
    return UID_BASE + ROLES[role]


def services():
    """{name: its lines, those of the anchor that it merges before its own}"""
    text = read("docker-compose.yml")
    common = re.search(r"^x-daemon: &daemon\n((?:  .*\n)+)", text, re.M).group(1)
    blocks = re.findall(r"^  (\w+):\n((?:    .*\n)+)", text[text.index("\nservices:\n"):text.index("\nvolumes:\n")], re.M)
    return {name: (common if "<<: *daemon" in body else "") + body for name, body in blocks}


def last(block, key):
    found = re.findall(rf"^ +{key}: *(.*?)(?: #.*)?$", block, re.M)
    return found[-1] if found else None


def clients(role):
    edges = re.findall(r"^EDGE\((\w+), (\w+),", read("proto/edges.def"), re.M)
    return {client.lower() for server, client in edges if server.lower() == role} - {OPERATOR}


def test_a_container_for_each_daemon():
    assert set(services()) == DAEMONS | {OPERATOR}


def test_each_is_itself_and_in_the_groups_of_its_clients_alone():
    for role in sorted(DAEMONS):
        block = services()[role]
        own, group = (int(n) for n in last(block, "user").strip('"').split(":"))
        added = {int(n) for n in re.findall(r"\d+", last(block, "group_add") or "")}
        assert (own, group) == (uid(role), uid(GROUPS.get(role, role))), role
        assert added - {own} == {uid(client) for client in clients(role)}, role
        assert own in {group} | added, f"{role}: its admin socket has its uid's group"
        assert last(block, "command") == f"[run, {role}]"


def test_nobody_has_more_than_it_needs():
    for role in sorted(DAEMONS):
        block = services()[role]
        assert last(block, "network_mode") == ("bridge" if role in NETWORKED else "none"), role
        assert last(block, "cap_drop") == "[ALL]" and last(block, "read_only") == "true", role
        assert last(block, "security_opt") == '["no-new-privileges:true"]', role
        volumes = re.findall(r"(\w+):/var/lib/bulkhead/(\w+)(:ro)?", last(block, "volumes"))
        for name, folder, read_only in volumes:
            assert name == folder and (name == role or read_only and (role, name) == ("shipper", "auditd")), role
    assert last(services()[OPERATOR], "network_mode") == "none"


def test_the_image_has_their_folders():
    """A new volume takes owner and mode from it."""
    made = re.findall(r"install -d -m 0(\d+) -o (\d+) -g (\d+) /var/lib/bulkhead/(\w+)", read("Dockerfile"))
    keep = {name for block in services().values() for name in re.findall(r"(\w+):/var/lib/bulkhead/\1", block)}
    assert {name for *_, name in made} == keep
    for mode, owner, group, name in made:
        assert (int(owner), int(group)) == (uid(name), uid(GROUPS.get(name, name)))
        assert mode == ("750" if name in GROUPS else "700")


def test_the_image_is_built_with_what_a_build_needs():
    needs = [line.split() for line in read("mk/deps.txt").split("# tests")[0].splitlines() if line and not line.startswith("#")]
    there = set(re.search(r"apt-get install -y --no-install-recommends (.*?)\nWORKDIR", read("Dockerfile"), re.S).group(1).split())
    assert len(needs) > 10 and not [need for need in needs if not there & set(need)]
