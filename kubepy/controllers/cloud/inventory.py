"""Machines as an operator lists them in a file, for machines that no cloud's API describes; read again when it changes.

    machines:
    - {name: worker-1, providerID: rack://a/1, type: small, zone: a, region: north, addresses: [192.0.2.11], labels: {disk: ssd}}
    - {name: worker-2, running: false}

With a list a node that is not in it has no machine. A machine's `addresses` are its InternalIPs.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kubepy.api.types import Object
from kubepy.controllers.cloud.provider import Machine, ProviderError


def parse(text: str) -> dict[str, Machine]:
    """By node name; raises ValueError."""
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    found: dict[str, Machine] = {}
    for item in _list(content, "machines"):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise ValueError(f"a machine without a name: {item}")
        if unknown := set(item) - {"name", "providerID", "type", "zone", "region", "addresses", "labels", "running"}:
            raise ValueError(f"machine {item['name']}: unknown field {sorted(unknown)[0]}")
        addresses = ({"type": "InternalIP", "address": str(address)} for address in _list(item, "addresses"))
        found[item["name"]] = Machine(
            str(item.get("providerID") or ""), str(item.get("type") or ""), str(item.get("zone") or ""), str(item.get("region") or ""),
            (*addresses, {"type": "Hostname", "address": item["name"]}), dict(item.get("labels") or {}), item.get("running") is not False)
    return found


def _list(content: Any, name: str) -> list[Any]:
    found = content.get(name) if isinstance(content, dict) else None
    if found is not None and not isinstance(found, list):
        raise ValueError(f"{name} is not a list")
    return found or []


class Inventory:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0, 0)
        self._machines: dict[str, Machine] = {}

    async def find(self, node: Object) -> Machine | None:
        try:
            self.read()
        except (OSError, ValueError) as error:
            raise ProviderError(f"cannot read {self._path}: {error}") from error
        return self._machines.get(node["metadata"]["name"])

    def read(self) -> None:
        """Raises OSError or ValueError."""
        found = self._path.stat()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)  # two changes may share a tick of the file system's clock
        if stamp != self._stamp:
            self._machines, self._stamp = parse(self._path.read_text()), stamp
