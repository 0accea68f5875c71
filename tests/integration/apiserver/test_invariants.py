"""Random writers and watchers on two API servers and one etcd, of which each is killed now and then: what must hold all the same.

Each watcher's reconstruction equals the list; events are ordered, unique and complete; no acknowledged write is lost, no refused one
happened; no two Services share a cluster IP; a quota is not exceeded.

`KUBEPY_TEST_SEED` repeats a run, `KUBEPY_TEST_SECONDS` makes it longer.
"""
from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from kubepy.apiserver.storage.etcd import EtcdKV
from tests.apiserver import ApiServer
from tests.etcd import Etcd
from tests.integration.apiserver.informer import GONE, Informer, check_together

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed")]
SECONDS = float(os.environ.get("KUBEPY_TEST_SECONDS", "18"))
SEED = int(os.environ.get("KUBEPY_TEST_SEED", "0")) or int(time.time())
CONFIGMAPS, SERVICES = "/api/v1/namespaces/chaos/configmaps", "/api/v1/namespaces/chaos/services"
LIMITED = "/api/v1/namespaces/limited/configmaps"
QUOTA = 12
LAST = "the-end"


class Client:
    """Requests to any of the servers. An answer of None: what became of the request is not known."""

    def __init__(self, session: aiohttp.ClientSession, urls: list[str], rng: random.Random) -> None:
        self._session, self.urls, self._rng = session, urls, rng

    async def call(self, method: str, path: str, body: Any = None, *, url: str = "", kind: str = "application/json",
                   **params: str) -> tuple[int, Any] | None:
        try:
            async with self._session.request(method, (url or self._rng.choice(self.urls)) + path, json=body, params=params,
                                             headers={"Content-Type": kind} if body is not None else None) as answer:
                if answer.status >= 500:
                    return None
                return answer.status, await answer.json()
        except GONE:
            return None

    async def sure(self, method: str, path: str, body: Any = None, **more: str) -> Any:
        """Repeats a request until it is answered with success."""
        end = time.monotonic() + 30
        while True:
            found = await self.call(method, path, body, **more)
            if found is not None and (found[0] < 300 or (method == "POST" and found[0] == 409)):
                return found[1]
            assert time.monotonic() < end, f"{method} {path}: {found}"
            await asyncio.sleep(0.1)


class Writer:
    """Creates, changes and removes objects that only it writes, each time naming the version it replaces.

    `possible` are the values an object may have now: one, or two after a request of which the outcome is not known. Such an object
    is left alone from then on, since the request may still be under way."""

    def __init__(self, number: int, client: Client, rng: random.Random) -> None:
        self.number, self._client, self._rng = number, client, rng
        self.possible: dict[str, set[str | None]] = {}
        self._version: dict[str, str] = {}
        self._count = self.unknown = self.acknowledged = 0

    async def run(self, end: float) -> None:
        while time.monotonic() < end:
            usable = [name for name, values in self.possible.items() if len(values) == 1 and None not in values]
            if len(usable) < 4 or self._rng.random() < 0.2:
                await self._create()
            elif self._rng.random() < 0.2:
                await self._delete(self._rng.choice(usable))
            else:
                await self._change(self._rng.choice(usable))
            await asyncio.sleep(self._rng.uniform(0, 0.06))

    async def _create(self) -> None:
        self._count += 1
        name, value = f"w{self.number}-{self._count}", str(self._count)
        self.possible[name] = {None}
        found = await self._client.call("POST", CONFIGMAPS, configmap(name, value))
        self._note(name, value, found, 201)

    async def _change(self, name: str) -> None:
        self._count += 1
        value, version = str(self._count), self._version[name]
        path = f"{CONFIGMAPS}/{name}"
        if self._rng.random() < 0.5:
            found = await self._client.call("PUT", path, configmap(name, value, version))
        else:
            patch = {"metadata": {"resourceVersion": version}, "data": {"value": value}}
            found = await self._client.call("PATCH", path, patch, kind="application/merge-patch+json")
        self._note(name, value, found, 200)

    async def _delete(self, name: str) -> None:
        options = {"preconditions": {"resourceVersion": self._version[name]}}
        self._note(name, None, await self._client.call("DELETE", f"{CONFIGMAPS}/{name}", options), 200)

    def _note(self, name: str, value: str | None, found: tuple[int, Any] | None, success: int) -> None:
        if found is None:
            self.possible[name].add(value)
            self.unknown += 1
            return
        assert found[0] == success, f"nobody else writes {name}: {found}"
        self.acknowledged += 1
        self.possible[name] = {value}
        if value is not None:
            assert found[1]["data"]["value"] == value
            self._version[name] = found[1]["metadata"]["resourceVersion"]


class Counter:
    """Everybody adds to one object by compare-and-swap."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.acknowledged = self.unknown = 0

    async def run(self, end: float) -> None:
        while time.monotonic() < end:
            found = await self._client.call("GET", f"{CONFIGMAPS}/counter")
            if found is not None and found[0] == 200:
                obj = found[1]
                obj["data"]["value"] = str(int(obj["data"]["value"]) + 1)
                written = await self._client.call("PUT", f"{CONFIGMAPS}/counter", obj)
                self.acknowledged += written is not None and written[0] == 200
                self.unknown += written is None
            await asyncio.sleep(0.03)


async def claim_addresses(client: Client, number: int, rng: random.Random, end: float) -> None:
    """Services come and go; each time they are listed no two have one address."""
    count = 0
    while time.monotonic() < end:
        count += 1
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{number}-{count}"},
                "spec": {"type": rng.choice(("ClusterIP", "NodePort")), "ports": [{"port": 80}]}}
        await client.call("POST", SERVICES, body)
        if count > 3 and rng.random() < 0.6:
            await client.call("DELETE", f"{SERVICES}/s{number}-{rng.randrange(1, count)}")
        if rng.random() < 0.2 and (found := await client.call("GET", SERVICES)) is not None:
            check_services(found[1]["items"])
        await asyncio.sleep(rng.uniform(0, 0.15))


def check_services(items: list[dict[str, Any]]) -> None:
    addresses = [item["spec"]["clusterIP"] for item in items]
    ports = [port["nodePort"] for item in items for port in item["spec"]["ports"] if port.get("nodePort")]
    assert len(set(addresses)) == len(addresses), sorted(addresses)
    assert len(set(ports)) == len(ports), sorted(ports)


async def press_quota(client: Client, number: int, end: float) -> None:
    """More is asked for than there may be."""
    count = 0
    while time.monotonic() < end:
        count += 1
        await client.call("POST", LIMITED, configmap(f"q{number}-{count}", ""))
        await asyncio.sleep(0.2)
        if (found := await client.call("GET", LIMITED)) is not None:
            assert len(found[1]["items"]) <= QUOTA


async def disturb(etcd: Etcd, victim: ApiServer, rng: random.Random, end: float) -> None:
    """Compactions all the time, and in turn etcd and one of the servers killed and started again."""
    async def compact() -> None:
        kv = EtcdKV([etcd.url])
        try:
            await kv.compact(max(1, await kv.revision() - rng.choice((0, 5, 50))))
        finally:
            await kv.close()

    turn = rng.randrange(2)
    while time.monotonic() < end:
        await asyncio.sleep(rng.uniform(0.5, 2))
        await compact()
        await asyncio.sleep(rng.uniform(0.2, 1))
        turn += 1
        if turn % 2:
            await asyncio.to_thread(etcd.restart)
        else:
            assert victim.process is not None
            victim.process.kill()
            victim.process.wait()
            if rng.random() < 0.5:
                await compact()
            await asyncio.to_thread(victim.launch)


def configmap(name: str, value: str, version: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"resourceVersion": version} if version else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Etcd, ApiServer, ApiServer]]:
    with Etcd() as etcd, ApiServer("--disable-admission-plugins=ServiceAccount", etcd=etcd) as one, \
            ApiServer("--disable-admission-plugins=ServiceAccount", etcd=etcd) as other:
        yield etcd, one, other


async def test_nothing_is_lost_whatever_is_killed(pair: tuple[Etcd, ApiServer, ApiServer]) -> None:
    etcd, one, other = pair
    print(f"KUBEPY_TEST_SEED={SEED}")
    rng = random.Random(SEED)
    urls = [one.url, other.url]
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, limit=0), timeout=aiohttp.ClientTimeout(sock_read=12),
                                    headers={"Authorization": f"Bearer {one.token}"})
    async with session:
        client = Client(session, urls, random.Random(rng.random()))
        for name in ("chaos", "limited"):
            await client.sure("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        await client.sure("POST", CONFIGMAPS, configmap("counter", "0"))
        await limit(client)
        informers = [Informer(f"informer {number}", session, urls, CONFIGMAPS, random.Random(rng.random())) for number in range(5)]
        writers = [Writer(number, client, random.Random(rng.random())) for number in range(4)]
        counter = Counter(client)
        end = time.monotonic() + SECONDS
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(asyncio.wait_for(informer.run(LAST), SECONDS + 60))
            async with asyncio.TaskGroup() as work:
                for writer in writers:
                    work.create_task(writer.run(end))
                work.create_task(counter.run(end))
                work.create_task(counter.run(end))
                for number in range(2):
                    work.create_task(claim_addresses(client, number, random.Random(rng.random()), end))
                    work.create_task(press_quota(client, number, end))
                work.create_task(disturb(etcd, other, rng, end - 3))
            await client.sure("POST", CONFIGMAPS, configmap(LAST, ""))
        await check(client, informers, writers, counter)


async def limit(client: Client) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"configmaps": str(QUOTA)}}}
    path = "/api/v1/namespaces/limited/resourcequotas"
    await client.sure("POST", path, quota)
    status = {"status": {"hard": {"configmaps": str(QUOTA)}, "used": {"configmaps": "0"}}}
    await client.sure("PATCH", f"{path}/few/status", status, kind="application/merge-patch+json")


async def check(client: Client, informers: list[Informer], writers: list[Writer], counter: Counter) -> None:
    final = {}
    for url in client.urls:
        items = (await client.sure("GET", CONFIGMAPS, url=url))["items"]
        state = {item["metadata"]["name"]: (item["metadata"]["resourceVersion"], item["data"]["value"]) for item in items}
        assert not final or state == final, "the servers disagree"
        final = state
    for informer in informers:
        assert informer.state == final, f"{informer.name} has another state than the list"
    events = check_together(informers)
    for writer in writers:
        for name, values in writer.possible.items():
            found = final.get(name)
            assert (found[1] if found else None) in values, f"{name} is {found}, but should be {values}"
    assert counter.acknowledged <= int(final["counter"][1]) <= counter.acknowledged + counter.unknown
    check_services((await client.sure("GET", SERVICES))["items"])
    assert len((await client.sure("GET", LIMITED))["items"]) <= QUOTA
    watches, lists = sum(one.watches for one in informers), sum(one.lists for one in informers)
    acknowledged, unknown = sum(one.acknowledged for one in writers), sum(one.unknown for one in writers)
    print(f"{events} events, {acknowledged} acknowledged writes, {unknown} of unknown outcome, counter {counter.acknowledged}, "
          f"{watches} watches, {lists} lists, {sum(one.expired for one in informers)} expired")
    assert events > 50
    assert acknowledged > 50
