"""Who owns whom, over every resource. Pure: changes go in, the UIDs that need a look come out.

Where upstream keeps virtual nodes for owners not seen yet, dependents are simply indexed by their owner's UID; whether an
absent owner really does not exist is asked of the API server when a dependent is looked at.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from kubepy.api.resource import Resource
from kubepy.api.types import Object

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_NOTHING: frozenset[str] = frozenset()


@dataclass(slots=True)
class Node:
    resource: Resource
    namespace: str
    name: str
    uid: str
    owners: Sequence[Object] = ()
    finalizers: Sequence[str] = ()
    deleting: bool = False

    @property
    def deletes_dependents(self) -> bool:
        """It waits for its dependents to go first."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        return self.deleting and ORPHAN in self.finalizers

    def blocks(self, owner: str) -> bool:
        return any(ref["uid"] == owner and ref.get("blockOwnerDeletion") for ref in self.owners)


@dataclass(slots=True)
class Graph:
    nodes: dict[str, Node] = field(default_factory=dict)
    _dependents: dict[str, set[str]] = field(default_factory=dict)

    def dependents(self, uid: str) -> list[Node]:
        return [self.nodes[item] for item in self._dependents.get(uid, ())]

    def blocking(self, uid: str) -> list[Node]:
        """The dependents that an owner deleted in the foreground waits for."""
        return [node for node in self.dependents(uid) if node.blocks(uid)]

    def put(self, resource: Resource, obj: Object) -> AbstractSet[str]:
        """An object was added or changed. Returns the UIDs to look at."""
        metadata = obj["metadata"]
        old = self.nodes.get(metadata["uid"])
        owners = metadata.get("ownerReferences") or ()
        finalizers = metadata.get("finalizers") or ()
        deleting = "deletionTimestamp" in metadata
        if old is not None and old.deleting is deleting and old.owners == owners and old.finalizers == finalizers:
            return _NOTHING
        new = Node(resource, metadata.get("namespace") or "", metadata["name"], metadata["uid"], owners, finalizers, deleting)
        self.nodes[new.uid] = new
        before = {ref["uid"] for ref in old.owners} if old is not None else set()
        after = {ref["uid"] for ref in new.owners}
        for owner in before - after:
            self._unlink(owner, new.uid)
        for owner in after - before:
            self._dependents.setdefault(owner, set()).add(new.uid)
        found: set[str] = set()
        if (old is None or before != after) and (before - after or any(self._calls(owner) for owner in after)):
            found.add(new.uid)
        if new.deletes_dependents and not (old is not None and old.deletes_dependents):
            found |= {new.uid, *self._dependents.get(new.uid, ())}
        if new.orphans_dependents:
            found.add(new.uid)
        # an owner that waits may be free of this one now
        changed = before | after if old is not None else set()
        for owner in changed:
            waits = self.nodes.get(owner)
            if waits is not None and waits.deletes_dependents and not new.blocks(owner):
                found.add(owner)
        return found

    def remove(self, uid: str) -> set[str]:
        """An object has gone. Its dependents, and owners that waited for it, want a look."""
        node = self.nodes.pop(uid, None)
        if node is None:
            return set()
        found = set(self._dependents.get(uid, ()))
        for ref in node.owners:
            self._unlink(ref["uid"], uid)
            owner = self.nodes.get(ref["uid"])
            if owner is not None and owner.deletes_dependents:
                found.add(owner.uid)
        return found

    def unsettled(self) -> set[str]:
        """Everything that may need work, for a start without history."""
        return {node.uid for node in self.nodes.values()
                if node.deletes_dependents or node.orphans_dependents or any(self._calls(ref["uid"]) for ref in node.owners)}

    def of(self, resource: Resource) -> Iterable[str]:
        return [uid for uid, node in self.nodes.items() if node.resource == resource]

    def _calls(self, owner: str) -> bool:
        """An owner that is absent or deletes its dependents makes them want a look."""
        node = self.nodes.get(owner)
        return node is None or node.deletes_dependents

    def _unlink(self, owner: str, dependent: str) -> None:
        found = self._dependents.get(owner)
        if found is not None:
            found.discard(dependent)
            if not found:
                del self._dependents[owner]
