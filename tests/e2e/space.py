"""Namespaces of tests: one is made for each attempt (or for a file), so that what another attempt has left is elsewhere."""
from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from tests.e2e.cluster import eventually


class Space:
    """A namespace with a name of its own, in which pods can be made. `kubectl` is the cluster's."""

    def __init__(self, kubectl: Callable[..., str], prefix: str) -> None:
        self._kubectl = kubectl
        self.namespace = f"{prefix}-{uuid.uuid4().hex[:6]}"
        kubectl("create", "namespace", self.namespace)
        eventually("the default account is there", lambda: self.kubectl("get", "serviceaccount", "default", "-o", "name"))

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self._kubectl("-n", self.namespace, *arguments, **options)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: Any) -> None:
        """Those that name no namespace come into this one."""
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def delete(self) -> None:
        self._kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")


def state(kubectl: Callable[..., str]) -> str:
    """What a cluster looks like to somebody who wants to know why a test failed: nodes, pods and what ails them, the latest events."""
    parts = [kubectl("get", "nodes,pods", "-A", "-o", "wide", check=False), *_ailing(kubectl),
             *kubectl("get", "events", "-A", "--sort-by=.metadata.creationTimestamp", check=False).splitlines()[-40:]]
    return "\n".join(parts)


def _ailing(kubectl: Callable[..., str]) -> list[str]:
    """A line for each pod that is not Ready."""
    found = []
    for pod in json.loads(kubectl("get", "pods", "-A", "-o", "json"))["items"]:
        metadata, status = pod["metadata"], pod.get("status") or {}
        conditions = {entry["type"]: entry for entry in status.get("conditions") or ()}
        if status.get("phase") == "Succeeded" or conditions.get("Ready", {}).get("status") == "True":
            continue
        shown = {"phase": status.get("phase"), "deleted": metadata.get("deletionTimestamp"), "finalizers": metadata.get("finalizers"),
                 "reason": status.get("reason"), "message": status.get("message"), "nominated": status.get("nominatedNodeName"),
                 "conditions": [f"{kind}={entry['status']}: {entry.get('reason', '')} {entry.get('message', '')}".strip()
                                for kind, entry in conditions.items() if entry["status"] != "True" or kind == "DisruptionTarget"],
                 "containers": [{entry["name"]: entry.get("state")} for key in ("initContainerStatuses", "containerStatuses")
                                for entry in status.get(key) or ()]}
        found.append(f"{metadata['namespace']}/{metadata['name']}: {json.dumps({key: value for key, value in shown.items() if value})}")
    return found
