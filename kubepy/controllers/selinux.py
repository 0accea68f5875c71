"""SELinux warnings (`pkg/controller/volume/selinuxwarning`): pods that share a volume and could not, once volumes are mounted with labels.

Off unless asked for (`--controllers=*,selinux-warning-controller`), as upstream. Both pods get an event, and each conflict is in the
metric `selinux_warning_controller_selinux_volume_conflict`. Parts of a label that a pod leaves out are filled in on its node: they
conflict with nothing. Only volumes that can be mounted with a label count: those of CSI drivers that say so, iSCSI and FC.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kubepy.api.pod import is_terminal, node_name
from kubepy.api.resource import CSI_DRIVERS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubepy.api.types import Object
from kubepy.base.metrics import REGISTRY
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.kit.environment import Environment

ACCOUNT = "selinux-warning-controller"
METRIC = "selinux_warning_controller_selinux_volume_conflict"
RECURSIVE, MOUNT = "Recursive", "MountOption"


class Use(NamedTuple):
    """How a pod uses a volume."""

    pod: str
    label: str
    policy: str


class Conflict(NamedTuple):
    what: str
    pod: str
    value: str
    other: str
    other_value: str

    @property
    def message(self) -> str:
        """A pod of another namespace is not named."""
        (namespace, _), (elsewhere, name) = split_key(self.pod), split_key(self.other)
        whom = f"pod {name}" if namespace == elsewhere else "pod in another namespace"
        return (f'{self.what} "{self.value}" conflicts with {whom} that uses the same volume as this pod with {self.what} '
                f'"{self.other_value}". If both pods land on the same node, only one of them may access the volume')


def label_of(pod: Object, volume: str) -> str:
    """user:role:type:level of the first container that mounts the volume; parts that are not set are empty."""
    whole = (pod["spec"].get("securityContext") or {}).get("seLinuxOptions") or {}
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in pod["spec"].get(kind) or ():
            if any(item["name"] == volume for item in container.get("volumeMounts") or ()):
                own = (container.get("securityContext") or {}).get("seLinuxOptions") or whole
                return ":".join(own.get(part) or "" for part in ("user", "role", "type", "level"))
    return ":::"


def differ(one: str, other: str) -> bool:
    """In a part that both have; a level may itself hold colons."""
    return any(left and right and left != right for left, right in zip(one.split(":", 3), other.split(":", 3), strict=True))


def conflicts(use: Use, others: Iterable[Use]) -> list[Conflict]:
    """What the pod of `use` would get in the way of, told for both sides."""
    found: list[Conflict] = []
    for other in others:
        if other.pod == use.pod:
            continue
        for one, two in ((use, other), (other, use)):
            if one.policy != two.policy:
                found.append(Conflict("SELinuxChangePolicy", one.pod, one.policy, two.pod, two.policy))
            if RECURSIVE not in (one.policy, two.policy) and differ(one.label, two.label):
                found.append(Conflict("SELinuxLabel", one.pod, one.label, two.pod, two.label))
    return found


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._recorder = env.recorder(ACCOUNT, ACCOUNT)
        self._pods = env.informers.informer(PODS).lister
        self._claims = env.informers.informer(PERSISTENT_VOLUME_CLAIMS).lister
        self._volumes = env.informers.informer(PERSISTENT_VOLUMES).lister
        self._drivers = env.informers.informer(CSI_DRIVERS).lister
        self._uses: dict[str, dict[str, Use]] = {}
        self._of_pod: dict[str, set[str]] = {}

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        pod = self._pods.get(name, namespace)
        now = self._uses_of(key, pod) if pod is not None and node_name(pod) and not is_terminal(pod) else {}
        for volume in self._of_pod.pop(key, set()) - now.keys():
            self._uses[volume].pop(key, None)
            if not self._uses[volume]:
                del self._uses[volume]
        if now:
            self._of_pod[key] = set(now)
        for volume, use in now.items():
            users = self._uses.setdefault(volume, {})
            if users.get(key) == use:
                continue
            users[key] = use
            for conflict in conflicts(use, users.values()):
                namespace, name = split_key(conflict.pod)
                if (affected := self._pods.get(name, namespace)) is not None:
                    self._recorder.event(affected, "Normal", f"{conflict.what}Conflict", conflict.message)
        return None

    def _uses_of(self, key: str, pod: Object) -> dict[str, Use]:
        policy = (pod["spec"].get("securityContext") or {}).get("seLinuxChangePolicy") or MOUNT
        found: dict[str, Use] = {}
        for volume in pod["spec"].get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if volume.get("ephemeral"):
                name = f"{pod['metadata']['name']}-{volume['name']}"
            claim = self._claims.get(name, pod["metadata"]["namespace"]) if name else None
            bound = self._volumes.get((claim or {"spec": {}})["spec"].get("volumeName") or "")
            if bound is not None and self._mounts_with_label(bound):
                found[bound["metadata"]["name"]] = Use(key, label_of(pod, volume["name"]), policy)
        return found

    def _mounts_with_label(self, volume: Object) -> bool:
        spec = volume["spec"]
        driver = self._drivers.get(spec["csi"]["driver"]) if spec.get("csi") else None
        return bool(spec.get("iscsi") or spec.get("fc") or (driver is not None and driver["spec"].get("seLinuxMount")))

    def present(self) -> Iterator[Conflict]:
        """Each conflict that there is, from both sides."""
        for users in self._uses.values():
            for use in users.values():
                yield from (item for item in conflicts(use, users.values()) if item.pod == use.pod)

    def pods_of_claim(self, claim: Object) -> list[str]:
        namespace, name = claim["metadata"]["namespace"], claim["metadata"]["name"]
        return [key_of(pod) for pod in self._pods.list(namespace) if any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == name
            or (volume.get("ephemeral") and f"{pod['metadata']['name']}-{volume['name']}" == name)
            for volume in pod["spec"].get("volumes") or ())]

    def pods_of_volume(self, volume: Object) -> list[str]:
        ref = volume["spec"].get("claimRef") or {}
        claim = self._claims.get(ref.get("name", ""), ref.get("namespace", ""))
        return self.pods_of_claim(claim) if claim is not None else []

    def pods_of_driver(self, driver: Object) -> list[str]:
        name = driver["metadata"]["name"]
        return [key for volume in self._volumes.list() if (volume["spec"].get("csi") or {}).get("driver") == name
                for key in self.pods_of_volume(volume)]


class Shown(Collector):
    """The metric, of the controller that runs."""

    source: Reconciler | None = None

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(METRIC, "Conflict between two Pods using the same volume", labels=(
            "property", "pod1_namespace", "pod1_name", "pod1_value", "pod2_namespace", "pod2_name", "pod2_value"))
        for item in self.source.present() if self.source is not None else ():
            family.add_metric([item.what, *split_key(item.pod), item.value, *split_key(item.other), item.other_value], 1)
        return [family]


SHOWN = Shown()
REGISTRY.register(SHOWN)


def controller(env: Environment) -> Controller:
    reconciler = SHOWN.source = Reconciler(env)
    return Controller("selinux_warning", reconciler.reconcile, (
        Watch(PODS), Watch(PERSISTENT_VOLUME_CLAIMS, keys=reconciler.pods_of_claim),
        Watch(PERSISTENT_VOLUMES, keys=reconciler.pods_of_volume), Watch(CSI_DRIVERS, keys=reconciler.pods_of_driver)))
