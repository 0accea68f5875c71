"""Lets a TLS server take client certificates of any authority, as Go's `RequestClientCert`: who they are is judged per request.

Python's ssl either refuses a certificate that no configured authority signed, in the handshake, or asks for none. OpenSSL itself can
be told otherwise by a callback, which is set here on the context through ctypes. The callback runs once a handshake, so requests cost
nothing more. The proof that the client holds the certificate's key is made by TLS all the same.
"""
from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys
from collections.abc import Sequence

from kubepy.base.log import get_logger

log = get_logger("tls")
_Verify = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_ACCEPT = _Verify(lambda store, argument: 1)
_PEER = 1  # SSL_VERIFY_PEER


def accept_any(context: ssl.SSLContext) -> bool:
    """Leaves the judgement of client certificates to who serves requests; False where this interpreter does not let us."""
    library, pointer = _library(), _pointer(context)
    if library is None or pointer is None:
        return False
    context.verify_mode = ssl.CERT_OPTIONAL
    if library.SSL_CTX_get_verify_mode(pointer) != _PEER:
        log.error("Client certificates of unknown authorities will fail the handshake: the TLS library is not as expected")
        return False
    library.SSL_CTX_set_cert_verify_callback(pointer, _ACCEPT, None)
    return True


def name_authorities(context: ssl.SSLContext, paths: Sequence[str]) -> None:
    """Tells clients in the handshake which authorities are known, so that those with several certificates choose well."""
    library, pointer = _library(), _pointer(context)
    if library is None or pointer is None or not paths:
        return
    names = library.SSL_load_client_CA_file(paths[0].encode())
    if not names:
        return
    for path in paths[1:]:
        library.SSL_add_file_cert_subjects_to_stack(names, path.encode())
    library.SSL_CTX_set_client_CA_list(pointer, names)  # owns the names now


def peer_chain(channel: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates the client sent (DER, leaf first), not verified; empty without any."""
    leaf = channel.getpeercert(True)
    if leaf is None:
        return ()
    chain: list[bytes] = []
    inner = getattr(channel, "_sslobj", None)
    for item in (inner.get_unverified_chain() or ()) if inner is not None else ():
        chain.append(item if isinstance(item, bytes) else item.public_bytes(_ssl.ENCODING_DER))
    return (leaf, *(der for der in chain if der != leaf))


def _pointer(context: ssl.SSLContext) -> ctypes.c_void_p | None:
    """The SSL_CTX, which is the first field of CPython's context object."""
    if sys.implementation.name != "cpython":
        return None
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__)


def _library() -> ctypes.CDLL | None:
    """The OpenSSL that Python's ssl module uses, by way of that module."""
    try:
        library = ctypes.CDLL(_ssl.__file__)
        library.SSL_CTX_get_verify_mode.argtypes = [ctypes.c_void_p]
        library.SSL_CTX_set_cert_verify_callback.argtypes = [ctypes.c_void_p, _Verify, ctypes.c_void_p]
        library.SSL_CTX_set_cert_verify_callback.restype = None
        library.SSL_load_client_CA_file.argtypes = [ctypes.c_char_p]
        library.SSL_load_client_CA_file.restype = ctypes.c_void_p
        library.SSL_add_file_cert_subjects_to_stack.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.SSL_CTX_set_client_CA_list.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.SSL_CTX_set_client_CA_list.restype = None
    except (OSError, AttributeError):
        return None
    return library
