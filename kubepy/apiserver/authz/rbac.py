"""The RBAC authorizer."""
from __future__ import annotations


class Rbac:
    """Filled in next."""
