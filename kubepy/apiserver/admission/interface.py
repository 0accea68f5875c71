"""An admission plugin: what it looks at, how it changes or refuses a request.

A plugin is one class in one module, listed in `chain.PLUGINS`. `applies` is asked once for each (resource, subresource, operation), so a
request runs only the plugins that concern it. `admit` comes before defaulting and validation, `admit_valid` after them.
"""
from __future__ import annotations

from kubepy.api.errors import Forbidden
from kubepy.api.resource import Resource
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.services import Services
from kubepy.base.task import Tasks


class Plugin:
    """Does nothing; plugins override what they need. They raise `api.errors` to refuse."""

    name = ""
    """The name in --enable-admission-plugins."""
    mutates = False
    validates = False

    def __init__(self, services: Services) -> None:
        self.services = services

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        raise NotImplementedError

    def start(self, tasks: Tasks) -> None:
        """Called once, on the event loop, before the first request: for what the plugin follows."""

    async def ready(self) -> None:
        """Waits until what decisions are made from has been read."""

    async def admit(self, attributes: Attributes) -> None:
        """Changes `attributes.obj` in place, or refuses."""

    async def admit_valid(self, attributes: Attributes) -> None:
        """Refuses; nothing may be changed any more."""


def refuse(attributes: Attributes, why: str) -> Forbidden:
    """Upstream's admission.NewForbidden: the 403 for a request, named as far as it has a name."""
    name = attributes.name
    if not name and attributes.obj is not None:
        metadata = attributes.obj.get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName") or ""
    return Forbidden.of(attributes.context.kind.resource, name or "Unknown", why)


def same(resource: Resource, other: Resource) -> bool:
    """Whether two resources are one, whatever the version."""
    return resource.group == other.group and resource.plural == other.plural
