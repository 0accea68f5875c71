"""A schema as a tree of nodes, made once for each version of a definition: attribute access instead of dictionary lookups."""
from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any


class Node:
    """One level of a structural schema. `raw` is what it was made of; names follow the schema's, in Python's spelling."""

    def __init__(self, raw: Mapping[str, Any], *, root: bool = False) -> None:
        self.raw = raw
        self.root = root
        self.type: str = raw.get("type") or ""
        self.nullable = bool(raw.get("nullable"))
        self.preserves = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
        self.has_default = raw.get("default") is not None
        self.default: Any = raw.get("default")
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        self.rules: list[Mapping[str, Any]] = list(raw.get("x-kubernetes-validations") or ())
        self.properties: dict[str, Node] = {name: Node(node) for name, node in (raw.get("properties") or {}).items()}
        items = raw.get("items")
        self.items: Node | None = Node(items) if isinstance(items, Mapping) else None
        extra = raw.get("additionalProperties")
        self.additional: Node | None = Node(extra) if isinstance(extra, Mapping) else None
        self.any_additional = extra is True

    @cached_property
    def children(self) -> list[Node]:
        return [*self.properties.values(), *(node for node in (self.items, self.additional) if node is not None)]

    @cached_property
    def defaulted(self) -> list[tuple[str, Node]]:
        """The properties that have a default."""
        return [(name, child) for name, child in self.properties.items() if child.has_default]

    @cached_property
    def embeds(self) -> bool:
        """Whether embedded resources stand at this node or below."""
        return self.embedded or any(child.embeds for child in self.children)

    @cached_property
    def keyed(self) -> bool:
        """Whether sets or maps in lists stand at this node or below."""
        return self.list_type in ("set", "map") or any(child.keyed for child in self.children)

    @cached_property
    def ruled(self) -> bool:
        """Whether CEL rules stand at this node or below."""
        return bool(self.rules) or any(child.ruled for child in self.children)

    @cached_property
    def plain(self) -> bool:
        """Whether expressions see values just as they are in JSON."""
        if self.type == "number" or self.list_type in ("set", "map"):
            return False
        if self.type == "string" and self.raw.get("format") in ("byte", "date", "date-time", "duration"):
            return False
        return all(child.plain for child in self.children)

    def child(self, name: str) -> Node | None:
        """The node of a key of an object."""
        return self.properties.get(name) or self.additional


def parse(schema: Mapping[str, Any]) -> Node:
    """The root node of a version's `openAPIV3Schema`."""
    return Node(schema, root=True)
