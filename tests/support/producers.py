# SPDX-License-Identifier: Apache-2.0
"""A gateway whose egress workers are audit_producer: real launcher, auditd, signer and edges, and events to order."""
import contextlib
import json
import os
import pathlib

from gateway import Gateway, program_for_all, scratch, wait_for


class Producers:
    def __init__(self, gateway, folder):
        self.gateway, self.folder, self.id = gateway, pathlib.Path(folder), 0

    def alive(self):
        """Waits until every producer hears orders."""
        def hear():
            pids = self.gateway.pids("egress")
            heard = {int(path.suffix[1:]) for path in self.folder.glob("alive.*")}
            return len(pids) == self.gateway.workers and heard.issuperset(pids)
        wait_for("the producers", hear, 20, 0.05)

    def order(self, events, rate=0, each=0, die=0):
        """Begins a run in every producer; what to call for the results."""
        self.id += 1
        fresh = self.folder / "order.new"
        fresh.write_text(f"{self.id} {events} {rate} {each} {die}\n", encoding="ascii")
        fresh.rename(self.folder / "order")
        return self.id

    def results(self, run, seconds=60):
        paths = [self.folder / f"result.{worker}.{run}" for worker in range(self.gateway.workers)]
        wait_for("all producers to be done", lambda: all(path.exists() for path in paths), seconds, 0.05)
        return [json.loads(path.read_text(encoding="ascii")) for path in paths]

    def deaths(self, run, seconds=60):
        """How many events each producer had made in the life that the order ended."""
        paths = [self.folder / f"died.{worker}.{run}" for worker in range(self.gateway.workers)]
        wait_for("all producers to be dead", lambda: all(path.exists() for path in paths), seconds, 0.05)
        return [int(path.read_text(encoding="ascii")) for path in paths]


@contextlib.contextmanager
def producers(workers=4, **settings):
    with scratch() as folder:
        program = program_for_all(folder, **{"keyvault-egress": "audit_producer"})
        os.chmod(os.path.join(folder, "bin"), 0o777)  # results are written beside the program
        nobody = {"name": "local", "base_url": "https://upstream.test/v1", "dialect": "openai", "auth": "bearer"}
        with Gateway(folder, workers=workers, program=program, providers=[nobody], **settings) as gateway:
            gateway.open_vault()
            yield Producers(gateway, os.path.join(folder, "bin"))
