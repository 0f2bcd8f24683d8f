#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`make demo`: the whole gateway on this machine, with a stand-in for the provider, in a scratch folder that Ctrl-C removes.

Shows a streamed chat on its way through every daemon, where the provider's key can be found in memory and where not, and what the
audit log proves about it. With DEMO_ONCE set, or without a terminal, it ends after the tour.
"""
import collections
import json
import os
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import memscan  # noqa: E402  pylint: disable=wrong-import-position
from gateway import BIN, ROOT, Gateway, Provider, scratch, wait_for  # noqa: E402  pylint: disable=wrong-import-position

BOLD, DIM, END = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
QUESTION = "Why bulkheads? Please answer to anna.muster@example.org"
SETTINGS = {"authd": {"guard_email": "redact"}}
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MODEL = "test:slow:60"  # the stand-in sends a token every 60 ms


def title(text):
    print(f"\n{BOLD}{text}{END}", flush=True)


def show(command):
    print(f"{DIM}$ {command}{END}", flush=True)


def streamed_chat(gateway):
    body = json.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": QUESTION}]})
    title("A streamed chat: client -> router -> authd -> classifier -> egress -> TLS provider, and back")
    show(f"curl -N localhost:{gateway.port}/v1/chat/completions -H 'Authorization: Bearer {gateway.key[:15]}...' -d '{body}'")
    config = f'url = "http://{gateway.host}:{gateway.port}/v1/chat/completions"\nheader = "Authorization: Bearer {gateway.key}"\n'
    curl = subprocess.Popen(["curl", "-q", "-sSN", "--noproxy", "*", "--max-time", "60", "-K", "-", "-H", "Content-Type: application/json",
                             "-d", body], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    curl.stdin.write(config.encode())  # a key in argv would be there for every user to read
    curl.stdin.close()
    last = ""
    for line in curl.stdout:
        if line.startswith(b"data: {"):
            last = json.loads(line[6:])
            for choice in last["choices"]:
                print(choice["delta"].get("content", ""), end="", flush=True)
        elif line.startswith(b"data: [DONE]"):
            last = "[DONE]"
        elif line.strip():
            last = line.decode(errors="replace").strip()
    print()
    if curl.wait() != 0 or last != "[DONE]":
        raise SystemExit(f"demo: the stream did not end as it should: {last}")
    seen = gateway.provider.journal()[-1]
    print(f"\nthe provider was asked: {json.loads(seen['body'])['messages'][0]['content']}   (guard_email: redact)")
    print(f"with the vault's key:   {'yes' if seen['authorized'] else 'no'}; the client never had it")


def key_search(gateway):
    title("Where is the provider's key? A search of every readable byte of every process,")
    print("also of those that are only reserved; raw, base64 (three alignments), URL-encoded, JSON-escaped, hexadecimal:")
    processes = {**gateway.pids(), gateway.process.pid: "bulkhead up"}
    try:
        report = memscan.scan(processes, gateway.provider.key.encode())
    except PermissionError:  # the daemons are not dumpable
        how = "Run the container with `--cap-add SYS_PTRACE` and it is searched" if os.geteuid() == 0 else "`sudo make demo` searches it"
        print(f"  refused: not even the user whose daemons these are may read their memory. {how} all the same.")
        return
    outside = collections.defaultdict(list)
    for pid, where, form in report.found:
        outside[pid].append(f"{form} in {where}")
    inside = {pid for pid, _, _ in report.in_arena}
    for pid, name in sorted(processes.items(), key=lambda item: (item[1], item[0])):
        size = f"{report.scanned[pid] / (1 << 20):6.1f} MiB searched"
        if outside[pid]:
            verdict = "FOUND: " + "; ".join(outside[pid])
        elif pid in inside:
            verdict = "only in the secret arena (this kernel has no memfd_secret, so root can read it)"
        elif report.hidden[pid] and name in ("keyvault", "egress"):
            verdict = f"not found; {report.hidden[pid] >> 10} KiB of secret arena, which even root cannot read"
        else:
            verdict = "not found"
        print(f"  {name:12} {pid:8}  {size}  {verdict}")
    if report.found:
        raise SystemExit("demo: the key is outside the vault's arena")


def audit_proof(gateway):
    title("What the log proves")
    chat, = wait_for("the chat's record", lambda: gateway.audit(event="request.complete", model=MODEL))
    wait_for("its other witness", lambda: gateway.audit(event="egress.use", request_id=chat["request_id"]))
    *before, a, b, c, d = gateway.audit()
    print(f"  {len(before)} entries of what came before: daemons that started, what the operator did. Then a first call")
    print("  that tried the way, and the one above, each told by two daemons:")
    for event in (a, b, c, d):
        print("  " + "  ".join(str(event.get(k, "")) for k in ("event", "actor", "model", "provider", "status", "request_id")))
    show("bulkhead audit verify")
    done = gateway.verify()
    sys.stdout.write(done.stdout.decode() + done.stderr.decode())
    if done.returncode != 0:
        raise SystemExit("demo: the log could not be verified")


def point_a_client(gateway, stays):
    title("Point an OpenAI client at it")
    print(f"""  export OPENAI_BASE_URL=http://{gateway.host}:{gateway.port}/v1
  export OPENAI_API_KEY={gateway.key if stays else "bh_sk_..."}
  node:   await new OpenAI().chat.completions.create({{ model: 'gpt-x', messages: [...] }})
  python: OpenAI().chat.completions.create(model='gpt-x', messages=[...])
""")
    bulkhead = f"{os.path.relpath(BIN, os.getcwd())}/bulkhead"
    if stays:
        print(f"  look:   {bulkhead} status -c {gateway.config}\n          {bulkhead} audit tail -f -c {gateway.config}", flush=True)
    else:
        print("  This one stops now. With a terminal `make demo` goes on running, for as long as you like to look around;\n"
              "  `make run` does, with a provider of your own.", flush=True)


def tour():
    stays = sys.stdout.isatty() and sys.stdin.isatty() and not os.environ.get("DEMO_ONCE")
    title("Starting seven kinds of daemons and a stand-in for the provider (a TLS server with a certificate made just now)")
    with scratch() as folder, Provider(folder) as provider, Gateway(folder, provider, SETTINGS) as gateway:
        print(gateway.ready_line)
        show("bulkhead vault init && bulkhead vault add local < key.txt && bulkhead key create --tenant acme")
        gateway.prepare()
        streamed_chat(gateway)
        key_search(gateway)
        audit_proof(gateway)
        point_a_client(gateway, stays)
        if stays:
            title("It goes on running. Ctrl-C ends it and leaves nothing behind.")
            while gateway.process.poll() is None:
                signal.pause()
    title("Stopped: no process, no socket, no file is left.")


def end(*_):
    """Once: a second Ctrl-C would end the tidying up."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    os.chdir(ROOT)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # else Ctrl-C would not be heard, nor by the stand-in that it is over
    for number in ENDS:
        signal.signal(number, end)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # so that pause() ends when the gateway does
    try:
        tour()
    except KeyboardInterrupt:
        print(f"\n{BOLD}Stopped: no process, no socket, no file is left.{END}")
    except AssertionError as e:  # of gateway.py, which is the tests': what it says is enough
        sys.exit(f"demo: {e}")


if __name__ == "__main__":
    main()
