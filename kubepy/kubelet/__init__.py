"""The node agent: runs pods through the container runtime interface (CRI)."""
