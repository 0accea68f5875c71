"""Cluster trust bundles for projected volumes: by name, or all of a signer that a label selector picks, as one file of certificates.

Follows upstream's trust bundle manager in what comes out: every certificate once, in an order that says nothing. Known differences: asked
for at most once a minute instead of watched; a server without the resource (it is beta and off by default) is the same as no bundle.
"""
from __future__ import annotations

import base64
import re

from kubepy.api.errors import NotFound
from kubepy.api.resource import CLUSTER_TRUST_BUNDLES
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.client.interface import Client

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_TTL = 60.0


class Bundles:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[str, tuple[float, bytes | None]] = {}

    async def get(self, source: Object) -> bytes | None:
        """The certificates a `clusterTrustBundle` projection asks for, None when there are none. Raises ApiError."""
        key = repr((source.get("name"), source.get("signerName"), source.get("labelSelector")))
        held = self._held.get(key)
        now = self._clock.monotonic()
        if held is not None and held[1] is not None and now - held[0] < _TTL:
            return held[1]
        try:
            found = await self._find(source)
        except NotFound:
            found = []
        anchors = normalized([(bundle.get("spec") or {}).get("trustBundle") or "" for bundle in found])
        self._held[key] = (now, anchors or None)
        return anchors or None

    async def _find(self, source: Object) -> list[Object]:
        if source.get("name"):
            return [await self._client.get(CLUSTER_TRUST_BUNDLES, source["name"])]
        if source.get("labelSelector") is None:
            return []  # as upstream: no selector picks nothing, an empty one everything
        answer = await self._client.list(CLUSTER_TRUST_BUNDLES, label_selector=selector_text(source["labelSelector"]),
                                         field_selector=f"spec.signerName={source['signerName']}")
        items: list[Object] = answer["items"]
        return items


def selector_text(selector: Object) -> str:
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for entry in selector.get("matchExpressions") or ():
        key, operator, values = entry["key"], entry["operator"], ",".join(entry.get("values") or ())
        parts.append({"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key, "DoesNotExist": f"!{key}"}[operator])
    return ",".join(parts)


def normalized(bundles: list[str]) -> bytes:
    """Each certificate of all bundles once, in PEM."""
    found = {base64.b64decode("".join(block.split())) for text in bundles for block in _BLOCK.findall(text)}
    lines = []
    for der in sorted(found):
        text = base64.b64encode(der).decode()
        body = "\n".join(text[start:start + 64] for start in range(0, len(text), 64))
        lines.append(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    return "".join(lines).encode()
