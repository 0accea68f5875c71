"""Server TLS from files, read again when they change, as Kubernetes' components do for rotated certificates.

Client certificates are asked for but not required. Known difference: Go accepts the handshake with any certificate and answers
401; OpenSSL refuses one that no configured CA signed during the handshake.
"""
from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence

from kubepy.base.log import get_logger

log = get_logger("tls")


class ServerTls:
    """Holds the context of one listener; `keep_fresh` runs for ever."""

    def __init__(self, certificate: str, key: str, client_cas: Sequence[str] = ()) -> None:
        self._files = (certificate, key, *client_cas)
        self._certificate, self._key, self._client_cas = certificate, key, tuple(client_cas)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        if client_cas:
            context.verify_mode = ssl.CERT_OPTIONAL
            # Go accepts any certificate in the chain file as an anchor and partial chains with it
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self.context = context
        self._load()
        self._stamps = self._read_stamps()

    def _load(self) -> None:
        self.context.load_cert_chain(self._certificate, self._key)
        for path in self._client_cas:
            self.context.load_verify_locations(path)

    def _read_stamps(self) -> tuple[tuple[int, int], ...]:
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in map(os.stat, self._files))

    async def keep_fresh(self, seconds: float = 60.0) -> None:
        """Loads the files again after they have changed. An unreadable or half-written pair is retried, the old one stays."""
        while True:
            await asyncio.sleep(seconds)
            try:
                stamps = self._read_stamps()
                if stamps != self._stamps:
                    self._load()
                    self._stamps = stamps
                    log.info("Loaded the serving certificate again", path=self._certificate)
            except (OSError, ssl.SSLError) as error:
                log.error("Cannot load the serving certificate again", error, path=self._certificate)
