"""`/statusz` and `/flagz`: what a component is, and the flags it runs with (ComponentStatusz, ComponentFlagz; on since v1.36).

Text for people, or an object of `config.k8s.io` for those who ask for it in full (`Accept: application/json;g=config.k8s.io;v=v1beta1;
as=Statusz`); 406 for anything else, plain `application/json` included. Flags hold no secrets here, only names of files with them.
"""
from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml

PATHS = ("/flagz", "/statusz")
GROUP, VERSIONS = "config.k8s.io", ("v1beta1",)
_KINDS = {"statusz": "Statusz", "flagz": "Flagz"}
_WARNING = ("Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging "
            "purposes only.")
TEXT = "text/plain; charset=utf-8"
STARTED = time.time()
"""When this process began, near enough: Unix seconds."""

Answer = tuple[int, str, bytes]
"""Status code, content type, body."""


def statusz(component: str, version: str, paths: Iterable[str], accept: str, now: float) -> Answer:
    """`version` is the component's, "1.36.0"."""
    emulated = version.rpartition(".")[0]
    major, _, minor = emulated.partition(".")
    oldest = f"{major}.{int(minor) - 1}"
    up, known = int(now - STARTED), sorted({*paths, *PATHS})
    language = f"python{platform.python_version()}"
    found = {"startTime": _stamp(STARTED, "%Y-%m-%dT%H:%M:%SZ"), "uptimeSeconds": up, "goVersion": language, "binaryVersion": version,
             "emulationVersion": emulated, "minimumCompatibilityVersion": oldest, "paths": known}
    lines = [f"Started: {_stamp(STARTED, '%a %b %d %H:%M:%S UTC %Y')}",
             f"Up: {up // 3600} hr {up // 60 % 60:02} min {up % 60:02} sec", f"Go version: {language}", f"Binary version: {version}",
             f"Emulation version: {emulated}", f"Minimum Compatibility version: {oldest}", f"Paths: {' '.join(known)}"]
    return _answer("statusz", f"{component} statusz", component, found, lines, accept)


def flagz(component: str, flags: Mapping[str, Any], accept: str) -> Answer:
    """`flags` as Python has them: names with underscores, values of any kind."""
    shown = {name.replace("_", "-"): _shown(value) for name, value in sorted(flags.items()) if not callable(value)}
    return _answer("flagz", f"{component} flags", component, {"flags": shown}, [f"{name}={value}" for name, value in shown.items()], accept)


def _answer(page: str, title: str, component: str, found: Mapping[str, Any], lines: Iterable[str], accept: str) -> Answer:
    media, version = _chosen(page, accept)
    if media == "text/plain":
        return 200, TEXT, "\n".join(("", title, _WARNING, "", *lines, "")).encode()
    if not media:
        accepted = ", ".join(("text/plain", *(f"{kind};g={GROUP};v={one};as={_KINDS[page]}" for one in VERSIONS
                                              for kind in ("application/json", "application/yaml"))))
        return 406, TEXT, f"only the following media types are accepted: {accepted}\n".encode()
    obj = {"kind": _KINDS[page], "apiVersion": f"{GROUP}/{version}", "metadata": {"name": component}, **found}
    body = orjson.dumps(obj) + b"\n" if media == "application/json" else yaml.safe_dump(obj).encode()
    return 200, media, body


def _chosen(page: str, accept: str) -> tuple[str, str]:
    """Media type and version of the first clause that can be had; empty when none can."""
    for clause in accept.split(",") if accept.strip() else ("text/plain",):
        kind, *rest = (part.strip() for part in clause.split(";"))
        if kind in ("text/plain", "text/*", "*/*"):
            return "text/plain", ""
        given = dict(part.partition("=")[::2] for part in rest)
        if kind in ("application/json", "application/yaml") and (given.get("g"), given.get("as")) == (GROUP, _KINDS[page]) \
                and given.get("v") in VERSIONS:
            return kind, given["v"]
    return "", ""


def _shown(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case None:
            return ""
        case list() | tuple() | set() | frozenset():
            return f"[{','.join(map(_shown, value))}]"
        case Mapping():
            return ",".join(f"{name}={_shown(one)}" for name, one in value.items())
        case str() | int() | float() | Path():
            return str(value)
    return type(value).__name__


def _stamp(seconds: float, form: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(form)
