"""`/`: the paths that the server knows (`k8s.io/apiserver/pkg/server/routes.Index`)."""
from __future__ import annotations

from collections.abc import Iterable

import orjson

from kubepy.apiserver.server import Server
from kubepy.base import zpage

PATHS = ("/", "/index.html")


def render(server: Server, checks: Iterable[str]) -> bytes:
    """`checks` are the paths of health checks."""
    found = {"/api", "/apis", "/apis/", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/version", *zpage.PATHS,
             *server.services.documents, *checks}
    if server.options.profiling:
        found.add("/debug/pprof")
    for group, versions in server.kinds.versions.items():
        base = f"/apis/{group}" if group else "/api"
        found.update((base, *(f"{base}/{version}" for version in versions)))
    return orjson.dumps({"paths": sorted(found)}, option=orjson.OPT_INDENT_2)
