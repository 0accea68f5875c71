"""User namespaces: each pod with `hostUsers: false` has IDs of the host for itself (upstream's `pkg/kubelet/userns`).

Which ones is kept in the pod's directory (`userns`, in upstream's form), so that a restarted kubelet gives nobody the same again.
Known difference: the IDs begin at 65,536 as upstream's do without a `kubelet` user; `getsubids` is not asked.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import orjson

from kubepy.api.types import Object
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.pod import spec as podspec


class UserNamespaceError(Exception):
    """The pod cannot have one; the message is the event's."""


def wanted(pod: Object) -> bool:
    return pod["spec"].get("hostUsers") is False


class UserNamespaces:
    def __init__(self, pods: Path, max_pods: int, length: int = 65_536) -> None:
        """`pods` is the directory of the pods' directories, `length` how many IDs each pod gets."""
        self._length = length
        self._pods = pods
        self._max = max_pods
        self._given: dict[str, int] = {}

    def load(self) -> None:
        for file in self._pods.glob("*/userns"):
            try:
                self._given[file.parent.name] = int(orjson.loads(file.read_bytes())["uidMappings"][0]["hostId"])
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                continue

    def of(self, pod: Object) -> pb.UserNamespace | None:
        """The pod's namespace, given to it on the first call; None for a pod of the host's users. Raises UserNamespaceError, OSError."""
        if not wanted(pod):
            return None
        uid = podspec.uid_of(pod)
        if uid not in self._given:
            self._given[uid] = self._next()
            mapping = [{"hostId": self._given[uid], "containerId": 0, "length": self._length}]
            directory = self._pods / uid
            directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            (directory / "userns").write_bytes(orjson.dumps({"uidMappings": mapping, "gidMappings": mapping}))
        one = pb.IDMapping(host_id=self._given[uid], container_id=0, length=self._length)
        return pb.UserNamespace(mode=pb.POD, uids=[one], gids=[one])

    def _next(self) -> int:
        used = set(self._given.values())
        for slot in range(1, self._max + 1):
            if slot * self._length not in used:
                return slot * self._length
        raise UserNamespaceError("could not find an empty slot to allocate a user namespace")

    def release(self, known: Callable[[str], bool]) -> None:
        for uid in [uid for uid in self._given if not known(uid) and not (self._pods / uid / "userns").exists()]:
            del self._given[uid]


def apply(namespace: pb.UserNamespace | None, options: pb.NamespaceOption, mounts: Iterable[pb.Mount] = ()) -> None:
    """Puts a pod's namespace into what the runtime is told of its sandbox or a container; files keep their owners as seen inside."""
    if namespace is None:
        return
    options.userns_options.CopyFrom(namespace)
    for mount in mounts:
        if mount.host_path and not mount.HasField("image"):
            mount.uidMappings.extend(namespace.uids)
            mount.gidMappings.extend(namespace.gids)
