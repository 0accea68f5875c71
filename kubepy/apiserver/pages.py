"""What FastAPI serves: the pages beside the API. They are few, and an extension of the server adds its own here.

Importing FastAPI takes a quarter of a second and 25 MB, so this module is loaded when a page is first asked for (see `app.Shell`).
"""
from __future__ import annotations

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

from kubepy.apiserver import metric


def create_pages() -> FastAPI:
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @pages.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(metric.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return pages
