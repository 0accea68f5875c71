"""What a Deployment of one pod costs the controller manager: `python -m tests.bench.steps_controllers [--count 50] [--top 30]`.

Prints, for each Deployment: requests by verb and resource, events of its informers, reconciliations, and steps (bytecodes of Python,
the same however busy the machine is; what C does is not in them). Nodes are hollow. `--rate` spreads the creations: one after
the other shows what each costs by itself, all at once what is put together.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

from kubepy.api.resource import DEPLOYMENTS
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from kubepy.controllers.kit.batch import at_once
from tests.apiserver import ApiServer
from tests.bench.controllers import deployment, settled, until
from tests.integration.controllers.hollow import HollowNodes
from tests.integration.controllers.manager import Manager

Rows = dict[str, list[int]]


class CountingManager(Manager):
    module = "tests.bench.steps_manager"


async def run(options: argparse.Namespace, server: ApiServer, manager: Manager) -> None:
    client = HttpClient(load(server.kubeconfig))
    nodes = HollowNodes(client, 5, workers=16)
    await nodes.start()
    try:
        await until("the manager works", lambda: settled(client, manager), 120, 2)
        await create(client, "warm", 5, 0, options.each)
        await asyncio.sleep(2)
        assert manager.process is not None
        manager.process.send_signal(signal.SIGUSR1)
        cpu = manager.cpu()
        await create(client, "it", options.count, options.rate, options.each)
        await asyncio.sleep(3)
        print(f"{(manager.cpu() - cpu) * 1000 / options.count:.2f} ms of CPU for each")
        manager.process.send_signal(signal.SIGUSR1)
    finally:
        await nodes.stop()
        await client.close()


def counted(target: Path) -> Rows:
    for _ in range(300):
        if target.exists():
            break
        time.sleep(0.2)
    found: Rows = json.loads(target.read_text())
    return found


async def create(client: HttpClient, prefix: str, count: int, rate: float, each: int) -> None:
    if rate:
        for number in range(count):
            await client.create(DEPLOYMENTS, deployment(f"{prefix}-{number}", each))
            await asyncio.sleep(1 / rate)
    else:
        async def one(number: int) -> None:
            await client.create(DEPLOYMENTS, deployment(f"{prefix}-{number}", each))
        assert not await at_once(range(count), one)

    async def ready() -> bool:
        found = await client.list(DEPLOYMENTS, "default")
        mine = [item for item in found["items"] if item["metadata"]["name"].startswith(f"{prefix}-")]
        return all((item.get("status") or {}).get("availableReplicas") == each for item in mine)

    await until("all available", ready, 300, 0.5)


def show(rows: Rows, count: int, top: int) -> None:
    steps = {name: row for name, row in rows.items() if name[0] != "="}
    for name, row in sorted((name[1:], row) for name, row in rows.items() if name[0] == "="):
        if row[0] > count // 10:
            print(f"{row[0] / count:8.2f} {name}")
    print(f"{sum(row[0] for row in steps.values()) / count:8.0f} steps for each")
    files: Counter[str] = Counter()
    for name, (number, _) in steps.items():
        files[name.rpartition(" ")[0]] += number
    for name, number in files.most_common(top):
        print(f"    {number / count:8.0f} {name}")
    for name, (number, calls) in sorted(steps.items(), key=lambda item: -item[1][0])[:top]:
        print(f"    {number / count:8.0f} in {calls / count:5.1f} calls {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--each", type=int, default=1, help="replicas of each")
    parser.add_argument("--rate", type=float, default=0, help="so many a second (default: all at once)")
    parser.add_argument("--top", type=int, default=30)
    parser.add_argument("--fast", action="store_true", help="count requests, events and reconciliations only")
    parser.add_argument("--log", action="store_true", help="show the manager's log")
    options = parser.parse_args()
    if options.fast:
        os.environ["KUBEPY_STEPS_OFF"] = "1"
    with ApiServer("--disable-admission-plugins=ServiceAccount") as server:
        target = server.directory / "steps.json"
        os.environ["KUBEPY_STEPS"] = str(target)
        manager = CountingManager(server)
        manager.start()
        try:
            asyncio.run(run(options, server, manager))
            rows = counted(target)
            print(f"{len(manager.log().splitlines())} lines of log")
            if options.log:
                print(manager.log())
        finally:
            manager.kill()
    show(rows, options.count, options.top)


if __name__ == "__main__":
    main()
