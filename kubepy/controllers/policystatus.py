"""Status of ValidatingAdmissionPolicies (`pkg/controller/validatingadmissionpolicystatus`): which generation has been looked at, and
which of its expressions cannot work for what it matches."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from kubepy.api.errors import ApiError
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.interface import Client
from kubepy.controllers.kit.environment import Environment

if TYPE_CHECKING:
    from kubepy.api.cel.kind import Kind
    from kubepy.api.cel.typecheck import Type

POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False)


def controller(env: Environment) -> Controller:
    client = env.client_for("validatingadmissionpolicy-status-controller")
    policies = env.informers.informer(POLICIES).lister

    async def reconcile(key: str) -> float | None:
        policy = policies.get(key)
        if policy is None:
            return None
        status, generation = policy.get("status") or {}, policy["metadata"].get("generation")
        if status.get("observedGeneration") == generation and "typeChecking" in status:
            return None
        checking = await check(client, policy)
        await client.update(POLICIES, {**policy, "status": {**status, "observedGeneration": generation, "typeChecking": checking}},
                            subresource="status")
        return None

    return Controller("validatingadmissionpolicy_status", reconcile, (Watch(POLICIES),),
                      workers=env.options.concurrency("validating-admission-policy-status", 5))


async def check(client: Client, policy: Object) -> Object:
    """`status.typeChecking`; types that are not known are left out."""
    from kubepy.api.cel import typecheck  # takes a while to load, and most clusters have no policies

    types: list[tuple[Type, Kind]] = []
    for wanted in typecheck.matched(policy):
        name = await _kind_name(client, wanted.group, wanted.version, wanted.resource)
        found = typecheck.Type(wanted.group, wanted.version, name)
        if name and found not in [type_ for type_, _ in types] and (kind := await _kind(client, found)) is not None:
            types.append((found, kind))
        if len(types) == typecheck.MAX_TYPES:
            break
    params: Kind | None = None
    if (named := (policy.get("spec") or {}).get("paramKind")) is not None:
        group, _, version = str(named.get("apiVersion", "")).rpartition("/")
        params = await _kind(client, typecheck.Type(group, version, named.get("kind", "")))
    warnings = typecheck.warnings(policy, types, params)
    return {"expressionWarnings": warnings} if warnings else {}


async def _get(client: Client, path: str) -> Any:
    try:
        return orjson.loads(await client.raw("GET", path))
    except (ApiError, ValueError):
        return None


def _path(group: str, version: str) -> str:
    return f"apis/{quote(group)}/{quote(version)}" if group else f"api/{quote(version)}"


async def _kind_name(client: Client, group: str, version: str, resource: str) -> str:
    found = await _get(client, f"/{_path(group, version)}") or {}
    return next((str(item["kind"]) for item in found.get("resources") or () if item.get("name") == resource), "")


async def _kind(client: Client, type_: Type) -> Kind | None:
    """A built-in type, or that of a published schema."""
    from kubepy.api.cel import typecheck

    known = typecheck.builtin(type_)
    if known is not None:
        return known
    document = await _get(client, f"/openapi/v3/{_path(type_.group, type_.version)}") or {}
    for schema in ((document.get("components") or {}).get("schemas") or {}).values():
        if {"group": type_.group, "version": type_.version, "kind": type_.kind} in (schema.get("x-kubernetes-group-version-kind") or ()):
            return typecheck.custom(schema)
    return None
