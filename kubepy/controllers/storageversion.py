"""Entries of API servers that are no more leave the StorageVersions (`pkg/controller/storageversiongc`).

A server is there as long as it has its identity lease in kube-system, which the API server itself is asked about before anything goes; a
StorageVersion without entries goes as a whole.
"""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.resource import LEASES, STORAGE_VERSIONS
from kubepy.api.storage_version import concluded
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment

NAMESPACE, LABEL, COMPONENT = "kube-system", "apiserver.kubernetes.io/identity", "kube-apiserver"
SELECTOR = f"{LABEL}={COMPONENT}"
log = get_logger("storageversion-garbage-collector")


def servers_of(version: Object) -> list[str]:
    return [entry["apiServerID"] for entry in (version.get("status") or {}).get("storageVersions") or ()]


def controller(env: Environment) -> Controller:
    client = env.client_for("storage-version-garbage-collector")
    versions = env.informers.informer(STORAGE_VERSIONS).lister
    leases = env.informers.informer(LEASES, NAMESPACE, label_selector=SELECTOR).lister

    async def is_gone(identity: str) -> bool:
        if leases.get(identity, NAMESPACE) is not None:
            return False
        try:
            lease = await client.get(LEASES, identity, NAMESPACE)
        except NotFound:
            return True
        return (lease["metadata"].get("labels") or {}).get(LABEL) != COMPONENT

    async def reconcile(name: str) -> float | None:
        cached = versions.get(name)
        if cached is None or not any([await is_gone(identity) for identity in servers_of(cached)]):
            return None
        try:
            version = await client.get(STORAGE_VERSIONS, name)
            status = version.get("status") or {}
            kept = [entry for entry in status.get("storageVersions") or () if not await is_gone(entry["apiServerID"])]
            if kept == (status.get("storageVersions") or []):
                return None
            if kept:
                fresh = concluded({**status, "storageVersions": kept}, format_time(env.clock.now()))
                await client.update(STORAGE_VERSIONS, {**version, "status": fresh}, subresource="status")
            else:
                await client.delete(STORAGE_VERSIONS, name, uid=version["metadata"]["uid"])
        except NotFound:
            return None
        log.v(2).info("Removed entries of API servers that are no more", storage_version=name, left=len(kept))
        return None

    def told_by(lease: Object) -> list[str]:
        return [version["metadata"]["name"] for version in versions.list() if lease["metadata"]["name"] in servers_of(version)]

    return Controller("storage_version_garbage_collector", reconcile, (
        Watch(STORAGE_VERSIONS),
        Watch(LEASES, namespace=NAMESPACE, label_selector=SELECTOR, keys=told_by, when=lambda old, new: new is None)))
