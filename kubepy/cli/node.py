"""What the cluster commands do to this node's pods through the container runtime."""
from __future__ import annotations
