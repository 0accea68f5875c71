"""A Kubernetes v1.36-compatible control plane and node agent."""

__version__ = "0.1.0"
KUBERNETES_VERSION = "v1.36.0"
