"""What a patch does to an object: one `Patch` value a request, applied to each state the guaranteed update meets."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubepy.api.codec import go_kind, parse_json
from kubepy.api.errors import ApiError, BadRequest, Conflict
from kubepy.api.gofmt import go_value
from kubepy.api.gojson import SyntaxProblem
from kubepy.api.patch.json import MAX_OPERATIONS, BadJsonPatch, JsonPatchError, apply_json_patch, check_json_patch
from kubepy.api.patch.merge import apply_merge_patch
from kubepy.api.patch.strategic import StrategicError, apply_strategic_patch
from kubepy.api.schema.shape import Struct, of_kind
from kubepy.api.types import Object
from kubepy.api.yaml import YamlProblem, parse_yaml
from kubepy.apiserver.aside import aside
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs import manage
from kubepy.apiserver.verbs.create import create_object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_TYPES = ("application/apply-patch+yaml",)
TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, *APPLY_TYPES)
CUSTOM_TYPES = (JSON_PATCH, MERGE_PATCH, *APPLY_TYPES)


class Patch:
    """A parsed patch. `tracks` tells that `apply` keeps managedFields itself."""

    tracks = False
    shown: Callable[[], str] | None = None
    """How a strategic patch is shown when its outcome does not decode."""

    def apply(self, old: Object, now: float) -> Object:
        """The patched object; `old` is not changed, parts may be shared with it. Raises ApiError."""
        raise NotImplementedError

    async def create(self, server: Server, context: Context) -> Entry | Object:
        """What applying makes where nothing is."""
        raise NotImplementedError


def read_patch(context: Context, content_type: str, data: bytes, force: bool, shape: Struct | None = None) -> Patch:
    """Parses the body; raises BadRequest. `shape` is that of what is patched, by default of the context's kind."""
    if content_type in APPLY_TYPES:
        return ApplyPatch(context, _read_yaml(data), force)
    try:
        value = parse_json(data)
    except SyntaxProblem as error:
        raise BadRequest(f"error decoding patch: {error}" if "max depth" in str(error) else str(error)) from error
    if content_type == JSON_PATCH:
        return JsonPatch(value)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadRequest(f"json: cannot unmarshal {go_kind(value)} into Go value of type map[string]interface {{}}")
    if content_type == MERGE_PATCH:
        return MergePatch(value)
    resource = context.kind.resource
    return StrategicPatch(value, shape or of_kind(resource.group, resource.version, resource.kind))


def _read_yaml(data: bytes) -> Object:
    try:
        value, _ = parse_yaml(data)
    except YamlProblem as error:
        raise BadRequest(f"error decoding YAML: {error}") from error
    if not isinstance(value, dict):
        raise BadRequest("error decoding YAML: the configuration is not an object")
    return value


class MergePatch(Patch):
    def __init__(self, value: Object) -> None:
        self.value = value

    def apply(self, old: Object, now: float) -> Object:
        result: Object = apply_merge_patch(old, self.value)
        return result


class StrategicPatch(Patch):
    def __init__(self, value: Object, shape: Struct | None) -> None:
        self.value, self.shape = value, shape
        self.shown = lambda: go_value(value)

    def apply(self, old: Object, now: float) -> Object:
        try:
            return apply_strategic_patch(old, self.value, self.shape)
        except StrategicError as error:
            if error.code == 400:
                raise BadRequest(str(error)) from error
            raise ApiError(str(error), reason="") from error


class JsonPatch(Patch):
    def __init__(self, value: Any) -> None:
        try:
            self.operations = check_json_patch(value)
        except BadJsonPatch as error:
            raise BadRequest(str(error)) from error
        if len(self.operations) > MAX_OPERATIONS:
            raise ApiError(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(self.operations)}", {},
                           code=413, reason="RequestEntityTooLarge")

    def apply(self, old: Object, now: float) -> Object:
        try:
            result = apply_json_patch(old, self.operations)
        except JsonPatchError as error:
            raise ApiError("the server rejected our request due to an error in our request", {}, code=422, reason="Invalid") from error
        if not isinstance(result, dict):
            raise ApiError("the server rejected our request due to an error in our request", {}, code=422, reason="Invalid")
        return result


class ApplyPatch(Patch):
    tracks = True

    def __init__(self, context: Context, value: Object, force: bool) -> None:
        self.context, self.value, self.force = context, value, force

    def apply(self, old: Object, now: float) -> Object:
        return manage.apply(self.context, old, self.value, self.force, now)

    async def create(self, server: Server, context: Context) -> Entry | Object:
        info, resource = context.info, context.kind.resource
        metadata = self.value.get("metadata")
        if isinstance(metadata, dict) and (uid := metadata.get("uid")):
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise Conflict.of(resource, info.name, why)
        empty: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
        now = server.clock.now()

        def made() -> Object:
            obj = manage.apply(context, empty, self.value, self.force, now)
            check_identity(context, obj)
            if resource.namespaced:
                obj = {**obj, "metadata": {**obj["metadata"], "namespace": info.namespace}}
            return manage.complete(context, obj)

        return await create_object(server, context, await aside(context.size, made), tracked=True)


def check_identity(context: Context, obj: Object) -> None:
    """A patch cannot move an object; raises BadRequest."""
    name = obj["metadata"].get("name")
    if not name:
        raise BadRequest(f"the name of the object ({context.info.name} based on URL) was undeterminable: name must be provided")
    if name != context.info.name:
        raise BadRequest(f"the name of the object ({name or ''}) does not match the name on the URL ({context.info.name})")
    namespace, wanted = obj["metadata"].get("namespace"), context.info.namespace
    if context.kind.resource.namespaced and namespace and namespace != wanted:
        raise BadRequest(f"the namespace of the object ({namespace}) does not match the namespace on the request ({wanted})")
