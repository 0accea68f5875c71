"""Versions of a kind that differ in nothing but their name."""
from __future__ import annotations

from dataclasses import replace

from kubepy.api.types import Object
from kubepy.apiserver.registry.kind import Kind


class Relabel:
    """A conversion between two such versions."""

    def __init__(self, stored: str, served: str) -> None:
        self._stored, self._served = stored, served

    def to_stored(self, obj: Object) -> Object:
        return {**obj, "apiVersion": self._stored}

    def from_stored(self, obj: Object) -> Object:
        return {**obj, "apiVersion": self._served}


def in_version(kind: Kind, version: str) -> Kind:
    """`kind` served in another version too, stored as it was."""
    resource = kind.resource._replace(version=version)
    return replace(kind, resource=resource, stored_as=kind.resource, conversion=Relabel(kind.resource.api_version, resource.api_version))
