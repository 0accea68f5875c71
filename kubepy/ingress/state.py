"""What the proxy is to do: sites, their paths, and where requests go."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kubepy.api.types import Object


@dataclass(frozen=True, slots=True)
class Backend:
    """Where requests go: `host:port` texts, sorted. Without any, requests get 503."""

    endpoints: tuple[str, ...]
    sticky: bool = False
    """The service has `sessionAffinity: ClientIP`: one client stays with one endpoint."""


@dataclass(frozen=True, slots=True)
class Path:
    """`Prefix` matches whole path elements; the trailing slash of its path does not count. `backend` names one of the state's."""

    kind: Literal["Exact", "Prefix"]
    path: str
    backend: str


@dataclass(frozen=True, slots=True)
class Site:
    """One host name: exact, `*.domain` for one label more, or empty for every host that no other site has."""

    host: str
    paths: tuple[Path, ...]
    default: str = ""
    """The backend for what no path matches; empty: 404."""
    certificate: str = ""
    """One of the state's, or empty: TLS with the controller's own certificate."""
    tls: bool = False
    """An Ingress asks for TLS: plain requests are sent there when the controller redirects."""


class Certificate(NamedTuple):
    """PEM texts."""

    chain: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class State:
    """Sites in the order of their names."""

    sites: tuple[Site, ...] = ()
    backends: dict[str, Backend] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict, repr=False)


class Problem(NamedTuple):
    """What an Ingress asks for and does not get; becomes a Warning event of it."""

    ingress: Object
    reason: str
    message: str
