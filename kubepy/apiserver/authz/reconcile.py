"""Puts the bootstrap roles and bindings in place at start, adding what is missing of them (`rbac/rest` post-start hook).

An object annotated `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone; what an administrator added stays.
"""
from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.authz import bootstrap
from kubepy.apiserver.authz.rule import uncovered
from kubepy.apiserver.storage.interface import Entry, ResourceStore
from kubepy.base.clock import Clock, format_time
from kubepy.base.gate import DEFAULT, Gates
from kubepy.base.log import get_logger

log = get_logger("rbac-bootstrap")


async def reconcile_bootstrap(stores: Mapping[Resource, ResourceStore], clock: Clock, features: Gates = DEFAULT) -> None:
    """Idempotent, and safe when several servers do it at once. The namespaces kube-system and kube-public need not exist yet."""
    for resource, objects in ((CLUSTER_ROLES, bootstrap.cluster_roles(features)),
                              (CLUSTER_ROLE_BINDINGS, bootstrap.cluster_role_bindings(features)),
                              (ROLES, bootstrap.roles()), (ROLE_BINDINGS, bootstrap.role_bindings())):
        await stores[resource].ready()  # what is there already need not be asked for one by one
        await asyncio.gather(*(_ensure(stores[resource], obj, clock) for obj in objects))


async def _ensure(store: ResourceStore, wanted: Object, clock: Clock) -> None:
    namespace, name = wanted["metadata"].get("namespace", ""), wanted["metadata"]["name"]
    current = store.cached(namespace, name)
    if current is None:
        try:
            await store.create(namespace, name, _stamped(wanted, clock))
            log.v(2).info("Created bootstrap object", kind=wanted["kind"], namespace=namespace, name=name)
            return
        except AlreadyExists:
            current = await store.get(namespace, name)
    have = current.decode()
    merged = merge(have, wanted)
    if merged is None:
        return
    if have.get("roleRef") != merged.get("roleRef"):  # a roleRef cannot change: the binding is made anew
        with contextlib.suppress(NotFound):
            await store.delete(namespace, name)
        await store.create(namespace, name, _stamped(merged, clock))
    else:
        await store.update(namespace, name, lambda entry: _change(entry, wanted))
    log.info("Reconciled bootstrap object", kind=wanted["kind"], namespace=namespace, name=name)


async def _change(entry: Entry, wanted: Object) -> Object:
    have = entry.decode()
    merged = merge(have, wanted) or have
    merged["metadata"].pop("resourceVersion", None)
    return merged


def merge(have: Object, wanted: Object) -> Object | None:
    """The object with what is missing of the wanted one; None when nothing is."""
    metadata = have["metadata"]
    if (metadata.get("annotations") or {}).get(bootstrap.AUTOUPDATE) == "false":
        return None
    result = {**have, "metadata": dict(metadata)}
    for field in ("labels", "annotations"):
        result["metadata"][field] = {**wanted["metadata"][field], **(metadata.get(field) or {})}
    if "aggregationRule" in wanted:
        selectors = (have.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        missing = [item for item in wanted["aggregationRule"]["clusterRoleSelectors"] if item not in selectors]
        if missing:
            result["aggregationRule"] = {"clusterRoleSelectors": [*selectors, *missing]}
    elif "rules" in wanted and (parts := uncovered(have.get("rules") or [], wanted["rules"])):
        result["rules"] = [*(have.get("rules") or []), *parts]
    if "roleRef" in wanted:
        result["roleRef"] = wanted["roleRef"]
        subjects = have.get("subjects") or []
        missing = [item for item in wanted.get("subjects") or [] if not any(_same_subject(item, other) for other in subjects)]
        if missing:
            result["subjects"] = [*subjects, *missing]
    return None if result == have else result


def _same_subject(one: Object, other: Object) -> bool:
    return all(one.get(field, "") == other.get(field, "") for field in ("kind", "name", "namespace"))


def _stamped(obj: Object, clock: Clock) -> Object:
    metadata = {**obj["metadata"], "uid": str(uuid.uuid4()), "creationTimestamp": format_time(clock.now())}
    metadata.pop("resourceVersion", None)
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata,
            **{key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}}
