"""Image names as people write them, and what they mean. Pure."""
from __future__ import annotations

import re

_REFERENCE = re.compile(
    r"(?P<name>(?:(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?\Z")


class ReferenceError_(ValueError):
    """Not an image reference."""


def normalize(image: str) -> str:
    """The full name (`docker.io/library/busybox:latest`). Raises ReferenceError_."""
    match = _REFERENCE.match(image)
    if match is None:
        raise ReferenceError_("invalid reference format")
    name, tag, digest = match["name"], match["tag"], match["digest"]
    first, _, rest = name.partition("/")
    if not rest or not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}" if rest else f"docker.io/library/{name}"
    if digest:
        return f"{name}:{tag}@{digest}" if tag else f"{name}@{digest}"
    return f"{name}:{tag or 'latest'}"


def registry_of(image: str) -> str:
    return normalize(image).partition("/")[0]
