"""Why another server could not be asked, in the words of Go's HTTP client: users see them in errors and conditions.

Known difference: an address of our own end of a broken connection is not named, nor the DNS server that knew no name.
"""
from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

_UNKNOWN = frozenset((2, 18, 19, 20, 21))
"""OpenSSL's X509_V_ERR_… that Go calls an unknown authority."""


def failure(error: BaseException, authority: str, name: str = "") -> str:
    """`authority` is host:port of the server, `name` the one its certificate should have."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return verify_error(cause, name or authority.rpartition(":")[0].strip("[]"))
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            plain = cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
            return "http: server gave HTTP response to HTTPS client" if plain else f"remote error: tls: {cause.reason or cause}".lower()
        if isinstance(cause, socket.gaierror) or type(cause).__name__ == "ClientConnectorDNSError":
            return f"dial tcp: lookup {authority.rpartition(':')[0]}: no such host"
    return _connection(chain, authority)


def _connection(chain: list[BaseException], authority: str) -> str:
    names = [type(cause).__name__ for cause in chain]
    if "BadStatusLine" in names or "BadHttpMessage" in names or "ClientResponseError" in names:
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response"
    if any(isinstance(cause, TimeoutError) and not getattr(cause, "errno", None) for cause in chain):
        return f"dial tcp {authority}: i/o timeout"
    if any(isinstance(cause, (asyncio.IncompleteReadError, asyncio.LimitOverrunError)) for cause in chain) or any(
            known in names for known in ("ServerDisconnectedError", "ClientPayloadError", "ClientConnectionResetError")):
        return "EOF"
    for cause in chain:
        if isinstance(cause, OSError):
            if cause.errno in (errno.ECONNRESET, errno.EPIPE):
                return f"read tcp {authority}: read: connection reset by peer"
            why = os.strerror(cause.errno) if cause.errno else str(cause)
            return f"dial tcp {authority}: connect: {why.lower()}"
    return str(chain[0]) or type(chain[0]).__name__


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error and what is behind it, innermost first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error.__cause__
    return found[::-1]


def verify_error(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _UNKNOWN:
        why = "certificate signed by unknown authority"
    elif error.verify_code in (9, 10):
        why = "certificate has expired or is not yet valid"
    elif error.verify_code in (62, 64):
        why = f"certificate is not valid for any names, but wanted to match {host}"
    else:
        why = str(error.verify_message)
    return f"tls: failed to verify certificate: x509: {why}"
