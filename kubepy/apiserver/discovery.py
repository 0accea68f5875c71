"""Discovery: which groups, versions and resources there are (`/api`, `/apis`, `/api/v1`, …)."""
from __future__ import annotations

from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.server import Server


class Discovery:
    def __init__(self, server: Server) -> None:
        self.server = server

    async def serve(self, exchange: Exchange) -> bool:
        """Answers a discovery path; False for any other."""
        return False
