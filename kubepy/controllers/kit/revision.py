"""ControllerRevisions: the templates a DaemonSet or StatefulSet has had (`pkg/controller/history`), for rollouts and undo."""
from __future__ import annotations

from collections.abc import Collection, Sequence

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.hash import compute, prune
from kubepy.api.pod import controller_uid
from kubepy.api.resource import CONTROLLER_REVISIONS, Resource
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.client.interface import Client
from kubepy.client.store import Store
from kubepy.controllers.kit.adoption import candidates, claim, owner_reference

HASH_LABEL = "controller-revision-hash"


def data_of(owner: Object) -> Object:
    """The patch that a revision stores: it replaces the template as a whole."""
    return {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    template = dict((revision.get("data") or {}).get("spec", {}).get("template") or {})
    template.pop("$patch", None)
    return template


def in_order(revisions: Sequence[Object]) -> list[Object]:
    return sorted(revisions, key=lambda item: (item.get("revision") or 0, item["metadata"].get("creationTimestamp") or "",
                                               item["metadata"]["name"]))


def hash_of(revision: Object) -> str:
    return str((revision["metadata"].get("labels") or {}).get(HASH_LABEL) or "")


class History:
    def __init__(self, client: Client, cache: Store, resource: Resource) -> None:
        self._client, self._cache, self._resource = client, cache, resource

    async def owned(self, owner: Object) -> list[Object]:
        """The owner's revisions, oldest first; orphans that match are adopted."""
        found = await claim(self._client, owner, self._resource, from_object(owner["spec"].get("selector")),
                            candidates(self._cache, owner), CONTROLLER_REVISIONS)
        return in_order(found)

    async def current(self, owner: Object, revisions: list[Object]) -> tuple[Object, int | None]:
        """The revision of the owner's template, made if it is new and moved to the end if it came back.

        Also returns the collision count when it has changed."""
        wanted = prune(data_of(owner))
        newest = revisions[-1].get("revision") or 0 if revisions else 0
        same = [item for item in revisions if prune(item.get("data")) == wanted]
        if same:
            found = same[-1]
            if found is not revisions[-1] and (found.get("revision") or 0) < newest:
                found = await self._client.update(CONTROLLER_REVISIONS, {**found, "revision": newest + 1})
            return found, None
        return await self._create(owner, newest + 1)

    async def _create(self, owner: Object, number: int) -> tuple[Object, int | None]:
        metadata = owner["metadata"]
        before = (owner.get("status") or {}).get("collisionCount")
        collisions = before
        while True:
            hashed = compute(data_of(owner), collisions)
            labels = {**((owner["spec"]["template"].get("metadata") or {}).get("labels") or {}), HASH_LABEL: hashed}
            body: Object = {
                "apiVersion": "apps/v1", "kind": "ControllerRevision",
                "metadata": {"name": f"{metadata['name']}-{hashed}", "namespace": metadata["namespace"], "labels": labels,
                             "annotations": _annotations(owner), "ownerReferences": [owner_reference(owner, self._resource)]},
                "data": data_of(owner), "revision": number}
            try:
                return await self._client.create(CONTROLLER_REVISIONS, body), collisions if collisions != before else None
            except AlreadyExists:
                present = await self._client.get(CONTROLLER_REVISIONS, body["metadata"]["name"], metadata["namespace"])
                if prune(present.get("data")) == prune(body["data"]) and controller_uid(present) == metadata["uid"]:
                    return present, None
                collisions = (collisions or 0) + 1

    async def truncate(self, owner: Object, revisions: Sequence[Object], live: Collection[str]) -> None:
        """Removes the oldest revisions beyond the history limit that no pod has; `live` are names or hashes."""
        limit = owner["spec"].get("revisionHistoryLimit")
        limit = 10 if limit is None else limit
        dead = [item for item in revisions if item["metadata"]["name"] not in live and hash_of(item) not in live]
        for item in dead[: max(len(dead) - limit, 0)]:
            try:
                await self._client.delete(CONTROLLER_REVISIONS, item["metadata"]["name"], item["metadata"]["namespace"])
            except NotFound:
                continue


def _annotations(owner: Object) -> dict[str, str]:
    skipped = ("kubectl.kubernetes.io/last-applied-configuration", "deprecated.daemonset.template.generation")
    return {key: value for key, value in (owner["metadata"].get("annotations") or {}).items() if key not in skipped}
