"""Which name server it is that answers at an address (RFC 4892: `id.server`, class CHAOS): the question, and how its answer is read.

    dig @10.96.0.10 id.server CH TXT

Cluster DNS says the name of its node, and an error once it is asked to stop, while it still answers everything else: whoever hands
questions out to name servers hears in time that this one is to be left out.
"""
from __future__ import annotations

import struct

CHAOS, TXT = 3, 16
NAMES = (b"\x02id\x06server\x00", b"\x08hostname\x04bind\x00")
"""The standard's name and the one that it grew from, in wire form."""
_QUESTION = NAMES[0] + struct.pack("!HH", TXT, CHAOS)
_HEADER = struct.Struct("!HHHHHH")
_LEAST = _HEADER.size + len(_QUESTION)


def query(number: int) -> bytes:
    return _HEADER.pack(number, 0, 1, 0, 0, 0) + _QUESTION


def text(name: str) -> bytes:
    """The data of the TXT record that answers."""
    data = name.encode()[:255]
    return bytes([len(data)]) + data


def parse(data: bytes) -> tuple[int, str] | None:
    """(the query's number, what the server calls itself: "" where it refuses); None for what is no answer to the question."""
    if len(data) < _LEAST or data[_HEADER.size:_LEAST].lower() != _QUESTION:
        return None
    number, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if not flags & 0x8000 or questions != 1:
        return None
    if flags & 15 or not answers:
        return number, ""
    at = _LEAST + (2 if data[_LEAST:_LEAST + 1] >= b"\xc0" else len(NAMES[0])) + 10  # the owner, type, class, TTL, length
    if at >= len(data):
        return None
    return number, data[at + 1:at + 1 + data[at]].decode(errors="replace")
