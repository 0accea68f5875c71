"""A whole scheduler on the in-memory API and a virtual clock."""
from __future__ import annotations

import importlib.util
import random
from pathlib import Path

from kubepy.api.resource import NODES, PODS
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.scheduler import config
from kubepy.scheduler.scheduler import Scheduler

spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cluster)


class Recorder:
    def __init__(self):
        self.events = []

    def event(self, about, type, reason, message, *, field_path="", action="", related=None, component=""):
        self.events.append((about["metadata"]["name"], type, reason, message))

    def last(self, name):
        return [event[2:] for event in self.events if event[0] == name][-1]


class World:
    def __init__(self, configuration=None):
        self.client, self.clock, self.recorder = MemoryClient(), VirtualClock(), Recorder()
        self.scheduler = Scheduler(self.client, configuration or config.default(), self.recorder, self.clock, random.Random(1))
        self.tasks = Tasks("test")

    async def __aenter__(self):
        factory = InformerFactory(self.client, clock=self.clock)
        self.scheduler.register(factory)
        factory.start(self.tasks)
        self.tasks.start(self.scheduler.run(factory), "scheduler")
        await settle(50)
        return self

    async def __aexit__(self, *_):
        await self.tasks.stop()

    async def node(self, *args, **kwargs):
        await self.client.create(NODES, {"apiVersion": "v1", "kind": "Node", **cluster.node(*args, **kwargs)})
        await settle(50)

    async def pod(self, name, **kwargs):
        made = cluster.pod(name, **kwargs)
        del made["metadata"]["uid"]
        await self.client.create(PODS, {"apiVersion": "v1", "kind": "Pod", **made})
        await settle(80)

    async def where(self, name):
        return (await self.client.get(PODS, name, "default"))["spec"].get("nodeName")

    async def condition(self, name):
        found = (await self.client.get(PODS, name, "default")).get("status") or {}
        return next((c["reason"], c["message"]) for c in found.get("conditions") or () if c["type"] == "PodScheduled")
