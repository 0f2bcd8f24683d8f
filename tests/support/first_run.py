#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`make run`: the gateway in the foreground with ./bulkhead.yaml, which is written on first use. Ctrl-C ends it."""
import os
import stat
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BULKHEAD = os.path.join(ROOT, os.environ.get("BULKHEAD_BUILD", "build/release"), "bin", "bulkhead")

STEPS = """
In another terminal:

  alias bulkhead={bulkhead}
  bulkhead vault init                                    # once: choose a passphrase
  bulkhead vault add openai < key.txt                    # your provider key: from a file, or typed without echo
  bulkhead key create --tenant me                        # a key for your application, shown once

and give your application that key and the base URL http://127.0.0.1:8080/v1
"""


def others_may_enter(path):
    """Daemons have uids of their own when root starts them, and must reach their state."""
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True


def write_config(path):
    text = subprocess.run([BULKHEAD, "config", "show", "--example"], capture_output=True, text=True, check=True).stdout
    if os.geteuid() == 0 and not others_may_enter(os.path.dirname(path)):
        text = text.replace('# state_dir: "./state"          ', 'state_dir: "/var/lib/bulkhead"')
    with open(path, "x", encoding="utf-8") as f:
        f.write(text)
    print(f"wrote {path}; add your providers there")


def main():
    config = os.path.abspath("bulkhead.yaml")
    if not os.path.exists(config):
        write_config(config)
    print(STEPS.format(bulkhead=BULKHEAD), flush=True)
    os.execv(BULKHEAD, [BULKHEAD, "up", "-c", config])


if __name__ == "__main__":
    sys.exit(main())
