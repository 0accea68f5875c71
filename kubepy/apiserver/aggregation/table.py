"""Which group versions other servers serve, as of the APIService objects this process has seen. No I/O."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kubepy.api.resource import Resource
from kubepy.api.types import Object

API_SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", False)


@dataclass(slots=True)
class Remote:
    """A group version behind a service."""

    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: int
    bundle: str
    insecure: bool
    group_priority: int
    version_priority: int
    available: bool = False
    resources: list[Object] | None = None
    """The APIResources it last told of; None while it never answered."""
    openapi: dict[str, str] = field(default_factory=dict)
    """Its OpenAPI v3 documents: path to address."""
    swagger: dict[str, Any] | None = None
    """Its OpenAPI v2 document, where it has one."""

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}"

    @property
    def host(self) -> str:
        return f"{self.service}.{self.namespace}.svc"


class Table:
    """Remotes by group and version. `generation` grows with everything that discovery shows."""

    def __init__(self) -> None:
        self.generation = 0
        self.remotes: dict[tuple[str, str], Remote] = {}
        self.local: dict[str, Object] = {}
        """The APIServices without a service, by name."""

    def put(self, obj: Object) -> None:
        name, spec = obj["metadata"]["name"], obj.get("spec") or {}
        service = spec.get("service")
        key = (spec.get("group", ""), spec.get("version", ""))
        if service is None:
            self.local[name] = obj
            self._drop(name)
            return
        self.local.pop(name, None)
        old = self.remotes.get(key)
        remote = Remote(name, *key, service.get("namespace", ""), service.get("name", ""), int(service.get("port") or 443),
                        spec.get("caBundle") or "", bool(spec.get("insecureSkipTLSVerify")), int(spec.get("groupPriorityMinimum") or 0),
                        int(spec.get("versionPriority") or 0), is_available(obj))
        if old is not None:
            remote.resources, remote.openapi, remote.swagger = old.resources, old.openapi, old.swagger
        if remote != old:
            self.remotes = {**self.remotes, key: remote}
            self.generation += 1

    def remove(self, name: str) -> None:
        self.local.pop(name, None)
        self._drop(name)

    def keep_only(self, names: set[str]) -> None:
        for name in [*self.local, *(remote.name for remote in self.remotes.values())]:
            if name not in names:
                self.remove(name)

    def _drop(self, name: str) -> None:
        kept = {key: remote for key, remote in self.remotes.items() if remote.name != name}
        if len(kept) != len(self.remotes):
            self.remotes = kept
            self.generation += 1

    def versions(self) -> dict[str, list[Remote]]:
        """The remotes of each group, preferred version first."""
        found: dict[str, list[Remote]] = {}
        for remote in sorted(self.remotes.values(), key=lambda one: (-one.version_priority, one.version)):
            found.setdefault(remote.group, []).append(remote)
        return found


def is_available(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Available" and item.get("status") == "True" for item in conditions)
