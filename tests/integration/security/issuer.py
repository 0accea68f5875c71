"""A server of somebody else's, over TLS: it publishes OpenID keys, reviews tokens and decides about access."""
from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kubepy.cli.pki import Pki


class External:
    """`documents` are what GET answers by path; `reviews` what POST answers, by the review's kind. `asked` are the reviews' specs,
    `seen` the headers of the GETs."""

    def __init__(self, pki: Pki) -> None:
        self.documents: dict[str, Any] = {}
        self.reviews: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self.asked: list[dict[str, Any]] = []
        self.seen: list[list[tuple[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.seen.append(list(self.headers.items()))
                found = outer.documents.get(self.path)
                self._answer(200 if found is not None else 404, found or {})

            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append({"kind": review["kind"], "client": self.connection.getpeercert() != {}, **review["spec"]})
                answer = outer.reviews[review["kind"]](review["spec"])
                self._answer(200, {"apiVersion": review["apiVersion"], "kind": review["kind"], "status": answer})

            def _answer(self, code: int, document: Any) -> None:
                body = json.dumps(document).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.apiserver.cert, pki.apiserver.key)
        for authority in (pki.ca, pki.front_proxy_ca):
            context.load_verify_locations(authority.cert)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> External:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
