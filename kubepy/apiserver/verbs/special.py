"""Subresources with a verb of their own, by group, resource and name ("*": of any resource)."""
from __future__ import annotations

from collections.abc import Awaitable, Callable

from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Subresource
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs import binding, eviction, scale

Special = Callable[[Server, Exchange, Context, Subresource], Awaitable[None]]

SPECIAL: dict[tuple[str, str, str], Special] = {
    ("", "pods", "binding"): binding.serve,
    ("", "pods", "eviction"): eviction.serve,
    ("*", "*", "scale"): scale.serve,
}
