"""What browsers are told, and flags about it that are refused."""
from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from kubepy.apiserver.filters.browser import BrowserFilter
from kubepy.apiserver.flags import SECTIONS
from kubepy.apiserver.options import Options, parser
from kubepy.base.http.cycle import Message, Receive, Scope, Send

PAGES = r"^https://pages\.example\.com$"


def ask(options: Options, method: str, origin: str) -> tuple[int, dict[str, str]]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"Content-Type", b"text/plain")]})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def nothing() -> Message:
        return {}

    server: Any = SimpleNamespace(options=options)
    scope = {"method": method, "headers": [(b"origin", origin.encode())] if origin else []}
    asyncio.run(BrowserFilter(server, app)(scope, nothing, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize(("method", "origin", "status", "allowed"), [
    pytest.param("OPTIONS", "https://pages.example.com", 204, True, id="a preflight of an allowed origin is answered without credentials"),
    pytest.param("GET", "https://pages.example.com", 401, True, id="an allowed origin is named in the answer"),
    pytest.param("OPTIONS", "https://pages.example.com.evil.org", 401, False, id="a preflight of another origin is a request like others"),
    pytest.param("GET", "", 401, False, id="who sends no origin gets no such headers"),
])
def test_origins(method: str, origin: str, status: int, allowed: bool) -> None:
    found, headers = ask(Options(cors_allowed_origins=(PAGES,)), method, origin)
    assert (found, headers.get("Access-Control-Allow-Origin")) == (status, origin if allowed else None)
    assert ("Access-Control-Allow-Credentials" in headers) == allowed


def test_transport_security_is_said_in_every_answer() -> None:
    options = Options(strict_transport_security_directives=("max-age=31536000", "preload"))
    assert ask(options, "GET", "")[1]["Strict-Transport-Security"] == "max-age=31536000; preload"


@pytest.mark.parametrize(("options", "problem"), [
    pytest.param(Options(cors_allowed_origins=("example.com$",)), "must pin the start of the host", id="an origin open in front"),
    pytest.param(Options(cors_allowed_origins=("//example.com",)), "must pin the end of the host", id="an origin open at the end"),
    pytest.param(Options(cors_allowed_origins=("^(",)), "invalid regular expression", id="an origin that is no pattern"),
    pytest.param(Options(strict_transport_security_directives=("max-age",)), "allowed values", id="an age without a value"),
    pytest.param(Options(cors_allowed_origins=(PAGES,), strict_transport_security_directives=("max-age=1",)), "", id="good ones"),
])
def test_flags_are_checked(options: Options, problem: str) -> None:
    found = options.check()
    assert len(found) == bool(problem)
    assert not found or problem in found[0]


def test_every_flag_is_explained_once() -> None:
    names = [name for texts in SECTIONS.values() for name in texts]
    assert sorted(names) == sorted(Options.__dataclass_fields__)
    assert "--etcd-servers" in parser().format_help()
