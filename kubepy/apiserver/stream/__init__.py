"""Streaming subresources: exec, attach and port-forward between clients and kubelets, whatever protocol each speaks.

    await serve_stream(exchange, Target("10.0.0.7", 10250, context, "/exec/default/web/c?command=sh"), "exec")

Kubelets are spoken to in SPDY/3.1, as kube-apiserver does. A client's SPDY or WebSocket v4 connection is handed through byte by
byte; WebSocket v5 (exec, attach) is translated, and SPDY tunnelled in a WebSocket (port-forward) is taken out of its tunnel.
"""
from kubepy.apiserver.stream.dial import Target, Upstream, dial
from kubepy.apiserver.stream.serve import serve_stream

__all__ = ["Target", "Upstream", "dial", "serve_stream"]
