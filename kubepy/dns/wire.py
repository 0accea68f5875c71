"""DNS messages in bytes: names, questions, answers with EDNS and truncation, and the little that forwarding must know of others."""
from __future__ import annotations

import random
import struct
from typing import NamedTuple

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
UDP_SIZE = 512
OWN_SIZE = 1232
"""What we tell others they may send us, and the most we send over UDP: fits any path without fragments."""
QUESTION_NAME = b"\xc0\x0c"
"""A pointer to the question's name."""
_HEADER = struct.Struct("!HHHHHH")
RECORD = struct.Struct("!HHIH")


class WireError(ValueError):
    """Bytes that are no DNS message we understand."""


class BadVersion(WireError):
    """A later EDNS than there is."""


class Question(NamedTuple):
    """A query. `name` is the lower-cased name in wire form; `raw` the question section as it came."""

    id: int
    flags: int
    name: bytes
    type: int
    qclass: int
    raw: bytes
    edns: bool
    size: int
    """The largest answer the client takes over UDP."""


class Answer(NamedTuple):
    """The part of a response that does not depend on the query: the sections' records, each encoded."""

    rcode: int
    answers: tuple[bytes, ...] = ()
    authority: tuple[bytes, ...] = ()
    additional: tuple[bytes, ...] = ()
    authoritative: bool = True
    rotates: bool = False
    """Several addresses of equal standing: each client gets them in another order."""
    elsewhere: bool = False
    """It leads to a name of others', whose addresses belong to it."""


def encode_name(name: str) -> bytes:
    """A dotted name (with or without the final dot), lower-cased."""
    out = bytearray()
    for label in name.rstrip(".").lower().split(".") if name.rstrip(".") else ():
        data = label.encode("idna") if not label.isascii() else label.encode()
        if not 0 < len(data) < 64:
            raise WireError(f"bad label in {name!r}")
        out.append(len(data))
        out += data
    out.append(0)
    if len(out) > 255:
        raise WireError(f"name too long: {name!r}")
    return bytes(out)


def decode_name(name: bytes) -> str:
    """Of an uncompressed name; for logs and matching."""
    labels, at = [], 0
    while name[at]:
        labels.append(name[at + 1:at + 1 + name[at]].decode("ascii", "replace"))
        at += 1 + name[at]
    return ".".join(labels)


def parents(name: bytes) -> list[bytes]:
    """The names above a wire name, nearest first, without the root."""
    found, at = [], 0
    while name[at]:
        at += 1 + name[at]
        if name[at]:
            found.append(name[at:])
    return found


def parse_question(data: bytes) -> Question:
    """Reads a query's header, its one question, and whether it speaks EDNS. Raises WireError."""
    if len(data) < 17:
        raise WireError("too short")
    number, flags, questions, _, _, additional = _HEADER.unpack_from(data)
    if flags & QR or questions != 1:
        raise WireError("not a query with one question")
    at, size = 12, len(data)
    while True:
        length = data[at]
        if length == 0:
            break
        if length > 63:
            raise WireError("bad label")
        at += 1 + length
        if at >= size or at > 12 + 254:
            raise WireError("name runs out of the message")
    end = at + 5
    if end > size:
        raise WireError("question is cut off")
    name = data[12:at + 1].lower()
    kind = data[at + 1] << 8 | data[at + 2]
    qclass = data[at + 3] << 8 | data[at + 4]
    edns, limit = False, UDP_SIZE
    if additional and end + 11 <= size and data[end] == 0 and data[end + 1] << 8 | data[end + 2] == OPT:
        if data[end + 6]:
            raise BadVersion("EDNS of another version")
        edns = True
        limit = max(UDP_SIZE, data[end + 3] << 8 | data[end + 4])
    return Question(number, flags, name, kind, qclass, data[12:end], edns, limit)


def record(owner: bytes, kind: int, ttl: int, rdata: bytes, qclass: int = IN) -> bytes:
    return owner + RECORD.pack(kind, qclass, ttl, len(rdata)) + rdata


def respond(question: Question, answer: Answer, limit: int | None) -> bytes:
    """The response to a query; cut to `limit` bytes with the TC flag set (None: TCP, no limit but 65,535)."""
    flags = QR | (question.flags & (RD | 0x7800)) | RA | answer.rcode | (AA if answer.authoritative else 0)
    opt = _OPT if question.edns else b""
    room = (65535 if limit is None else limit) - 12 - len(question.raw) - len(opt)
    answers, authority, additional = answer.answers, answer.authority, answer.additional
    if answer.rotates:
        first = random.randrange(len(answers))
        answers = answers[first:] + answers[:first]
    body = b"".join(answers + authority + additional)
    if len(body) > room:
        kept: list[bytes] = []
        for section in (answers, authority):
            for item in section:
                if len(item) > room:
                    room = -1
                    break
                room -= len(item)
                kept.append(item)
        if room < 0:
            flags |= TC
            answers = tuple(kept[:len(answers)])
            authority = tuple(kept[len(answers):])
        additional = ()
        body = b"".join(answers + authority)
    header = _HEADER.pack(question.id, flags, 1, len(answers), len(authority), len(additional) + bool(opt))
    return b"".join((header, question.raw, body, opt))


_OPT = b"\x00" + RECORD.pack(OPT, OWN_SIZE, 0, 0)


def refuse(data: bytes, rcode: int) -> bytes | None:
    """An error for bytes that could not be read as a query; None where not even that makes sense."""
    if len(data) < 12 or data[2] & 0x80:
        return None
    return data[:2] + struct.pack("!H", QR | rcode) + b"\x00" * 8


def refuse_version(data: bytes) -> bytes:
    """BADVERS, whose upper bits are in our OPT record (RFC 6891)."""
    return data[:2] + struct.pack("!HHHHH", QR, 0, 0, 0, 1) + b"\x00" + RECORD.pack(OPT, OWN_SIZE, 1 << 24, 0)


def make_query(number: int, question: bytes) -> bytes:
    """A recursive query with EDNS for a question section."""
    return _HEADER.pack(number, RD, 1, 0, 0, 1) + question + _OPT


class Foreign(NamedTuple):
    """What forwarding needs of another server's response: `ttls` are the offsets of its TTL fields."""

    rcode: int
    truncated: bool
    question: bytes
    sections: tuple[int, int, int]
    body: bytes
    ttls: tuple[int, ...]
    ttl: int


def parse_response(data: bytes) -> Foreign:
    """Takes a response apart: without its OPT record, with the least TTL of its records. Raises WireError."""
    if len(data) < 12:
        raise WireError("too short")
    _, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    if not flags & QR or questions != 1:
        raise WireError("not a response to one question")
    at = _skip_name(data, 12) + 4
    start = at
    ttls: list[int] = []
    least = 1 << 31
    counts = [answers, authority, additional]
    end = at
    for section, count in enumerate((answers, authority, additional)):
        for _ in range(count):
            first = at
            at = _skip_name(data, at)
            if at + 10 > len(data):
                raise WireError("record is cut off")
            kind, _, ttl, length = RECORD.unpack_from(data, at)
            at += 10 + length
            if at > len(data):
                raise WireError("record data is cut off")
            if kind == OPT:
                counts[section] -= 1
                if at != len(data):
                    raise WireError("records after OPT")
                end = first
                break
            least = min(least, ttl)
            ttls.append(at - length - 6 - start)
            if kind == SOA and section == 1 and length >= 20:
                least = min(least, int.from_bytes(data[at - 4:at], "big"))
            end = at
    return Foreign(flags & 15, bool(flags & TC), data[12:start], (counts[0], counts[1], counts[2]), data[start:end], tuple(ttls),
                   0 if least == 1 << 31 else least)


def _skip_name(data: bytes, at: int) -> int:
    while at < len(data):
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 192:
            return at + 2
        at += 1 + length
    raise WireError("name runs out of the message")


def relay(question: Question, foreign: Foreign, age: int, limit: int | None) -> bytes:
    """Another server's response as the answer to our client, `age` seconds after it came."""
    flags = QR | (question.flags & RD) | RA | foreign.rcode | (TC if foreign.truncated else 0)
    opt = _OPT if question.edns else b""
    body: bytes | bytearray = foreign.body
    if age:
        body = bytearray(body)
        for offset in foreign.ttls:
            left = max(0, int.from_bytes(body[offset:offset + 4], "big") - age)
            body[offset:offset + 4] = left.to_bytes(4, "big")
    if limit is not None and 12 + len(question.raw) + len(body) + len(opt) > limit:
        return _HEADER.pack(question.id, flags | TC, 1, 0, 0, bool(opt)) + question.raw + opt
    answers, authority, additional = foreign.sections
    return b"".join((_HEADER.pack(question.id, flags, 1, answers, authority, additional + bool(opt)), question.raw, body, opt))
