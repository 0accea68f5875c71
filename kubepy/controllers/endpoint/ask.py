"""Asking many name servers at once who they are: one datagram to each, one socket for each address family."""
from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from kubepy.base import nameserver

TIMEOUT = 1.0
BURST = 50
"""Datagrams sent before answers are let in: a socket's buffer is not for thousands."""


class _Asked(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.waiting: dict[tuple[str, int], tuple[int, str]] = {}
        """By address: the query's number and the node."""
        self.said: dict[str, str] = {}
        self.all_said = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        found, where = nameserver.parse(data), (str(addr[0]), addr[1])
        number, node = self.waiting.get(where, (-1, ""))
        if found is not None and found[0] == number:
            self.said[node] = found[1]
            del self.waiting[where]
            if not self.waiting:
                self.all_said.set()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there, or there is no way: that is silence."""


async def ask(targets: Mapping[str, tuple[str, int]], timeout: float = TIMEOUT) -> dict[str, str]:
    """By node: what the name server at its address calls itself ("": it refuses). Silent ones are left out."""
    families = [{node: where for node, where in targets.items() if (":" in where[0]) == six} for six in (False, True)]
    found = await asyncio.gather(*(_ask_family(group, timeout) for group in families if group))
    return {node: name for group in found for node, name in group.items()}


async def _ask_family(targets: Mapping[str, tuple[str, int]], timeout: float) -> dict[str, str]:
    any_address = "::" if ":" in next(iter(targets.values()))[0] else "0.0.0.0"
    transport, asked = await asyncio.get_running_loop().create_datagram_endpoint(_Asked, local_addr=(any_address, 0))
    try:
        asked.waiting.update((where, (random.randrange(65536), node)) for node, where in targets.items())
        for count, (where, (number, _)) in enumerate(list(asked.waiting.items()), 1):
            transport.sendto(nameserver.query(number), where)
            if count % BURST == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(timeout):
            await asked.all_said.wait()
    except TimeoutError:
        pass
    finally:
        transport.close()
    return asked.said
