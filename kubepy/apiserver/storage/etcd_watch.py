"""A watch on etcd, and how etcd's messages and failures become the store's."""
from __future__ import annotations

from typing import Any

from kubepy.apiserver.storage import etcd_pb2 as pb
from kubepy.apiserver.storage.http2 import Stream
from kubepy.apiserver.storage.kv import Batch, Change, Compacted, FutureRevision, KeyValue, KVError, TooLarge, Unavailable
from kubepy.apiserver.storage.rpc_error import ABORTED, CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, UNKNOWN, RpcError

_LOST = frozenset((UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, ABORTED, UNKNOWN))


class EtcdWatch:
    """`kv.Watch` on a stream of its own: its progress depends on no other range."""

    def __init__(self, call: Stream) -> None:
        self._call = call
        self._parts: list[Change] = []

    async def open(self, create: Any) -> None:
        self._write(pb.WatchRequest(create_request=create))
        answer = await self._receive()
        while not answer.created:
            answer = await self._receive()
        if answer.canceled:
            raise Unavailable(f"etcd refused the watch: {answer.cancel_reason}")

    async def next(self) -> Batch:
        while True:
            answer = await self._receive()
            if answer.canceled:
                if answer.compact_revision:
                    raise Compacted(answer.compact_revision)
                raise Unavailable(f"etcd cancelled the watch: {answer.cancel_reason}")
            for event in answer.events:
                kv = event.kv
                self._parts.append(Change(key_value(kv), event.type == 1))
            if answer.fragment or answer.created:
                continue
            parts, self._parts = self._parts, []
            # A response with events counts up to its last event: its header can name a later revision whose events are still to come.
            return Batch(parts, parts[-1].kv.mod_revision if parts else answer.header.revision)

    async def request_progress(self) -> None:
        self._write(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    def close(self) -> None:
        self._call.cancel()

    def _write(self, request: Any) -> None:
        try:
            self._call.write(request.SerializeToString())
        except RpcError as error:
            raise Unavailable("the watch stream broke") from error

    async def _receive(self) -> Any:
        try:
            return pb.WatchResponse.FromString(await self._call.read())
        except RpcError as error:
            if not error.code:
                raise Unavailable("the watch stream ended") from error
            raise failure_of(error, "watch") from error


def key_value(kv: Any) -> KeyValue:
    return KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def failure_of(error: RpcError, where: str) -> KVError:
    details = error.details
    if "has been compacted" in details:
        return Compacted()
    if "future revision" in details:
        return FutureRevision(details)
    if "request is too large" in details:
        return TooLarge(details)
    if error.code in _LOST:
        return Unavailable(f"{where}: {details or error.name}")
    return KVError(f"{where}: {error.name}: {details}")
