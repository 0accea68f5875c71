"""IngressClass: which controller serves an Ingress (`pkg/registry/networking/ingressclass`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, at, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class IngressClassStrategy(Strategy):
    updates_whole = True
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        parameters = at(obj, "spec.parameters")
        if parameters is not None:
            parameters.setdefault("scope", "Cluster")

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = _controller(spec.get("controller", ""))
        if spec.get("parameters") is not None:
            errors += _parameters(spec["parameters"], _SPEC.child("parameters"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = check.immutable(at(obj, "spec.controller", ""), at(old, "spec.controller", ""), _SPEC.child("controller"))
        return errors + self.validate(context, obj)


def _controller(text: str) -> Errors:
    path = _SPEC.child("controller")
    if not text:
        return [field.required(path)]
    errors = [field.too_long(path, 250)] if len(text) > 250 else []
    return errors + [field.invalid(path, part, message) for part, message in name.domain_prefixed_path(text)]


def _parameters(value: Object, path: Path) -> Errors:
    errors: Errors = []
    if value.get("apiGroup") is not None:
        errors += check.named(name.subdomain, value["apiGroup"], path.child("apiGroup"))
    for key in ("kind", "name"):
        errors += check.need_named(name.path_segment, value.get(key, ""), path.child(key))
    scope, namespace = value.get("scope"), value.get("namespace")
    if scope is None:
        errors.append(field.required(path.child("scope")))
    elif scope not in ("Cluster", "Namespace"):
        errors.append(field.not_supported(path.child("scope"), scope, ("Cluster", "Namespace")))
    elif scope == "Namespace":
        if namespace is None:
            errors.append(field.required(path.child("namespace"), "`parameters.scope` is set to 'Namespace'"))
        else:
            errors += check.named(name.label, namespace, path.child("namespace"))
    elif namespace is not None:
        errors.append(field.forbidden(path.child("namespace"), "`parameters.scope` is set to 'Cluster'"))
    return errors


def _shown(obj: Object) -> str:
    parameters = at(obj, "spec.parameters")
    if parameters is None:
        return NONE
    group = parameters.get("apiGroup")
    kind = f"{parameters.get('kind', '')}.{group}" if group else parameters.get("kind", "")
    return f"{kind}/{parameters.get('name', '')}"


KIND = Kind(
    Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False),
    "ingressclass",
    IngressClassStrategy(),
    columns=(
        NAME,
        column("Controller", "string", "Controller that is responsible for handling this class",
               lambda obj: at(obj, "spec.controller", "")),
        column("Parameters", "string", "A reference to a resource with additional parameters", _shown),
        AGE,
    ),
)
