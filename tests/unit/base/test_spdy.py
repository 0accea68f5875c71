"""The SPDY client against a peer that answers from memory."""
from __future__ import annotations

import asyncio
import struct
import zlib

import pytest

from kubepy.base.http.spdy import DICTIONARY, Session, SpdyError


class Peer:
    """The server's side: takes every stream (or refuses it), echoes its data and closes when the client does."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.refuse = refuse
        self.headers: dict[int, dict[str, str]] = {}
        self.to_client: asyncio.Queue[bytes] = asyncio.Queue()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)

    async def read(self) -> bytes:
        return await self.to_client.get()

    async def write(self, frame: bytes) -> None:
        first, second = struct.unpack_from(">II", frame)
        if first == 0x80030001:
            number = struct.unpack_from(">I", frame, 8)[0]
            self.headers[number] = _headers(self._inflate.decompress(frame[18:]))
            if self.refuse:
                self.to_client.put_nowait(struct.pack(">IIII", 0x80030003, 8, number, 3))
            else:
                block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
                reply = struct.pack(">IIIH", 0x80030002, 4 + len(block), number, 0)[:12] + block
                for piece in (reply[:5], reply[5:]):  # frames need not arrive whole
                    self.to_client.put_nowait(piece)
        elif not first & 0x80000000:
            self.to_client.put_nowait(frame)
            if second >> 24 & 1:
                self.to_client.put_nowait(b"")


def _headers(block: bytes) -> dict[str, str]:
    count, at, out = struct.unpack_from(">I", block)[0], 4, []
    for _ in range(2 * count):
        size = struct.unpack_from(">I", block, at)[0]
        out.append(block[at + 4:at + 4 + size].decode())
        at += 4 + size
    return dict(zip(out[::2], out[1::2], strict=True))


async def test_streams_open_with_their_headers_and_carry_data_both_ways() -> None:
    peer = Peer()
    session = Session(peer.read, peer.write)
    reader = asyncio.ensure_future(session.run())
    error = await session.open_stream({"streamType": "error"})
    stdin = await session.open_stream({"streamType": "stdin"})
    await stdin.write(b"x" * 40_000)
    received = await stdin.read() + await stdin.read()
    await stdin.close_write()
    await reader
    assert peer.headers == {1: {"streamtype": "error"}, 3: {"streamtype": "stdin"}}
    assert received == b"x" * 40_000
    assert (await stdin.read(), await error.read()) == (b"", b"")


async def test_a_refused_stream_raises() -> None:
    peer = Peer(refuse=True)
    session = Session(peer.read, peer.write)
    reader = asyncio.ensure_future(session.run())
    with pytest.raises(SpdyError, match="refused"):
        await session.open_stream({"streamType": "error"})
    peer.to_client.put_nowait(b"")
    await reader


def test_the_dictionary_is_the_drafts() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
