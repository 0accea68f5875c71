"""The paths part of OpenAPI documents: one operation for each verb of each resource, in v3 form.

Parameters that all operations of a path take stand at the path, as upstream's generator has it.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from kubepy.api.schema.definitions import META

_SCHEMAS = "#/components/schemas/"
_MEDIA = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
_STREAMS = ("application/json", "application/json;stream=watch", "application/vnd.kubernetes.protobuf",
            "application/vnd.kubernetes.protobuf;stream=watch", "application/yaml")
_PATCHES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
            "application/strategic-merge-patch+json")
_LIST = ("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "pretty", "resourceVersion", "resourceVersionMatch",
         "sendInitialEvents", "shardSelector", "timeoutSeconds", "watch")
_WRITE = ("dryRun", "fieldManager", "fieldValidation", "pretty")
_PATCH = ("dryRun", "fieldManager:patch", "fieldValidation", "force", "pretty")
_DELETE = ("dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "orphanDependents", "pretty",
           "propagationPolicy")
_DELETE_COLLECTION = ("continue", "dryRun", "fieldSelector", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential",
                      "labelSelector", "limit", "orphanDependents", "pretty", "propagationPolicy", "resourceVersion",
                      "resourceVersionMatch", "sendInitialEvents", "shardSelector", "timeoutSeconds")
_LOG = ("container:log", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "pretty", "previous", "sinceSeconds", "stream",
        "tailLines", "timestamps")
_CONNECT = {"exec": ("PodExecOptions", ("command", "container:exec", "stderr:exec", "stdin:exec", "stdout:exec", "tty:exec")),
            "attach": ("PodAttachOptions", ("container:attach", "stderr:attach", "stdin:attach", "stdout:attach", "tty:attach")),
            "portforward": ("PodPortForwardOptions", ("ports",))}
_PROXY_METHODS = ("delete", "get", "head", "options", "patch", "post", "put")


@dataclass(frozen=True, slots=True)
class ServedSub:
    """A subresource; `kind` is its body's, empty for the parent's, and then `group` and `version` do not count."""

    name: str
    verbs: tuple[str, ...]
    kind: str = ""
    group: str = ""
    version: str = ""
    definition: str = ""
    """The body's definition; empty for the parent's."""


@dataclass(frozen=True, slots=True)
class Served:
    """A served resource. `schema` is a custom resource's OpenAPI v3 schema, made with `openapi.custom_schema`."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    definition: str
    subresources: tuple[ServedSub, ...] = ()
    returns_deleted: bool = False
    schema: dict[str, Any] | None = None


@dataclass(slots=True)
class _Operation:
    method: str
    name: str
    description: str
    action: str
    parameters: tuple[str, ...]
    responses: tuple[str, ...]
    schema: str | None
    media: tuple[str, ...] = _MEDIA
    body: str = ""
    body_media: tuple[str, ...] = ("*/*",)
    body_required: bool = True


def group_paths(group: str, version: str, served: Sequence[Served]) -> dict[str, Any]:
    """All paths of a group and version."""
    base = f"/apis/{group}/{version}" if group else f"/api/{version}"
    title, tag = _title(group), _tag(group)
    prefix = f"{title}{version.capitalize()}"
    paths: dict[str, Any] = {f"{base}/": {"get": _plain("get available resources", f"get{prefix}APIResources", "APIResourceList",
                                                        f"{tag}_{version}")}}
    for item in served:
        for path, (operations, gvk, named) in _resource_paths(base, prefix, item).items():
            paths[path] = _path(path, operations, gvk, named, f"{tag}_{version}")
    return paths


def info_paths(path: str) -> dict[str, Any]:
    """The paths of the documents that describe no resources."""
    if path == "version":
        operation = _plain("get the version information for this server", "getCodeVersion", "", "version")
        operation["responses"]["200"]["content"] = {_MEDIA[0]: _ref("io.k8s.apimachinery.pkg.version.Info")}
    elif path == "api":
        operation = _plain("get available API versions", "getCoreAPIVersions", "APIVersions", "core")
    elif path == "apis":
        operation = _plain("get available API versions", "getAPIVersions", "APIGroupList", "apis")
    elif path.startswith("apis/"):
        group = path.partition("/")[2]
        operation = _plain("get information of a group", f"get{_title(group)}APIGroup", "APIGroup", _tag(group))
    elif path == "openid/v1/jwks":
        operation = _text("get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
                          "getServiceAccountIssuerOpenIDKeyset", "application/jwk-set+json", "openid")
    else:
        operation = _text("get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
                          "getServiceAccountIssuerOpenIDConfiguration", _MEDIA[0], "WellKnown")
    return {f"/{path}/": {"get": operation}}


_Paths = dict[str, tuple[list[_Operation], tuple[str, str, str], str]]


def _resource_paths(base: str, prefix: str, item: Served) -> _Paths:
    """Operations, group-version-kind and the kind that `{name}` names, by path."""
    gvk = (item.group, item.version, item.kind)
    scope, kind, verbs = "Namespaced" if item.namespaced else "", item.kind, item.verbs
    collection = f"{base}/namespaces/{{namespace}}/{item.plural}" if item.namespaced else f"{base}/{item.plural}"
    paths: _Paths = {}

    def add(path: str, operations: list[_Operation]) -> None:
        if operations:
            paths[path] = (operations, gvk, kind)

    listed = f"{item.definition}List"
    listing = _Operation("get", f"list{prefix}{scope}{kind}", f"list or watch objects of kind {kind}", "list", _LIST,
                         ("200",), listed, _STREAMS)
    at_collection = [listing] if "list" in verbs else []
    if "create" in verbs:
        at_collection.append(_Operation("post", f"create{prefix}{scope}{kind}", f"create {_article(kind)} {kind}", "post", _WRITE,
                                        ("200", "201", "202"), item.definition, body=item.definition))
    if "deletecollection" in verbs:
        at_collection.append(_Operation("delete", f"delete{prefix}Collection{scope}{kind}", f"delete collection of {kind}",
                                        "deletecollection", _DELETE_COLLECTION, ("200",), f"{META}.Status", body=f"{META}.DeleteOptions",
                                        body_required=False))
    add(collection, at_collection)
    if item.namespaced and "list" in verbs:
        everywhere = _Operation("get", f"list{prefix}{kind}ForAllNamespaces", listing.description, "list", _LIST, ("200",), listed,
                                _STREAMS)
        add(f"{base}/{item.plural}", [everywhere])
    add(f"{collection}/{{name}}", _object_operations(prefix, scope, item))
    if "watch" in verbs:
        for path, name, single in _watches(base, collection, prefix, scope, item):
            description = _WATCH_ONE if single else _WATCH_LIST
            add(path, [_Operation("get", name, description.format(kind, _article(kind)), "watch" if single else "watchlist", _LIST,
                                  ("200",), f"{META}.WatchEvent", _STREAMS)])
    for sub in item.subresources:
        paths.update(_subresource_paths(f"{collection}/{{name}}", f"{prefix}{scope}{kind}", item, sub))
    return paths


_WATCH_LIST = "watch individual changes to a list of {0}. deprecated: use the 'watch' parameter with a list operation instead."
_WATCH_ONE = ("watch changes to an object of kind {0}. deprecated: use the 'watch' parameter with a list operation instead, filtered to a "
              "single item with the 'fieldSelector' parameter.")


def _watches(base: str, collection: str, prefix: str, scope: str, item: Served) -> list[tuple[str, str, bool]]:
    at = f"{base}/watch{collection.removeprefix(base)}"
    found = [(at, f"watch{prefix}{scope}{item.kind}List", False), (f"{at}/{{name}}", f"watch{prefix}{scope}{item.kind}", True)]
    if item.namespaced:
        found.append((f"{base}/watch/{item.plural}", f"watch{prefix}{item.kind}ListForAllNamespaces", False))
    return found


def _object_operations(prefix: str, scope: str, item: Served) -> list[_Operation]:
    kind, definition, operations = item.kind, item.definition, []
    if "get" in item.verbs:
        operations.append(_Operation("get", f"read{prefix}{scope}{kind}", f"read the specified {kind}", "get", ("pretty",),
                                     ("200",), definition))
    if "update" in item.verbs:
        operations.append(_Operation("put", f"replace{prefix}{scope}{kind}", f"replace the specified {kind}", "put", _WRITE, ("200", "201"),
                                     definition, body=definition))
    if "patch" in item.verbs:
        operations.append(_Operation("patch", f"patch{prefix}{scope}{kind}", f"partially update the specified {kind}", "patch", _PATCH,
                                     ("200", "201"), definition, body=f"{META}.Patch", body_media=_patches(item)))
    if "delete" in item.verbs:
        operations.append(_Operation("delete", f"delete{prefix}{scope}{kind}", f"delete {_article(kind)} {kind}", "delete", _DELETE,
                                     ("200", "202"), definition if item.returns_deleted else f"{META}.Status",
                                     body=f"{META}.DeleteOptions", body_required=False))
    return operations


def _subresource_paths(path: str, name: str, item: Served, sub: ServedSub) -> _Paths:
    here = f"{path}/{sub.name}"
    if sub.name == "proxy":
        target = item.kind
        options = (f"{target}ProxyOptions", (f"path:{target.lower()}",))
        found: _Paths = {}
        for at, suffix, more in ((here, "", ()), (f"{here}/{{path}}", "WithPath", ("path:path",))):
            found[at] = ([_connect(method, name, sub.name, item.kind, (*options[1], *more), suffix) for method in _PROXY_METHODS],
                         (item.group, item.version, options[0]), options[0])
        return found
    if sub.name in _CONNECT:
        options_kind, parameters = _CONNECT[sub.name]
        return {here: ([_connect(method, name, sub.name, item.kind, parameters, "") for method in ("get", "post")],
                       (item.group, item.version, options_kind), options_kind)}
    gvk = (sub.group, sub.version, sub.kind) if sub.kind else (item.group, item.version, item.kind)
    definition = sub.definition or item.definition
    suffix, kind, operations = sub.name[:1].upper() + sub.name[1:], item.kind, []
    if sub.name == "log":
        return {here: ([_Operation("get", f"read{name}Log", f"read log of the specified {kind}", "get", _LOG, ("200",), None,
                                   (*_MEDIA, "text/plain"))], gvk, item.kind)}
    if "get" in sub.verbs:
        operations.append(_Operation("get", f"read{name}{suffix}", f"read {sub.name} of the specified {kind}", "get", ("pretty",), ("200",),
                                     definition))
    if "update" in sub.verbs:
        operations.append(_Operation("put", f"replace{name}{suffix}", f"replace {sub.name} of the specified {kind}", "put", _WRITE,
                                     ("200", "201"), definition, body=definition))
    if "patch" in sub.verbs:
        operations.append(_Operation("patch", f"patch{name}{suffix}", f"partially update {sub.name} of the specified {kind}", "patch",
                                     _PATCH,
                                     ("200", "201"), definition, body=f"{META}.Patch", body_media=_patches(item)))
    if "create" in sub.verbs:
        operations.append(_Operation("post", f"create{name}{suffix}", f"create {sub.name} of {_article(kind)} {kind}", "post", _WRITE,
                                     ("200", "201", "202"), definition, body=definition))
    return {here: (operations, gvk, gvk[2])} if operations else {}


def _connect(method: str, name: str, sub: str, kind: str, parameters: tuple[str, ...], suffix: str) -> _Operation:
    verb, title = method.upper(), sub[:1].upper() + sub[1:]
    version_end = _kind_start(name)
    # the method goes between group-version and scope: connectCoreV1GetNamespacedPodExec
    named = f"connect{name[:version_end]}{method.capitalize()}{name[version_end:]}{title}{suffix}"
    return _Operation(method, named, f"connect {verb} requests to {sub} of {kind}", "connect", parameters, ("200",), None, ("*/*",))


def _kind_start(name: str) -> int:
    at = name.index("V1") + 2
    while at < len(name) and not name[at].isupper():
        at += 1
    return at


def _patches(item: Served) -> tuple[str, ...]:
    return _PATCHES[:3] if item.schema is not None else _PATCHES


def _path(path: str, operations: list[_Operation], gvk: tuple[str, str, str], named: str, tag: str) -> dict[str, Any]:
    shared = set.intersection(*(set(operation.parameters) for operation in operations))
    result: dict[str, Any] = {operation.method: _operation(operation, shared, gvk, tag) for operation in operations}
    parameters = [_parameter(name) for name in shared]
    if "{name}" in path:
        parameters.append({"description": f"name of the {named}", **_in_path("name")})
    if "{namespace}" in path:
        parameters.append(_parameter("namespace"))
    if parameters:
        result["parameters"] = sorted(parameters, key=lambda item: (item["name"], item["in"]))
    return result


def _operation(operation: _Operation, shared: set[str], gvk: tuple[str, str, str], tag: str) -> dict[str, Any]:
    own = sorted((_parameter(name) for name in operation.parameters if name not in shared), key=lambda item: str(item["name"]))
    schema = _ref(operation.schema) if operation.schema else {"schema": {"type": "string"}}
    texts = {"200": "OK", "201": "Created", "202": "Accepted"}
    result: dict[str, Any] = {
        "description": operation.description, "operationId": operation.name, "tags": [tag],
        "responses": {**{code: {"description": texts[code], "content": dict.fromkeys(operation.media, schema)}
                         for code in operation.responses},
                      "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": dict(zip(("group", "version", "kind"), gvk, strict=True)),
    }
    if own:
        result["parameters"] = own
    if operation.body:
        result["requestBody"] = {"content": {media: _ref(operation.body) for media in operation.body_media}}
        if operation.body_required:
            result["requestBody"]["required"] = True
    return result


@cache
def facts() -> dict[str, Any]:
    """Texts of OpenAPI documents that are in no definition: parameters, enumerations, Quantity."""
    found: dict[str, Any] = orjson.loads(Path(__file__).with_name("openapi_facts.json").read_bytes())
    return found


def _parameter(key: str) -> dict[str, Any]:
    fact = facts()["parameters"][key]
    name = key.partition(":")[0]
    if key in ("namespace", "path:path"):
        return {"description": fact["description"], **_in_path(name)}
    return {"description": fact["description"], "in": "query", "name": name, "schema": {"type": fact["type"], "uniqueItems": True}}


def _in_path(name: str) -> dict[str, Any]:
    return {"in": "path", "name": name, "required": True, "schema": {"type": "string", "uniqueItems": True}}


def _plain(description: str, name: str, kind: str, tag: str) -> dict[str, Any]:
    content = dict.fromkeys(_MEDIA, _ref(f"{META}.{kind}"))
    return {"description": description, "operationId": name, "tags": [tag],
            "responses": {"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}}}


def _text(description: str, name: str, media: str, tag: str) -> dict[str, Any]:
    return {"description": description, "operationId": name, "tags": [tag],
            "responses": {"200": {"description": "OK", "content": {media: {"schema": {"type": "string"}}}},
                          "401": {"description": "Unauthorized"}}}


def _ref(definition: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"{_SCHEMAS}{definition}"}}


def _title(group: str) -> str:
    """`RbacAuthorization` for `rbac.authorization.k8s.io`, `Core` for the core group."""
    return "".join(part.capitalize() for part in (group.removesuffix(".k8s.io") or "core").split("."))


def _tag(group: str) -> str:
    title = _title(group)
    return title[:1].lower() + title[1:]


def _article(kind: str) -> str:
    return "an" if kind[:1] in "AEIOU" else "a"
