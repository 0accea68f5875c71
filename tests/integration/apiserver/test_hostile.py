"""Hostile input against the real server: no answer that Kubernetes would not give, no traceback, bounded time and memory, and the server
keeps answering others all the while. `KUBEPY_TEST_SEED` repeats a run, `KUBEPY_TEST_SECONDS` makes it longer."""

from __future__ import annotations

import asyncio
import io
import os
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.table import KINDS
from tests.apiserver import ApiServer
from tests.etcd import Etcd
from tests.integration.apiserver.bombs import bombs
from tests.integration.apiserver.hostile import Maker, dump
from tests.integration.apiserver.sane import SANE

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed")]
SECONDS = float(os.environ.get("KUBEPY_TEST_SECONDS", "12"))
SEED = int(os.environ.get("KUBEPY_TEST_SEED", "0")) or int(time.time())
OWN_FAULT = re.compile(r"Traceback|while serving the request|\.py\b|line \d+, in |object at 0x")
LOGGED = re.compile(r"Request failed unexpectedly|Task died")
SLOWEST = 5.0
"""Seconds of CPU that the server may spend while a request is answered, however busy the machine is with other things."""
PATIENCE = 60.0
"""Seconds that others may have to wait on a busy machine, in which the server may spend no more CPU than SLOWEST; on a quiet one 2."""
TYPES = (
    "application/json",
    "application/json",
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
    "text/plain",
    "*/*",
    "application/json;as=x",
    ";;q=,",
)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer("--disable-admission-plugins=ServiceAccount", "-v=4") as running:
        yield running


class Attacker:
    def __init__(self, server: ApiServer, session: aiohttp.ClientSession, rng: random.Random) -> None:
        self.server, self._session, self._rng = server, session, rng
        self.make = Maker(rng)
        self.answers: dict[int, int] = {}
        self.slowest = (0.0, "")

    async def send(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
        """One request; fails on an answer that shows our own fault."""
        began, spent = time.monotonic(), cpu(self.server)
        what = f"{method} {path[:300]} {(body or b'')[:1500]!r}"
        headers = {"Content-Type": kind, "Accept": self._rng.choice(TYPES)}
        data = body and io.BytesIO(body)
        async with self._session.request(method, URL(self.server.url + path, encoded=True), data=data, headers=headers) as answer:
            text = await answer.read()
        seconds = time.monotonic() - began
        if seconds > self.slowest[0]:
            self.slowest = seconds, what
        spent = cpu(self.server) - spent
        assert spent < SLOWEST, f"{spent:.1f} s CPU in {seconds:.1f} s: {what}"
        self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
        if answer.status >= 500:
            shown = text[:2000].decode("utf-8", "replace")
            assert not OWN_FAULT.search(shown), f"{what}\n→ {answer.status} {shown}\n{unexpected(self.server)}"
        return answer.status, text

    async def object(self, kind: Kind, number: int) -> None:
        """One object's life: created, changed, patched, looked at, deleted; each as wrongly as chance has it."""
        make, rng = self.make, self._rng
        resource = kind.resource
        name = f"o{number}" if rng.random() < 0.9 else rng.choice(("a" * 254, "UPPER", "x%00y", "..", "a b", "ü"))
        base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        base += f"/namespaces/{'fuzz' if rng.random() < 0.95 else 'none'}" if resource.namespaced else ""
        collection = f"{base}/{resource.plural}"
        item = f"{collection}/{name if name.isascii() and ' ' not in name else 'x'}"
        body = make.body(kind, name, "fuzz")
        data = dump(body)
        if rng.random() < 0.2:
            await self.send("POST", collection + make.query(), make.bytes(data))
        if (sane := SANE.get(resource.plural)) is not None:  # so that there is something to change
            await self.send("POST", collection, dump({**body, **sane}))
        await self.send("POST", collection, data)
        await self.send("POST", collection, dump({**body, "spec": make.mutate(body.get("spec") or {})}))
        await self.send("GET", item + make.query())
        for _ in range(5):
            patch_type, patch = make.patch(body)
            sub = rng.choice(("", "", "", "/status", "/scale", "/approval", "/resize", "/ephemeralcontainers", "/nothing"))
            await self.send("PATCH", item + sub + make.query(patch_type.startswith("application/apply")), patch, patch_type)
        await self.send("PUT", item + rng.choice(("", "", "/status", "/scale", "/finalize")) + make.query(), dump(make.mutate(body)))
        await self.send("GET", collection + make.query())
        options = {
            "gracePeriodSeconds": rng.choice((0, 1, -1, 2**63, "x")),
            "propagationPolicy": rng.choice(("Orphan", "x", 3)),
            "preconditions": rng.choice(({}, {"uid": "x"}, [], {"resourceVersion": 3})),
        }
        await self.send("DELETE", item + make.query(), rng.choice((None, None, dump(options), b"x")))


def unexpected(server: ApiServer) -> str:
    """What the server wrote about faults of its own."""
    text = (Path(server.directory) / "log").read_text(errors="replace")
    found = LOGGED.search(text)
    return text[found.start() : found.start() + 9000] if found else ""


def cpu(server: ApiServer) -> float:
    """Seconds of CPU the server has spent."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(server: ApiServer) -> int:
    """Megabytes of the server."""
    assert server.process is not None
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) // 1024  # type: ignore[index]


@asynccontextmanager
async def bystander(server: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with plain requests that must be answered all the while; the session is for the attackers."""
    slow: list[tuple[float, float]] = []  # seconds of waiting, and of the server's CPU meanwhile
    stop = asyncio.Event()

    async def ask(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            began, spent = time.monotonic(), cpu(server)
            async with session.get(f"{server.url}/api/v1/namespaces/default") as answer:
                assert answer.status == 200, await answer.text()
            slow.append((time.monotonic() - began, cpu(server) - spent))
            await asyncio.sleep(0.05)

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=False, limit=0),
        timeout=aiohttp.ClientTimeout(total=90),
        headers={"Authorization": f"Bearer {server.token}"},
    ) as session:
        before = memory(server)
        asking = asyncio.create_task(ask(session))
        yield session
        stop.set()
        await asking
        after = memory(server)
    print(f"memory {before} → {after} MB, {len(slow)} other requests, the slowest {max(slow)[0]:.2f} s")
    assert not unexpected(server), unexpected(server)
    assert max(seconds for seconds, _ in slow) < PATIENCE
    assert max(spent for _, spent in slow) < SLOWEST
    assert after - before < 250


async def test_random_objects_patches_and_queries(server: ApiServer) -> None:
    print(f"KUBEPY_TEST_SEED={SEED}")
    rng = random.Random(SEED)
    kinds = [kind for kind in KINDS if kind.resource.plural not in ("bindings", "namespaces", "componentstatuses")]
    async with bystander(server) as session:
        attackers = [Attacker(server, session, random.Random(rng.random())) for _ in range(4)]
        await attackers[0].send("POST", "/api/v1/namespaces", dump({"metadata": {"name": "fuzz"}}))
        end = time.monotonic() + SECONDS

        async def attack(attacker: Attacker, first: int) -> None:
            number = first
            while time.monotonic() < end:
                number += len(attackers)
                await attacker.object(kinds[number % len(kinds)], number)

        await asyncio.gather(*(attack(attacker, number) for number, attacker in enumerate(attackers)))
        slowest = max(attacker.slowest for attacker in attackers)
        total: dict[int, int] = {}
        for attacker in attackers:
            for code, count in attacker.answers.items():
                total[code] = total.get(code, 0) + count
        print(f"answers {dict(sorted(total.items()))}, the slowest {slowest[0]:.2f} s {slowest[1][:200]}")


async def test_small_bodies_that_mean_much(server: ApiServer) -> None:
    async with bystander(server) as session:
        attacker = Attacker(server, session, random.Random(SEED))
        path = "/api/v1/namespaces/default/configmaps"
        await attacker.send("POST", path, dump({"metadata": {"name": "bomb"}}))
        for name, (kind, body) in bombs().items():
            requests = [("POST", path, kind)]
            if kind in ("application/json", "application/yaml"):
                requests += [
                    ("PUT", path + "/bomb", kind),
                    ("PATCH", path + "/bomb", "application/merge-patch+json"),
                    ("PATCH", path + "/bomb", "application/strategic-merge-patch+json"),
                    ("PATCH", path + "/bomb", "application/apply-patch+yaml"),
                    ("DELETE", path + "/none", kind),
                ]
            if name.startswith("yaml of"):  # the longest to read: by one of each way in
                requests = [("POST", path, kind), ("PATCH", path + "/bomb", "application/apply-patch+yaml")]
            elif "patch" in kind:
                requests = [("PATCH", path + "/bomb", kind)]
            for method, at, sent_as in requests:
                began = time.monotonic()
                code, _ = await attacker.send(method, at + ("?fieldManager=x" if method == "PATCH" else ""), body, sent_as)
                print(f"{name}: {method} {sent_as} {code} in {time.monotonic() - began:.2f} s")


async def test_odd_connections(server: ApiServer) -> None:
    """Slow, half-closed and silent clients, and requests that are not quite HTTP."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    head = f"Host: x\r\nAuthorization: Bearer {server.token}\r\n".encode()
    path = b"/api/v1/namespaces/default/configmaps"
    odd = [
        b"",
        b"\x00" * 100,
        b"GET",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n" + head + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000,
        b"GET /%zz HTTP/1.1\r\n" + head + b"\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n" + head + b"\r\n",
        b"GET //api//v1/ HTTP/1.1\r\n" + head + b"\r\n",
        b"POST " + path + b" HTTP/1.1\r\n" + head + b"Content-Length: 100\r\n\r\n{",
        b"POST " + path + b" HTTP/1.1\r\n" + head + b"Content-Length: -1\r\n\r\n",
        b"POST " + path + b" HTTP/1.1\r\n" + head + b"Content-Length: 99999999999999999999\r\n\r\n",
        b"POST " + path + b" HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"POST " + path + b" HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"GET " + path + b"?watch=1 HTTP/1.1\r\n" + head + b"\r\n",
        (b"GET " + path + b" HTTP/1.1\r\n" + head + b"\r\n") * 200,
        b"GET " + path + b" HTTP/1.1\r\n" + head + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /api HTTP/9.9\r\n\r\n",
        b"NONSENSE /api HTTP/1.1\r\n" + head + b"\r\n",
    ]

    async def one(data: bytes, ending: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        try:
            if ending == "slow":
                for at in range(0, min(len(data), 40)):
                    writer.write(data[at : at + 1])
                    await asyncio.sleep(0.02)
            else:
                writer.write(data)
            await asyncio.wait_for(writer.drain(), 2)
            with_answer = b""
            with suppress(TimeoutError):
                with_answer = await asyncio.wait_for(reader.read(1 << 16), 0.5)
            assert not OWN_FAULT.search(with_answer.decode("latin-1")), with_answer
        except OSError:
            pass
        finally:
            if ending == "abort":
                writer.transport.abort()
            writer.close()

    async with bystander(server):
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(100)]
        for ending in ("close", "slow", "abort"):
            await asyncio.gather(*(one(data, ending) for data in odd))
        for _, writer in silent:
            writer.close()
