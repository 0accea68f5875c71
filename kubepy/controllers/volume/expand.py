"""Expansion of claims (`pkg/controller/volume/expand`).

No volume plugin in the tree can be expanded: what a claim asks for beyond its volume is left to an external resizer (a CSI
driver's, or our local-path provisioner), and the claim says so.
"""
from __future__ import annotations

from kubepy.api.quantity import quantity
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.volume.match import asked_for

MESSAGE = ("waiting for an external controller to expand this PVC")


def wants_more(claim: Object) -> bool:
    status = claim.get("status") or {}
    return status.get("phase") == "Bound" and asked_for(claim) > quantity((status.get("capacity") or {}).get("storage"))


def controller(env: Environment) -> Controller:
    recorder = env.recorder("volume_expand", "expand-controller")
    claims = env.informers.informer(PERSISTENT_VOLUME_CLAIMS).lister
    volumes = env.informers.informer(PERSISTENT_VOLUMES).lister

    async def reconcile(key: str) -> float | None:
        namespace, name = split_key(key)
        claim = claims.get(name, namespace)
        if claim is not None and wants_more(claim) and volumes.get(claim["spec"].get("volumeName") or "") is not None:
            recorder.event(claim, "Normal", "ExternalExpanding", MESSAGE)
        return None

    def grew(old: Object | None, new: Object | None) -> bool:
        return new is not None and wants_more(new) and (old is None or asked_for(new) > asked_for(old))

    return Controller("volume_expand", reconcile, (Watch(PERSISTENT_VOLUME_CLAIMS, when=grew),
                                                   Watch(PERSISTENT_VOLUMES, keys=None)))
