"""The controller manager, counting its steps, its requests, the events it gets and its reconciliations; for `steps_controllers`."""
from __future__ import annotations

import sys
from typing import Any

from kubepy.api.types import Object
from kubepy.client.controller import Runtime
from kubepy.client.informer import Informer
from kubepy.client.wire import Answer, Wire
from kubepy.controllers.main import main
from tests.bench import counting

_request, _process, _put, _remove = Wire.request, Runtime._process, Informer._put, Informer._remove


def what(method: str, target: str) -> str:
    """The request without the names in it."""
    path = target.partition("?")[0].split("/")[1:]
    parts = path[2:] if path[0] == "api" else path[3:]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    return " ".join((method, *parts[:1], *parts[2:]))


async def request(self: Wire, method: str, target: str, *others: Any, **named: Any) -> Answer:
    answer = await _request(self, method, target, *others, **named)
    counting.counts[f"request {what(method, target)} {answer.status}"] += 1
    return answer


async def process(self: Runtime, key: str) -> None:
    counting.counts[f"reconcile {self.controller.name}"] += 1
    await _process(self, key)


def put(self: Informer, key: str, obj: Object) -> None:
    counting.counts[f"event {self.resource.group_resource}"] += 1
    _put(self, key, obj)


def remove(self: Informer, key: str, last: Object | None) -> None:
    counting.counts[f"event {self.resource.group_resource} gone"] += 1
    _remove(self, key, last)


if __name__ == "__main__":
    Wire.request, Runtime._process, Informer._put, Informer._remove = request, process, put, remove  # type: ignore[method-assign]
    counting.install()
    sys.exit(main(sys.argv[1:]))
