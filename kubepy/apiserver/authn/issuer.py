"""Signs service-account tokens."""
from __future__ import annotations


class TokenIssuer:
    """Filled in with the token subresource."""
