"""What a patch does to an object: one `Patch` value a request, applied to each state the guaranteed update meets."""
from __future__ import annotations

import copy
from typing import Any

import orjson

from kubepy.api.codec import parse_json
from kubepy.api.errors import BadRequest
from kubepy.api.gojson import SyntaxProblem
from kubepy.api.types import Object
from kubepy.api.yaml import YamlProblem, parse_yaml
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs import manage
from kubepy.apiserver.verbs.create import create_object

APPLY_TYPES = ("application/apply-patch+yaml",)


class Patch:
    """A parsed patch. `tracks` tells that `apply` keeps managedFields itself."""

    tracks = False

    def apply(self, old: Object, now: float) -> Object:
        """The patched object; `old` is not changed. Raises ApiError."""
        raise NotImplementedError

    async def create(self, server: Server, context: Context) -> Entry | Object:
        """What applying makes where nothing is."""
        raise NotImplementedError


def read_patch(context: Context, content_type: str, data: bytes, force: bool) -> Patch:
    """Parses the body; raises BadRequest."""
    if content_type in APPLY_TYPES:
        try:
            value, _ = parse_yaml(data)
        except YamlProblem as error:
            raise BadRequest(f"error decoding YAML: {error}") from error
        if not isinstance(value, dict):
            raise BadRequest("error decoding YAML: the patch is not an object")
        return ApplyPatch(context, value, force)
    try:
        value = parse_json(data)
    except SyntaxProblem as error:
        raise BadRequest(f"error decoding patch: {error}") from error
    if content_type == "application/json-patch+json":
        if not isinstance(value, list):
            raise BadRequest("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
        return JsonPatch(value)
    if not isinstance(value, dict):
        raise BadRequest("error decoding patch: the patch is not an object")
    return MergePatch(value)


class MergePatch(Patch):
    def __init__(self, value: Object) -> None:
        self.value = value

    def apply(self, old: Object, now: float) -> Object:
        merged: Object = merge(orjson.loads(orjson.dumps(old)), self.value)
        return merged


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


class JsonPatch(Patch):
    def __init__(self, operations: list[Any]) -> None:
        self.operations = operations

    def apply(self, old: Object, now: float) -> Object:
        raise BadRequest("JSON patches are not served yet")


class ApplyPatch(Patch):
    tracks = True

    def __init__(self, context: Context, value: Object, force: bool) -> None:
        self.context, self.value, self.force = context, value, force

    def apply(self, old: Object, now: float) -> Object:
        return manage.apply(self.context, old, self.value, self.force, now)

    async def create(self, server: Server, context: Context) -> Entry | Object:
        info = context.info
        metadata = self.value.get("metadata") or {}
        if metadata.get("resourceVersion") or metadata.get("uid"):
            from kubepy.api.errors import Conflict
            raise Conflict.of(context.kind.resource, info.name, "the object does not exist")
        resource = context.kind.resource
        empty: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
        obj = copy.deepcopy(manage.apply(context, empty, self.value, self.force, server.clock.now()))
        obj["metadata"]["name"] = info.name
        if resource.namespaced:
            obj["metadata"]["namespace"] = info.namespace
        return await create_object(server, context, obj, tracked=True)
