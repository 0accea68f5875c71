"""The feature gates of which this server has both states (`kubepy.base.gate` has them all, with v1.36's defaults)."""
from __future__ import annotations

from kubepy.base.gate import GROUPS_OF_API

SWITCHABLE: frozenset[str] = GROUPS_OF_API
