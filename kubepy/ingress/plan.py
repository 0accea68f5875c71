"""From Ingress objects to a `State`: a pure function of the caches (networking.k8s.io/v1 Ingress, as its API reference defines it).

Where several Ingresses claim the same host and path the oldest has it. A host's requests that match no path go to the default
backend of an Ingress of that host; what no host has goes to an Ingress without rules. Differs from other controllers only in what
the API leaves open: `ImplementationSpecific` paths are prefixes, and backends that are a `resource` or an ExternalName are refused.
"""
from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kubepy.api.types import Object
from kubepy.ingress.state import Backend, Certificate, Path, Problem, Site, State

CONTROLLER = "kubepy.io/ingress-nginx"
"""What an IngressClass of ours has as `spec.controller`."""
CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class Sources(NamedTuple):
    """How the plan looks things up, by namespace and name."""

    ingresses: Sequence[Object]
    classes: Sequence[Object]
    service: Callable[[str, str], Object | None]
    slices: Callable[[str, str], Iterable[Object]]
    secret: Callable[[str, str], Object | None]


class Plan(NamedTuple):
    state: State
    ours: list[Object]
    """The Ingresses this controller serves, oldest first."""
    problems: list[Problem]


@dataclass(slots=True)
class _Draft:
    """A site that is being put together."""

    paths: dict[tuple[str, str], Path] = field(default_factory=dict)
    default: str = ""
    certificate: str = ""
    tls: bool = False


def plan(sources: Sources) -> Plan:
    """The proxy's state for all Ingresses of our classes."""
    ours = sorted(served(sources.ingresses, sources.classes), key=_age)
    builder = _Builder(sources)
    for ingress in ours:
        builder.add(ingress)
    return Plan(builder.state(), ours, builder.problems)


def served(ingresses: Iterable[Object], classes: Iterable[Object]) -> list[Object]:
    """Those of a class of ours, by `spec.ingressClassName` or the annotation that came before it."""
    names = {item["metadata"]["name"] for item in classes if (item.get("spec") or {}).get("controller") == CONTROLLER}
    return [item for item in ingresses if _class_of(item) in names and "deletionTimestamp" not in item["metadata"]]


def _class_of(ingress: Object) -> str:
    return str((ingress.get("spec") or {}).get("ingressClassName")
               or (ingress["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION) or "")


def _age(ingress: Object) -> tuple[str, str, str]:
    metadata = ingress["metadata"]
    return metadata.get("creationTimestamp", ""), metadata["namespace"], metadata["name"]


class _Builder:
    def __init__(self, sources: Sources) -> None:
        self.problems: list[Problem] = []
        self._sources = sources
        self._sites: dict[str, _Draft] = {}
        self._backends: dict[str, Backend] = {}
        self._certificates: dict[str, Certificate] = {}

    def add(self, ingress: Object) -> None:
        spec = ingress.get("spec") or {}
        default = self._backend(ingress, spec["defaultBackend"]) if "defaultBackend" in spec else ""
        rules = spec.get("rules") or []
        if default and not rules:
            rules = [{}]
        for rule in rules:
            site = self._sites.setdefault((rule.get("host") or "").lower(), _Draft())
            site.default = site.default or default
            for item in (rule.get("http") or {}).get("paths") or []:
                self._add_path(ingress, site, rule.get("host") or "", item)
        for tls in spec.get("tls") or []:
            self._add_tls(ingress, tls, [(rule.get("host") or "").lower() for rule in rules])

    def _add_path(self, ingress: Object, site: _Draft, host: str, item: dict[str, Any]) -> None:
        exact = item.get("pathType") == "Exact"
        text = item.get("path") or "/"
        path = Path("Exact", text, "") if exact else Path("Prefix", text.rstrip("/") or "/", "")
        if (path.kind, path.path) in site.paths:
            self._complain(ingress, "Conflict", f"path {text} of host {host or '*'} already belongs to an older Ingress")
            return
        site.paths[path.kind, path.path] = Path(path.kind, path.path, self._backend(ingress, item["backend"]))

    def _add_tls(self, ingress: Object, tls: dict[str, Any], own: list[str]) -> None:
        certificate = self._certificate(ingress, tls["secretName"]) if tls.get("secretName") else ""
        wanted = [host.lower() for host in tls.get("hosts") or []] or own
        for host in own:
            if host in wanted or any(_covers(pattern, host) for pattern in wanted):
                site = self._sites[host]
                site.tls = True
                site.certificate = site.certificate or certificate

    def _backend(self, ingress: Object, reference: dict[str, Any]) -> str:
        namespace = ingress["metadata"]["namespace"]
        wanted = reference.get("service")
        if not wanted:
            self._complain(ingress, "UnsupportedBackend", "only services can be backends, not resources")
            return self._nowhere()
        port = wanted.get("port") or {}
        name = f"{namespace}/{wanted['name']}:{port.get('name') or port.get('number')}"
        if name not in self._backends:
            service = self._sources.service(namespace, wanted["name"])
            found, problem = _endpoints(service, port, self._sources.slices)
            if problem:
                self._complain(ingress, "BackendNotFound", f'service "{namespace}/{wanted["name"]}" {problem}')
            sticky = service is not None and service["spec"].get("sessionAffinity") == "ClientIP"
            self._backends[name] = Backend(tuple(sorted(found)), sticky)
        return name

    def _nowhere(self) -> str:
        self._backends.setdefault("none", Backend(()))
        return "none"

    def _certificate(self, ingress: Object, name: str) -> str:
        namespace = ingress["metadata"]["namespace"]
        key = f"{namespace}/{name}"
        if key not in self._certificates:
            found = _read_certificate(self._sources.secret(namespace, name))
            if isinstance(found, str):
                self._complain(ingress, "CertificateUnusable", f'secret "{key}" {found}; the default certificate is served')
                return ""
            self._certificates[key] = found
        return key

    def _complain(self, ingress: Object, reason: str, message: str) -> None:
        self.problems.append(Problem(ingress, reason, message))

    def state(self) -> State:
        sites = []
        for host in sorted(self._sites):
            draft = self._sites[host]
            paths = tuple(draft.paths[key] for key in sorted(draft.paths, key=lambda key: (-len(key[1]), key)))
            sites.append(Site(host, paths, draft.default or self._sites.get("", _Draft()).default, draft.certificate, draft.tls))
        return State(tuple(sites), self._backends, self._certificates)


def _covers(pattern: str, host: str) -> bool:
    return pattern.startswith("*.") and not host.startswith("*.") and host.partition(".")[2] == pattern[2:]


def _endpoints(service: Object | None, port: dict[str, Any], slices: Callable[[str, str], Iterable[Object]]) -> tuple[set[str], str]:
    """`host:port` of each endpoint that serves a service's port, and what is wrong with the reference."""
    if service is None:
        return set(), "does not exist"
    spec, metadata = service["spec"], service["metadata"]
    if spec.get("type") == "ExternalName":
        return set(), "is of type ExternalName, which cannot be a backend"
    found = next((item for item in spec.get("ports") or [] if item.get("name") == port["name"]), None) if port.get("name") else \
        next((item for item in spec.get("ports") or [] if item["port"] == port.get("number")), None)
    if found is None:
        return set(), f"has no port {port.get('name') or port.get('number')}"
    name = found.get("name") or ""
    return set(_serving([item for item in slices(metadata["namespace"], metadata["name"])], name)), ""


def _serving(slices: list[Object], port: str) -> Iterator[str]:
    """Ready endpoints; where there is none, those that terminate but still serve, as the service proxy does."""
    for accept in (_is_ready, _is_draining):
        some = False
        for item in slices:
            number = next((each.get("port") for each in item.get("ports") or [] if (each.get("name") or "") == port), None)
            for endpoint in (item.get("endpoints") or []) if number else []:
                if accept(endpoint.get("conditions") or {}):
                    some = True
                    address = endpoint["addresses"][0]
                    yield f"[{address}]:{number}" if ":" in address else f"{address}:{number}"
        if some:
            return


def _is_ready(conditions: dict[str, Any]) -> bool:
    return conditions.get("ready") is not False


def _is_draining(conditions: dict[str, Any]) -> bool:
    return conditions.get("serving") is True and conditions.get("terminating") is True


def _read_certificate(secret: Object | None) -> Certificate | str:
    """The pair in a TLS secret, or what is wrong with it."""
    if secret is None:
        return "does not exist"
    data = secret.get("data") or {}
    if missing := [name for name in ("tls.crt", "tls.key") if not data.get(name)]:
        return f"has no {missing[0]}"
    try:
        found = Certificate(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
        certificate = x509.load_pem_x509_certificates(found.chain)[0]
        key = load_pem_private_key(found.key, None)
        if key.public_key() != certificate.public_key():
            return "holds a key that is not the certificate's"
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        return "holds no usable PEM certificate and key"
    return found
