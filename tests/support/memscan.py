#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Searches every readable byte of processes for a secret, whole and each half: raw, base64 at its three alignments, URL-encoded,
JSON-escaped, hexadecimal. Reads /proc/PID/mem, as root or the same user could.

    memscan.py KEY_FILE PID...        exit code 1 when found outside the secret arena
"""
import base64
import ctypes
import dataclasses
import errno
import itertools
import json
import mmap
import os
import struct
import subprocess
import sys
import urllib.parse

PIECE_BYTES = 256 << 10
ZEROS = bytes(PIECE_BYTES)  # as most of what is mapped: it was never touched
PAGEMAP_GUARD = 58  # the bit, from Linux 6.15 on: Documentation/admin-guide/mm/pagemap.rst
ARENA_FLAGS = {"lo", "dd", "dc"}  # locked, not dumped, not inherited: proc(5), VmFlags; nothing but common/secret.c asks for all three
HIDDEN = "/secretmem"  # memfd_secret(2): no kernel swaps it, and some do not say "locked" of it


def base64_cores(secret, alphabet=None):
    """The characters that any base64 text holding `secret` must contain, for each alignment."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + secret + b"\0" * 3, alphabet)
        yield text[(shift * 8 + 5) // 6:(shift + len(secret)) * 8 // 6]


def forms(secret):
    """{name: bytes to search for}"""
    half = len(secret) // 2
    found = {}
    for part, which in ((secret, ""), (secret[:half], ", first half"), (secret[half:], ", second half")):
        text = part.decode("latin-1")
        found["raw" + which] = part
        found["URL-encoded" + which] = urllib.parse.quote(text, safe="").encode()
        found["JSON-escaped" + which] = json.dumps(text)[1:-1].encode()
        found["hex" + which] = part.hex().encode()
        for alphabet, name in ((None, "base64"), (b"-_", "base64url")):
            for i, core in enumerate(base64_cores(part, alphabet)):
                found[f"{name} at {i}{which}"] = core
    return found


def kernel_hides():
    """Has it memfd_secret? Before Linux 6.5 it must be switched on."""
    fd = ctypes.CDLL(None).syscall(447, os.O_CLOEXEC)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def write_core(pid, to, everything):
    """What a debugger run by root writes down of a process, in to.PID; everything: also what is marked as not to be dumped."""
    return subprocess.run(["gcore", *(["-a"] if everything else []), "-o", to, str(pid)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)


@dataclasses.dataclass
class Report:
    found: list  # (pid, mapping, form) outside an arena
    in_arena: list  # the same, inside one: only where the kernel cannot hide it
    hidden: dict  # pid -> bytes of arena that even root cannot read
    scanned: dict  # pid -> bytes read


def mappings(pid):
    """(low, high, permissions, name, is it a secret arena)"""
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            fields = line.rstrip("\n").split(maxsplit=5)
            if not fields[0].endswith(":"):
                low, high = (int(x, 16) for x in fields[0].split("-"))
                permissions, name = fields[1], (fields[5] if len(fields) > 5 else "")
            elif fields[0] == "VmFlags:":
                yield low, high, permissions, name, name.startswith(HIDDEN) or ARENA_FLAGS <= set(line.split()[1:])


def search(memory, low, high, needles):
    """Names of the forms in [low, high), and how many bytes could be read."""
    keep = max(len(n) for n in needles.values()) - 1
    names, tail, read = set(), b"", 0
    while low < high:
        data = os.pread(memory, min(PIECE_BYTES, high - low), low)
        if not data:
            break
        low, read = low + len(data), read + len(data)
        window = tail + (data[:keep] if data == ZEROS[:len(data)] else data)
        names |= {name for name, needle in needles.items() if needle in window}
        tail = (tail + data)[-keep:] if len(data) < keep else data[-keep:]
    return names, read


def without_guards(pid, low, high):
    """The parts of a mapping that are no guard pages by madvise(2), as glibc has them below a thread's stack: nobody can read those."""
    with open(f"/proc/{pid}/pagemap", "rb") as f:
        f.seek(low // mmap.PAGESIZE * 8)
        pages = struct.unpack(f"={(high - low) // mmap.PAGESIZE}Q", f.read((high - low) // mmap.PAGESIZE * 8))
    for guard, run in itertools.groupby(pages, key=lambda page: page >> PAGEMAP_GUARD & 1):
        end = low + len(list(run)) * mmap.PAGESIZE
        if not guard:
            yield low, end
        low = end


def search_around_guards(pid, memory, low, high, needles):
    parts = list(without_guards(pid, low, high))
    if parts == [(low, high)]:
        raise OSError(errno.EIO, f"cannot read {low:x}-{high:x} of process {pid}")
    found = [search(memory, *part, needles) for part in parts]
    return set().union(*(names for names, _ in found)), sum(read for _, read in found)


def scan(pids, *secrets):
    """For the secrets in all their forms."""
    return scan_for(pids, {name if len(secrets) == 1 else f"{i}: {name}": n for i, s in enumerate(secrets) for name, n in forms(s).items()})


def scan_for(pids, needles):
    """Looks at each process for {name: bytes}; one that ends meanwhile is not counted as scanned."""
    report = Report([], [], {}, {})
    for pid in pids:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        try:
            report.scanned[pid] = report.hidden[pid] = 0
            for low, high, permissions, name, arena in mappings(pid):
                if name in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                    continue
                try:
                    names, read = search(memory, low, high, needles)
                except OSError as e:
                    if e.errno not in (errno.EIO, errno.EFAULT):
                        raise
                    if arena:
                        report.hidden[pid] += high - low
                        continue
                    if not permissions.startswith("r") or (low, high) not in ((a, b) for a, b, *_ in mappings(pid)):
                        continue  # a guard page, or one that was unmapped meanwhile
                    names, read = search_around_guards(pid, memory, low, high, needles)
                report.scanned[pid] += read
                target = report.in_arena if arena else report.found
                target += [(pid, name or f"{low:x}-{high:x} {permissions}", form) for form in sorted(names)]
        finally:
            os.close(memory)
    return report


def main():
    with open(sys.argv[1], "rb") as f:
        secret = f.read().strip()
    report = scan([int(p) for p in sys.argv[2:]], secret)
    for pid, where, form in report.found:
        print(f"FOUND {form} in process {pid}, {where}")
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main())
