"""Claims and their volumes: which volume a claim has, and that the claim's status tells when a larger volume has arrived."""
from __future__ import annotations

from collections.abc import Awaitable, Callable

from kubepy.api.errors import NotFound
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubepy.api.scheduling import amount
from kubepy.api.types import Object
from kubepy.client.events import Recorder
from kubepy.client.interface import Client
from kubepy.kubelet.volume.payload import PayloadError

_RESIZING = ("Resizing", "FileSystemResizePending", "ModifyVolumeError", "NodeResizeError", "ControllerResizeError")


async def bound(client: Client, namespace: str, name: str) -> tuple[Object, Object]:
    """(claim, volume). Raises PayloadError when it is not bound, ApiError."""
    try:
        claim = await client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace)
    except NotFound as error:
        raise PayloadError(f'error getting PVC "{namespace}/{name}": could not find v1.PersistentVolumeClaim') from error
    volume = claim["spec"].get("volumeName")
    if not volume or (claim.get("status") or {}).get("phase") != "Bound":
        raise PayloadError(f'PVC "{namespace}/{name}" is not bound')
    if claim["metadata"].get("deletionTimestamp") and not (claim["metadata"].get("finalizers") or ()):
        raise PayloadError(f'can\'t start pod because PVC "{namespace}/{name}" is being deleted')
    return claim, await client.get(PERSISTENT_VOLUMES, volume)


def grown(claim: Object, volume: Object) -> bool:
    """The volume has become larger than the claim's status says."""
    has = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return bool(has) and amount("storage", has) < amount("storage", (volume["spec"].get("capacity") or {}).get("storage", "0"))


async def finish_growth(client: Client, events: Recorder, pod: Object, claim: Object, volume: Object,
                        expand: Callable[[], Awaitable[bool]]) -> None:
    """Lets the driver grow the file system, then says so in the claim. Raises what `expand` raises."""
    if not await expand():
        return
    status = claim.get("status") or {}
    conditions = [entry for entry in status.get("conditions") or () if entry["type"] not in _RESIZING]
    patch: Object = {"capacity": {"storage": volume["spec"]["capacity"]["storage"]}, "conditions": conditions}
    if status.get("allocatedResourceStatuses"):
        patch["allocatedResourceStatuses"] = None
    metadata = claim["metadata"]
    await client.patch(PERSISTENT_VOLUME_CLAIMS, metadata["name"], {"status": patch}, metadata["namespace"], subresource="status")
    events.event(pod, "Normal", "FileSystemResizeSuccessful",
                 f'MountVolume.NodeExpandVolume succeeded for volume "{volume["metadata"]["name"]}"')
