"""Why another server could not be asked, as Go says it."""
from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Any

import aiohttp
import pytest

from kubepy.apiserver.transport import failure

KEY: Any = aiohttp.client_reqrep.ConnectionKey("h", 80, True, True, None, None, None)


def tls(reason: str, code: int = 0) -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, reason) if code else ssl.SSLError(1, reason)
    error.reason = reason
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_code, error.verify_message = code, reason
    return error


@pytest.mark.parametrize(("error", "words"), [
    pytest.param(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 80)"),
                 "dial tcp 10.0.0.1:80: connect: connection refused", id="refused"),
    pytest.param(aiohttp.ClientConnectorError(KEY, OSError(errno.EHOSTUNREACH, "x")), "dial tcp 10.0.0.1:80: connect: no route to host",
                 id="no route, by the HTTP client"),
    pytest.param(aiohttp.ConnectionTimeoutError(), "dial tcp 10.0.0.1:80: i/o timeout", id="too long"),
    pytest.param(TimeoutError(errno.ETIMEDOUT, "x"), "dial tcp 10.0.0.1:80: connect: connection timed out", id="the kernel's own timeout"),
    pytest.param(socket.gaierror(-2, "x"), "dial tcp: lookup 10.0.0.1: no such host", id="unknown name"),
    pytest.param(aiohttp.ServerDisconnectedError(), "EOF", id="closed without an answer"),
    pytest.param(asyncio.IncompleteReadError(b"", 1), "EOF", id="closed within the head of an answer"),
    pytest.param(aiohttp.ClientOSError(errno.ECONNRESET, "x"), "read tcp 10.0.0.1:80: read: connection reset by peer", id="reset"),
    pytest.param(aiohttp.ClientConnectorSSLError(KEY, tls("WRONG_VERSION_NUMBER")), "http: server gave HTTP response to HTTPS client",
                 id="no TLS there"),
    pytest.param(aiohttp.ClientConnectorCertificateError(KEY, tls("self-signed", 18)),  # type: ignore[arg-type]
                 "tls: failed to verify certificate: x509: certificate signed by unknown authority", id="a stranger's certificate"),
    pytest.param(aiohttp.ClientResponseError(Any, (), status=400),  # type: ignore[arg-type]
                 "net/http: HTTP/1.x transport connection broken: malformed HTTP response", id="not HTTP"),
])
def test_words(error: Exception, words: str) -> None:
    assert failure(error, "10.0.0.1:80") == words
