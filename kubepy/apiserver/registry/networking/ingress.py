"""Ingress: routes from outside to Services (`pkg/registry/networking/ingress`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import INGRESSES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, at, column, some
from kubepy.apiserver.registry.core.service_validation import balancer_hostname
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")


class IngressStrategy(Strategy):
    updates_whole = True
    has_status = True
    tracks_generation = True

    def validate(self, context: Context, obj: Object) -> Errors:
        errors = self._spec(obj)
        spec, annotation = obj.get("spec") or {}, at(obj, "metadata.annotations", {}).get(_ANNOTATION)
        if annotation is not None and spec.get("ingressClassName") is not None and annotation != spec["ingressClassName"]:
            errors.append(field.invalid(Path("annotations").child(_ANNOTATION), annotation,
                                        "must match `ingressClassName` when both are specified"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self._spec(obj)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return load_balancer(at(obj, "status.loadBalancer.ingress", []), Path("status.loadBalancer.ingress"))

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        if old is None and _ANNOTATION in at(obj, "metadata.annotations", {}):
            return [f"annotation \"{_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"]
        return []

    def _spec(self, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors: Errors = []
        if not spec.get("rules") and spec.get("defaultBackend") is None:
            errors.append(field.invalid(_SPEC, None, "either `defaultBackend` or `rules` must be specified"))
        if spec.get("defaultBackend") is not None:
            errors += _backend(spec["defaultBackend"], _SPEC.child("defaultBackend"))
        for position, rule in enumerate(spec.get("rules") or ()):
            errors += _rule(rule, _SPEC.child("rules").index(position))
        for position, tls in enumerate(spec.get("tls") or ()):
            errors += _tls(tls, _SPEC.child("tls").index(position))
        if spec.get("ingressClassName") is not None:
            errors += check.named(name.subdomain, spec["ingressClassName"], _SPEC.child("ingressClassName"))
        return errors


def load_balancer(items: list[Object], path: Path) -> Errors:
    """Addresses and host names of a load balancer's status."""
    errors: Errors = []
    for position, ingress in enumerate(items):
        here = path.index(position)
        if ingress.get("ip"):
            errors += check.named(name.ip, ingress["ip"], here.child("ip"))
        errors += balancer_hostname(ingress.get("hostname", ""), here.child("hostname"))
    return errors


def _host(host: str, path: Path) -> Errors:
    return check.named(name.wildcard_subdomain if "*" in host else name.subdomain, host, path)


def _rule(rule: Object, path: Path) -> Errors:
    errors: Errors = []
    host = rule.get("host", "")
    if host:
        if name.sloppy_ip(host) is not None:
            errors.append(field.invalid(path.child("host"), host, "must be a DNS name, not an IP address"))
        errors += _host(host, path.child("host"))
    return errors + _paths(rule, path)


def _paths(rule: Object, path: Path) -> Errors:
    http = rule.get("http")
    if http is None:
        return []
    paths = http.get("paths") or []
    here = path.child("http", "paths")
    if not paths:
        return [field.required(here)]
    return [error for position, item in enumerate(paths) for error in _path(item, here.index(position))]


def _path(item: Object, path: Path) -> Errors:
    kind, text = item.get("pathType"), item.get("path", "")
    errors: Errors = []
    if not kind:
        return [field.required(path.child("pathType"), "pathType must be specified")]
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            errors.append(field.invalid(path.child("path"), text, "must be an absolute path"))
        if text:
            errors += [field.invalid(path.child("path"), text, f"must not contain '{part}'") for part in _BAD_PARTS if part in text]
            errors += [field.invalid(path.child("path"), text, f"cannot end with '{end}'") for end in _BAD_ENDS if text.endswith(end)]
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            errors.append(field.invalid(path.child("path"), text, "must be an absolute path"))
    else:
        errors.append(field.not_supported(path.child("pathType"), kind, _PATH_TYPES))
    return errors + _backend(item.get("backend") or {}, path.child("backend"))


def _backend(backend: Object, path: Path) -> Errors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [field.invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        group = resource.get("apiGroup")
        errors = [] if group is None else check.named(name.subdomain, group, path.child("resource", "apiGroup"))
        return errors + [error for key in ("kind", "name")
                         for error in check.need_named(name.path_segment, resource.get(key, ""), path.child("resource", key))]
    if service is None:
        return [field.invalid(path, "", "resource or service backend is required")]
    errors = check.need(service.get("name"), path.child("service", "name"))
    if service.get("name"):
        errors += check.named(name.label, service["name"], path.child("service", "name"))
    port = service.get("port") or {}
    title, number = port.get("name", ""), port.get("number", 0)
    if title and number:
        errors.append(field.invalid(path, "", "cannot set both port name & port number"))
    elif title:
        errors += check.named(name.port_name, title, path.child("service", "port", "name"))
    elif number:
        errors += check.port(number, path.child("service", "port", "number"))
    else:
        errors.append(field.required(path, "port name or number is required"))
    return errors


def _tls(tls: Object, path: Path) -> Errors:
    errors: Errors = []
    for position, host in enumerate(tls.get("hosts") or ()):
        errors += _host(host, path.child("hosts").index(position))
    if tls.get("secretName"):
        errors += check.named(name.subdomain, tls["secretName"], path.child("secretName"))
    return errors


def _class(obj: Object) -> str:
    return at(obj, "spec.ingressClassName") or at(obj, "metadata.annotations", {}).get(_ANNOTATION) or NONE


def _hosts(obj: Object) -> str:
    hosts = [rule["host"] for rule in at(obj, "spec.rules", []) if rule.get("host")]
    return some(hosts, 3) if hosts else "*"


def _address(obj: Object) -> str:
    shown = [ingress.get("ip") or ingress.get("hostname") for ingress in at(obj, "status.loadBalancer.ingress", [])]
    return ",".join(sorted({text for text in shown if text}))


KIND = Kind(
    INGRESSES,
    "ingress",
    IngressStrategy(),
    columns=(
        NAME,
        column("Class", "string", "The name of the IngressClass resource that should be used for additional configuration", _class),
        column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule", _hosts),
        column("Address", "string", "Address is a list containing ingress points for the load-balancer", _address),
        column("Ports", "string", "Ports of TLS configurations that open", lambda obj: "80, 443" if at(obj, "spec.tls") else "80"),
        AGE,
    ),
    short_names=("ing",),
    subresources=(STATUS,),
)
