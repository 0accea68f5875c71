"""Content negotiation: what a request's Accept header gets, and what a body's Content-Type is (`negotiation` upstream)."""
from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from kubepy.api.errors import NotAcceptable, UnsupportedMediaType

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
OFFERED = (JSON, YAML, PROTOBUF)
STREAMS = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
CUSTOM = (JSON, YAML)
"""What custom resources come in; their bare metadata comes as protobuf, too."""


class Media(NamedTuple):
    """A representation; `transform` is Table, PartialObjectMetadata, PartialObjectMetadataList or empty."""

    type: str = JSON
    transform: str = ""
    version: str = ""
    pretty: bool = False
    parameters: tuple[tuple[str, str], ...] = ()


PLAIN = Media()
_BINARY_TRANSFORMS = frozenset(("PartialObjectMetadata", "PartialObjectMetadataList"))
_TRANSFORMS = _BINARY_TRANSFORMS | {"Table"}


class Clause(NamedTuple):
    type: str
    parameters: tuple[tuple[str, str], ...]
    quality: float


@lru_cache(maxsize=512)
def clauses(accept: str) -> tuple[Clause, ...]:
    """The header's clauses, best first; equal ones in the order they were sent."""
    found = []
    for text in accept.split(","):
        head, *rest = text.strip().split(";")
        quality, parameters = 1.0, []
        for item in rest:
            key, _, value = item.strip().partition("=")
            if key == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 1.0
            elif key:
                parameters.append((key, value))
        found.append(Clause(head.strip(), tuple(parameters), quality))
    return tuple(sorted(found, key=lambda clause: -clause.quality))


@lru_cache(maxsize=512)
def negotiate(accept: str, offered: tuple[str, ...] = OFFERED, advertised: tuple[str, ...] = OFFERED,
              transforms: bool = True) -> Media:
    """The representation for an Accept header; raises NotAcceptable, which names the representations `advertised`."""
    if not accept.strip():
        return PLAIN
    refused = False
    for clause in clauses(accept):
        kind = JSON if clause.type == "*/*" else clause.type
        parameters = dict(clause.parameters)
        if kind not in offered and (kind != PROTOBUF or not transforms or not parameters.get("as")):
            continue
        pretty = parameters.get("pretty") in ("1", "true")
        transform = parameters.get("as", "")
        if not transform:
            return Media(kind, "", "", pretty, clause.parameters)
        known = transforms and parameters.get("g") == "meta.k8s.io" and parameters.get("v") in ("v1", "v1beta1")
        if known and transform in (_TRANSFORMS if kind != PROTOBUF else _BINARY_TRANSFORMS):
            return Media(kind, transform, parameters["v"], pretty, clause.parameters)
        refused = True
    if refused or not advertised:
        raise NotAcceptable(f"only the following media types are accepted: {', '.join(OFFERED)}")
    raise not_acceptable(advertised)


def not_acceptable(advertised: tuple[str, ...]) -> NotAcceptable:
    return NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {', '.join(advertised)}", {})


def is_pretty(query_pretty: str, user_agent: str) -> bool:
    """Indented JSON for people: asked for, or for a browser or curl that did not say otherwise."""
    if query_pretty:
        return query_pretty in ("1", "t", "T", "true", "TRUE", "True")
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def body_type(content_type: str, offered: tuple[str, ...] = OFFERED) -> str:
    """The media type of a request body; raises UnsupportedMediaType."""
    if not content_type:
        return JSON
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in offered:
        raise unsupported(offered)
    return kind


def unsupported(offered: tuple[str, ...]) -> UnsupportedMediaType:
    known = ", ".join(offered)
    return UnsupportedMediaType(f"the body of the request was in an unknown format - accepted media types include: {known}")
