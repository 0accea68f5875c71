"""Keeping thousands of alike pods small: parts that are equal are one object.

Pods of one template differ in little. Cached objects are never changed in place, so what is equal can be shared: it halves the
memory of 5,000 pods, and the garbage collector has less to walk through.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from kubepy.api.types import Object
from kubepy.client.informer import drop_managed_fields

LIMIT = 8192
"""Parts that are remembered; when there are more, remembering starts anew (what is shared stays so)."""
_METADATA, _PARTS = ("labels", "annotations", "ownerReferences", "finalizers"), ("spec", "status", "data")
_ELEMENTS = ("containers", "initContainers", "volumes")
_UNIQUE = ("volumeMounts", "state", "lastState")
"""Fields that differ from pod to pod: only their texts are worth sharing."""


class Sharing:
    """An informer transform. Of an object that is known already, what has not changed stays the object it was: nothing is to be
    looked up, and who compares old and new sees at once that they are the same."""

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}
        self._texts: dict[str, str] = {}

    def __call__(self, obj: Object) -> Object:
        obj = drop_managed_fields(obj)
        spec = obj.get("spec")
        if type(spec) is dict and "containers" in spec:
            self._share_values(spec, _ELEMENTS)
            for name in _ELEMENTS:
                for element in spec.get(name) or ():
                    self._share_values(element, _UNIQUE)
            self._share_values(obj["metadata"], ())
            self._share_texts(obj.get("status") or {})
            if len(self._known) > LIMIT or len(self._texts) > LIMIT:
                self._known.clear()
                self._texts.clear()
        return obj

    def update(self, old: Object, obj: Object) -> Object:
        obj = drop_managed_fields(obj)
        _keep(old["metadata"], obj["metadata"], _METADATA)
        _keep(old, obj, _PARTS)
        spec, before = obj.get("spec"), old.get("spec")
        if type(spec) is dict and type(before) is dict:
            if spec is not before:
                if (node := spec.get("nodeName")) and spec == (placed := {**before, "nodeName": node}):
                    obj["spec"] = placed  # all that happens to the spec of most pods
                else:
                    _keep(before, spec, before)
            status = obj.get("status")
            if "containers" in spec and status is not None and status is not old.get("status"):
                self._share_texts(status)
        return obj

    def _share_values(self, part: Object, but: tuple[str, ...]) -> None:
        known = self._known
        for key, value in part.items():
            kind = type(value)
            if (kind is dict or kind is list) and key not in but:
                part[key] = known.setdefault(orjson.dumps(value), value)

    def _share_texts(self, part: Any) -> None:
        known = self._texts
        for key, value in part.items() if type(part) is dict else enumerate(part):
            kind = type(value)
            if kind is str:
                part[key] = known.setdefault(value, value)
            elif kind is dict or kind is list:
                self._share_texts(value)


def _keep(old: Object, new: Object, keys: Iterable[str]) -> None:
    for key in keys:
        if (value := new.get(key)) is not None and (known := old.get(key)) == value:
            new[key] = known
