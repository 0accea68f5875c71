"""Writes what the scheduler decides to ResourceClaims: allocation and consumers (`status.allocation`, `status.reservedFor`)."""
from __future__ import annotations

from typing import Any

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.base.clock import Clock, format_time
from kubepy.base.log import get_logger
from kubepy.client.interface import Client
from kubepy.scheduler.device.state import Devices
from kubepy.scheduler.framework import NotBound, Rejected
from kubepy.scheduler.pod import Pod

log = get_logger("claims")
MAX_RESERVED = 256
FINALIZER = "resource.kubernetes.io/delete-protection"
TRIES = 5


def claims_resource(version: str) -> Resource:
    return Resource("resource.k8s.io", version, "resourceclaims", "ResourceClaim", True)


def reserved_for(claim: Object, pod: Pod) -> bool:
    return any(entry.get("uid") == pod.uid for entry in (claim.get("status") or {}).get("reservedFor") or ())


async def reserve(client: Client, version: str, claim: Object, pod: Pod, allocation: Object | None, clock: Clock) -> Object:
    """Writes an allocation (None: there is one) and the pod as its consumer; the claim as written. Raises NotBound when another
    allocation was written meanwhile, ApiError or ConnectionError when the server refuses."""
    resource = claims_resource(version)
    named = f"claim {claim['metadata']['namespace']}/{claim['metadata']['name']}"
    for attempt in range(TRIES):
        try:
            if attempt:
                claim = await _fresh(client, resource, claim)
            status = dict(claim.get("status") or {})
            if allocation is not None:
                if status.get("allocation") is not None and status["allocation"] != allocation:
                    raise NotBound(f"{named} got allocated elsewhere in the meantime")
                if FINALIZER not in (claim["metadata"].get("finalizers") or ()):
                    metadata = {**claim["metadata"], "finalizers": [*(claim["metadata"].get("finalizers") or ()), FINALIZER]}
                    claim = await client.update(resource, _whole({**claim, "metadata": metadata}, resource))
                status["allocation"] = {"allocationTimestamp": format_time(clock.now()), **allocation}
            elif status.get("allocation") is None:
                raise NotBound(f"{named} is not allocated any more")
            if reserved_for(claim, pod) and allocation is None:
                return claim
            if len(status.get("reservedFor") or ()) >= MAX_RESERVED:
                raise Rejected("resourceclaim in use")
            status["reservedFor"] = [*(status.get("reservedFor") or ()), {"resource": "pods", "name": pod.name, "uid": pod.uid}]
            return await client.update(resource, _whole({**claim, "status": status}, resource), subresource="status")
        except Conflict:
            continue
        except ConnectionError:
            claim = await _fresh(client, resource, claim)  # perhaps it was written
            if reserved_for(claim, pod):
                return claim
    raise NotBound(f"{named} changes too often")


async def _fresh(client: Client, resource: Resource, claim: Object) -> Object:
    metadata = claim["metadata"]
    found = await client.get(resource, metadata["name"], metadata["namespace"])
    if found["metadata"]["uid"] != metadata["uid"] or found["metadata"].get("deletionTimestamp") is not None:
        raise NotBound(f"claim {metadata['namespace']}/{metadata['name']} got deleted in the meantime")
    return found


async def deallocate(client: Client, version: str, claim: Object) -> Object:
    """Takes a claim's devices away; the claim as written."""
    resource = claims_resource(version)
    status = {key: value for key, value in (claim.get("status") or {}).items() if key not in ("allocation", "reservedFor", "devices")}
    return await client.update(resource, _whole({**claim, "status": status}, resource), subresource="status")


async def give_back(client: Client, devices: Devices, claim: Object, pod: Pod) -> None:
    """Takes the pod off a claim's consumers; the devices stay allocated, for it or another to use."""
    metadata = claim["metadata"]
    change: Any = {"metadata": {"uid": metadata["uid"]}, "status": {"reservedFor": [{"$patch": "delete", "uid": pod.uid}]}}
    try:
        written = await client.patch(claims_resource(devices.version), metadata["name"], change, metadata["namespace"], type="strategic",
                                     subresource="status")
        devices.assume(f"{metadata['namespace']}/{metadata['name']}", written)
    except NotFound:
        return
    except (ApiError, ConnectionError) as error:  # the controller finds out when the pod is gone
        log.warning("Cannot give a claim back", claim=f"{metadata['namespace']}/{metadata['name']}", err=error)


async def wait_ready(client: Client, devices: Devices, key: str, clock: Clock, seconds: float) -> None:
    """Waits until drivers say that the devices are ready for binding (`bindingConditions`), where they want to be waited for; a failure
    or too long a wait gives the devices back and raises Rejected."""
    ends = clock.monotonic() + seconds
    while True:
        claim = devices.claim(key)
        allocation = ((claim or {}).get("status") or {}).get("allocation")
        if claim is None or allocation is None:
            raise Rejected(f"claim {key} lost its allocation")
        needed = [r for r in (allocation.get("devices") or {}).get("results") or () if r.get("bindingConditions")]
        ready = True
        for result in needed:
            conditions = _conditions(claim, result)
            if any(conditions.get(name) == "True" for name in result.get("bindingFailureConditions") or ()):
                devices.assume(key, await deallocate(client, devices.version, claim))
                raise Rejected(f"claim {key} binding failed")
            ready = ready and all(conditions.get(name) == "True" for name in result["bindingConditions"])
        if ready:
            return
        if clock.monotonic() > ends:
            devices.assume(key, await deallocate(client, devices.version, claim))
            raise Rejected(f"claim {key} binding timeout")
        await clock.sleep(0.2)


def _conditions(claim: Object, result: Object) -> dict[str, str]:
    for device in claim["status"].get("devices") or ():
        if all(device.get(name) == result.get(name) for name in ("driver", "pool", "device")):
            return {condition["type"]: condition.get("status", "") for condition in device.get("conditions") or ()}
    return {}


def _whole(claim: Object, resource: Resource) -> Object:
    return {"apiVersion": resource.api_version, "kind": "ResourceClaim", **claim}
