"""IPVS's virtual and real servers, and the dummy device with their addresses, through netlink. Every call blocks."""
from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubepy.proxy.ipvs.plan import Address, Real
from kubepy.proxy.model import Family
from kubepy.proxy.netlink import (
    CREATE,
    EXCLUSIVE,
    GENERIC,
    NETFILTER,
    ROUTE,
    Attributes,
    Netlink,
    attribute,
    attributes,
    generic_family,
    nested,
    string,
    text,
)

DEVICE = "kube-ipvs0"
_NEW_SERVICE, _SET_SERVICE, _DEL_SERVICE, _GET_SERVICE, _NEW_DEST, _SET_DEST, _DEL_DEST, _GET_DEST = range(1, 9)
_SET_CONFIG, _FLUSH = 12, 17
_SERVICE, _DEST = 1, 2
_PERSISTENT, _UP = 1, 1
_NEW_LINK, _NEW_ADDRESS, _DEL_ADDRESS, _GET_ADDRESS = 16, 20, 21, 22
_LIST_SETS, _HEADERS = 6 << 8 | 7, 4
_SET_PROTOCOL, _SET_NAME, _SET_FLAGS, _SET_DATA, _SET_ELEMENTS = 1, 2, 6, 7, 24
_OWN_ONLY = ("127.", "169.254.", "fe80:")
_PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}


@dataclass(frozen=True, slots=True)
class Service:
    """What the kernel knows of a virtual server beside its address. `timeout` in seconds, 0: not persistent."""

    scheduler: str
    timeout: int


@dataclass(frozen=True, slots=True)
class Server:
    """A real server: its weight (0: takes no new connections) and connections."""

    weight: int
    active: int = 0
    inactive: int = 0


class Ipvs:
    """A conversation with IPVS about one family's servers. Raises OSError; ENOENT at the beginning: the kernel has no IPVS."""

    def __init__(self, family: Family) -> None:
        self._af = socket.AF_INET if family == "IPv4" else socket.AF_INET6
        self._names: dict[Address, bytes] = {}
        self._weights: dict[int, bytes] = {}
        self._netlink = Netlink(GENERIC)
        try:
            self._number = generic_family(self._netlink, "IPVS")
        except OSError:
            self._netlink.__exit__()
            raise

    def __enter__(self) -> Ipvs:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.__exit__()

    def services(self) -> dict[Address, Service]:
        found = {}
        for _, one in self._netlink.dump(self._number, self._head(_GET_SERVICE), 4):
            values = attributes(one[_SERVICE])
            if struct.unpack("=H", values[1])[0] != self._af or 3 not in values:
                continue
            protocol = _NAMES.get(struct.unpack("=H", values[2])[0])
            if protocol is not None:
                flags, _ = struct.unpack("=II", values[7])
                timeout = struct.unpack("=I", values[8])[0] if flags & _PERSISTENT else 0
                found[Address(protocol, self._ip(values[3]), _port(values[4]))] = Service(text(values[6]), timeout)
        return found

    def holds(self, services: Iterable[Address]) -> bool:
        """Whether all of these are there. The kernel begins each with what names it, in the order in which it is named here."""
        wanted = {self._name(at)[4:] for at in services}
        size = len(next(iter(wanted), b""))
        for message in self._netlink.messages(self._number, self._head(_GET_SERVICE)):
            wanted.discard(message[8:8 + size])
        return not wanted

    def servers(self, at: Address) -> dict[Real, Server]:
        found = {}
        for _, one in self._netlink.dump(self._number, self._head(_GET_DEST) + self._name(at), 4):
            values = attributes(one[_DEST])
            found[Real(self._ip(values[1]), _port(values[2]))] = Server(_number(values, 4), _number(values, 7), _number(values, 8))
        return found

    def add(self, services: Mapping[Address, Service]) -> None:
        self._do(_NEW_SERVICE, [self._service(at, one) for at, one in services.items()], list(services), (errno.EEXIST,))

    def change(self, services: Mapping[Address, Service]) -> None:
        self._do(_SET_SERVICE, [self._service(at, one) for at, one in services.items()], list(services))

    def remove(self, services: Iterable[Address]) -> None:
        gone = list(services)
        self._do(_DEL_SERVICE, [self._name(at) for at in gone], gone, (errno.ESRCH, errno.ENOENT))

    def add_servers(self, servers: Iterable[tuple[Address, Real]]) -> None:
        """With the weight 1."""
        pairs = list(servers)
        self._do(_NEW_DEST, [self._name(at) + self._dest(real, 1) for at, real in pairs], pairs, (errno.EEXIST,))

    def weigh(self, servers: Mapping[tuple[Address, Real], int]) -> None:
        self._do(_SET_DEST, [self._name(at) + self._dest(real, weight) for (at, real), weight in servers.items()], list(servers),
                 (errno.ESRCH, errno.ENOENT))

    def remove_servers(self, servers: Iterable[tuple[Address, Real]]) -> None:
        pairs = list(servers)
        self._do(_DEL_DEST, [self._name(at) + self._dest(real, 0) for at, real in pairs], pairs, (errno.ESRCH, errno.ENOENT))

    def set_timeouts(self, tcp: int, tcp_fin: int, udp: int) -> None:
        """In seconds; 0 leaves one as it is."""
        if tcp or tcp_fin or udp:
            body = b"".join(attribute(number, struct.pack("=I", value)) for number, value in ((4, tcp), (5, tcp_fin), (6, udp)))
            self._do(_SET_CONFIG, [body], ["timeouts"])

    def _do(self, command: int, bodies: list[bytes], about: list[object] | list[tuple[Address, Real]] | list[Address] | list[str],
            ignore: tuple[int, ...] = ()) -> None:
        head = self._head(command)
        refused = self._netlink.do(self._number, [head + body for body in bodies], ignore=ignore)
        if refused:
            index, code = refused[0]
            what = "no such scheduler" if code == errno.ENOENT and command in (_NEW_SERVICE, _SET_SERVICE) else None
            raise OSError(code, f"IPVS refused {about[index]}: {what or errno.errorcode.get(code, code)} (and {len(refused) - 1} more)")

    @staticmethod
    def _head(command: int) -> bytes:
        return struct.pack("=BBH", command, 1, 0)

    def _name(self, at: Address) -> bytes:
        """A service without what it is like."""
        found = self._names.get(at)
        if found is None:
            found = self._names[at] = self._service(at)
        return found

    def _service(self, at: Address, service: Service | None = None) -> bytes:
        values = [attribute(1, struct.pack("=H", self._af)), attribute(2, struct.pack("=H", _PROTOCOLS[at.protocol])),
                  attribute(3, self._packed(at.ip)), attribute(4, struct.pack("!H", at.port))]
        if service is not None:
            mask = struct.pack("!I", 0xFFFFFFFF) if self._af == socket.AF_INET else struct.pack("=I", 128)
            values += [string(6, service.scheduler), attribute(7, struct.pack("=II", _PERSISTENT if service.timeout else 0, 0xFFFFFFFF)),
                       attribute(8, struct.pack("=I", service.timeout)), attribute(9, mask)]
        return nested(_SERVICE, *values)

    def _dest(self, real: Real, weight: int) -> bytes:
        """As `nested` and `attribute` would write it; there are tens of thousands of them."""
        rest = self._weights.get(weight)
        if rest is None:  # masquerading (NAT) is forwarding method 0
            numbers = (attribute(number, struct.pack("=I", value)) for number, value in ((3, 0), (4, weight), (5, 0), (6, 0)))
            rest = self._weights[weight] = b"".join((*numbers, attribute(11, struct.pack("=H", self._af))))
        return b"".join((struct.pack("=HHHH", 4 + 20 + 8 + len(rest), _DEST | 0x8000, 20, 1), self._packed(real.ip),
                         struct.pack("=HH", 6, 2), struct.pack("!HH", real.port, 0), rest))

    def _packed(self, ip: str) -> bytes:
        return socket.inet_pton(self._af, ip).ljust(16, b"\0")

    def _ip(self, packed: bytes) -> str:
        return socket.inet_ntop(self._af, packed[:4] if self._af == socket.AF_INET else packed[:16])


def _port(value: bytes) -> int:
    return int.from_bytes(value[:2], "big")


def _number(values: Attributes, number: int) -> int:
    return int.from_bytes(values.get(number, b""), "little")


def all_servers(family: Family) -> dict[Address, dict[Real, Server]]:
    """Those of every service, which netlink would tell one service after the other. Empty where the kernel has no IPVS."""
    found: dict[Address, dict[Real, Server]] = {}
    of: dict[Real, Server] = {}
    try:
        lines = Path("/proc/thread-self/net/ip_vs").read_text().splitlines()
    except FileNotFoundError:
        return {}
    for line in lines[3:]:
        words = line.split()
        if (words[1][0] == "[") != (family == "IPv6"):
            of = {}
        elif words[0] == "->":
            of[Real(*_place(words[1]))] = Server(*map(int, words[3:6]))
        elif words[0] in _PROTOCOLS:
            of = found[Address(words[0], *_place(words[1]))] = {}
        else:  # known by a mark
            of = {}
    return found


def _place(text: str) -> tuple[str, int]:
    """What the kernel writes as 0A600007:0050 or [fd96:0000:…:0007]:0050."""
    address, _, port = text.rpartition(":")
    if address[0] == "[":
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address[1:-1])), int(port, 16)
    return socket.inet_ntoa(bytes.fromhex(address)), int(port, 16)


# --- ipsets ---


def count_members() -> dict[str, int]:
    """Of every ipset; what they are is not told."""
    body = struct.pack("=BBH", socket.AF_INET, 0, 0) + attribute(_SET_PROTOCOL, b"\6") + attribute(_SET_FLAGS, struct.pack("!I", _HEADERS))
    with Netlink(NETFILTER) as netlink:
        return {text(one[_SET_NAME]): int.from_bytes(attributes(one[_SET_DATA])[_SET_ELEMENTS], "big")
                for _, one in netlink.dump(_LIST_SETS, body, 4) if _SET_DATA in one}


# --- the dummy device ---


def ensure_device(family: Family) -> int:
    """Its index; makes it where it is missing. IPv4 addresses are the machine's own also while it is down, IPv6 ones are not.
    Raises OSError (EOPNOTSUPP: the kernel has no dummy devices)."""
    with Netlink(ROUTE) as netlink:
        body = struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0) + string(3, DEVICE) + nested(18, string(1, "dummy"))
        refused = netlink.do(_NEW_LINK, [body], CREATE | EXCLUSIVE, (errno.EEXIST,))
        if refused:
            raise OSError(refused[0][1], "the kernel makes no dummy device")
        index = socket.if_nametoindex(DEVICE)
        if family == "IPv6":
            netlink.do(_NEW_LINK, [struct.pack("=BBHiII", 0, 0, 0, index, _UP, _UP)])
    return index


def remove_device() -> None:
    with Netlink(ROUTE) as netlink:
        try:
            index = socket.if_nametoindex(DEVICE)
        except OSError:
            return
        netlink.do(17, [struct.pack("=BBHiII", 0, 0, 0, index, 0, 0)])


def local_addresses(family: Family, device: int) -> dict[int, set[str]]:
    """The addresses of each interface, by its index; link-local and loopback ones are left out. `device` is the one with thousands."""
    af, size = (socket.AF_INET, 4) if family == "IPv4" else (socket.AF_INET6, 16)
    found: dict[int, set[str]] = {device: set()}
    ours = found[device]
    first = struct.pack("=HH", 4 + size, 1)
    with Netlink(ROUTE) as netlink:
        for message in netlink.messages(_GET_ADDRESS, struct.pack("=BBBBi", af, 0, 0, 0, 0)):
            if message[0] != af:
                continue
            [index] = struct.unpack_from("=i", message, 4)
            if index == device and message[8:12] == first and message[12:14] != b"\xfe\x80":
                ours.add(socket.inet_ntop(af, message[12:12 + size]))
                continue
            one = attributes(message[8:])
            if packed := one.get(2) or one.get(1):
                ip = socket.inet_ntop(af, packed)
                if not ip.startswith(_OWN_ONLY) and ip != "::1":
                    found.setdefault(index, set()).add(ip)
    return found


def set_addresses(family: Family, index: int, add: Iterable[str], remove: Iterable[str]) -> None:
    """Single addresses of the device. IPv6 ones are used at once: nobody else has them, so nobody is asked."""
    af, bits = (socket.AF_INET, 32) if family == "IPv4" else (socket.AF_INET6, 128)
    nodad = 0x02 if family == "IPv6" else 0

    def body(ip: str) -> bytes:
        packed = socket.inet_pton(af, ip)
        return struct.pack("=BBBBi", af, bits, nodad, 0, index) + attribute(2, packed) + attribute(1, packed)

    with Netlink(ROUTE) as netlink:
        refused = netlink.do(_DEL_ADDRESS, [body(ip) for ip in remove], ignore=(errno.EADDRNOTAVAIL,))
        refused += netlink.do(_NEW_ADDRESS, [body(ip) for ip in add], CREATE | EXCLUSIVE, (errno.EEXIST,))
    if refused:
        raise OSError(refused[0][1], f"the kernel refused {len(refused)} addresses of {DEVICE}")
