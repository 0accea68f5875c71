"""Claims of dynamic resources on this node: made ready by their drivers before a pod's sandbox, given back after its end.

Follows upstream's DRA manager: what drivers have answered is kept in `dra_manager_state` until they have taken it back, whatever happens
to the kubelet; a claim that several pods share is prepared once and unprepared with the last of them. A driver that goes away has its
ResourceSlices removed after half a minute. Known difference: the state file is ours (upstream's has a checksum of Go's own making).
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import RESOURCE_CLAIMS, RESOURCE_SLICES
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.interface import Client
from kubepy.kubelet.checkpoint import Checkpoint
from kubepy.kubelet.device import podresources_pb2 as podresources
from kubepy.kubelet.dra import dra_pb2 as pb
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.rpc import PluginSocket, RpcError

log = get_logger("dra")
_SERVICE, _VERSION = "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin", "v1.DRAPlugin"
_CALL, _WIPE = 45.0, 30.0


EXTENDED = ""
"""Stands for the pod's name of the claim that the scheduler made for extended resources which drivers serve."""


class ClaimError(Exception):
    """A claim that is not ready; the message is part of the FailedPrepareDynamicResources event."""


@dataclass(slots=True)
class Claim:
    """A claim this node has, and what its drivers answered for it."""

    namespace: str
    name: str
    uid: str
    pods: set[str] = field(default_factory=set)
    drivers: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    """By driver: devices as {requests, pool, device, cdi}."""
    prepared: bool = False


def claim_names(pod: Object) -> dict[str, str | None]:
    """By the pod's name for it, the claim's own name; None for one whose template made none. Raises ClaimError."""
    status = pod.get("status") or {}
    made = {entry["name"]: entry.get("resourceClaimName") for entry in status.get("resourceClaimStatuses") or ()}
    found: dict[str, str | None] = {}
    for entry in pod["spec"].get("resourceClaims") or ():
        name = entry["name"]
        if entry.get("resourceClaimName"):
            found[name] = entry["resourceClaimName"]
        elif name not in made:
            raise ClaimError(f"resource claim {name} for pod {podspec.describe(pod)} is not created yet")
        else:
            found[name] = made[name]
    if extended := status.get("extendedResourceClaimStatus"):
        found[EXTENDED] = extended["resourceClaimName"]
    return found


def wanted_of(pod: Object) -> bool:
    """The pod has claims of its own, or one that the scheduler made for its extended resources."""
    return bool(pod["spec"].get("resourceClaims") or (pod.get("status") or {}).get("extendedResourceClaimStatus"))


class Claims:
    """Both the plugins' handler and the pods' manager."""

    kind = "DRAPlugin"

    def __init__(self, root: str, client: Client, node_name: str, clock: Clock, changed: Callable[[], None]) -> None:
        self._client = client
        self._node_name = node_name
        self._clock = clock
        self._changed = changed
        self.checkpoint = Checkpoint(Path(root, "dra_manager_state"))
        self._drivers: dict[str, PluginSocket] = {}
        self._claims: dict[str, Claim] = {}
        """By namespace/name."""
        self._turn = asyncio.Lock()
        self._tasks = Tasks("dra", clock)

    # --- drivers ---

    def ready(self) -> bool:
        return True

    def refuse(self, name: str, versions: Sequence[str]) -> str:
        return "" if _VERSION in versions else f"none of the DRA driver's versions is supported: {list(versions)}"

    async def add(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        if (old := self._drivers.pop(name, None)) is not None:
            await old.close()
        self._drivers[name] = PluginSocket(endpoint)

    async def added(self, name: str) -> None:
        self._changed()

    async def remove(self, name: str) -> None:
        if (socket := self._drivers.pop(name, None)) is not None:
            await socket.close()
            self._tasks.start(self._wipe(name), f"wipe/{name}")

    async def _wipe(self, driver: str) -> None:
        """Nobody shall schedule to devices whose driver is gone."""
        await self._clock.sleep(_WIPE)
        if driver in self._drivers:
            return
        try:
            await self._client.delete_collection(RESOURCE_SLICES, field_selector=f"spec.nodeName={self._node_name},spec.driver={driver}")
            log.info("Resource slices removed: their driver is gone", driver=driver)
        except (ApiError, ConnectionError) as error:
            log.warning("Resource slices of a driver that is gone are still there", driver=driver, err=error)

    # --- pods ---

    async def prepare(self, pod: Object) -> None:
        """Makes the pod's claims ready. Raises ClaimError, ApiError, ConnectionError."""
        uid = podspec.uid_of(pod)
        namespace = pod["metadata"].get("namespace") or "default"
        async with self._turn:
            for name in claim_names(pod).values():
                if name is None:
                    continue
                held = self._claims.get(f"{namespace}/{name}")
                if held is not None and held.prepared and uid in held.pods:
                    continue
                try:
                    found = await self._client.get(RESOURCE_CLAIMS, name, namespace)
                except NotFound as error:
                    raise ClaimError(f"fetch ResourceClaim {name} referenced by pod {pod['metadata']['name']}: {error.message}") from error
                await self._prepare(pod, found)

    async def _prepare(self, pod: Object, found: Object) -> None:
        metadata, status = found["metadata"], found.get("status") or {}
        key, uid = f"{metadata['namespace']}/{metadata['name']}", podspec.uid_of(pod)
        if not any(entry.get("uid") == uid for entry in status.get("reservedFor") or ()):
            raise ClaimError(f"pod {pod['metadata']['name']} ({uid}) is not allowed to use ResourceClaim {metadata['name']} "
                             f"({metadata['uid']})")
        if status.get("allocation") is None:
            raise ClaimError(f"ResourceClaim {metadata['name']} has no allocation")
        held = self._claims.get(key)
        if held is not None and held.uid != metadata["uid"]:
            raise ClaimError(f"old ResourceClaim with same name {metadata['name']} and different UID {held.uid} still exists")
        if held is None:
            held = self._claims[key] = Claim(metadata["namespace"], metadata["name"], metadata["uid"])
        held.pods.add(uid)
        results = ((status["allocation"].get("devices") or {}).get("results")) or ()
        for driver in sorted({entry["driver"] for entry in results}):
            held.drivers.setdefault(driver, [])
        self.checkpoint.save(self._state())  # before the drivers are asked, so that they are asked to take it back in any case
        if held.prepared:
            return
        for driver in held.drivers:
            held.drivers[driver] = [
                {"requests": list(device.request_names), "pool": device.pool_name, "device": device.device_name,
                 "cdi": list(device.cdi_device_ids)} for device in await self._ask(driver, held)]
        held.prepared = True
        self.checkpoint.save(self._state())
        log.info("Claim prepared", claim=key, drivers=sorted(held.drivers))

    def _socket(self, driver: str) -> PluginSocket:
        socket = self._drivers.get(driver)
        if socket is None:
            raise ClaimError(f"DRA driver {driver} is not registered")
        return socket

    async def _ask(self, driver: str, claim: Claim) -> Sequence[pb.Device]:
        request = pb.NodePrepareResourcesRequest(claims=[pb.Claim(namespace=claim.namespace, uid=claim.uid, name=claim.name)])
        try:
            answer = await self._socket(driver).call(f"/{_SERVICE}/NodePrepareResources", request, pb.NodePrepareResourcesResponse, _CALL)
        except RpcError as error:
            raise ClaimError(f"NodePrepareResources: {error}") from error
        if claim.uid not in answer.claims:
            raise ClaimError("NodePrepareResources left out 1 claims")
        one = answer.claims[claim.uid]
        if one.error:
            raise ClaimError(f"NodePrepareResources failed for claim {claim.namespace}/{claim.name}: {one.error}")
        return list(one.devices)

    async def unprepare(self, uid: str) -> None:
        """The pod has ended: gives back what no other pod uses. Raises ClaimError."""
        if not any(uid in claim.pods for claim in self._claims.values()):
            return
        async with self._turn:
            for key, claim in list(self._claims.items()):
                if uid not in claim.pods:
                    continue
                if claim.pods == {uid}:
                    for driver in claim.drivers:
                        await self._give_back(driver, claim)
                    del self._claims[key]
                    log.info("Claim given back", claim=key)
                else:
                    claim.pods.discard(uid)
                self.checkpoint.keep(self._state())

    async def _give_back(self, driver: str, claim: Claim) -> None:
        request = pb.NodeUnprepareResourcesRequest(claims=[pb.Claim(namespace=claim.namespace, uid=claim.uid, name=claim.name)])
        try:
            answer = await self._socket(driver).call(f"/{_SERVICE}/NodeUnprepareResources", request, pb.NodeUnprepareResourcesResponse,
                                                     _CALL)
        except RpcError as error:
            raise ClaimError(f"NodeUnprepareResources: {error}") from error
        if answer.claims[claim.uid].error:
            raise ClaimError(f"NodeUnprepareResources failed for claim {claim.namespace}/{claim.name}: {answer.claims[claim.uid].error}")

    def stale(self, known: Callable[[str], bool]) -> list[str]:
        """Pods that have claims but are not there any more."""
        return sorted({uid for claim in self._claims.values() for uid in claim.pods if not known(uid)})

    # --- containers ---

    def devices(self, pod: Object, container: Object) -> list[tuple[Claim, str, dict[str, object]]]:
        """What the container has of its pod's claims: (claim, driver, device)."""
        wanted = [(entry["name"], entry.get("request") or "") for entry in (container.get("resources") or {}).get("claims") or ()]
        mapped = ((pod.get("status") or {}).get("extendedResourceClaimStatus") or {}).get("requestMappings") or ()
        wanted += [(EXTENDED, entry["requestName"]) for entry in mapped if entry["containerName"] == container["name"]]
        if not wanted:
            return []
        names, namespace = claim_names(pod), pod["metadata"].get("namespace") or "default"
        found = []
        for name, request in wanted:
            claim = self._claims.get(f"{namespace}/{names.get(name)}")
            for driver, devices in (claim.drivers.items() if claim is not None else ()):
                for device in devices:
                    requests = [str(entry).partition("/")[0] for entry in device["requests"]]  # type: ignore[attr-defined]
                    if claim is not None and (not request or not requests or request in requests):
                        found.append((claim, driver, device))
        return found

    def cdi_devices(self, pod: Object, container: Object) -> list[str]:
        """The runtime's names of them, each once."""
        return list(dict.fromkeys(name for _, _, device in self.devices(pod, container) for name in device["cdi"]))  # type: ignore[attr-defined]

    def described(self, pod: Object, container: Object) -> list[podresources.DynamicResource]:
        """For the pod-resources API."""
        found: dict[str, podresources.DynamicResource] = {}
        for claim, driver, device in self.devices(pod, container):
            entry = found.setdefault(claim.name, podresources.DynamicResource(claim_name=claim.name, claim_namespace=claim.namespace))
            entry.claim_resources.append(podresources.ClaimResource(
                cdi_devices=[podresources.CDIDevice(name=str(name)) for name in device["cdi"]],  # type: ignore[attr-defined]
                driver_name=driver, pool_name=str(device["pool"]), device_name=str(device["device"])))
        return list(found.values())

    # --- state ---

    def load(self) -> None:
        try:
            for entry in (self.checkpoint.load() or {"claims": ()})["claims"]:
                claim = Claim(entry["namespace"], entry["name"], entry["uid"], set(entry["pods"]), entry["drivers"], entry["prepared"])
                self._claims[f"{claim.namespace}/{claim.name}"] = claim
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("The state of claims cannot be read and is begun anew", path=str(self.checkpoint.path), err=error)

    def _state(self) -> Object:
        return {"claims": [{"namespace": claim.namespace, "name": claim.name, "uid": claim.uid, "pods": sorted(claim.pods),
                            "drivers": claim.drivers, "prepared": claim.prepared} for claim in self._claims.values()]}

    async def stop(self) -> None:
        await self._tasks.stop()
        for socket in self._drivers.values():
            await socket.close()
