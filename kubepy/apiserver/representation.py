"""Objects as clients asked for them: whole, as a Table, or as metadata only; as JSON, YAML or protobuf.

The common case, whole objects as compact JSON, never decodes: stored bytes, which are escaped already, are joined.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from kubepy.api.codec import escape
from kubepy.api.errors import BadRequest, NotAcceptable
from kubepy.api.types import Object
from kubepy.apiserver import media, rows
from kubepy.apiserver.column import DEFAULT_COLUMNS
from kubepy.apiserver.exchange import Exchange, render
from kubepy.apiserver.info import first
from kubepy.apiserver.media import Media
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.entry import join
from kubepy.apiserver.storage.interface import Entry, Page

_META = "meta.k8s.io/"
_INCLUDES = ("", "Metadata", "Object", "None")


def served(kind: Kind, entry: Entry) -> Object:
    """The entry's object in the version it is served in; belongs to the caller."""
    obj = entry.decode()
    return kind.conversion.from_stored(obj) if kind.conversion else obj


def entry_json(kind: Kind, entry: Entry) -> bytes:
    if kind.conversion:
        return escape(orjson.dumps(kind.conversion.from_stored(entry.decode())))
    return entry.json()


def _negotiate(exchange: Exchange, kind: Kind, advertised: tuple[str, ...] = media.OFFERED) -> Media:
    accept = exchange.headers.get(b"accept")
    if not accept:
        return media.PLAIN
    if is_custom(kind):
        return media.negotiate(accept.decode("latin-1"), media.CUSTOM, ())
    return media.negotiate(accept.decode("latin-1"), media.OFFERED, advertised)


def _go_type(kind: Kind, *, is_list: bool) -> str:
    package = kind.resource.group.partition(".")[0] or "core"
    return f"*{package}.{kind.resource.kind}{'List' if is_list else ''}"


async def answer_entry(server: Server, exchange: Exchange, context: Context, entry: Entry, status: int = 200) -> None:
    """Sends one stored object."""
    kind = context.kind
    chosen = _negotiate(exchange, kind)
    if not chosen.transform and chosen.type == media.JSON and not chosen.pretty and not exchange.pretty:
        await exchange.answer(status, entry_json(kind, entry) + b"\n")
        return
    await _answer(server, exchange, context, status, served(kind, entry), chosen)


async def answer_written(server: Server, exchange: Exchange, context: Context, status: int, result: Entry | Object) -> None:
    """Sends what a write made: an entry, or an object where nothing was stored."""
    if isinstance(result, dict):
        await _answer(server, exchange, context, status, result, _negotiate(exchange, context.kind))
    else:
        await answer_entry(server, exchange, context, result, status)


async def _answer(server: Server, exchange: Exchange, context: Context, status: int, obj: Object, chosen: Media) -> None:
    kind = context.kind
    if chosen.transform == "Table":
        shown = Table(server, context, chosen).document([obj], {"resourceVersion": obj["metadata"].get("resourceVersion", "")})
    elif chosen.transform == "PartialObjectMetadata":
        shown = partial(kind, obj, chosen.version)
    elif chosen.transform:
        raise NotAcceptable("you requested PartialObjectMetadataList, but the requested object is not a list "
                            f"({_go_type(kind, is_list=False)})")
    else:
        shown = obj
    await exchange.answer(status, *render(shown, chosen.type, chosen.pretty or exchange.pretty))


def partial(kind: Kind, obj: Object, version: str = "v1") -> Object:
    """The object's metadata as a PartialObjectMetadata."""
    metadata = obj["metadata"]
    if kind.derived_annotations and (annotations := metadata.get("annotations")):
        kept = {key: value for key, value in annotations.items() if key not in kind.derived_annotations}
        metadata = {key: kept if key == "annotations" else value for key, value in metadata.items() if key != "annotations" or kept}
    return {"kind": "PartialObjectMetadata", "apiVersion": _META + version, "metadata": metadata}


def list_head(kind: Kind, page: Page) -> bytes:
    """The beginning of a list's JSON, up to its first item."""
    resource = kind.resource
    head = f'{{"kind":"{resource.kind}List","apiVersion":"{resource.api_version}","metadata":{{"resourceVersion":"{page.revision}"'
    if page.continue_token:
        head += f',"continue":{orjson.dumps(page.continue_token).decode()}'
        if page.remaining:
            head += f',"remainingItemCount":{page.remaining}'
    return head.encode() + b'},"items":['


def _list_metadata(page: Page) -> Object:
    metadata: Object = {"resourceVersion": str(page.revision)}
    if page.continue_token:
        metadata["continue"] = page.continue_token
        if page.remaining:
            metadata["remainingItemCount"] = page.remaining
    return metadata


def is_custom(kind: Kind) -> bool:
    """Custom resources carry apiVersion and kind in list items; built-in ones do not."""
    return bool(getattr(kind, "custom", False))


def items_json(kind: Kind, entries: Iterable[Entry]) -> bytes:
    """The items of a list, joined."""
    if kind.conversion:
        return b",".join(_bare_dump(kind, entry) for entry in entries)
    return join(entries, bare=not is_custom(kind))


def _bare_dump(kind: Kind, entry: Entry) -> bytes:
    obj = served(kind, entry)
    obj.pop("apiVersion", None)
    obj.pop("kind", None)
    return escape(orjson.dumps(obj))


async def answer_list(server: Server, exchange: Exchange, context: Context, page: Page) -> None:
    """Sends a page."""
    kind = context.kind
    chosen = _negotiate(exchange, kind, (*media.OFFERED, *media.STREAMS))
    if not chosen.transform and chosen.type == media.JSON and not chosen.pretty and not exchange.pretty:
        await exchange.answer(200, b"%b%b]}\n" % (list_head(kind, page), items_json(kind, page.entries)))
        return
    if chosen.transform == "Table":
        table = Table(server, context, chosen)
        if chosen.type == media.JSON and table.include in ("", "Metadata") and kind.conversion is None \
                and not kind.derived_annotations \
                and not chosen.pretty and not exchange.pretty:
            await exchange.answer(200, table.listing(page.entries, _list_metadata(page)))
            return
    await _answer_list(server, exchange, context, chosen, (served(kind, entry) for entry in page.entries), _list_metadata(page))


async def answer_objects(server: Server, exchange: Exchange, context: Context, objects: Iterable[Object], metadata: Object) -> None:
    """Sends a list of objects that are computed and not stored."""
    chosen = _negotiate(exchange, context.kind, (*media.OFFERED, *media.STREAMS))
    await _answer_list(server, exchange, context, chosen, objects, metadata)


async def _answer_list(server: Server, exchange: Exchange, context: Context, chosen: Media, objects: Iterable[Object],
                       metadata: Object) -> None:
    kind, resource = context.kind, context.kind.resource
    if chosen.transform == "PartialObjectMetadata":
        raise NotAcceptable(f"you requested PartialObjectMetadata, but the requested object is a list ({_go_type(kind, is_list=True)})")
    if chosen.transform == "Table":
        shown = Table(server, context, chosen).document(objects, metadata)
    elif chosen.transform:
        items = [partial(kind, obj, chosen.version) for obj in objects]
        shown = {"kind": "PartialObjectMetadataList", "apiVersion": _META + chosen.version, "metadata": metadata, "items": items or None}
    else:
        listed = list(objects)
        if not is_custom(kind):
            listed = [{key: value for key, value in item.items() if key not in ("apiVersion", "kind")} for item in listed]
        shown = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata, "items": listed}
    await exchange.answer(200, *render(shown, chosen.type, chosen.pretty or exchange.pretty))


class Table:
    """Renders objects of one kind as rows (`metav1.Table`)."""

    def __init__(self, server: Server, context: Context, chosen: Media) -> None:
        self.include = first(context.query, "includeObject")
        if self.include not in _INCLUDES:
            shown = orjson.dumps(self.include).decode()
            raise BadRequest(f"Unable to convert to Table as requested: includeObject: Invalid value: {shown}: "
                             "must be 'Metadata', 'Object', 'None', or empty")
        self.kind = context.kind
        self.columns = context.kind.columns or DEFAULT_COLUMNS
        self.version = chosen.version
        self.now = server.clock.now()

    def definitions(self) -> list[Object]:
        return [{"name": column.name, "type": column.type, "format": column.format, "description": column.description,
                 "priority": column.priority} for column in self.columns]

    def row(self, obj: Object) -> Object:
        cells: list[Any] = [column.cell(obj, self.now) for column in self.columns]
        if self.include == "None":
            shown: Object | None = None
        elif self.include == "Object":
            shown = obj
        else:
            shown = partial(self.kind, obj, self.version)
        return {"cells": cells, "object": shown}

    def listing(self, entries: Iterable[Entry], metadata: Object) -> bytes:
        """The JSON of a table of stored objects, whose rows carry their metadata."""
        columns, now = self.columns, self.now
        rendered = []
        for entry in entries:
            obj, own = rows.split(entry.json())
            rendered.append(rows.row([column.cell(obj, now) for column in columns], own, self.version))
        head = orjson.dumps({"kind": "Table", "apiVersion": _META + self.version, "metadata": metadata,
                             "columnDefinitions": self.definitions()})
        return b'%b,"rows":[%b]}\n' % (escape(head[:-1]), b",".join(rendered))

    def document(self, objects: Iterable[Object], metadata: Object, *, definitions: bool = True) -> Object:
        shown: Sequence[Object] = [self.row(obj) for obj in objects]
        return {"kind": "Table", "apiVersion": _META + self.version, "metadata": metadata,
                "columnDefinitions": self.definitions() if definitions else None, "rows": shown}
