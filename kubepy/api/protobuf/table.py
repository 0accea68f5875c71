"""The wire format's messages, read from `messages.txt` when the first body arrives."""
from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

Wrap = Literal["", "list", "map"]


class Field(NamedTuple):
    """`type` is a scalar (`string`, `int`, `bool`, `bytes`, `double`) or a message; `name` is `+` for inlined messages."""

    name: str
    type: str
    wrap: Wrap


Message = dict[int, Field]

SCALARS = frozenset(("string", "int", "sint", "bool", "bytes", "double"))


@cache
def _lines() -> dict[str, str]:
    text = files(__package__).joinpath("messages.txt").read_text()
    return dict(line.split(": ", 1) for line in text.splitlines())


@cache
def message(name: str) -> Message:
    """The fields of a message by number; raises KeyError for an unknown one."""
    package = name.rpartition(".")[0]
    fields: Message = {}
    for part in filter(None, _lines()[name].split(", ")):
        number, field, kind = part.split()
        wrap: Wrap = ""
        if kind.startswith("list:"):
            wrap, kind = "list", kind[5:]
        elif kind.startswith("map:"):
            wrap, kind = "map", kind[4:]
        fields[int(number)] = Field(field, package + kind if kind.startswith(".") else kind, wrap)
    return fields


@cache
def message_name(api_version: str, kind: str) -> str | None:
    """The message of a kind, or None where it has none: `apps/v1` Deployment is `apps.v1.Deployment`."""
    group, _, version = api_version.rpartition("/")
    name = f"{_PACKAGES.get(group, group.partition('.')[0] or 'core')}.{version}.{kind}"
    if name in _lines():
        return name
    return f"meta.v1.{kind}" if kind in _META and f"meta.v1.{kind}" in _lines() else None


_PACKAGES = {"rbac.authorization.k8s.io": "rbac", "flowcontrol.apiserver.k8s.io": "flowcontrol",
             "internal.apiserver.k8s.io": "apiserverinternal"}
_META = frozenset(("DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "Status", "APIGroup", "APIGroupList",
                   "APIResourceList", "APIVersions", "PartialObjectMetadata", "PartialObjectMetadataList"))
