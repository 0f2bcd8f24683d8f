# SPDX-License-Identifier: Apache-2.0
"""A steady load of chats from a few threads, which notes how each one ended."""
import collections
import http.client
import json
import threading
import time


class Crowd:
    """with ... as crowd: each thread is in run(its number) until `stopping`; `outcomes` counts, `wrong` lists what no answer
    may be."""

    def __init__(self, threads):
        self.outcomes, self.wrong = collections.Counter(), []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(threads)]

    def run(self, number):
        raise NotImplementedError

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


class Load(Crowd):
    def __init__(self, gateway, threads=4, model="test:slow:5:20"):
        super().__init__(threads)
        self.gateway, self.model, self.done_ids = gateway, model, []

    def run(self, number):
        while not self.stopping.is_set():
            began = time.monotonic()
            outcome = self.streamed() if number % 2 else self.whole()
            self.outcomes[outcome] += 1
            if time.monotonic() - began > 15:
                self.wrong.append(f"{outcome} after {time.monotonic() - began:.0f} s")
            if outcome != "200":
                self.stopping.wait(0.02)

    def without_a_word(self):
        """Clients whose connection ended without an answer, or whose stream ended without saying why."""
        said = ("200", "503 ", "cut: error event")
        return {outcome: n for outcome, n in self.outcomes.items() if not outcome.startswith(said)}

    def refused(self, status, headers, body):
        """Any refusal must be a documented one; a temporary one says when to come back."""
        try:
            code = json.loads(body)["error"]["code"]
        except (ValueError, KeyError):
            self.wrong.append(f"{status} {body[:200]}")
            return "wrong"
        if status != 503 or "retry-after" not in headers:
            self.wrong.append(f"{status} {code} {headers.get('retry-after')}")
        return f"{status} {code}"

    def whole(self):
        try:
            reply = self.gateway.chat("gpt-x")
        except (ConnectionError, http.client.HTTPException) as e:
            return type(e).__name__
        except OSError as e:
            self.wrong.append(f"hung: {e}")
            return "hung"
        if reply.status != 200:
            return self.refused(reply.status, reply.headers, reply.body)
        if not reply.json()["choices"][0]["message"]["content"].endswith("of its own."):
            self.wrong.append(f"a wrong 200: {reply.body[:200]}")
        self.done_ids.append(reply.headers["x-request-id"])
        return "200"

    def streamed(self):
        try:
            stream = self.gateway.stream(self.model)
        except (ConnectionError, http.client.HTTPException) as e:
            return type(e).__name__
        except OSError as e:
            self.wrong.append(f"hung: {e}")
            return "hung"
        events = []
        try:
            if stream.status != 200:
                return self.refused(stream.status, stream.headers, stream.response.read())
            events.extend(stream.events())
        except http.client.IncompleteRead as e:
            return "cut: error event" if events and "error" in json.loads(events[-1]) else "cut: " + type(e).__name__
        except (ConnectionError, http.client.HTTPException, ValueError) as e:
            return "cut: " + type(e).__name__
        except OSError as e:
            self.wrong.append(f"hung: {e}")
            return "hung"
        finally:
            stream.close()
        if events and events[-1] == "[DONE]":
            if len(events) != 23:
                self.wrong.append(f"[DONE] after {len(events)} events")
            self.done_ids.append(stream.headers["x-request-id"])
            return "200"
        if not events or "error" not in json.loads(events[-1]):
            self.wrong.append(f"ended in order without [DONE] or error: {events[-1:]}")
        return "cut: error event"
