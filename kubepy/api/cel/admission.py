"""What the expressions of webhooks and admission policies may name (`k8s.io/apiserver/pkg/admission/plugin/cel`)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubepy.api.cel import library
from kubepy.api.cel.environment import CompileError, Environment
from kubepy.api.cel.function.authorization import Authorizer, ResourceCheck
from kubepy.api.cel.function.mutation import construct
from kubepy.api.cel.kind import BOOL, DYN, INT, STRING, TIMESTAMP, Field, Kind, Struct, kind, list_of, map_of, opaque, struct_of
from kubepy.api.cel.program import Program


def _struct(name: str, fields: Mapping[str, Kind]) -> Struct:
    return struct_of(f"kubernetes.{name}", fields)


_TEXTS = map_of(STRING, STRING)
_KIND = _struct("GroupVersionKind", {"group": STRING, "version": STRING, "kind": STRING})
_RESOURCE = _struct("GroupVersionResource", {"group": STRING, "version": STRING, "resource": STRING})
_USER = _struct("UserInfo", {"username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING))})
REQUEST = _struct("AdmissionRequest", {
    "kind": _KIND, "resource": _RESOURCE, "subResource": STRING, "requestKind": _KIND, "requestResource": _RESOURCE,
    "requestSubResource": STRING, "name": STRING, "namespace": STRING, "operation": STRING, "userInfo": _USER, "dryRun": BOOL,
    "options": DYN})
NAMESPACE = _struct("Namespace", {
    "metadata": _struct("NamespaceMetadata", {
        "name": STRING, "generateName": STRING, "namespace": STRING, "labels": _TEXTS, "annotations": _TEXTS, "UID": STRING,
        "creationTimestamp": TIMESTAMP, "deletionGracePeriodSeconds": INT, "deletionTimestamp": TIMESTAMP, "generation": INT,
        "resourceVersion": STRING, "finalizers": list_of(STRING)}),
    "spec": _struct("NamespaceSpec", {"finalizers": list_of(STRING)}),
    "status": _struct("NamespaceStatus", {"phase": STRING})})
ROOT, CHECKED = opaque(Authorizer.kind), opaque(ResourceCheck.kind)
BOOLEAN: tuple[Kind, ...] = (BOOL,)
TEXT: tuple[Kind, ...] = (STRING,)
TEXT_OR_NULL: tuple[Kind, ...] = (STRING, kind("null_type"))
OBJECT: tuple[Kind, ...] = (Struct("Object", {}),)
PATCHES: tuple[Kind, ...] = (list_of(Struct("JSONPatch", {})),)


class WrongResult(CompileError):
    """An expression that compiles, to something else than is wanted."""


class Scope:
    """The variables of one policy or webhook; `params` and `object` are types, None where there is none."""

    def __init__(self, *, params: Kind | None = None, mutating: bool = False, object: Kind = DYN) -> None:
        self._variables: dict[str, Kind] = {"object": object, "oldObject": object, "request": REQUEST, "namespaceObject": NAMESPACE}
        if params is not None:
            self._variables["params"] = params
        self._mutating = mutating
        self._defined: dict[str, Field] | None = None

    def composed(self) -> None:
        """From here on there are `variables`, though none may be defined."""
        self._defined = self._defined or {}

    def define(self, name: str, kind: Kind = DYN) -> None:
        """A variable that later expressions can use."""
        self._defined = {**(self._defined or {}), name: Field(kind, name)}

    def compile(self, source: str, returns: Sequence[Kind] = (), *, authorizer: bool = True) -> Program:
        """`returns` are the types the expression may have, () for any. Raises CompileError, WrongResult."""
        variables = dict(self._variables)
        if authorizer:
            variables |= {"authorizer": ROOT, "authorizer.requestResource": CHECKED}
        if self._defined is not None:
            variables["variables"] = Struct("kubernetes.variables", self._defined)
        declarations = library.mutating() if self._mutating else library.admission()
        program = Environment(variables, declarations, construct if self._mutating else None).compile(source)
        if returns and program.kind not in returns:
            wanted = str(returns[0]) if len(returns) == 1 else f"one of [{' '.join(map(str, returns))}]"
            raise WrongResult(f"must evaluate to {wanted} but got {program.kind}")
        return program


class Variables(dict[str, Any]):
    """`variables`: each evaluated when it is first named."""

    def __init__(self, evaluate: Any) -> None:
        super().__init__()
        self._evaluate = evaluate

    def __missing__(self, name: str) -> Any:
        value = self._evaluate(name)
        self[name] = value
        return value
