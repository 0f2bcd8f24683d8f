#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A second opinion on the audit log, written from its description (auditd/format.h, proto/messages.def, C2SP) and sharing
nothing with the C code but the description.

    verify_log.py FOLDER [VKEY]      prints one JSON line; exit status 0: good, 1: not, 3: good as far as it was signed

Read slowly: it keeps the whole log in memory.
"""
import base64
import datetime
import hashlib
import json
import os
import re
import struct
import sys

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HEAD = 8192
LOG_GAP = 66
LOG_PRUNE = 67
AUDITD = 5
FIELDS = ("version role worker boot recorded_ns last_seq seq time_ns code actor tenant address resource request_id status "
          "reason model provider credential tokens_in tokens_out latency_us bytes digest subject "
          "sealed cost_nano head_digest scrubbed").split()


class Bad(Exception):
    pass


def need(held, why):
    if not held:
        raise Bad(why)


def crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# ---- Merkle tree, straight from RFC 6962 section 2.1 ----

def leaf_hash(leaf):
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes):
    if not hashes:
        return hashlib.sha256().digest()
    while len(hashes) > 1:
        pairs = [node_hash(*hashes[i:i + 2]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(pairs) * 2:]  # an odd one out moves up as it is
    return hashes[0]


class Tree:
    """It grows, and knows its root at every size that it had: rows[k] are the nodes over 2**k leaves, from the left."""

    def __init__(self):
        self.rows = [[]]

    def append(self, node):
        for row in self.rows:
            row.append(node)
            if len(row) % 2:
                return
            node = node_hash(*row[-2:])
        self.rows.append([node])

    def root(self, size):
        root = None
        for level, row in enumerate(self.rows):
            if size >> level & 1:
                left = row[(size >> level) - 1]
                root = node_hash(left, root) if root else left
        return root or root_of([])


# ---- signed notes ----

def b64(text):
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 with a second spelling")
    return raw


def read_vkey(text):
    name, key_id, key = text.split("+", 2)
    raw = b64(key)
    need(len(raw) == 33 and raw[0] == 1, "not an Ed25519 verifier key")
    want = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    need(want.hex() == key_id, "the key id is not the key's")
    return name, want, Ed25519PublicKey.from_public_bytes(raw[1:])


def open_checkpoint(note, vkey):
    name, key_id, public = read_vkey(vkey)
    text, sigs = note.rsplit("\n\n", 1)
    text += "\n"
    found = False
    need(sigs.endswith("\n"), "no newline after the last signature")
    for line in sigs[:-1].split("\n"):
        match = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/]+=*)", line)
        need(match, "a malformed signature line")
        raw = b64(match[2])
        if match[1] == name and raw[:4] == key_id:
            public.verify(raw[4:], text.encode())
            found = True
    need(found, "not signed by this key")
    origin, size, root = text[:-1].split("\n")[:3]
    need(origin == name, "the checkpoint is of another log")
    need(re.fullmatch("0|[1-9][0-9]*", size), "a malformed size")
    return int(size), b64(root)


# ---- segments ----

def without_crc(data, at):
    return data[:at] + bytes(4) + data[at + 4:]


def read_head(data):
    magic, crc, n = struct.unpack_from("<8sII", data)
    need(magic == b"BBDSEG01" and crc == crc32c(without_crc(data[:HEAD], 8)), "a damaged segment head")
    log_id, first, root, last_leaf, length = struct.unpack_from("<16sQ32s32sQ", data, 16)
    need(len(data) == length, "a segment that has not the length it was made with")
    rows = [struct.unpack_from("<BB16sQ", data, 112 + 26 * i) for i in range(n)]
    need(not any(data[112 + 26 * n:HEAD]), "a segment head with more in it")
    return log_id, first, root, last_leaf, rows


class Torn(Exception):
    """So many bytes that no checkpoint covers, and that are not whole."""


def read_entries(data, index, size):
    at = HEAD
    try:
        while at < len(data) and any(data[at:at + 24]):
            magic, leaf, crc, place, found = struct.unpack_from("<4sIIIQ", data, at)
            whole = (24 + leaf + 7) // 8 * 8
            entry = data[at:at + whole]
            need(magic == b"BBE1" and len(entry) == whole and crc == crc32c(without_crc(entry, 8)), f"entry {index} is damaged")
            need(found == index and place <= index and not any(entry[24 + leaf:]), f"entry {index} is not where it was written")
            yield entry[24:24 + leaf]
            at += whole
            index += 1
        need(not any(data[at:]), f"something stands after entry {index - 1}")
    except (Bad, struct.error):
        if index < size:
            raise
        raise Torn(len(data[at:].rstrip(b"\0"))) from None


class Log:
    def __init__(self):
        self.leaves, self.tree, self.producers = [], Tree(), {}
        self.hashes = self.tree.rows[0]
        self.gaps = self.lost = self.first = 0
        self.pruned, self.uncovered = [], None

    def add(self, leaf):
        index = len(self.leaves)
        values = msgpack.unpackb(leaf, raw=True)
        need(isinstance(values, list) and len(values) == len(FIELDS), f"entry {index} is not a record")
        e = dict(zip(FIELDS, values))
        who, boot = (e["role"], e["worker"]), e["boot"]
        last_boot, last = self.producers.get(who, (None, 0))
        gap = e["code"] == LOG_GAP
        need(e["seq"] == (last if boot == last_boot else 0) + 1, f"entry {index}: a hole without a gap record")
        need(e["last_seq"] >= e["seq"] if gap else e["last_seq"] == e["seq"], f"entry {index}: a wrong range")
        self.producers[who] = boot, e["last_seq"]
        if e["code"] == LOG_PRUNE and e["role"] == AUDITD:
            need(0 < e["bytes"] <= index and e["digest"] == self.tree.root(e["bytes"]), f"entry {index} prunes what was not there")
            self.pruned.append((index, e))
        self.gaps += gap
        self.lost += e["last_seq"] - e["seq"] + 1 if gap else 0
        self.leaves.append(leaf)
        self.tree.append(leaf_hash(leaf))

    def read_prefix(self, folder, first, rows):
        """Of what retention removed there are the hashes, and the leaves of the bundle that the first kept entry is in."""
        self.first = first
        for n in range(first // 256):
            with open(os.path.join(folder, "tile/0", tile_name(n)), "rb") as f:
                tile = f.read()
            need(len(tile) == 8192, f"tile {n} is not one")
            for i in range(0, 8192, 32):
                self.tree.append(tile[i:i + 32])
            self.leaves += [None] * 256
            path = os.path.join(folder, "tile/entries", tile_name(n))
            if os.path.exists(path):
                need([leaf_hash(leaf) for leaf in read_bundle(path)] == self.hashes[-256:], f"{path} is not what was hashed")
        if first % 256:
            path = os.path.join(folder, "tile/entries", tile_name(first // 256))
            partial = f"{path}.p/{first % 256}"  # it was durable before the segment began
            kept = read_bundle(partial if os.path.exists(partial) else path)[:first % 256]
            need(len(kept) == first % 256, "the bundle of the first entry is not whole")
            self.leaves += kept
            for leaf in kept:
                self.tree.append(leaf_hash(leaf))
        self.producers = {(r, w): (b, s) for r, w, b, s in rows}

    def read_segments(self, folder, size):
        """How many. What follows the signed ones may have been torn when it was copied: then it ends there."""
        log_id = None
        names = sorted(n for n in os.listdir(folder) if re.fullmatch(r"\d{20}\.seg", n))
        need(names, "no segment")
        for i, name in enumerate(names):
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
            if i and len(self.leaves) >= size and int(name[:20]) > len(self.leaves):
                self.uncovered = {"from": len(self.leaves), "bytes": 0, "segments": len(names) - i}
                return i
            head_id, first, root, last_leaf, rows = read_head(data)
            if first and not self.leaves:
                self.read_prefix(os.path.dirname(folder), first, rows)
            need(first == len(self.leaves) == int(name[:20]), f"{name} does not begin where the one before ends")
            need(head_id == (log_id or head_id), f"{name} is of another log")
            log_id = head_id
            need(root == self.tree.root(len(self.hashes)), f"{name} does not continue the tree")
            need(last_leaf == (self.hashes[-1] if first else bytes(32)), f"{name} follows another entry")
            need({(r, w): (b, s) for r, w, b, s in rows} == self.producers, f"{name} has other producers")
            try:
                for leaf in read_entries(data, first, size):
                    self.add(leaf)
            except Torn as torn:
                self.uncovered = {"from": len(self.leaves), "bytes": torn.args[0], "segments": len(names) - i - 1}
                return i + 1
        return len(names)


# ---- tiles ----

def tile_name(n):
    groups = re.findall("...", f"{n:03d}".zfill((len(str(n)) + 2) // 3 * 3))
    return "/".join(["x" + g for g in groups[:-1]] + groups[-1:])


def read_bundle(path):
    with open(path, "rb") as f:
        data = f.read()
    leaves, at = [], 0
    while at < len(data):
        need(at + 2 <= len(data), f"{path} is cut")
        size = struct.unpack_from(">H", data, at)[0]
        need(at + 2 + size <= len(data), f"{path} is cut")
        leaves.append(data[at + 2:at + 2 + size])
        at += 2 + size
    return leaves


def check_file(folder, where, n, width, want):
    path = os.path.join(folder, "tile", where, tile_name(n) + (f".p/{width}" if width < 256 else ""))
    with open(path, "rb") as f:
        need(f.read() == want, f"{path} differs from the entries")


def check_tiles(folder, log, size):
    level, nodes = 0, log.hashes[:size]
    for n in range(0, size, 256):
        part = log.leaves[n:min(n + 256, size)]
        if None in part:
            continue
        check_file(folder, "entries", n // 256, len(part), framed(part))
    while nodes:
        for n in range(0, len(nodes), 256):
            part = nodes[n:n + 256]
            check_file(folder, str(level), n // 256, len(part), b"".join(part))
        nodes = [root_of(nodes[n:n + 256]) for n in range(0, len(nodes) - 255, 256)]
        level += 1


def check_unsigned(folder, log, size):
    """Full tiles and bundles beyond what was signed need not be there yet, nor whole; what is there must be right."""
    level, nodes, parts = 0, log.hashes, log.leaves
    while len(nodes) >= 256:
        done = (size >> 8 * level) // 256
        for n in range(done, len(nodes) // 256):
            wanted = [(str(level), b"".join(nodes[256 * n:256 * n + 256]))]
            if level == 0:
                wanted.append(("entries", framed(parts[256 * n:256 * n + 256])))
            for where, want in wanted:
                path = os.path.join(folder, "tile", where, tile_name(n))
                if os.path.exists(path):
                    with open(path, "rb") as f:
                        need(want.startswith(f.read()), f"{path} differs from the entries")
        nodes = [root_of(nodes[n:n + 256]) for n in range(0, len(nodes) - 255, 256)]
        level += 1


def pruned_by(index, e):
    seconds, ms = divmod(e["recorded_ns"] // 10**6, 1000)
    time = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return {"record": index, "time": f"{time}.{ms:03d}Z", "keep_records": e["reason"].decode()}


def framed(leaves):
    return b"".join(struct.pack(">H", len(x)) + x for x in leaves)


def tile_parse(path):
    """("entries" or the level, the number, the width) of a path below tile/."""
    match = re.fullmatch(r"(entries|[0-7])/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d*))?", path)
    need(match and int(match[3] or 0) < 256, f"tile/{path} is no file of a log")
    n = int(match[2].replace("x", "").replace("/", ""))
    need(tile_name(n) == match[2], f"tile/{path} is no file of a log")
    return match[1], n, int(match[3] or 256)


def check_superseded(folder, log, size):
    """Partial tiles that earlier checkpoints left: the beginning of what stands there now, as far as they reached the disk. A power
    failure leaves zeros for sectors, a full disk a short file; a reader would ask for neither, but nothing else may stand there."""
    levels, root = [log.hashes[:size]], os.path.join(folder, "tile")
    while levels[-1]:
        levels.append([root_of(levels[-1][n:n + 256]) for n in range(0, len(levels[-1]) - 255, 256)])
    for where, _, names in os.walk(root):
        for name in names:
            path = os.path.join(where, name)
            kind, n, width = tile_parse(os.path.relpath(path, root))
            level = 0 if kind == "entries" else int(kind)
            nodes, begin, end = levels[level] if level < len(levels) else [], n * 256, n * 256 + width
            if width == min(256, len(nodes) - begin) or end > len(nodes):
                continue  # was looked at, or is not signed
            part = nodes[begin:end]
            if kind == "entries":
                part, full = log.leaves[begin:end], os.path.join(root, kind, tile_name(n))
                if None in part and not os.path.exists(full):
                    continue  # pruned
                part = read_bundle(full)[:width] if None in part else part
            want = framed(part) if kind == "entries" else b"".join(part)
            with open(path, "rb") as f:
                found = f.read()
            need(len(found) <= len(want), f"{path} is too long")
            for at in range(0, len(found), 512):
                sector = found[at:at + 512]
                need(sector == want[at:at + len(sector)] or not any(sector), f"{path} differs from the entries")


def verify(folder, vkey=None):
    with open(os.path.join(folder, "checkpoint"), encoding="utf-8") as f:
        note = f.read()
    if not vkey:
        with open(os.path.join(folder, "vkey"), encoding="utf-8") as f:
            vkey = f.read().strip()
    size, root = open_checkpoint(note, vkey)
    log = Log()
    segments = log.read_segments(os.path.join(folder, "seg"), size)
    covering = [(index, e) for index, e in log.pruned if index < size and e["bytes"] >= log.first > 0]
    need(covering or not log.first, "the beginning is missing, and nothing says why")
    need(size <= len(log.leaves), f"{size} entries were signed, but there are only {len(log.leaves)}")
    need(log.tree.root(size) == root, "the entries are not those that were signed")
    check_tiles(folder, log, size)
    check_unsigned(folder, log, size)
    check_superseded(folder, log, size)
    return {"first": log.first, "entries": len(log.leaves), "signed": size, "segments": segments, "gaps": log.gaps, "lost": log.lost,
            "root": root.hex(), "pruned": pruned_by(*covering[-1]) if covering else None, "uncovered": log.uncovered}


if __name__ == "__main__":
    try:
        report = verify(*sys.argv[1:])
        print(json.dumps({"good": True, **report}))
        sys.exit(3 if report["uncovered"] else 0)
    except (Bad, InvalidSignature, OSError, ValueError, struct.error) as e:
        print(json.dumps({"good": False, "why": str(e) or type(e).__name__}))
        sys.exit(1)
