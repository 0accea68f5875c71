"""The little of netlink that needs to be fast: many requests in one message to the kernel, answers as plain attributes.

pyroute2 spends a quarter of a millisecond on a message; 5,000 services of 10 endpoints are 60,000 of them in IPVS.
"""
from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

REQUEST, ACK, DUMP, CREATE, EXCLUSIVE = 1, 4, 0x300, 0x400, 0x200
ROUTE, NETFILTER, GENERIC = 0, 12, 16
_ERROR, _DONE = 2, 3
_BUFFER = 1 << 20
_MESSAGE = 1 << 16
"""Bytes: the kernel's longest datagram of a dump is half of it."""
_FORCE_BUFFER = 33
_AT_ONCE = 256
"""Requests sent before answers are read: if all of so many are refused, that still fits the socket's buffer."""
_HEADER = struct.Struct("=IHHII")

Attributes = dict[int, bytes]


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), number) + value + b"\0" * (-len(value) % 4)


def string(number: int, text: str) -> bytes:
    return attribute(number, text.encode() + b"\0")


def nested(number: int, *attributes: bytes) -> bytes:
    return attribute(number | 0x8000, b"".join(attributes))


def attributes(data: bytes) -> Attributes:
    """What `data` holds, one level of it."""
    found, start = {}, 0
    while start + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, start)
        if length < 4:
            break
        found[number & 0x3FFF] = data[start + 4:start + length]
        start += length + 3 & ~3
    return found


def text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


class Netlink:
    """A socket. Every call blocks, and raises OSError when the kernel refuses."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _FORCE_BUFFER, _BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.settimeout(30)
        self._into = memoryview(bytearray(_MESSAGE))

    def _receive(self) -> bytes:
        """One datagram. (A buffer made anew for each would be mapped and unmapped each time: that takes longer than all the rest.)"""
        return bytes(self._into[:self._socket.recv_into(self._into)])

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes, header: int) -> Iterator[tuple[bytes, Attributes]]:
        """Each object's fixed header (of so many bytes) and attributes."""
        for message in self.messages(kind, body):
            yield message[:header], attributes(message[header:])

    def messages(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Each object as the kernel wrote it, from its fixed header on: where there are thousands, taking them apart is what costs."""
        self._socket.send(_message(kind, REQUEST | DUMP, 1, body))
        while True:
            data, start = self._receive(), 0
            while start < len(data):
                length, reply = struct.unpack_from("=IH", data, start)
                if reply == _DONE:
                    return
                if reply == _ERROR:
                    [code] = struct.unpack_from("=i", data, start + 16)
                    raise OSError(-code, os.strerror(-code))
                yield data[start + 16:start + length]
                start += length + 3 & ~3

    def ask(self, kind: int, body: bytes, header: int) -> Attributes:
        """One object's attributes."""
        self._socket.send(_message(kind, REQUEST, 1, body))
        data = self._receive()
        length, reply = struct.unpack_from("=IH", data)
        if reply == _ERROR:
            [code] = struct.unpack_from("=i", data, 16)
            raise OSError(-code, os.strerror(-code))
        return attributes(data[16 + header:length])

    def do(self, kind: int, bodies: Sequence[bytes], flags: int = 0, ignore: tuple[int, ...] = ()) -> list[tuple[int, int]]:
        """Performs all; gives (index, errno) of those that the kernel refused for another reason than those to ignore. It works them off
        one after the other and says in any case what it refuses, so only the last of those sent together is to be acknowledged."""
        refused: list[tuple[int, int]] = []
        for start in range(0, len(bodies), _AT_ONCE):
            part = bodies[start:start + _AT_ONCE]
            messages = [_message(kind, REQUEST | flags, number, body) for number, body in enumerate(part)]
            messages[-1] = _message(kind, REQUEST | ACK | flags, len(part) - 1, part[-1])
            self._socket.send(b"".join(messages))
            for number, code in self._answers(len(part) - 1):
                if code and code not in ignore:
                    refused.append((start + number, code))
        return refused

    def _answers(self, last: int) -> Iterator[tuple[int, int]]:
        """The number of a request and an errno, or 0, up to that of the last request."""
        number = -1
        while number != last:
            data, at = self._receive(), 0
            while at < len(data):
                length, reply, _, number = struct.unpack_from("=IHHI", data, at)
                if reply == _ERROR:
                    [code] = struct.unpack_from("=i", data, at + 16)
                    yield number, -code
                at += length + 3 & ~3


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    message = _HEADER.pack(16 + len(body), kind, flags, number, 0) + body
    return message + b"\0" * (-len(body) % 4) if len(body) & 3 else message


def generic_family(netlink: Netlink, name: str) -> int:
    """The number of a generic netlink family; the kernel loads its module if it can. Raises OSError (ENOENT: there is none)."""
    found = netlink.ask(16, struct.pack("=BBH", 3, 1, 0) + string(2, name), 4)
    if 1 not in found:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return int(struct.unpack("=H", found[1])[0])
