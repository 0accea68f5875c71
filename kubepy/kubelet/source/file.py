"""Static pods: manifests in a directory (or one file), read when they change (upstream's `config/file`)."""
from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import orjson
import yaml

from kubepy.api.types import Object
from kubepy.base.clock import Clock, format_time
from kubepy.base.log import get_logger
from kubepy.kubelet.pod import spec as podspec

log = get_logger("source")
_LOOK = 1.0


def static_pod(document: Object, origin: str, node_name: str, now: float, *, source: str = "file") -> Object:
    """A manifest as the pod it stands for. Raises ValueError when it is no Pod.

    Its UID is a hash of node, origin and content, so a changed file is another pod."""
    if not isinstance(document, dict) or document.get("kind") != "Pod" or document.get("apiVersion") != "v1":
        raise ValueError("not a v1 Pod")
    metadata, spec = dict(document.get("metadata") or {}), dict(document.get("spec") or {})
    if not metadata.get("name") or not spec.get("containers"):
        raise ValueError("a Pod needs a name and containers")
    digest = hashlib.md5(orjson.dumps([node_name, origin, document], option=orjson.OPT_SORT_KEYS), usedforsecurity=False).hexdigest()
    metadata["uid"] = metadata.get("uid") or digest
    metadata["name"] = f"{metadata['name']}-{node_name.lower()}"
    metadata.setdefault("namespace", "default")
    metadata["annotations"] = {**(metadata.get("annotations") or {}), podspec.CONFIG_HASH: metadata["uid"],
                               podspec.CONFIG_SOURCE: source, podspec.CONFIG_SEEN: format_time(now)}
    spec["nodeName"] = node_name
    tolerations = list(spec.get("tolerations") or ())
    if not any(entry.get("operator") == "Exists" and entry.get("effect") == "NoExecute" and not entry.get("key") for entry in tolerations):
        tolerations.append({"operator": "Exists", "effect": "NoExecute"})
    spec["tolerations"] = tolerations
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec["containers"] = [_defaults(container) for container in spec["containers"]]
    if spec.get("initContainers"):
        spec["initContainers"] = [_defaults(container) for container in spec["initContainers"]]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}


def _defaults(container: Object) -> Object:
    """What the API server would have filled in and the kubelet relies on."""
    filled = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {}, **container}
    limits = filled["resources"].get("limits") or {}
    if limits:
        filled["resources"] = {**filled["resources"], "requests": {**limits, **(filled["resources"].get("requests") or {})}}
    return filled


class FileSource:
    """Calls `changed` with all static pods whenever a file changes, at least once."""

    def __init__(self, path: str, node_name: str, clock: Clock, changed: Callable[[list[Object]], None]) -> None:
        self._path = Path(path)
        self._node_name = node_name
        self._clock = clock
        self._changed = changed
        self._stamps: dict[str, tuple[int, int]] | None = None
        self._pods: dict[str, Object] = {}

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await self._clock.sleep(_LOOK)

    def look(self) -> None:
        stamps = {}
        files = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        for file in files:
            if file.name.startswith(".") or not file.is_file():
                continue
            status = file.stat()
            stamps[str(file)] = (status.st_mtime_ns, status.st_size)
        if stamps == self._stamps:
            return
        before = self._stamps or {}
        self._stamps = stamps
        pods = {}
        for name, stamp in stamps.items():
            if before.get(name) == stamp and name in self._pods:
                pods[name] = self._pods[name]
                continue
            try:
                pods[name] = static_pod(yaml.safe_load(Path(name).read_text()), name, self._node_name, self._clock.now())
            except (OSError, ValueError, yaml.YAMLError) as error:
                log.error("Cannot use a static pod's manifest", error, path=name)
        self._pods = pods
        self._changed(list(pods.values()))
