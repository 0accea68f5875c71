"""Many short-lived pods at once: what most demands on a kubelet come down to is what one container prints and how it ends."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.e2e.cluster import Cluster, eventually
from tests.images import BUSYBOX

ENDED = ("Succeeded", "Failed")


class Result(NamedTuple):
    pod: Any
    log: str


@dataclass(frozen=True)
class Case:
    """A pod that ends by itself: its spec (without what every one has), how it ends and lines (patterns) it prints, in any order."""

    spec: Any
    prints: tuple[str, ...] = ()
    phase: str = "Succeeded"
    metadata: Any = field(default_factory=dict)

    def check(self, result: Result) -> None:
        status = result.pod["status"]
        assert status["phase"] == self.phase, (status, result.log)
        lines = result.log.splitlines()
        for pattern in self.prints:
            assert any(re.fullmatch(pattern, line) for line in lines), f"no line {pattern!r} in:\n{result.log}\n{status}"


def container(command: str | list[str] | None = None, **fields: Any) -> Any:
    """A busybox container that runs a shell command."""
    shell = {"command": ["sh", "-c", command]} if isinstance(command, str) else {"command": command} if command else {}
    return {"name": "c", "image": BUSYBOX, "imagePullPolicy": "Never", **shell, **fields}


def case(command: str | list[str] | None, *prints: str, phase: str = "Succeeded", metadata: Any = None, spec: Any = None,
         **fields: Any) -> Case:
    """One container with these fields; `spec` holds those of the pod."""
    return Case({"containers": [container(command, **fields)], **(spec or {})}, prints, phase, metadata or {})


class Batch:
    """Pods of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        cluster.kubectl("create", "namespace", namespace)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, **options)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: Any) -> None:
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def pod(self, name: str, spec: Any, **metadata: Any) -> Any:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.namespace, **metadata},
                "spec": {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", **spec}}

    def run(self, cases: dict[str, Case]) -> dict[str, Result]:
        """Runs them all at once; gives each one's end."""
        names = {title: f"case-{number}" for number, title in enumerate(cases)}
        self.apply(*(self.pod(names[title], each.spec, **each.metadata) for title, each in cases.items()))

        def ended() -> dict[str, Any] | None:
            pods = {item["metadata"]["name"]: item for item in self.get("pods")["items"]}
            left = [name for name in names.values() if pods[name]["status"].get("phase") not in ENDED]
            return pods if not left else None

        pods = eventually("every pod has ended", ended, 240, 1.0)
        return {title: Result(pods[name], self.kubectl("logs", name, "--all-containers", check=False)) for title, name in names.items()}

    def delete(self) -> None:
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
