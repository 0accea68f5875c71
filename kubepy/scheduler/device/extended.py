"""Extended resources that drivers offer as devices (DRAExtendedResource): a container asks for `example.com/gpu: 2` as ever, a DeviceClass
says that it stands for that resource, and the scheduler makes the claim.

A node that offers the resource itself, through a device plugin, is as it always was; on the others the pod needs devices of the class.
Each class also stands for `deviceclass.resource.kubernetes.io/NAME`. Of several classes for one resource the newest counts.
Known difference: init containers share the devices of a container that asks for as many of the same, else they have their own.
"""
from __future__ import annotations

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.quantity import quantity
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.interface import Client
from kubepy.scheduler import metric
from kubepy.scheduler.device.claims import claims_resource
from kubepy.scheduler.device.state import Devices
from kubepy.scheduler.pod import Pod

log = get_logger("claims")
ANNOTATION = "resource.kubernetes.io/extended-resource-claim"


def claim_for(pod: Pod, resources: frozenset[str], devices: Devices) -> tuple[Object, list[Object]]:
    """The claim that the pod needs for these resources, not yet made, and which request in it is for which container and resource."""
    spec = (pod.raw or {}).get("spec") or {}
    requests: list[Object] = []
    mappings: list[Object] = []
    shared: dict[tuple[str, int], str] = {}
    init = spec.get("initContainers") or []
    brief = [container for container in init if container.get("restartPolicy") != "Always"]
    lasting = [container for container in (*init, *(spec.get("containers") or ())) if container not in brief]
    for container in (*lasting, *brief):
        asked = (container.get("resources") or {}).get("requests") or (container.get("resources") or {}).get("limits") or {}
        position = [*init, *(spec.get("containers") or ())].index(container)
        for number, resource in enumerate(sorted(resources & asked.keys())):
            count = quantity(asked[resource]).value()
            if not count:
                continue
            name = shared.get((resource, count)) if container in brief else None
            if name is None:
                name = f"container-{position}-request-{number}"
                shared.setdefault((resource, count), name)
                requests.append({"name": name, "exactly": {
                    "deviceClassName": devices.class_of(resource), "allocationMode": "ExactCount", "count": count}})
            mappings.append({"containerName": container["name"], "resourceName": resource, "requestName": name})
    metadata = {"generateName": f"{pod.name}-extended-resources-", "namespace": pod.namespace, "name": f"{pod.name}-extended-resources-?",
                "uid": f"extended/{pod.uid}", "annotations": {ANNOTATION: "true"}, "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid, "controller": True, "blockOwnerDeletion": True}]}
    return {"metadata": metadata, "spec": {"devices": {"requests": requests}}}, mappings


async def make(client: Client, version: str, claim: Object) -> Object:
    """Creates the claim that `claim_for` gave. Raises ApiError, ConnectionError."""
    resource = claims_resource(version)
    metadata = {key: value for key, value in claim["metadata"].items() if key not in ("name", "uid")}
    try:
        made = await client.create(resource, {"apiVersion": resource.api_version, "kind": "ResourceClaim", **claim, "metadata": metadata})
    except (ApiError, ConnectionError):
        metric.CLAIM_CREATES.labels("failure").inc()
        raise
    metric.CLAIM_CREATES.labels("success").inc()
    return made


async def note(client: Client, pod: Pod, name: str, mappings: list[Object]) -> None:
    """Tells the pod, and so its kubelet, which claim was made for it."""
    status = {"extendedResourceClaimStatus": {"resourceClaimName": name, "requestMappings": mappings}}
    await client.patch(PODS, pod.name, {"metadata": {"uid": pod.uid}, "status": status}, pod.namespace, subresource="status")


async def unmake(client: Client, version: str, claim: Object) -> None:
    """Deletes a claim whose pod does not go where it was made for."""
    metadata = claim["metadata"]
    resource = claims_resource(version)
    try:
        bare = {"metadata": {"finalizers": None}, "status": {"allocation": None, "reservedFor": None}}
        await client.patch(resource, metadata["name"], {"status": bare["status"]}, metadata["namespace"], subresource="status")
        await client.patch(resource, metadata["name"], {"metadata": bare["metadata"]}, metadata["namespace"])
        await client.delete(resource, metadata["name"], metadata["namespace"], uid=metadata["uid"])
    except NotFound:
        return
    except (ApiError, ConnectionError) as error:  # it goes with its pod
        log.warning("Cannot delete a claim", claim=f"{metadata['namespace']}/{metadata['name']}", err=error)
