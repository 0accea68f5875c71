"""Packet rules of the pod network: what pods send out of the cluster leaves with the node's address, and forwarding is let through.

Chains KUBEPY-MASQ (nat) and KUBEPY-FWD (filter), each jumped to once. Traffic between pods, and to multicast, keeps its source.
"""
from __future__ import annotations

import asyncio

from kubepy.proxy.backend import BackendError

MASQUERADE, FORWARD = "KUBEPY-MASQ", "KUBEPY-FWD"
_JUMPS = {"nat": ("POSTROUTING", MASQUERADE), "filter": ("FORWARD", FORWARD)}


def rules(cluster: str) -> str:
    """iptables-restore input that fills both chains (they are flushed by their declaration); jumps are not in it."""
    return f"""*nat
:{MASQUERADE} - [0:0]
-A {MASQUERADE} -s {cluster} -d {cluster} -j RETURN
-A {MASQUERADE} -s {cluster} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
COMMIT
*filter
:{FORWARD} - [0:0]
-A {FORWARD} -s {cluster} -j ACCEPT
-A {FORWARD} -d {cluster} -j ACCEPT
COMMIT
"""


async def ensure(cluster: str) -> bool:
    """Writes what is missing; whether anything was. Raises BackendError."""
    missing = [table for table, (base, chain) in _JUMPS.items() if not await _holds("-t", table, "-C", base, *_jump(chain))]
    if not missing:
        return False
    await _run("iptables-restore", "-w", "5", "--noflush", stdin=rules(cluster).encode())
    for table in missing:
        base, chain = _JUMPS[table]
        await _run("iptables", "-w", "5", "-t", table, "-A", base, *_jump(chain))
    return True


async def remove() -> None:
    """Takes the jumps and chains away, as far as they are there."""
    for table, (base, chain) in _JUMPS.items():
        for command in (("-D", base, *_jump(chain)), ("-F", chain), ("-X", chain)):
            await _holds("-t", table, *command)


def _jump(chain: str) -> tuple[str, ...]:
    return ("-m", "comment", "--comment", "kubepy pod network", "-j", chain)


async def _holds(*arguments: str) -> bool:
    try:
        await _run("iptables", "-w", "5", *arguments)
    except BackendError:
        return False
    return True


async def _run(*command: str, stdin: bytes | None = None) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                                                   stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate(stdin)
    if process.returncode:
        raise BackendError(f"{' '.join(command)}: {output.decode(errors='replace').strip()[:500]}")
