"""The JSON types everything else is written in."""
from __future__ import annotations

from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON: wire names, plain dicts and lists. Objects from a cache must never be changed in place."""
