"""Binding: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    Resource("", "v1", "bindings", "Binding", True),
    "binding",
    Strategy(),
    verbs=("create",),
)
