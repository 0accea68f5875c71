"""TLS of webhooks and extension servers: trust in one CA bundle, and failures in Go's words."""
from __future__ import annotations

import base64
import ssl
from functools import lru_cache


class BadBundle(ValueError):
    """A CA bundle in which no certificate can be read."""


@lru_cache(maxsize=256)
def context_for(bundle: str, insecure: bool = False, cert_file: str = "", key_file: str = "", stamp: float = 0.0) -> ssl.SSLContext:
    """A client context that trusts a bundle (base64 of PEM; empty: the system's authorities). Raises BadBundle, OSError.

    `stamp` is for callers whose client certificate may be renewed: another stamp, another context."""
    if bundle:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=base64.b64decode(bundle).decode("ascii"))
        except (ValueError, ssl.SSLError) as error:
            raise BadBundle("unable to load root certificates: unable to parse bytes as PEM block") from error
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Go: whatever is in the bundle is trusted
    else:
        context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


def bundle_problem(bundle: str) -> str:
    """Why nothing can be trusted by a bundle, "" where something can."""
    try:
        context_for(bundle)
    except BadBundle as error:
        return str(error)
    return ""
