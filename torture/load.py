"""Clients that send at once, in all ways that SDKs do, and repeat what was not answered."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import random
import threading
from collections import deque

from torture.attempts import Attempt, Memory, Sent
from torture.service import Service, pause

# The last index of a body; its insert ID is the attempt's own, so that a line tells of each
# attempt that was stored, also of one that held nothing new.
WITNESS = -1
# So begin the devices that turn out to be a user's.
TABLET = "tablet-"
TIMEOUT_SECONDS = 10
# Requests whose events may be sent once more: the newest ones.
REMEMBERED = 200
TRIES_MAX = 6
EVENTS_MAX = 12
# A body from which a file of several parts is made.
HEAVY_EVENTS = 1600
HEAVY_CHARACTERS = 950
HEAVY_PROPERTIES = 5


class Load:
    """Threads of clients, from `start` to `stop`."""

    def __init__(self, service: Service, api_keys: dict[int, str], seed: int, clients: int) -> None:
        self._service = service
        self._api_keys = api_keys
        self._stop = threading.Event()
        self._heavy = threading.Event()
        self.memory = Memory()
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._client, args=(n, seed), name=f"client-{n}", daemon=True)
            for n in range(clients)
        ]

    def start(self) -> None:
        """Let the clients begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the clients end what they are sending."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def ask_for_a_large_file(self) -> None:
        """Let one client send as much as fills a file of several parts."""
        self._heavy.set()

    def _client(self, number: int, seed: int) -> None:
        try:
            self._send_on(number, seed)
        except Exception as error:
            # A client that ends in silence sends nothing more that could be lost.
            self.failures.append(f"client {number} ended: {error!r}")

    def _send_on(self, number: int, seed: int) -> None:
        client = _Client(number, random.Random(f"{seed}-{number}"), self._service, self.memory)
        try:
            while not self._stop.is_set():
                project = client.chance.choice(list(self._api_keys))
                heavy = number == 0 and self._heavy.is_set()
                if heavy:
                    self._heavy.clear()
                events = HEAVY_EVENTS if heavy else 0
                client.send_something(project, self._api_keys[project], events)
                pause(client.chance.choice((0.0, 0.01, 0.05, 0.1)))
        finally:
            client.close()


class _Client:
    def __init__(
        self, number: int, chance: random.Random, service: Service, memory: Memory
    ) -> None:
        self.chance = chance
        self._number = number
        self._service = service
        self._memory = memory
        self._requests = 0
        self._attempts = 0
        self._past: deque[tuple[int, tuple[Sent, ...]]] = deque(maxlen=REMEMBERED)
        self._connection: http.client.HTTPConnection | None = None

    def send_something(self, project: int, api_key: str, heavy_events: int) -> None:
        """Send a new request until it is answered, or an old one once more."""
        chance = self.chance
        if self._past and chance.random() < 0.15:
            request, events = chance.choice(self._past)
            if not heavy_events:
                # To its own project all of it is known; to another one it is new.
                self._send(project, api_key, request, events, 0)
                return
        self._requests += 1
        request, events = self._requests, self._new_events(heavy_events)
        if not heavy_events:
            self._past.append((request, events))
        # Some clients give up at once: what they sent may be stored or not.
        tries = chance.choice((1, TRIES_MAX, TRIES_MAX))
        for _ in range(tries):
            if self._send(project, api_key, request, events, heavy_events) is not None:
                return
            pause(chance.uniform(0.02, 0.2))

    def _new_events(self, heavy_events: int) -> tuple[Sent, ...]:
        chance = self.chance
        events = []
        for index in range(heavy_events or chance.choice((1, 1, 2, 5, EVENTS_MAX))):
            kind = chance.random()
            keyed = heavy_events > 0 or kind > 0.05
            identify = not heavy_events and kind > 0.9
            events.append(Sent(self._number, self._requests, index, identify, keyed))
        if chance.random() < 0.1 and not heavy_events:
            # A duplicate within one body.
            events.append(chance.choice(events))
        if chance.random() < 0.1 and self._past:
            # Some of it was sent before, in another request.
            events += chance.choice(self._past)[1][:2]
        return tuple(events)

    def _send(
        self, project: int, api_key: str, request: int, events: tuple[Sent, ...], heavy: int
    ) -> int | None:
        self._attempts += 1
        number = self._attempts
        sent = (*events, Sent(self._number, request, WITNESS, identify=False, keyed=True))
        body = self._body(api_key, number, sent, heavy)
        path = "/batch" if heavy or self.chance.random() < 0.5 else "/2/httpapi"
        status, upload_millis = self._post(path, body, len(sent))
        if status is not None and status >= 500 and status != 503:
            # After a 500 the request may be stored, wholly or not at all.
            status = None
        self._memory.keep(
            Attempt(project, self._number, request, number, sent, status, upload_millis)
        )
        return status

    def _post(self, path: str, body: bytes, count: int) -> tuple[int | None, int | None]:
        headers = {"Content-Type": "application/json"}
        if self.chance.random() < 0.4:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 1)
        if self._connection is None or self.chance.random() < 0.3:
            # Another connection may meet the other collector.
            self.close()
            self._connection = http.client.HTTPConnection(
                *self._service.address, timeout=TIMEOUT_SECONDS
            )
        try:
            self._connection.request("POST", path, body, headers)
            answer = self._connection.getresponse()
            said = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return None, None
        if answer.status != 200:
            return answer.status, None
        if said["events_ingested"] != count:
            raise AssertionError(f"{count} events were sent, the answer is {said}")
        return 200, int(said["server_upload_time"])

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _body(self, api_key: str, number: int, sent: tuple[Sent, ...], heavy: int) -> bytes:
        events = [self._event(one, number, heavy) for one in sent]
        return json.dumps({"api_key": api_key, "events": events}).encode()

    def _event(self, sent: Sent, number: int, heavy: int) -> dict[str, object]:
        properties: dict[str, object] = {
            "client": sent.client,
            "request": sent.request,
            "index": sent.index,
            "attempt": number,
        }
        if heavy and sent.index >= 0:
            for name in range(HEAVY_PROPERTIES):
                filler = base64.b85encode(self.chance.randbytes(HEAVY_CHARACTERS * 4 // 5))
                properties[f"filler {name}"] = filler.decode()
        event: dict[str, object] = {
            "event_type": "$identify" if sent.identify else "torture",
            "event_properties": properties,
            "time": self._service.clock.now_micros() // 1000,
        }
        if sent.keyed:
            own = f"a{number}" if sent.index == WITNESS else str(sent.index)
            event["insert_id"] = f"{sent.client}-{sent.request}-{own}"
        user = f"user-{sent.client}-{sent.request % 5}"
        if sent.request % 3 == 0 and sent.index in (0, 1) and not sent.identify:
            # The second event tells whose device the first one came from.
            event["device_id"] = f"{TABLET}{sent.client}-{sent.request}"
            if sent.index == 1:
                event["user_id"] = user
        elif (sent.request + sent.index) % 3:
            event["user_id"] = user
        else:
            event["device_id"] = f"device-{sent.client}-{sent.request % 7}"
        if sent.identify:
            event["user_properties"] = {"$set": {"request": sent.request}}
        return event
