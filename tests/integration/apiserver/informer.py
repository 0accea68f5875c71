"""A strict informer for tests: it lists and watches, reconnects where chance tells it to, and checks every event it is sent."""
from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import aiohttp
import orjson

State = dict[str, tuple[str, str]]
"""Name → resource version and value."""
GONE = (aiohttp.ClientError, OSError, asyncio.TimeoutError)


class Broken(AssertionError):
    """An invariant of watches did not hold."""


class Informer:
    """Follows one collection on any of several servers. `log` has each event by its revision, `spans` what each connection covered."""

    def __init__(self, name: str, session: aiohttp.ClientSession, urls: list[str], path: str, rng: random.Random) -> None:
        self.name, self._session, self._urls, self._path, self._rng = name, session, urls, path, rng
        self.state: State = {}
        self.revision = 0
        self.log: dict[int, tuple[str, str, str]] = {}
        self.spans: list[tuple[int, int]] = []
        self.lists = self.watches = self.expired = 0

    async def run(self, last: str) -> None:
        """Until an object named `last` has been seen."""
        relist = True
        while last not in self.state:
            try:
                if relist:
                    await self._list()
                relist = await self._watch(last)
            except GONE:
                await asyncio.sleep(0.1)
            if self.revision and self._rng.random() < 0.1:
                relist = True

    async def _list(self) -> None:
        params = self._rng.choice(({}, {"resourceVersion": "0"}, {"limit": "7"}, {"resourceVersion": str(self.revision or "")}))
        found: State = {}
        url = self._rng.choice(self._urls)
        while True:
            async with self._session.get(url + self._path, params=params) as answer:
                body = await answer.json()
                if answer.status == 410 or (answer.status != 200 and answer.status >= 500):
                    await asyncio.sleep(0.05)
                    return await self._list()
                if answer.status != 200:
                    raise Broken(f"{self.name}: list: {body}")
            for item in body["items"]:
                found[item["metadata"]["name"]] = (item["metadata"]["resourceVersion"], item.get("data", {}).get("value", ""))
            if not body["metadata"].get("continue"):
                break
            params = {"limit": "7", "continue": body["metadata"]["continue"]}
        revision = int(body["metadata"]["resourceVersion"])
        if revision < self.revision and params.get("resourceVersion") != "0":
            raise Broken(f"{self.name}: a list went back from {self.revision} to {revision}")
        self.state, self.revision = found, revision
        self.lists += 1

    async def _watch(self, last: str) -> bool:
        """One connection, from the last revision seen; answers whether a new list is needed."""
        patience = self._rng.choice((3, 10, 40, 1000))
        end = time.monotonic() + self._rng.uniform(0.3, 6)
        params = {"watch": "1", "resourceVersion": str(self.revision), "timeoutSeconds": "8"}
        if self._rng.random() < 0.5:
            params["allowWatchBookmarks"] = "true"
        start = self.revision
        self.watches += 1
        try:
            async with self._session.get(self._rng.choice(self._urls) + self._path, params=params) as answer:
                if answer.status != 200:
                    self.expired += answer.status == 410
                    if answer.status != 410 and answer.status < 500:
                        raise Broken(f"{self.name}: watch: {answer.status} {await answer.text()}")
                    await asyncio.sleep(0.05)
                    return answer.status == 410
                while patience and time.monotonic() < end:
                    try:
                        line = await asyncio.wait_for(answer.content.readline(), max(0.01, end - time.monotonic()))
                    except TimeoutError:
                        return False
                    if not line.endswith(b"\n"):
                        return False  # cut off
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        self.expired += 1
                        if event["object"].get("code") not in (410, 500, 503, 504):
                            raise Broken(f"{self.name}: {event}")
                        return True
                    self._take(event["type"], event["object"])
                    patience -= 1
                    if last in self.state:
                        return False
        finally:
            if self.revision > start:
                self.spans.append((start, self.revision))
        return False

    def _take(self, kind: str, obj: dict[str, Any]) -> None:
        metadata = obj["metadata"]
        revision = int(metadata["resourceVersion"])
        if kind == "BOOKMARK":
            if revision < self.revision:
                raise Broken(f"{self.name}: a bookmark went back from {self.revision} to {revision}")
            self.revision = revision
            return
        if revision <= self.revision:
            raise Broken(f"{self.name}: {kind} {metadata['name']} at {revision} after {self.revision}")
        name, value = metadata["name"], obj.get("data", {}).get("value", "")
        if (kind == "ADDED") == (name in self.state):
            raise Broken(f"{self.name}: {kind} {name} at {revision}, known: {self.state.get(name)}")
        self.revision = revision
        self.log[revision] = (kind, name, value)
        if kind == "DELETED":
            del self.state[name]
        else:
            self.state[name] = (metadata["resourceVersion"], value)


def check_together(informers: list[Informer]) -> int:
    """What one informer was told at a revision the others were told too, unless no connection of theirs covered it. Answers how
    many events there were."""
    every: dict[int, tuple[str, str, str]] = {}
    for informer in informers:
        for revision, event in informer.log.items():
            if every.setdefault(revision, event) != event:
                raise Broken(f"{informer.name} was told {event} at {revision}, another {every[revision]}")
    ordered = sorted(every)
    for informer in informers:
        for start, end in informer.spans:
            missing = [revision for revision in ordered if start < revision <= end and revision not in informer.log]
            if missing:
                raise Broken(f"{informer.name} missed {[(at, every[at]) for at in missing[:5]]} between {start} and {end}")
    return len(every)
