"""Watches: the changes after a revision, or what is there and then the changes.

For whole objects the frames of the events are shared by all watchers. A selector turns changes into what the watcher must
see: an object that enters the selection is ADDED, one that leaves it DELETED, with its last selected state.
"""
from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import orjson

from kubepy.api.codec import escape
from kubepy.api.errors import ApiError, BadRequest, Expired, Gone
from kubepy.api.protobuf import encodable, encode_body, encode_event
from kubepy.api.types import Object
from kubepy.apiserver import media
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.info import first, true
from kubepy.apiserver.media import Media
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.representation import Table, is_custom, partial, served
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry, Event, Matcher
from kubepy.apiserver.storage.watcher import CacheWatcher
from kubepy.apiserver.verbs.get import check_version
from kubepy.apiserver.verbs.option import integer
from kubepy.apiserver.verbs.select import Selection, check_list_options, selection
from kubepy.apiserver.zero import zero

BOOKMARK_SECONDS = 60.0
LAST_BOOKMARK = 2.0
"""Seconds before a watch ends by its timeout that a bookmark is sent, for the next one to go on from."""
INITIAL_END = "k8s.io/initial-events-end"
_CHUNK = 256 << 10
_SERVED = (media.JSON, media.PROTOBUF)
_TYPES = (*media.OFFERED, *media.STREAMS)


async def watch(server: Server, exchange: Exchange, context: Context) -> None:
    kind, query, info = context.kind, context.query, context.info
    check_list_options(query, watch=True)
    chosen = media.negotiate(exchange.header(b"accept"), _SERVED[:1] if is_custom(kind) else _SERVED, _TYPES)
    picked = selection(kind, query)
    name = picked.name
    if info.name and info.verb == "watch" and len(info.parts) > 1:
        if name and name != info.name:
            raise BadRequest("fieldSelector metadata.name doesn't match requested name")
        name = info.name
    version = first(query, "resourceVersion")
    if version:
        check_version(version)
    bookmarks = true(query, "allowWatchBookmarks")
    seconds = integer(query, "timeoutSeconds") or 0
    if seconds <= 0:
        seconds = round(server.options.min_request_timeout * (1 + random.random()))
    namespace = (info.namespace or None) if kind.resource.namespaced else None
    if not kind.resource.namespaced and len(info.parts) == 1 and info.resource == "namespaces" and info.namespace:
        name = info.namespace
    stream = Stream(server, exchange, context, chosen, picked, namespace, name or None)
    initial = true(query, "sendInitialEvents") if "sendInitialEvents" in query else version in ("", "0")
    task = asyncio.current_task()
    assert task is not None
    server.watches.add(task)
    try:
        await stream.run(version, initial, bookmarks, float(seconds))
    except asyncio.CancelledError:
        if not server.closing or not exchange.started:
            raise
        task.uncancel()  # the server stops: the client gets a proper end and comes back
        await exchange.end_stream()
    finally:
        server.watches.discard(task)


def _next_bookmark(now: float, deadline: float) -> float:
    last = deadline - LAST_BOOKMARK
    return min(now + BOOKMARK_SECONDS, last) if last > now else now + BOOKMARK_SECONDS


class Stream:
    """One watch while it lasts."""

    def __init__(self, server: Server, exchange: Exchange, context: Context, chosen: Media, picked: Selection, namespace: str | None,
                 name: str | None) -> None:
        self.server, self.exchange, self.kind = server, exchange, context.kind
        self.store = server.store(context.kind)
        self.namespace, self.name = namespace, name
        self.match = picked.match
        self.push = exchange.scope["extensions"]["push"]
        self.chosen = chosen
        self.table = Table(server, context, chosen) if chosen.transform == "Table" else None
        self.first_table = True
        resource = context.kind.resource
        self.binary = chosen.type == media.PROTOBUF and (bool(chosen.transform) or encodable(resource.api_version, resource.kind))
        self.plain = not self.binary and not chosen.transform and context.kind.conversion is None
        self.form = "" if chosen.transform else f"{chosen.type} {resource.api_version} "

    async def run(self, version: str, initial: bool, bookmarks: bool, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        backlog: list[bytes] = []
        if initial:
            page = await self.store.list(self.namespace, match=self._initial_match(), resource_version=version or None)
            backlog = [self.entry_frame("ADDED", entry) for entry in page.entries]
            after = page.revision
            if bookmarks:
                backlog.append(self.bookmark(after, initial_end=True))
        else:
            after = int(version) if version not in ("", "0") else (await self.store.list(self.namespace, limit=1)).revision
        try:
            watcher = await self.store.watch(self.namespace, self.name, after=after)
        except (Expired, Gone) as error:
            await self._start()
            await self.exchange.chunk(self.error_frame(error))
            await self.exchange.end_stream()
            return
        try:
            await self._start()
            await self._send(backlog)
            if isinstance(watcher, CacheWatcher) and not self.chosen.transform:
                watcher.take = self._take
            next_bookmark = _next_bookmark(loop.time(), deadline)
            sent_until = after
            while not self.server.closing:
                now = loop.time()
                left = deadline - now
                if left <= 0:
                    break
                try:
                    events = await watcher.next(min(left, max(0.0, next_bookmark - now), 5.0) if bookmarks else min(left, 5.0))
                except (Expired, Gone) as error:
                    await self.exchange.chunk(self.error_frame(error))
                    break
                if events:
                    frames = self.frames(events)
                    if frames:
                        await self.exchange.chunk(frames[0] if len(frames) == 1 else b"".join(frames))
                if bookmarks and loop.time() >= next_bookmark:
                    next_bookmark = _next_bookmark(loop.time(), deadline)
                    reached = watcher.bookmark()
                    if reached > sent_until:
                        sent_until = reached
                        await self.exchange.chunk(self.bookmark(reached))
        finally:
            watcher.close()
        await self.exchange.end_stream()

    def _take(self, events: Sequence[Event]) -> bool:
        """Sends events right where they are published; what cannot be sent at once is left to `run`, and so are failures."""
        try:
            frames = self.frames(events)
        except Exception:
            return False
        return not frames or bool(self.push(frames[0] if len(frames) == 1 else b"".join(frames)))

    async def _start(self) -> None:
        kind = b"application/json"
        if self.binary:
            kind = b"application/vnd.kubernetes.protobuf;stream=watch"
        elif self.chosen.parameters:
            words = [f"{key}={value}" for key, value in self.chosen.parameters if key == "stream"]
            if words:
                kind += b";" + ";".join(words).encode()
        await self.exchange.start_stream(kind)

    async def _send(self, frames: list[bytes]) -> None:
        batch: list[bytes] = []
        size = 0
        for frame in frames:
            batch.append(frame)
            size += len(frame)
            if size > _CHUNK:
                await self.exchange.chunk(b"".join(batch))
                batch, size = [], 0
        if batch:
            await self.exchange.chunk(b"".join(batch))

    def _initial_match(self) -> Matcher | None:
        name, match = self.name, self.match
        if name is None:
            return match
        if match is None:
            return lambda entry: entry.name == name
        return lambda entry: entry.name == name and match(entry)

    def frames(self, events: Sequence[Event]) -> list[bytes]:
        """What this watcher sees of the events."""
        match = self.match
        if match is None and self.plain:
            return [event.frame(event.type) for event in events]
        found = []
        for event in events:
            entry, previous = event.entry, event.previous
            if match is None:
                kind = event.type
            elif event.type == "DELETED":
                if not match(previous or entry):
                    continue
                kind = "DELETED"
            else:
                now, before = match(entry), previous is not None and match(previous)
                if now:
                    kind = "MODIFIED" if before else "ADDED"
                elif before and previous is not None:
                    found.append(self.left_frame(previous, event.revision))
                    continue
                else:
                    continue
            found.append(self.event_frame(kind, event))
        return found

    def event_frame(self, type_: str, event: Event) -> bytes:
        if self.plain:
            return event.frame(type_)
        if self.form:  # whole objects look the same to all watchers of a version
            return event.shared(self.form + type_, lambda: self.entry_frame(type_, event.entry))
        return self.entry_frame(type_, event.entry)

    def left_frame(self, previous: Entry, revision: int) -> bytes:
        """An object that left the selection: its last selected state, at the revision it left at."""
        obj = served(self.kind, previous)
        obj["metadata"]["resourceVersion"] = str(revision)
        return self.object_frame("DELETED", obj)

    def entry_frame(self, type_: str, entry: Entry) -> bytes:
        if self.plain:
            return b'{"type":"%b","object":%b}\n' % (type_.encode(), entry.json())
        return self.object_frame(type_, served(self.kind, entry))

    def object_frame(self, type_: str, obj: Object) -> bytes:
        if self.table is not None:
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            shown = self.table.document([obj], metadata, definitions=self.first_table)
            self.first_table = False
        elif self.chosen.transform:
            shown = partial(self.kind, obj, self.chosen.version)
        else:
            shown = obj
        return self.encoded(type_, shown)

    def encoded(self, type_: str, shown: Object) -> bytes:
        if self.binary:
            return encode_event(type_, encode_body(shown, lossy=True))
        return escape(orjson.dumps({"type": type_, "object": shown}, option=orjson.OPT_APPEND_NEWLINE))

    def error_frame(self, error: ApiError) -> bytes:
        return self.encoded("ERROR", error.status())

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        metadata: Object = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {INITIAL_END: "true"}
        return self.object_frame("BOOKMARK", empty_object(self.kind, metadata))


def empty_object(kind: Kind, metadata: Object) -> Object:
    """A typed object with nothing in it but metadata, as bookmarks carry."""
    return {**zero(kind), "metadata": metadata}
