"""Who is asked again: a mutating webhook or policy that wants to see what others changed after it (reinvocationPolicy IfNeeded).

The chain runs a second time when something was changed; in that round only those are asked that were asked before a change.
"""
from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import orjson

from kubepy.apiserver.request import Attributes


class Invocations:
    """What one plugin remembers of a request from one round to the next."""

    def __init__(self, attributes: Attributes, plugin: str) -> None:
        self._attributes = attributes
        self._rounds = attributes.reinvocation
        self._memory: dict[str, Any] = self._rounds.memory.setdefault(plugin, {"asked": set(), "again": set(), "seen": None})
        seen = self._memory["seen"]
        if self._rounds.second and seen is not None and seen != orjson.dumps(attributes.obj):
            self._memory["again"] |= self._memory["asked"]

    @property
    def round(self) -> int:
        return int(self._rounds.second)

    def skips(self, key: Hashable) -> bool:
        return self._rounds.second and key not in self._memory["again"]

    def changed(self) -> None:
        """Those asked before are to see it."""
        self._memory["again"] |= self._memory["asked"]
        self._rounds.wanted = self._rounds.wanted or bool(self._memory["again"]) or not self._rounds.second

    def asked(self, key: Hashable, *, reinvoked: bool) -> None:
        if reinvoked:
            self._memory["asked"].add(key)

    def end(self) -> None:
        self._memory["seen"] = orjson.dumps(self._attributes.obj)
