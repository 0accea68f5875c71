"""Follows FlowSchemas and PriorityLevelConfigurations, and tells each schema whether its level is there (condition Dangling)."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.meta import set_condition
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver import flowcontrol
from kubepy.apiserver.fairness.level import Level, Levels
from kubepy.apiserver.fairness.match import Flow, Schema, classify, compile_schema
from kubepy.apiserver.request import Context, RequestInfo, User
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.feed import Feed
from kubepy.apiserver.storage.interface import Entry, Event
from kubepy.apiserver.verbs.update import guaranteed_update
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger

log = get_logger("fairness")
MANAGER = "api-priority-and-fairness-config-consumer-v1"
SYSTEM = User("system:apiserver", "", ("system:masters", "system:authenticated"))
MAX_FLOWS = 4096
"""Kinds of requests whose flow is remembered; they are as many as users times what each does."""
_UNKNOWN = Flow(Schema("", b"", 0, "", "", ()), "")
QUEUE_WAIT_SHARE = 4
"""A request waits for at most this part of --request-timeout."""


class Controller:
    def __init__(self, server: Server) -> None:
        options = server.options
        seats = max(1, (options.max_requests_inflight + options.max_mutating_requests_inflight) // max(1, options.workers))
        self._server = server
        self.levels = Levels(seats, server.clock, options.request_timeout / QUEUE_WAIT_SHARE)
        self._level_objects = {obj["metadata"]["name"]: obj for obj in flowcontrol.priority_levels()}
        self._schema_objects = {obj["metadata"]["name"]: obj for obj in flowcontrol.flow_schemas()}
        self._mandatory = ({name: self._level_objects[name] for name in ("exempt", "catch-all")},
                           {name: self._schema_objects[name] for name in ("exempt", "catch-all")})
        self.schemas: tuple[Schema, ...] = ()
        self._flows: dict[tuple[object, ...], Flow | None] = {}
        self._wake = asyncio.Event()
        self._build()

    def start(self) -> None:
        for resource, objects, fallback in ((flowcontrol.LEVELS, self._level_objects, self._mandatory[0]),
                                            (flowcontrol.SCHEMAS, self._schema_objects, self._mandatory[1])):
            feed = Feed(self._server.services.store(resource), self._replacer(objects, fallback), self._applier(objects, fallback))
            self._server.tasks.keep(feed.run, f"fairness/{resource.plural}", maximum=5.0)
        self._server.tasks.keep(self._run, "fairness/status", maximum=5.0)

    def _replacer(self, objects: dict[str, Object], fallback: dict[str, Object]) -> Callable[[Sequence[Entry]], None]:
        def replace(entries: Sequence[Entry]) -> None:
            if entries:  # an empty cluster gets the suggested ones in a moment
                objects.clear()
                objects.update(fallback)
                objects.update({entry.name: entry.decode() for entry in entries})
            self._build()

        return replace

    def _applier(self, objects: dict[str, Object], fallback: dict[str, Object]) -> Callable[[Event], None]:
        def apply(event: Event) -> None:
            name = event.entry.name
            if event.type != "DELETED":
                objects[name] = event.entry.decode()
            elif name in fallback:
                objects[name] = fallback[name]
            else:
                objects.pop(name, None)
            self._build()

        return apply

    def _build(self) -> None:
        self.levels.configure(self._level_objects)
        compiled = [compile_schema(obj) for obj in self._schema_objects.values()]
        self.schemas = tuple(sorted((schema for schema in compiled if schema.level in self._level_objects),
                                    key=lambda schema: (schema.precedence, schema.name)))
        self._flows.clear()
        self._wake.set()

    def find(self, user: User, info: RequestInfo) -> tuple[Level, Schema, str]:
        """Everything matches `catch-all` in the end, which is always there."""
        key = (user.name, user.groups, info.verb, info.group, info.resource, info.subresource, info.namespace,
               "" if info.is_resource else info.path)
        flow = self._flows.get(key, _UNKNOWN)
        if flow is _UNKNOWN:
            if len(self._flows) >= MAX_FLOWS:
                self._flows.clear()
            flow = self._flows[key] = classify(self.schemas, user, info)
        if flow is None:
            schema = next(one for one in self.schemas if one.name == "catch-all")
            return self.levels.levels["catch-all"], schema, schema.name
        return self.levels.levels[flow.schema.level], flow.schema, flow.key

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(0.2)  # changes come in bursts
            self._wake.clear()
            for obj in list(self._schema_objects.values()):
                if obj["metadata"].get("uid") and (condition := dangling(obj, self._level_objects)) is not None:
                    await self._tell(obj["metadata"]["name"], condition)

    async def _tell(self, name: str, condition: Object) -> None:
        resource: Resource = flowcontrol.SCHEMAS
        info = RequestInfo(resource.path(None, name) + "/status", "update", True, resource.group, resource.version, resource.plural,
                           "status", "", name, (resource.plural, name, "status"))
        now = format_time(self._server.clock.now())

        async def change(old: Object) -> Object:
            status = old.get("status") or {}
            return {**old, "metadata": dict(old["metadata"]),
                    "status": {**status, "conditions": set_condition(status.get("conditions") or [], condition, now)}}

        context = Context(SYSTEM, info, self._server.kinds.of(resource), user_agent="kube-apiserver/v1.36.0", field_manager=MANAGER)
        try:
            await guaranteed_update(self._server, context, change)
        except NotFound:
            pass
        except ApiError as error:
            log.warning("Cannot tell a flow schema whether its level is there", name=name, err=error.message)


def dangling(schema: Object, levels: dict[str, Object]) -> Object | None:
    """The condition a schema should have; None when it has it."""
    level = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name", "")
    text = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    if level in levels:
        wanted = {"type": "Dangling", "status": "False", "reason": "Found", "message": f"{text} and it exists"}
    else:
        wanted = {"type": "Dangling", "status": "True", "reason": "NotFound", "message": f"{text} but there is no such object"}
    for item in (schema.get("status") or {}).get("conditions") or ():
        if item.get("type") == "Dangling" and all(item.get(key) == value for key, value in wanted.items()):
            return None
    return wanted
