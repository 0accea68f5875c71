"""What webhooks and policies see of a request: its object in the kind and version they are for, and its options.

The scale subresource is shown as a Scale though the pipeline carries the workload; other versions are converted there and back.
"""
from __future__ import annotations

from typing import Any

import orjson

from kubepy.api.cel.frame import is_large
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.request import Attributes
from kubepy.apiserver.services import Services

META = "meta.k8s.io/v1"
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


class View:
    """The objects of one request as one version of its resource shows them."""

    def __init__(self, services: Services, attributes: Attributes, resource: Resource) -> None:
        self.attributes = attributes
        self.resource = resource
        self._own = attributes.context.kind
        self._other = _kind(services, resource) if resource != self._own.resource else None
        self.obj = self._show(attributes.obj)
        self.old = self._show(attributes.old)

    def _show(self, obj: Object | None) -> Object | None:
        if obj is None:
            return None
        if self.attributes.subresource == "scale" and obj.get("kind") != "Scale":
            from kubepy.apiserver.verbs.scale import scale_of  # the verbs import the chain

            return scale_of(obj)
        return convert(obj, self._own, self._other) if self._other is not None and not self.attributes.subresource else obj

    @property
    def large(self) -> bool:
        """Whether expressions about the objects may take long."""
        return is_large(self.obj, self.old)

    @property
    def kind(self) -> tuple[str, str, str]:
        """Group, version and kind of the object shown."""
        shown = self.obj or self.old
        if shown is None or not shown.get("kind"):
            return self.resource.group, self.resource.version, self.resource.kind
        return split_kind(shown)

    def keep(self, changed: Object) -> None:
        """Takes over what a webhook or a policy made of the shown object."""
        attributes = self.attributes
        self.obj = changed
        if attributes.subresource == "scale" and (attributes.obj or {}).get("kind") != "Scale":
            assert attributes.obj is not None
            spec = {**(attributes.obj.get("spec") or {}), "replicas": (changed.get("spec") or {}).get("replicas") or 0}
            attributes.obj = {**attributes.obj, "spec": spec}
        elif self._other is not None and not attributes.subresource:
            attributes.obj = convert(changed, self._other, self._own)
        else:
            attributes.obj = changed


def split_kind(obj: Object) -> tuple[str, str, str]:
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return group, version, str(obj.get("kind") or "")


def convert(obj: Object, source: Kind, target: Kind) -> Object:
    copy: Object = orjson.loads(orjson.dumps(obj))
    if source.conversion is not None:
        copy = source.conversion.to_stored(copy)
    if target.conversion is not None:
        copy = target.conversion.from_stored(copy)
    copy["apiVersion"], copy["kind"] = target.resource.api_version, target.resource.kind
    return copy


def _kind(services: Services, resource: Resource) -> Kind | None:
    return services.kinds.find(resource.group, resource.version, resource.plural) if services.kinds is not None else None


def equivalents(services: Services, resource: Resource) -> list[Resource]:
    """Other versions under which the same objects are served."""
    own = _kind(services, resource)
    if own is None or services.kinds is None:
        return []
    home = own.stored_as or own.resource
    return [kind.resource for kind in services.kinds.kinds if kind.resource != resource and (kind.stored_as or kind.resource) == home]


def options_of(attributes: Attributes) -> Object | None:
    """The request's CreateOptions, UpdateOptions or DeleteOptions; a patch has the options of what it does."""
    kind = _OPTIONS.get(attributes.operation)
    if kind is None:
        return None
    options: dict[str, Any] = {"kind": kind, "apiVersion": META}
    if attributes.operation == "DELETE":
        return {**{key: value for key, value in attributes.options.items() if value not in (None, {}, [])}, **options}
    context = attributes.context
    if context.dry_run:
        options["dryRun"] = ["All"]
    if context.field_manager:
        options["fieldManager"] = context.field_manager
    if validation := context.query.get("fieldValidation"):
        options["fieldValidation"] = validation[0]
    return options
