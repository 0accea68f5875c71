"""What the scheduler knows of storage: claims, volumes, classes; which volume a claim would get on which nodes. Values only.

`reserved` are the volumes promised to claims whose pods are being bound, so that two pods never count on the same one."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from kubepy.api import scheduling
from kubepy.api.types import Object
from kubepy.scheduler.pod import Pod

SELECTED_NODE = "volume.kubernetes.io/selected-node"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class Changed(Protocol):
    """An event, as far as it matters here."""

    @property
    def new(self) -> Any: ...


@dataclass(slots=True)
class Volumes:
    """By key (claims: `namespace/name`) or name."""

    claims: dict[str, Object] = field(default_factory=dict)
    volumes: dict[str, Object] = field(default_factory=dict)
    classes: dict[str, Object] = field(default_factory=dict)
    drivers: dict[str, Object] = field(default_factory=dict)
    """CSIDrivers."""
    capacities: dict[str, Object] = field(default_factory=dict)
    """CSIStorageCapacities: what of a class a driver can still provide where."""
    reserved: dict[str, str] = field(default_factory=dict)
    """Volume name -> claim key."""
    limits: dict[str, dict[str, int]] = field(default_factory=dict)
    """Node -> CSI driver -> how many volumes it can attach there."""

    def set_csi_node(self, obj: Object) -> None:
        counts = {driver["name"]: int((driver.get("allocatable") or {})["count"]) for driver in (obj.get("spec") or {}).get("drivers") or ()
                  if (driver.get("allocatable") or {}).get("count") is not None}
        if counts:
            self.limits[obj["metadata"]["name"]] = counts
        else:
            self.limits.pop(obj["metadata"]["name"], None)

    def delayed(self, claim: Object) -> bool:
        """Whether the claim waits for its first consumer."""
        found = self.classes.get(class_name(claim))
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"

    def available(self, claim: Object) -> list[Object]:
        """The volumes the claim could be bound to, the smallest first."""
        spec = claim.get("spec") or {}
        key = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        wanted = scheduling.amount("storage", ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))
        selector = spec.get("selector")
        accepts = scheduling.compile_selector(selector) if selector is not None else None
        found: list[tuple[int, str, Object]] = []
        for name, volume in self.volumes.items():
            pv = volume.get("spec") or {}
            phase = (volume.get("status") or {}).get("phase") or "Available"
            if "deletionTimestamp" in volume["metadata"] or phase not in ("Available", "Pending"):
                continue
            if (pv.get("storageClassName") or "") != class_name(claim):
                continue
            if (pv.get("volumeMode") or "Filesystem") != (spec.get("volumeMode") or "Filesystem"):
                continue
            if not set(spec.get("accessModes") or ()) <= set(pv.get("accessModes") or ()):
                continue
            owner = pv.get("claimRef")
            if owner and (owner.get("namespace"), owner.get("name")) != (claim["metadata"]["namespace"], claim["metadata"]["name"]):
                continue
            if self.reserved.get(name, key) != key:
                continue
            size = scheduling.amount("storage", (pv.get("capacity") or {}).get("storage", "0"))
            if size < wanted or (accepts is not None and not accepts(volume["metadata"].get("labels") or {})):
                continue
            found.append((-1 if owner else size, name, volume))
        return [volume for _, _, volume in sorted(found, key=lambda item: item[:2])]

    def provisionable(self, claim: Object) -> Object | None:
        """The class that would make a volume for the claim, or None."""
        found = self.classes.get(class_name(claim))
        if found is None or found.get("provisioner") == NO_PROVISIONER or (claim.get("spec") or {}).get("selector"):
            return None
        return found

    def room(self, claim: Object, storage_class: Object) -> list[Object] | None:
        """Where the class's driver has room for the claim, as label selectors of nodes; None: everywhere, or nobody keeps count."""
        text = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
        driver = self.drivers.get(str(storage_class.get("provisioner") or ""))
        if text is None or driver is None or not (driver.get("spec") or {}).get("storageCapacity"):
            return None
        wanted = scheduling.amount("storage", text)
        found: list[Object] = []
        for capacity in self.capacities.values():
            most = capacity.get("maximumVolumeSize") or capacity.get("capacity")
            if capacity.get("storageClassName") == storage_class["metadata"]["name"] and most is not None \
                    and scheduling.amount("storage", most) >= wanted and capacity.get("nodeTopology") is not None:
                found.append(capacity["nodeTopology"])
        return found

    def bound(self, claim: Object) -> bool:
        return bool((claim.get("spec") or {}).get("volumeName")) and BIND_COMPLETED in (claim["metadata"].get("annotations") or {})


def class_name(claim: Object) -> str:
    return str((claim.get("spec") or {}).get("storageClassName") or "")


def volume_affinity(volume: Object) -> Object | None:
    """The nodes a volume can be used on, or None for all."""
    found: Object | None = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
    return found


def topology_selector(storage_class: Object) -> Object | None:
    """allowedTopologies as a node selector, or None for all."""
    topologies = storage_class.get("allowedTopologies")
    if not topologies:
        return None
    return {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": e["key"], "operator": "In", "values": e.get("values") or []} for e in term.get("matchLabelExpressions") or ()]}
        for term in topologies]}


def claim_keys(namespace: str, pod: str, volumes: Iterable[Object]) -> list[tuple[str, bool]]:
    """The claims of a pod's volumes, and whether each is an ephemeral volume's own."""
    found: list[tuple[str, bool]] = []
    for volume in volumes:
        if claim := volume.get("persistentVolumeClaim"):
            found.append((f"{namespace}/{claim['claimName']}", False))
        elif "ephemeral" in volume:
            found.append((f"{namespace}/{pod}-{volume['name']}", True))
    return found


def its_claim(pod: Pod, event: Changed) -> bool:
    """A queueing hint: the claim that changed is one of the pod's."""
    metadata = (event.new or {}).get("metadata") or {}
    key = f"{metadata.get('namespace')}/{metadata.get('name')}"
    return any(key == known for known, _ in claim_keys(pod.namespace, pod.name, pod.template.volumes))
