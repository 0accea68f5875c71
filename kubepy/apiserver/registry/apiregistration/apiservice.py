"""APIService: who serves an API group's version (`kube-aggregator/pkg/registry/apiservice`); its status is the server's own."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.registry.moment import now_text
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class APIServiceStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    status_keeps_metadata = True
    name_kind = "path"

    def fill(self, obj: Object) -> None:
        service = at(obj, "spec.service")
        if service is not None:
            service.setdefault("port", 443)

    def prepare_create(self, context: Context, obj: Object) -> None:
        if at(obj, "spec.service") is None:
            obj["status"] = {"conditions": [{"type": "Available", "status": "True", "reason": "Local", "lastTransitionTime": now_text(),
                                             "message": "Local APIServices are always available"}]}

    def validate(self, context: Context, obj: Object) -> Errors:
        spec, title = obj.get("spec") or {}, at(obj, "metadata.name", "")
        group, version = spec.get("group", ""), spec.get("version", "")
        errors: Errors = []
        required = f"{version}.{group}"
        if title != required:
            errors.append(field.invalid(Path("metadata.name"), title, f'must be `spec.version+"."+spec.group`: "{required}"'))
        if group:
            errors += check.named(name.subdomain, group, _SPEC.child("group"))
        elif version != "v1":
            errors.append(field.required(_SPEC.child("group"), "only v1 may have an empty group and it better be legacy kube"))
        errors += check.named(name.label_1035, version, _SPEC.child("version"))
        for key, top in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            value = spec.get(key, 0)
            if not 0 < value <= top:
                errors.append(field.invalid(_SPEC.child(key), value, f"must be positive and less than {top}"))
        return errors + _backend(spec)


def _backend(spec: Object) -> Errors:
    service, insecure, bundle = spec.get("service"), spec.get("insecureSkipTLSVerify"), spec.get("caBundle")
    errors: Errors = []
    if service is None:
        if bundle:
            errors.append(field.invalid(_SPEC.child("caBundle"), f"{_decoded(bundle)} bytes", "local APIServices may not have a caBundle"))
        if insecure:
            errors.append(field.invalid(_SPEC.child("insecureSkipTLSVerify"), True, "local APIServices may not have insecureSkipTLSVerify"))
        return errors
    for key in ("namespace", "name"):
        errors += check.need(service.get(key), _SPEC.child("service", key))
    if complaints := name.port_number(service.get("port", 0)):
        errors.append(field.invalid(_SPEC.child("service", "port"), service.get("port", 0), f"port is not valid: {''.join(complaints)}"))
    if insecure and bundle:
        errors.append(field.invalid(_SPEC.child("insecureSkipTLSVerify"), True, "may not be true if caBundle is present"))
    return errors


def _decoded(bundle: str) -> int:
    return len(bundle.rstrip("=")) * 3 // 4


def _service(obj: Object) -> str:
    service = at(obj, "spec.service")
    return "Local" if service is None else f"{service.get('namespace', '')}/{service.get('name', '')}"


def _available(obj: Object) -> str:
    condition = next((item for item in at(obj, "status.conditions", []) if item.get("type") == "Available"), None)
    if condition is None:
        return "Unknown"
    if condition.get("status") == "True":
        return "True"
    return f"{condition.get('status', '')} ({condition.get('reason', '')})"


KIND = Kind(
    Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", False),
    "apiservice",
    APIServiceStrategy(),
    columns=(
        NAME,
        column("Service", "string", "The reference to the service that hosts this API endpoint.", _service),
        column("Available", "string", "Whether this service is available.", _available),
        AGE,
    ),
    categories=("api-extensions",),
    subresources=(STATUS,),
)
