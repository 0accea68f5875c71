"""Whether the server behind an APIService can be asked. Pure.

Source: `kube-aggregator/pkg/controllers/status/remote`.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kubepy.api.types import Object
from kubepy.apiserver.aggregation.table import Remote
from kubepy.apiserver.webhook.endpoint import ready_addresses


class Condition(NamedTuple):
    status: str
    reason: str
    message: str


PASSED = Condition("True", "Passed", "all checks passed")


def check(remote: Remote, service: Object | None, slices: Sequence[Object]) -> Condition | None:
    """What is wrong before anything is dialled; None when it may be probed."""
    title = f"service/{remote.service} in \"{remote.namespace}\""
    if service is None:
        return Condition("False", "ServiceNotFound", f"{title} is not present")
    spec = service.get("spec") or {}
    if spec.get("type", "ClusterIP") != "ClusterIP":
        return None
    port = next((item for item in spec.get("ports") or () if item.get("port") == remote.port), None)
    if port is None:
        return Condition("False", "ServicePortError", f"{title} is not listening on port {remote.port}")
    if not slices:
        return Condition("False", "EndpointsNotFound", f"cannot find endpointslices for {title}")
    name = port.get("name", "")
    if not any(True for found in slices for _ in ready_addresses(found, name)):
        return Condition("False", "MissingEndpoints", f'endpointslices for {title} have no addresses with port name "{name}"')
    return None


def failed(url: str, why: str) -> Condition:
    return Condition("False", "FailedDiscoveryCheck", f"failing or missing response from {url}: {why}")
