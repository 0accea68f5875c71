"""HTTP serving: a connection protocol for uvicorn, raw upgraded connections, TLS from files, worker processes.

The protocol speaks ASGI and adds to each HTTP scope:

    scope["client_cert"]             the TLS peer's certificate as DER, or None
    scope["client_chain"]            all certificates the peer sent, DER, leaf first
    scope["extensions"]["push"]      push(bytes) -> bool: sends more of a streamed body at once, unless the client is slow
    scope["extensions"]["hijack"]    hijack() -> RawConnection: takes the connection out of HTTP (SPDY, WebSocket)
"""
