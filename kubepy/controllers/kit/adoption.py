"""Which objects belong to a controller (`controller.*ControllerRefManager`).

Owned and matching: kept. Owned and no longer matching: released. Orphaned and matching: adopted, after a fresh read has
shown that the controller is not being deleted. Owned by another: left alone.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kubepy.api.errors import Invalid, NotFound
from kubepy.api.pod import controller_of
from kubepy.api.resource import Resource
from kubepy.api.selector import LabelSelector
from kubepy.api.types import Object
from kubepy.client.interface import Client
from kubepy.client.store import Store


class Claim(NamedTuple):
    kept: list[Object]
    release: list[Object]
    adopt: list[Object]


def owner_reference(owner: Object, resource: Resource) -> Object:
    """The controller reference that makes an object `owner`'s."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            "controller": True, "blockOwnerDeletion": True}


def index_by_controller(store: Store) -> None:
    """Adds the index that `candidates` uses."""
    store.add_index("controller", _controller_values)


def candidates(store: Store, owner: Object) -> list[Object]:
    """What the owner has and what it might adopt, without looking at everything in the namespace."""
    metadata = owner["metadata"]
    return [*store.by_index("controller", metadata["uid"]), *store.by_index("controller", f"orphan/{metadata.get('namespace', '')}")]


def plan_claim(owner: Object, selector: LabelSelector, objects: Iterable[Object]) -> Claim:
    uid = owner["metadata"]["uid"]
    leaving = owner["metadata"].get("deletionTimestamp") is not None
    claim = Claim([], [], [])
    for obj in objects:
        metadata = obj["metadata"]
        reference = controller_of(obj)
        matching = selector.matches(metadata.get("labels"))
        if reference is not None:
            if reference["uid"] == uid:
                if matching:
                    claim.kept.append(obj)
                elif not leaving:
                    claim.release.append(obj)
        elif matching and not leaving and metadata.get("deletionTimestamp") is None:
            claim.adopt.append(obj)
    return claim


async def claim(client: Client, owner: Object, owner_resource: Resource, selector: LabelSelector, objects: Iterable[Object],
                resource: Resource) -> list[Object]:
    """Adopts and releases as planned; returns the objects that are the owner's now. Raises what the API raises."""
    plan = plan_claim(owner, selector, objects)
    mine = plan.kept
    for obj in plan.release:
        uid = owner["metadata"]["uid"]
        await _set_owners(client, resource, obj, [ref for ref in obj["metadata"]["ownerReferences"] if ref["uid"] != uid])
    if plan.adopt:
        metadata = owner["metadata"]
        try:
            fresh = await client.get(owner_resource, metadata["name"], metadata.get("namespace"))
        except NotFound:
            return mine
        if fresh["metadata"]["uid"] != metadata["uid"] or fresh["metadata"].get("deletionTimestamp") is not None:
            return mine
        for obj in plan.adopt:
            owners = [*(obj["metadata"].get("ownerReferences") or ()), owner_reference(owner, owner_resource)]
            if (adopted := await _set_owners(client, resource, obj, owners)) is not None:
                mine.append(adopted)
    return mine


async def _set_owners(client: Client, resource: Resource, obj: Object, owners: list[Object]) -> Object | None:
    metadata = obj["metadata"]
    change = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "ownerReferences": owners or None}}
    try:
        return await client.patch(resource, metadata["name"], change, metadata.get("namespace"))
    except (NotFound, Invalid):  # gone, or replaced by another of the same name
        return None


def _controller_values(obj: Object) -> tuple[str, ...]:
    reference = controller_of(obj)
    return (reference["uid"] if reference else f"orphan/{obj['metadata'].get('namespace', '')}",)
