"""Serves OpenAPI: `/openapi/v2`, `/openapi/v3` (the index) and `/openapi/v3/…` (a document for each group and version).

Documents are built when they are first asked for, in a thread, and kept until the table of kinds changes; so are their protobuf forms.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from kubepy.api.schema.openapi import custom_schema, definition_of, document_hash, v2_document, v3_document, v3_index, v3_info_document
from kubepy.api.schema.openapi_path import Served, ServedSub
from kubepy.api.schema.openapi_protobuf import V2, V3, v2_protobuf, v3_protobuf
from kubepy.api.types import Object
from kubepy.apiserver import media
from kubepy.apiserver.aggregation.document import merge_swagger
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.server import Server

RELEASE = "1.36"
INFO = ("version", "api", "apis", ".well-known/openid-configuration", "openid/v1/jwks")


class OpenApi:
    def __init__(self, server: Server) -> None:
        self.server = server
        self._generation = -1
        self._documents: dict[str, bytes] = {}
        self._made_of: dict[str, tuple[Kind, ...]] = {}
        """The kinds that each kept document shows: it stays while they do, so that a new definition costs only its own."""
        self._hashes: dict[str, str] = {}
        self._encoded: dict[str, bytes] = {}
        self._lock = asyncio.Lock()
        self._merged_for = (-1, -1)
        self._merged_body = b""

    async def serve(self, exchange: Exchange) -> bool:
        """Answers a path below /openapi; False for any other."""
        path = exchange.info.path
        if not path.startswith("/openapi/"):
            return False
        if path == "/openapi/v2":
            await self._send(exchange, "v2", await self._merged())
            return True
        if path == "/openapi/v3":
            await self._index(exchange)
            return True
        if not path.startswith("/openapi/v3/"):
            return False
        name = path.removeprefix("/openapi/v3/")
        if name not in self._names():
            await exchange.answer(404, b"", b"")
            return True
        await self._send(exchange, name, await self._document(name))
        return True

    async def _send(self, exchange: Exchange, name: str, body: bytes) -> None:
        chosen = _negotiate(exchange.header(b"accept"), V2 if name == "v2" else V3)
        if not chosen:
            await exchange.answer(406, b"", b"")
            return
        tag = self._hashes.get(name) or self._hashes.setdefault(name, document_hash(body))
        given = exchange.query.get("hash")
        extra = [(b"Vary", b"Accept"), (b"ETag", f'"{tag}"'.encode())]
        if given is not None:
            if given[0] != tag:
                location = f"/openapi/v3/{name}?hash={tag}"
                await exchange.answer(301, b"", media.JSON.encode(), [(b"Location", location.encode())])
                return
            extra.append((b"Cache-Control", b"public, immutable"))
        if exchange.header(b"if-none-match") in (f'"{tag}"', tag):
            await exchange.answer(304, b"", media.JSON.encode(), extra)
            return
        if chosen != media.JSON:
            body = await self._protobuf(name, body)
        await exchange.answer(200, body, chosen.encode(), extra)

    async def _protobuf(self, name: str, body: bytes) -> bytes:
        found = self._encoded.get(name)
        if found is None:
            encode = v2_protobuf if name == "v2" else v3_protobuf
            found = self._encoded[name] = await asyncio.to_thread(lambda: encode(orjson.loads(body)))
        return found

    async def _index(self, exchange: Exchange) -> None:
        for name in self._names():
            await self._document(name)
        self._refresh()
        index = v3_index({name: raw for name, raw in self._documents.items() if name != "v2"})
        for remote in self.server.remotes.remotes.values():
            index["paths"].update({name: {"serverRelativeURL": url} for name, url in remote.openapi.items()})
        body = orjson.dumps(index)
        await exchange.answer(200, body, b"text/plain; charset=utf-8")

    async def _merged(self) -> bytes:
        """OpenAPI v2 with what extension servers add."""
        own = await self._document("v2")
        remotes = self.server.remotes
        if not any(remote.swagger for remote in remotes.remotes.values()):
            return own
        if self._merged_for != (self._generation, remotes.generation):
            generation, found = remotes.generation, list(remotes.remotes.values())
            body = await asyncio.to_thread(lambda: orjson.dumps(merge_swagger(orjson.loads(own), found)))
            self._merged_body, self._merged_for = body, (self._generation, generation)
            self._hashes.pop("v2", None)
            self._encoded.pop("v2", None)
        return self._merged_body

    def _names(self) -> list[str]:
        table = self.server.kinds
        names = list(INFO)
        for group, versions in table.versions.items():
            if group:
                names.append(f"apis/{group}")
            names += [f"apis/{group}/{version}" if group else f"api/{version}" for version in versions]
        return names

    def _refresh(self) -> None:
        if self.server.kinds.generation != self._generation:
            self._generation = self.server.kinds.generation
            by_name = self._kinds_by_name()
            same = {name for name, kinds in self._made_of.items() if by_name.get(name) == kinds and name in self._documents}
            self._documents = {name: raw for name, raw in self._documents.items() if name in same}
            self._hashes = {name: text for name, text in self._hashes.items() if name in same}
            self._encoded = {name: raw for name, raw in self._encoded.items() if name in same}
            self._made_of = by_name

    def _kinds_by_name(self) -> dict[str, tuple[Kind, ...]]:
        """What each document but v2's is made of; kinds are compared as objects: they are replaced, never changed."""
        found: dict[str, list[Kind]] = {}
        for kind in self.server.kinds.kinds:
            resource = kind.resource
            found.setdefault(f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}", []).append(kind)
        versions = self.server.kinds.versions
        groups: dict[str, tuple[Kind, ...]] = {f"apis/{group}": () for group in versions if group}
        return {**dict.fromkeys(INFO, ()), **groups, **{name: tuple(kinds) for name, kinds in found.items()}}

    async def _document(self, name: str) -> bytes:
        self._refresh()
        found = self._documents.get(name)
        if found is None:
            async with self._lock:
                documents = self._documents
                if name in documents:
                    return documents[name]
                build = self._builder(name)
                found = documents[name] = await asyncio.to_thread(lambda: orjson.dumps(build()))
        return found

    def _builder(self, name: str) -> Callable[[], Object]:
        kinds = self.server.kinds.kinds
        if name == "v2":
            versions: dict[tuple[str, str], list[Served]] = {}
            for kind in kinds:
                versions.setdefault((kind.resource.group, kind.resource.version), []).append(served_of(kind))
            return lambda: v2_document(versions, f"v{RELEASE}.0")
        parts = name.split("/")
        if name in INFO or (parts[0] == "apis" and len(parts) == 2):
            return lambda: v3_info_document(name, RELEASE)
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        served = [served_of(kind) for kind in kinds if (kind.resource.group, kind.resource.version) == (group, version)]
        return lambda: v3_document(group, version, served, RELEASE)


def _negotiate(accept: str, protobuf: str) -> str:
    """The type to answer in, or "" when none is accepted; the older name of the protobuf form has an @ in it."""
    if not accept:
        return media.JSON
    for clause in media.clauses(accept):
        if clause.type in (media.JSON, "*/*", "application/*"):
            return media.JSON
        if clause.type.replace("@", ".") == protobuf:
            return protobuf
    return ""


def served_of(kind: Kind) -> Served:
    resource = kind.resource
    subs = tuple(ServedSub(sub.name, sub.verbs, sub.kind, (sub.group or "") if sub.version else resource.group,
                           sub.version or resource.version,
                           definition_of((sub.group or "") if sub.version else resource.group, sub.version or resource.version, sub.kind)
                           if sub.kind else "")
                 for sub in kind.subresources)
    served = Served(resource.group, resource.version, resource.plural, resource.kind, resource.namespaced, kind.verbs,
                    definition_of(resource.group, resource.version, resource.kind), subs, kind.strategy.returns_deleted)
    schema = getattr(kind, "schema", None)
    if schema is None:
        return served
    return Served(served.group, served.version, served.plural, served.kind, served.namespaced, served.verbs, served.definition, subs,
                  served.returns_deleted, custom_schema(served, schema))
