"""The cluster's names: what the Services have at the moment, and the answers to questions about them, encoded once.

A name without records of the asked type exists (NOERROR with the SOA) if it or anything below it has records; others do not
(NXDOMAIN with the SOA). Reverse names are ours only where we know them; other addresses are someone else's to answer.
"""
from __future__ import annotations

import ipaddress
import struct
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from kubepy.dns import wire
from kubepy.dns.record import Record, Records, address_record, undashed
from kubepy.dns.wire import Answer

VERSION = "1.1.0"
NEGATIVE_LIMIT = 10000
CHAIN = 8
"""Aliases of aliases that are followed."""


@dataclass(slots=True, eq=False)
class _Name:
    """The records of one name by who has them (several headless Services may share an address), and the answers made so far."""

    owners: dict[str, list[Record]] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)


class Zone:
    """`domain` such as `cluster.local`; `ttl` in seconds."""

    def __init__(self, domain: str = "cluster.local", ttl: int = 30) -> None:
        self.domain = domain.strip(".").lower()
        self.apex = wire.encode_name(self.domain)
        self._ttl = ttl
        self._names: dict[bytes, _Name] = {}
        self._below: dict[bytes, int] = {}
        self._held: dict[str, Records] = {}
        self._namespaces: set[bytes] = set()
        self._pod_zone = wire.encode_name(f"pod.{self.domain}")
        self._svc_zone = wire.encode_name(f"svc.{self.domain}")
        self._serial = int(time.time())
        self._missing: dict[tuple[bytes, int], Answer] = {}
        self.replace("", {wire.encode_name(f"dns-version.{self.domain}"): [Record(wire.TXT, bytes([len(VERSION)]) + VERSION.encode())]})

    # --- changes ---

    def replace(self, owner: str, records: Records) -> bool:
        """`owner`'s records from now on (none: it is gone); whether that changed anything."""
        old = self._held.get(owner, {})
        if old == records:
            return False
        for name, held in old.items():
            if records.get(name) != held:
                self._drop(owner, name)
        for name, new in records.items():
            if old.get(name) != new:
                self._put(owner, name, new)
        if records:
            self._held[owner] = records
        else:
            self._held.pop(owner, None)
        self._missing.clear()
        for entry in self._names.values() if self._points(old) or self._points(records) else ():
            entry.answers.clear()
        self._serial += 1
        return True

    @staticmethod
    def _points(records: Records) -> bool:
        """Whether other answers may carry these records: behind an alias, or in their additional section."""
        return any(record.type in (wire.A, wire.AAAA, wire.CNAME) for held in records.values() for record in held)

    def set_namespace(self, name: str, exists: bool) -> None:
        encoded = wire.encode_name(name)[:-1]
        (self._namespaces.add if exists else self._namespaces.discard)(encoded)
        self._missing.clear()
        self._serial += 1

    def _put(self, owner: str, name: bytes, records: list[Record]) -> None:
        entry = self._names.get(name)
        if entry is None:
            entry = self._names[name] = _Name()
            for parent in wire.parents(name):
                self._below[parent] = self._below.get(parent, 0) + 1
        entry.owners[owner] = records
        entry.answers.clear()

    def _drop(self, owner: str, name: bytes) -> None:
        entry = self._names.get(name)
        if entry is None:
            return
        entry.owners.pop(owner, None)
        entry.answers.clear()
        if not entry.owners:
            del self._names[name]
            for parent in wire.parents(name):
                left = self._below[parent] - 1
                if left:
                    self._below[parent] = left
                else:
                    del self._below[parent]

    # --- what outlives the process (see `kept`) ---

    @property
    def serial(self) -> int:
        """Another one after each change."""
        return self._serial

    def held(self) -> tuple[dict[str, Records], set[bytes]]:
        """The records by owner, and the namespaces; both to be read only."""
        return dict(self._held), set(self._namespaces)

    def keep_only(self, owners: Collection[str], namespaces: Collection[str]) -> None:
        """Forgets Services (`namespace/name`) and namespaces that are gone; other owners' names begin with `/`."""
        for owner in [owner for owner in self._held if owner and owner[0] != "/" and owner not in owners]:
            self.replace(owner, {})
        self._namespaces &= {wire.encode_name(name)[:-1] for name in namespaces}
        self._missing.clear()

    # --- questions ---

    def answer(self, name: bytes, kind: int) -> Answer | None:
        """The answer to a question for a lower-cased wire name; None where others must be asked."""
        entry = self._names.get(name)
        if entry is not None:
            found = entry.answers.get(kind)
            if found is None:
                found = entry.answers[kind] = self._make(name, entry, kind)
            return found
        if not name.endswith(self.apex):
            return None
        found = self._missing.get((name, kind))
        if found is None:
            found = self._other(name, kind)
            if len(self._missing) >= NEGATIVE_LIMIT:
                self._missing.clear()
            self._missing[name, kind] = found
        return found

    def external(self, name: bytes) -> bytes | None:
        """What a name stands for in the end that is an alias of something elsewhere; None for other names."""
        target = None
        for _ in range(CHAIN):
            alias = self._alias(target or name)
            if alias is None:
                break
            target = alias.target
        return None if target is None or target.endswith(self.apex) else target

    def _alias(self, name: bytes) -> Record | None:
        entry = self._names.get(name)
        return None if entry is None else next(
            (r for records in entry.owners.values() for r in records if r.type == wire.CNAME), None)

    def _make(self, name: bytes, entry: _Name, kind: int) -> Answer:
        records = list(dict.fromkeys(record for records in entry.owners.values() for record in records))
        chosen = [r for r in records if r.type in (kind, wire.CNAME) or kind == wire.ANY]
        if not chosen:
            return self._negative(wire.NOERROR)
        answers = tuple(wire.record(wire.QUESTION_NAME, r.type, self._ttl, r.rdata) for r in chosen)
        additional: dict[bytes, None] = {}
        for r in chosen:
            if r.type == wire.SRV and (target := self._names.get(r.target)) is not None:
                for held in target.owners.values():
                    for t in held:
                        if t.type in (wire.A, wire.AAAA):
                            owner = wire.QUESTION_NAME if r.target == name else r.target
                            additional[wire.record(owner, t.type, self._ttl, t.rdata)] = None
            elif r.type == wire.CNAME and kind != wire.CNAME:
                answers += self._behind(r.target, kind)
        rotates = len(answers) > 1 and all(r.type in (wire.A, wire.AAAA) for r in chosen)
        elsewhere = kind in (wire.A, wire.AAAA) and self.external(name) is not None
        return Answer(wire.NOERROR, answers, (), tuple(additional), rotates=rotates, elsewhere=elsewhere)

    def _behind(self, target: bytes, kind: int) -> tuple[bytes, ...]:
        """What an alias stands for, as far as we know it: further aliases, and records of the type that is asked for."""
        found: list[bytes] = []
        for _ in range(CHAIN):
            entry = self._names.get(target)
            if entry is None:
                break
            found += (wire.record(target, r.type, self._ttl, r.rdata) for held in entry.owners.values() for r in held if r.type == kind)
            alias = self._alias(target)
            if alias is None:
                break
            found.append(wire.record(target, wire.CNAME, self._ttl, alias.rdata))
            target = alias.target
        return tuple(found)

    def _other(self, name: bytes, kind: int) -> Answer:
        """Names in the zone that no Service has."""
        if name == self.apex:
            if kind in (wire.SOA, wire.ANY):
                return Answer(wire.NOERROR, (self._soa(wire.QUESTION_NAME),))
            if kind == wire.NS:
                return Answer(wire.NOERROR, (wire.record(wire.QUESTION_NAME, wire.NS, self._ttl,
                                                         wire.encode_name(f"ns.dns.{self.domain}")),))
            return self._negative(wire.NOERROR)
        if name.endswith(self._pod_zone) and (found := self._pod(name, kind)) is not None:
            return found
        if name in self._below or name in (self._pod_zone, self._svc_zone) or name.removesuffix(self._svc_zone) in self._namespaces:
            return self._negative(wire.NOERROR)
        return self._negative(wire.NXDOMAIN)

    def _pod(self, name: bytes, kind: int) -> Answer | None:
        """`10-1-2-3.namespace.pod.domain`: the address itself, where the namespace exists (CoreDNS' `pods insecure`)."""
        rest = name.removesuffix(self._pod_zone)
        if rest in self._namespaces:
            return self._negative(wire.NOERROR)
        label, namespace = rest[1:1 + rest[0]] if rest else b"", rest[1 + rest[0]:] if rest else b""
        if namespace not in self._namespaces:
            return None
        address = undashed(label.decode("ascii", "replace"))
        if address is None:
            return None
        record = address_record(address)
        if record.type != kind and kind != wire.ANY:
            return self._negative(wire.NOERROR)
        return Answer(wire.NOERROR, (wire.record(wire.QUESTION_NAME, record.type, self._ttl, record.rdata),))

    def _negative(self, rcode: int) -> Answer:
        return Answer(rcode, (), (self._soa(self.apex),))

    def _soa(self, owner: bytes) -> bytes:
        rdata = (wire.encode_name(f"ns.dns.{self.domain}") + wire.encode_name(f"hostmaster.{self.domain}")
                 + struct.pack("!IIIII", self._serial & 0xFFFFFFFF, 7200, 1800, 86400, self._ttl))
        return wire.record(owner, wire.SOA, self._ttl, rdata)

    def set_server(self, addresses: list[str]) -> None:
        """The addresses of the DNS Service itself, for the zone's NS record."""
        valid = [a for a in addresses if _is_address(a)]
        self.replace("/ns", {wire.encode_name(f"ns.dns.{self.domain}"): [address_record(a) for a in valid]} if valid else {})

    def __len__(self) -> int:
        return len(self._names)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
