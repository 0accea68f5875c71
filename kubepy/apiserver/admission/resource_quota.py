"""ResourceQuota: charges what a request adds to the quotas of its namespace, and refuses what exceeds one.

Source: `k8s.io/apiserver/pkg/admission/plugin/resourcequota`. A quota is charged by compare-and-swap on its status, and the check is made
again on the very object that is written, so concurrent requests in any number of processes never pass together what only one may.
When a later quota refuses, what was charged to earlier ones is given back at once (upstream leaves it to the quota controller).
"""
from __future__ import annotations

from kubepy.api import quota
from kubepy.api.errors import BadRequest, NotFound
from kubepy.api.quantity import quantity
from kubepy.api.quota import Usage
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, SERVICES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.storage.interface import Entry

_UNCOUNTED = frozenset({"events", "localsubjectaccessreviews", "bindings"})


class ResourceQuota(Plugin):
    name = "ResourceQuota"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        if not resource.namespaced or resource.plural in _UNCOUNTED:
            return False
        if operation == "CREATE":
            return subresource == ""
        if operation != "UPDATE":
            return False
        if same(resource, PODS):
            return subresource == "resize"
        return subresource == "" and (same(resource, SERVICES) or same(resource, PERSISTENT_VOLUME_CLAIMS))

    async def admit_valid(self, attributes: Attributes) -> None:
        obj = attributes.obj
        if obj is None:
            return
        store = self.services.store(RESOURCE_QUOTAS)
        page = await store.list(attributes.namespace, resource_version="0")
        if not page.entries:
            return
        resource = attributes.context.kind.resource
        interesting: list[Entry] = []
        for entry in page.entries:
            if self._is_interesting(attributes, resource, entry.decode(), obj):
                interesting.append(entry)
        if not interesting:
            return
        delta = _delta(attributes, resource, obj)
        if not delta:
            return
        for entry in interesting:
            charge(attributes, entry.decode(), delta)
        if not attributes.context.dry_run:
            await self._charge_all(attributes, interesting, delta)

    def _is_interesting(self, attributes: Attributes, resource: Resource, found: Object, obj: Object) -> bool:
        """Whether a quota counts the object; refuses when it does and cannot say how much."""
        status = found.get("status") or {}
        names = quota.covers(resource, status.get("hard") or {})
        if not names or not quota.matches_scopes(found.get("spec") or {}, resource, obj):
            return False
        name = found["metadata"]["name"]
        if same(resource, PODS) and (missing := quota.missing_requirements(obj, names)):
            raise refuse(attributes, f"failed quota: {name}: must specify {missing}")
        used = status.get("used") or {}
        unknown = [item for item in names if item not in used]
        if unknown:
            raise refuse(attributes, f"status unknown for quota: {name}, resources: {','.join(unknown)}")
        return True

    async def _charge_all(self, attributes: Attributes, entries: list[Entry], delta: Usage) -> None:
        store = self.services.store(RESOURCE_QUOTAS)
        charged: list[Entry] = []
        try:
            for entry in entries:
                async def change(current: Entry) -> Object:
                    found = current.decode()
                    return charge(attributes, found, delta) or found

                try:
                    _, written = await store.update(entry.namespace, entry.name, change)
                except NotFound:  # a quota that has just been deleted limits nothing
                    continue
                if written:
                    charged.append(entry)
        except BaseException:
            for entry in charged:
                await self._give_back(entry, delta)
            raise

    async def _give_back(self, entry: Entry, delta: Usage) -> None:
        async def change(current: Entry) -> Object:
            found = current.decode()
            status = dict(found.get("status") or {})
            status["used"] = {name: str(quantity(value) - delta[name]) if name in delta else value
                              for name, value in (status.get("used") or {}).items()}
            return {**found, "status": status}

        await self.services.store(RESOURCE_QUOTAS).update(entry.namespace, entry.name, change)


def charge(attributes: Attributes, found: Object, delta: Usage) -> Object | None:
    """The quota with `delta` added to what is used, or None when it counts none of it. Raises Forbidden when that exceeds it."""
    status = found.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    wanted = {name: value for name, value in delta.items() if name in hard}
    if not wanted:
        return None
    total = {name: quantity(used.get(name)) + value for name, value in wanted.items()}
    exceeded = sorted(name for name, value in total.items() if value > quantity(hard[name]) and wanted[name].sign() > 0)
    if exceeded:
        asked, have, limit = (",".join(f"{name}={values[name]}" for name in exceeded) for values in (wanted, used, hard))
        raise refuse(attributes, f"exceeded quota: {found['metadata']['name']}, requested: {asked}, used: {have}, limited: {limit}")
    return {**found, "status": {**status, "used": {**used, **{name: str(value) for name, value in total.items()}}}}


def _delta(attributes: Attributes, resource: Resource, obj: Object) -> Usage:
    """What the request adds; what it gives back is left to the quota controller."""
    usage = quota.usage(resource, obj)
    if negative := sorted(name for name, value in usage.items() if value.sign() < 0):
        raise BadRequest(f"quota usage is negative for resource(s): {','.join(negative)}")
    if attributes.operation == "UPDATE" and attributes.old is not None:
        before = quota.usage(resource, attributes.old)
        usage = {name: value - before[name] if name in before else value for name, value in usage.items()}
    return {name: value for name, value in usage.items() if value.sign() > 0}
