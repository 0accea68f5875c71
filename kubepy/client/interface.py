"""The API as every component uses it: an interface with two implementations, HTTP (`client.http`) and in-process (tests).

Failures are raised as `api.errors`; a lost connection as `ConnectionError` (the request may or may not have happened).

    pods = await client.list(PODS, "default", label_selector="app=web")
    await client.patch(PODS, "web-0", {"metadata": {"labels": {"a": "b"}}}, "default")
    async for event in client.watch(PODS, resource_version=pods["metadata"]["resourceVersion"]): ...
"""
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, NamedTuple, Protocol

from kubepy.api.resource import Resource
from kubepy.api.types import Object

PatchType = Literal["json", "merge", "strategic", "apply"]
Propagation = Literal["Orphan", "Background", "Foreground"]


class WatchEvent(NamedTuple):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK; ERROR events are raised as `api.errors` instead."""

    type: str
    object: Object


class Client(Protocol):
    """Requests under one identity. Objects returned belong to the caller."""

    async def get(self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None) -> Object: ...

    async def list(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "",
                   resource_version: str | None = None, limit: int = 0, continue_token: str = "") -> Object:
        """One page: the List object with `items` and `metadata.continue`."""
        ...

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        """Creates `obj`; with `subresource` (binding, eviction, token) `name` is the parent's.

        The namespace defaults to the object's own."""
        ...

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        """Replaces the object that `obj.metadata` names; raises `errors.Conflict` when its resourceVersion is not the current one."""
        ...

    async def patch(self, resource: Resource, name: str, patch: Any, namespace: str | None = None, *, type: PatchType = "merge",
                    subresource: str | None = None, field_manager: str = "", force: bool = False) -> Object: ...

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, *, grace_period_seconds: int | None = None,
                     propagation: Propagation | None = None, uid: str | None = None, resource_version: str | None = None) -> Object:
        """`uid` and `resource_version` are preconditions."""
        ...

    async def delete_collection(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "",
                                field_selector: str = "", propagation: Propagation | None = None) -> None: ...

    def watch(self, resource: Resource, namespace: str | None = None, *, resource_version: str = "", label_selector: str = "",
              field_selector: str = "", bookmarks: bool = True, send_initial_events: bool = False,
              timeout_seconds: int | None = None) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`, until the server ends the stream (then iteration stops)."""
        ...

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        """Any path, any verb: the answer's bytes; raises as the others do."""
        ...

    async def close(self) -> None: ...
