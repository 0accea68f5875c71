"""A `Client` without a server, for unit tests: objects, versions, watches, conflicts, finalizers, subresources.

It behaves as the API server does where controllers depend on it (the contract suite runs against both) and knows no validation,
defaults or admission. Beyond the interface, tests use `load` to put objects in as they are, `actions` to see what was written,
`before` to make requests fail, and `compact` to make history disappear.
"""
from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, cast

import orjson

from kubepy.api.errors import AlreadyExists, ApiError, BadRequest, Conflict, Expired, MethodNotAllowed, NotFound, from_status
from kubepy.api.patch.strategic import apply_strategic_patch
from kubepy.api.resource import DEPLOYMENTS, NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS, SERVICES, Resource
from kubepy.api.schema.shape import of_kind
from kubepy.api.selector import parse_fields, parse_labels
from kubepy.api.types import Object
from kubepy.base.clock import Clock, SystemClock, format_time
from kubepy.client.interface import PatchType, Propagation, WatchEvent

CHANGED = "the object has been modified; please apply your changes to the latest version and try again"
_WITH_STATUS = {SERVICES: "finalizers", DEPLOYMENTS: "annotations"}  # a load balancer's and the revision are written with the status
_FINALIZER: dict[Propagation, str] = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


@dataclass(frozen=True, slots=True)
class Action:
    """One write that was asked for."""

    verb: str
    resource: Resource
    namespace: str
    name: str
    subresource: str = ""
    body: Any = None


@dataclass(frozen=True, slots=True)
class _Change:
    revision: int
    type: str
    resource: Resource
    raw: bytes
    previous: bytes | None


class MemoryClient:
    def __init__(self, clock: Clock | None = None) -> None:
        self.actions: list[Action] = []
        self.before: Callable[[Action], None] | None = None
        """Called with every request, reads included; what it raises is the answer."""
        self._clock = clock or SystemClock()
        self._objects: dict[Resource, dict[tuple[str, str], bytes]] = {}
        self._revision = 1
        self._history: list[_Change] = []
        self._compacted = 0
        self._changed: asyncio.Event = asyncio.Event()
        self._suffix = itertools.count(1)
        self._ended = 0

    def load(self, resource: Resource, *objects: Object) -> None:
        """Stores objects as they are (status included), filling name-independent metadata."""
        for obj in objects:
            fresh = _copy(obj)
            self._fill(resource, fresh)
            self._store(resource, fresh)

    def all(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """Every object there is, in key order, without a request."""
        found = self._objects.get(resource, {})
        return [orjson.loads(found[key]) for key in sorted(found) if namespace is None or key[0] == namespace]

    def compact(self) -> None:
        """Forgets history: watches that resume get 410, running ones end."""
        self._compacted = self._revision
        self._history.clear()
        self.drop_watches()

    def drop_watches(self) -> None:
        """Ends every running watch, as a restarting server does."""
        self._ended += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def get(self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None) -> Object:
        self._ask("get", resource, namespace, name, subresource or "")
        return self._read(resource, namespace, name)

    async def list(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "",
                   resource_version: str | None = None, limit: int = 0, continue_token: str = "") -> Object:
        self._ask("list", resource, namespace, "")
        selected = _selector(label_selector, field_selector)
        after = tuple(continue_token.split("/")) if continue_token else ()
        items: list[Object] = []
        metadata: Object = {"resourceVersion": str(self._revision)}
        found = self._objects.get(resource, {})
        for key in sorted(found):
            if (namespace and key[0] != namespace) or key <= after:
                continue
            obj = orjson.loads(found[key])
            if not selected(obj):
                continue
            if limit and len(items) == limit:
                last = items[-1]["metadata"]
                metadata["continue"] = f"{last.get('namespace', '')}/{last['name']}"
                break
            items.append(obj)
        return {"apiVersion": resource.api_version, "kind": f"{resource.kind}List", "metadata": metadata, "items": items}

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        fresh = _copy(obj)
        metadata = fresh.setdefault("metadata", {})
        namespace = namespace or metadata.get("namespace")
        if subresource:
            self._ask("create", resource, namespace, name or "", subresource, obj)
            return self._create_subresource(resource, namespace, name or "", subresource, fresh)
        if resource.namespaced:
            if not namespace:
                raise BadRequest("an empty namespace may not be set during creation")
            metadata["namespace"] = namespace
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{next(self._suffix):05x}"
        self._ask("create", resource, namespace, metadata.get("name", ""), "", obj)
        key = (namespace or "" if resource.namespaced else "", metadata["name"])
        if key in self._objects.get(resource, {}):
            raise AlreadyExists.of(resource, metadata["name"])
        for field in ("uid", "creationTimestamp", "resourceVersion", "deletionTimestamp", "generation"):
            metadata.pop(field, None)
        if resource != NODES:
            fresh.pop("status", None)
        if resource == PODS:
            fresh["status"] = {"phase": "Pending"}
        if resource == NAMESPACES:
            fresh.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
            fresh["status"] = {"phase": "Active"}
        self._fill(resource, fresh)
        if not dry_run:
            self._store(resource, fresh)
        return fresh

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        fresh = _copy(obj)
        namespace, name = fresh["metadata"].get("namespace"), fresh["metadata"]["name"]
        self._ask("update", resource, namespace, name, subresource or "", obj)
        return self._replace(resource, self._read(resource, namespace, name), fresh, subresource or "")

    async def patch(self, resource: Resource, name: str, patch: Any, namespace: str | None = None, *, type: PatchType = "merge",
                    subresource: str | None = None, field_manager: str = "", force: bool = False) -> Object:
        self._ask("patch", resource, namespace, name, subresource or "", patch)
        old = self._read(resource, namespace, name)
        if type == "json":
            fresh = cast(Object, _json_patch(_copy(old), patch))
        elif type == "apply":
            raise MethodNotAllowed("the memory client knows no server-side apply")
        elif type == "strategic":
            fresh = apply_strategic_patch(_copy(old), _copy(patch), of_kind(resource.group, resource.version, resource.kind))
        else:
            fresh = cast(Object, _merge(_copy(old), patch))
        return self._replace(resource, old, fresh, subresource or "")

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, *, grace_period_seconds: int | None = None,
                     propagation: Propagation | None = None, uid: str | None = None, resource_version: str | None = None) -> Object:
        self._ask("delete", resource, namespace, name, "", {"propagation": propagation, "grace": grace_period_seconds})
        obj = self._read(resource, namespace, name)
        metadata = obj["metadata"]
        for field, wanted in (("uid", uid), ("resourceVersion", resource_version)):
            if wanted and metadata.get(field) != wanted:
                label = "UID" if field == "uid" else "ResourceVersion"
                raise Conflict.of(resource, name, f"Precondition failed: {label} in precondition: {wanted}, "
                                                  f"{label} in object meta: {metadata.get(field)}")
        if propagation in _FINALIZER:
            finalizers = metadata.setdefault("finalizers", [])
            if _FINALIZER[propagation] not in finalizers:
                finalizers.append(_FINALIZER[propagation])
        grace = 0
        if resource == PODS and obj.get("spec", {}).get("nodeName") and obj["status"].get("phase") not in ("Succeeded", "Failed"):
            default = obj["spec"].get("terminationGracePeriodSeconds", 30)
            grace = default if grace_period_seconds is None else grace_period_seconds
            if "deletionTimestamp" in metadata:
                grace = min(grace, metadata.get("deletionGracePeriodSeconds", grace))
        held = metadata.get("finalizers") or (resource == NAMESPACES and obj["spec"].get("finalizers"))
        if not grace and not held:
            self._remove(resource, obj)
            return obj
        if "deletionTimestamp" not in metadata or grace < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = format_time(self._clock.now() + grace)
            metadata["deletionGracePeriodSeconds"] = grace
            metadata["generation"] = metadata.get("generation", 0) + 1
            if resource == NAMESPACES:
                obj["status"]["phase"] = "Terminating"
        self._store(resource, obj)
        return obj

    async def delete_collection(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "",
                                field_selector: str = "", propagation: Propagation | None = None) -> None:
        self._ask("deletecollection", resource, namespace, "")
        selected = _selector(label_selector, field_selector)
        for obj in self.all(resource, namespace):
            if selected(obj):
                await self.delete(resource, obj["metadata"]["name"], obj["metadata"].get("namespace"), propagation=propagation)

    async def watch(self, resource: Resource, namespace: str | None = None, *, resource_version: str = "", label_selector: str = "",
                    field_selector: str = "", bookmarks: bool = True, send_initial_events: bool = False,
                    timeout_seconds: int | None = None) -> AsyncIterator[WatchEvent]:
        self._ask("watch", resource, namespace, "")
        selected = _selector(label_selector, field_selector)
        position = int(resource_version or 0)
        if position == 0:
            position = self._revision
            for obj in self.all(resource, namespace):
                if selected(obj):
                    yield WatchEvent("ADDED", obj)
        elif position < self._compacted:
            raise Expired(f"too old resource version: {position} ({self._compacted})")
        ended = self._ended
        while ended == self._ended:
            changed = self._changed
            for change in tuple(self._history):  # as it is now: it may be compacted while an event is being handled
                if change.revision <= position or change.resource != resource:
                    continue
                position = change.revision
                obj = orjson.loads(change.raw)
                if namespace and obj["metadata"].get("namespace") != namespace:
                    continue
                was = change.previous is not None and selected(orjson.loads(change.previous))
                now = change.type != "DELETED" and selected(obj)
                if was or now:
                    yield WatchEvent("DELETED" if not now else "MODIFIED" if was else "ADDED", obj)
            await changed.wait()

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        raise from_status({"message": "the server could not find the requested resource"}, 404)

    async def close(self) -> None:
        self.drop_watches()

    def _ask(self, verb: str, resource: Resource, namespace: str | None, name: str, subresource: str = "", body: Any = None) -> None:
        action = Action(verb, resource, namespace or "", name, subresource, body)
        if verb not in ("get", "list", "watch"):
            self.actions.append(action)
        if self.before is not None:
            self.before(action)

    def _read(self, resource: Resource, namespace: str | None, name: str) -> Object:
        raw = self._objects.get(resource, {}).get((namespace or "" if resource.namespaced else "", name))
        if raw is None:
            raise NotFound.of(resource, name)
        return cast(Object, orjson.loads(raw))

    def _fill(self, resource: Resource, obj: Object) -> None:
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        metadata = obj["metadata"]
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", format_time(self._clock.now()))
        metadata.setdefault("generation", 1)

    def _store(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        key = (metadata.get("namespace") or "", metadata["name"])
        objects = self._objects.setdefault(resource, {})
        previous = objects.get(key)
        if previous is not None:
            old = orjson.loads(previous)
            metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
            if old == obj:
                return  # a write that changes nothing is none
        self._revision += 1
        metadata["resourceVersion"] = str(self._revision)
        objects[key] = raw = orjson.dumps(obj)
        self._announce(_Change(self._revision, "MODIFIED" if previous else "ADDED", resource, raw, previous))

    def _remove(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        previous = self._objects[resource].pop((metadata.get("namespace") or "", metadata["name"]))
        self._revision += 1
        metadata["resourceVersion"] = str(self._revision)
        self._announce(_Change(self._revision, "DELETED", resource, orjson.dumps(obj), previous))

    def _announce(self, change: _Change) -> None:
        self._history.append(change)
        self._changed.set()
        self._changed = asyncio.Event()

    def _replace(self, resource: Resource, old: Object, fresh: Object, subresource: str) -> Object:
        version = fresh["metadata"].get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise Conflict.of(resource, old["metadata"]["name"], CHANGED)
        uid = fresh["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise Conflict.of(resource, old["metadata"]["name"], f"Precondition failed: UID in precondition: {uid}, "
                                                                 f"UID in object meta: {old['metadata']['uid']}")
        if subresource in ("status", "approval"):
            kept = _WITH_STATUS.get(resource)
            metadata = {key: value for key, value in old["metadata"].items() if key != kept}
            metadata |= {key: value for key, value in fresh["metadata"].items() if key == kept}
            fresh = {**old, "metadata": metadata, "status": fresh.get("status", {})}
        elif subresource == "finalize":
            fresh = {**old, "spec": {**old.get("spec", {}), "finalizers": (fresh.get("spec") or {}).get("finalizers") or []}}
        elif subresource:
            raise MethodNotAllowed(f"the memory client knows no {subresource} subresource here")
        else:
            if "status" in old:
                fresh["status"] = old["status"]
            else:
                fresh.pop("status", None)
            for field in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
                if field in old["metadata"]:
                    fresh["metadata"][field] = old["metadata"][field]
                else:
                    fresh["metadata"].pop(field, None)
            if any(fresh.get(key) != old.get(key) for key in {*fresh, *old} - {"metadata", "status"}):
                fresh["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        self._store(resource, fresh)
        metadata = fresh["metadata"]
        held = metadata.get("finalizers") or (resource == NAMESPACES and fresh["spec"].get("finalizers"))
        if "deletionTimestamp" in metadata and not held and not metadata.get("deletionGracePeriodSeconds"):
            self._remove(resource, fresh)
        return fresh

    def _create_subresource(self, resource: Resource, namespace: str | None, name: str, subresource: str, body: Object) -> Object:
        obj = self._read(resource, namespace, name)
        if resource == PODS and subresource == "binding":
            if obj["spec"].get("nodeName"):
                raise Conflict.of(Resource("", "v1", "pods/binding", "Binding", True), name,
                                  f"pod {name} is already assigned to node \"{obj['spec']['nodeName']}\"")
            obj["spec"]["nodeName"] = body["target"]["name"]
            conditions = [c for c in obj["status"].get("conditions", []) if c["type"] != "PodScheduled"]
            now = format_time(self._clock.now())
            obj["status"]["conditions"] = [*conditions, {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}]
            self._store(resource, obj)
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        if resource == SERVICE_ACCOUNTS and subresource == "token":
            expires = format_time(self._clock.now() + body.get("spec", {}).get("expirationSeconds", 3600))
            return {**body, "status": {"token": f"token-of-{namespace}-{name}", "expirationTimestamp": expires}}
        raise MethodNotAllowed(f"the memory client knows no {subresource} subresource here")


def _selector(labels: str, fields: str) -> Callable[[Object], bool]:
    by_labels, by_fields = parse_labels(labels), parse_fields(fields)

    def selected(obj: Object) -> bool:
        if not by_labels.matches(obj["metadata"].get("labels")):
            return False
        return by_fields.empty or by_fields.matches({item.field: _field(obj, item.field) for item in by_fields.requirements})

    return selected


def _field(obj: Object, path: str) -> str:
    """A field selector's value, looked up as a plain path."""
    value: Any = obj
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _copy(obj: Object) -> Object:
    return cast(Object, orjson.loads(orjson.dumps(obj)))


def _merge(target: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    target = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = _merge(target.get(key), value)
    return target


def _json_patch(target: Any, operations: Any) -> Any:
    for operation in operations:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place = target
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        index: Any = (len(place) if last == "-" else int(last)) if isinstance(place, list) else last
        if operation["op"] == "test":
            if (place[index] if isinstance(place, list) else place.get(index)) != operation["value"]:
                raise ApiError("the server rejected our request due to an error in our request", code=422, reason="Invalid")
        elif operation["op"] == "remove":
            del place[index]
        elif operation["op"] == "add" and isinstance(place, list):
            place.insert(index, operation["value"])
        else:
            place[index] = operation["value"]
    return target
