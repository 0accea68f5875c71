"""Who a pod belongs with: Services and controllers, by their selectors. What the default topology spreading of a profile counts."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kubepy.api import scheduling
from kubepy.api.types import Object
from kubepy.scheduler.pod import Pod

KEPT = 4096


@dataclass(slots=True)
class Owners:
    """Selectors by kind and `namespace/name`: maps of Services and ReplicationControllers, label selectors of the others."""

    controllers: dict[tuple[str, str], Object] = field(default_factory=dict)
    _services: dict[str, dict[str, tuple[Object, Callable[[scheduling.Labels], bool]]]] = field(default_factory=dict)
    _found: dict[tuple[object, ...], Object | None] = field(default_factory=dict)

    def set(self, kind: str, obj: Object) -> None:
        metadata, selector = obj["metadata"], (obj.get("spec") or {}).get("selector")
        if not selector:
            self.remove(kind, obj)
            return
        self._found.clear()
        if kind == "Service":
            accepts = scheduling.compile_selector({"matchLabels": selector})
            self._services.setdefault(metadata["namespace"], {})[metadata["name"]] = (selector, accepts)
        else:
            self.controllers[kind, f"{metadata['namespace']}/{metadata['name']}"] = selector

    def remove(self, kind: str, obj: Object) -> None:
        metadata = obj["metadata"]
        self._found.clear()
        if kind == "Service":
            self._services.get(metadata["namespace"], {}).pop(metadata["name"], None)
        else:
            self.controllers.pop((kind, f"{metadata['namespace']}/{metadata['name']}"), None)

    def selector(self, pod: Pod) -> Object | None:
        """The label selector of the pod's fellows: what all Services that select it and its controller demand (`DefaultSelector`); None
        when there is nobody."""
        key = (pod.namespace, frozenset(pod.labels.items()), pod.owner[:2] if pod.owner else None)
        if key not in self._found:
            if len(self._found) >= KEPT:
                self._found.clear()
            self._found[key] = self._selector(pod)
        return self._found[key]

    def _selector(self, pod: Pod) -> Object | None:
        labels: dict[str, str] = {}
        expressions: list[Object] = []
        for selector, accepts in self._services.get(pod.namespace, {}).values():
            if accepts(pod.labels):
                labels.update(selector)
        if pod.owner is not None:
            kind, name = pod.owner[:2]
            found = self.controllers.get((kind, f"{pod.namespace}/{name}"))
            if found is not None and kind == "ReplicationController":
                labels.update(found)
            elif found is not None:
                labels.update(found.get("matchLabels") or {})
                expressions = list(found.get("matchExpressions") or ())
        if not labels and not expressions:
            return None
        return {"matchLabels": labels, "matchExpressions": expressions}
