"""Many short-lived pods at once: what most demands on a kubelet come down to is what one container prints and how it ends."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.e2e.cluster import Cluster, eventually
from tests.e2e.space import Space
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


class Batch(Space):
    """Pods of one namespace."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        super().__init__(cluster.kubectl, prefix)
        self.cluster = cluster
        self._made: dict[str, Any] = {}

    def pod(self, name: str, spec: Any, **metadata: Any) -> Any:
        made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.namespace, **metadata},
                "spec": {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", **spec}}
        self._made[name] = made
        return made

    def again(self, *names: str) -> None:
        """Makes pods anew that an attempt at a test has changed."""
        self.kubectl("delete", "pods", *names, "--grace-period=0", "--force", "--ignore-not-found", "--timeout=150s")
        self.apply(*(self._made[name] for name in names))

    def run(self, cases: dict[str, Case]) -> dict[str, Result]:
        """Runs them all at once; gives each one's end."""
        names = {title: f"case-{number}" for number, title in enumerate(cases)}
        self.apply(*(self.pod(names[title], each.spec, **{**each.metadata, "labels": {"batch": "case", **each.metadata.get("labels", {})}})
                     for title, each in cases.items()))

        def ended() -> dict[str, Any] | None:
            pods = {item["metadata"]["name"]: item for item in self.get("pods", "-l", "batch=case")["items"]}
            left = {name: pods[name]["status"] for name in names.values() if pods[name]["status"].get("phase") not in ENDED}
            assert not left, left
            return pods

        pods = eventually("every pod has ended", ended, 300, 1.0)
        logs = self.logs()
        return {title: Result(pods[name], logs.get(name, "")) for title, name in names.items()}

    def logs(self) -> dict[str, str]:
        """Of every case's pod, by one kubectl: a hundred would take half a minute."""
        output = self.kubectl("logs", "-l", "batch=case", "--all-containers", "--prefix", "--ignore-errors", "--tail=-1",
                              "--max-log-requests=1000")
        _, *parts = re.split(r"\[pod/([^/\]]+)/[^\]]+\] ", output)
        found: dict[str, str] = {}
        for name, line in zip(parts[::2], parts[1::2], strict=True):
            found[name] = found.get(name, "") + line
        return found
