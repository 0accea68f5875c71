"""Server TLS from files, read again when they change, as Kubernetes' components do for rotated certificates.

Client certificates are asked for but not required. With `judge_later` those of any authority are taken, as in Go, and requests
are judged by who reads the certificates; otherwise OpenSSL refuses in the handshake what no configured CA signed.
"""
from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from kubepy.base.http.anycert import accept_any, name_authorities
from kubepy.base.http.sni import Named, choose, names_of, order
from kubepy.base.log import get_logger
from kubepy.base.watched import Files

log = get_logger("tls")
VERSIONS = {"VersionTLS12": ssl.TLSVersion.TLSv1_2, "VersionTLS13": ssl.TLSVersion.TLSv1_3}

CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256", "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""Go's names of TLS 1.2 suites and OpenSSL's. Those of TLS 1.3 are always on, as in Go."""
STRONG = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""What is spoken by default: forward secrecy and authenticated encryption only."""
TLS13 = frozenset(("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"))


def openssl_names(suites: Sequence[str]) -> list[str]:
    """Of suites as Go names them, all of which must be known."""
    return [CIPHERS[name] for name in suites if name not in TLS13]


class ServerTls:
    """Holds the context of one listener; `keep_fresh` runs for ever. Raises OSError or ValueError for what cannot be used.

    `ciphers` are OpenSSL's names of TLS 1.2 suites (empty: the strong ones). `named` are further certificates, for clients that ask for
    their names; `address` is the one the listener is bound to, which those mean who ask for no name."""

    def __init__(self, certificate: str, key: str, client_cas: Sequence[str] = (), *, judge_later: bool = False,
                 minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, ciphers: Sequence[str] = (), named: Sequence[Named] = (),
                 address: str = "") -> None:
        self.files = tuple(dict.fromkeys((certificate, key, *client_cas, *(file for one in named for file in one[:2]))))
        self._certificate, self._key, self._client_cas, self._named, self._address = certificate, key, tuple(client_cas), named, address
        self.context, *self._others = [_context(bool(client_cas), judge_later, minimum, ciphers) for _ in range(1 + len(named))]
        self._names: dict[str, int] = {}
        if named:
            self.context.sni_callback = self._choose
        self.load()

    def load(self) -> None:
        found = [(one.names, names_of(Path(one.certificate).read_bytes())) for one in self._named]
        pairs = [(self._certificate, self._key), *(one[:2] for one in self._named)]
        for context, (certificate, key) in zip((self.context, *self._others), pairs, strict=True):
            context.load_cert_chain(certificate, key)
            for path in self._client_cas:
                context.load_verify_locations(path)
            name_authorities(context, self._client_cas)
        self._names = order(found)

    def _choose(self, channel: ssl.SSLSocket | ssl.SSLObject, asked: str | None, context: ssl.SSLContext) -> None:
        if (place := choose(self._names, asked or self._address)) is not None:
            channel.context = self._others[place]

    async def keep_fresh(self, seconds: float = 10.0) -> None:
        files = Files(seconds=seconds)
        files.follow("serving certificate", self.files, self.load)
        await files.keep()


def _context(client_certificates: bool, judge_later: bool, minimum: ssl.TLSVersion, ciphers: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(":".join(ciphers) or STRONG)
    context.set_alpn_protocols(["http/1.1"])
    if client_certificates:
        context.verify_mode = ssl.CERT_OPTIONAL
        # Go accepts any certificate in the chain file as an anchor and partial chains with it
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if judge_later and not accept_any(context):
            log.warning("Client certificates of unknown authorities fail the handshake here instead of getting a 401")
    return context
