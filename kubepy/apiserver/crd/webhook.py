"""Calls conversion webhooks."""
from __future__ import annotations

from kubepy.api.types import Object
from kubepy.apiserver.crd.convert import Converter
from kubepy.apiserver.server import Server


def webhook_of(server: Server, crd: Object) -> Converter | None:
    """The converter of a definition, None where only the apiVersion changes."""
    return None
