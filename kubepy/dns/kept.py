"""The cluster's names in a file, so that a DNS that starts while the API server is away answers with what was last known.

Written when something has changed, at most every half minute, and at the end; in one step, so that it is never half a file. What is
missing or cannot be read costs nothing but this.
"""
from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson

from kubepy.base.clock import Clock
from kubepy.base.file import replace_file
from kubepy.base.log import get_logger
from kubepy.dns.record import Record, Records
from kubepy.dns.zone import Zone

log = get_logger("dns")

PERIOD = 30.0
FORMAT = 1


class Kept:
    """`path` "" keeps nothing."""

    def __init__(self, path: str, zone: Zone, clock: Clock) -> None:
        self._path, self._zone, self._clock = Path(path) if path else None, zone, clock
        self._written = -1
        self.age: float | None = None
        """Seconds between the writing of what was loaded and its loading; None where nothing was."""

    def load(self) -> bool:
        """Fills the zone; whether there was something to fill it with."""
        if self._path is None:
            return False
        try:
            found = orjson.loads(self._path.read_bytes())
            if found["format"] != FORMAT or found["domain"] != self._zone.domain:
                return False
            known = {owner: _records(held) for owner, held in found["records"].items()}
            namespaces, written = [str(name) for name in found["namespaces"]], float(found["time"])
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("The names that were kept cannot be read", file=self._path, err=error)
            return False
        for name in namespaces:
            self._zone.set_namespace(name, True)
        for owner, records in known.items():
            self._zone.replace(owner, records)
        self.age = max(0.0, time.time() - written)
        self._written = self._zone.serial
        return True

    async def keep(self) -> None:
        """Runs until cancelled."""
        while True:
            await self.save()
            await self._clock.sleep(PERIOD)

    async def save(self) -> None:
        if self._path is None or self._zone.serial == self._written:
            return
        serial = self._zone.serial
        records, namespaces = self._zone.held()
        try:
            await asyncio.to_thread(_write, self._path, self._zone.domain, records, namespaces)
        except OSError as error:
            log.warning("The names cannot be kept for a restart", file=self._path, err=error)
        self._written = serial


def _write(path: Path, domain: str, records: dict[str, Records], namespaces: set[bytes]) -> None:
    data = orjson.dumps({
        "format": FORMAT, "domain": domain, "time": time.time(), "namespaces": sorted(name[1:].decode() for name in namespaces),
        "records": {owner: {_text(name): [(record.type, _text(record.rdata), _text(record.target)) for record in held]
                            for name, held in found.items()} for owner, found in records.items() if owner not in ("", "/hosts")}})
    replace_file(path, data)


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _records(held: dict[str, list[tuple[int, str, str]]]) -> Records:
    return {name.encode("latin-1"): [Record(int(kind), rdata.encode("latin-1"), target.encode("latin-1"))
                                     for kind, rdata, target in found] for name, found in held.items()}
