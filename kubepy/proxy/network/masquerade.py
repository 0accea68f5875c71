"""Packet rules of the pod network: what pods send out of the cluster leaves with the node's address, and forwarding is let through.

Chains KUBEPY-MASQ (nat) and KUBEPY-FWD (filter) of each family, each jumped to once. Traffic between pods, and to multicast, keeps its
source.
"""
from __future__ import annotations

from kubepy.proxy.backend import BackendError
from kubepy.proxy.program import run

MASQUERADE, FORWARD = "KUBEPY-MASQ", "KUBEPY-FWD"
_JUMPS = {"nat": ("POSTROUTING", MASQUERADE), "filter": ("FORWARD", FORWARD)}


def rules(cluster: str) -> str:
    """Input for the restore program that fills both chains (they are flushed by their declaration); jumps are not in it."""
    multicast = "ff00::/8" if ":" in cluster else "224.0.0.0/4"
    return f"""*nat
:{MASQUERADE} - [0:0]
-A {MASQUERADE} -s {cluster} -d {cluster} -j RETURN
-A {MASQUERADE} -s {cluster} ! -d {multicast} -j MASQUERADE --random-fully
COMMIT
*filter
:{FORWARD} - [0:0]
-A {FORWARD} -s {cluster} -j ACCEPT
-A {FORWARD} -d {cluster} -j ACCEPT
COMMIT
"""


async def ensure(cluster: str) -> bool:
    """Writes what is missing for this range of pods; whether anything was. Raises BackendError."""
    program = "ip6tables" if ":" in cluster else "iptables"
    missing = [table for table, (base, chain) in _JUMPS.items() if not await _holds(program, "-t", table, "-C", base, *_jump(chain))]
    if not missing:
        return False
    await run(f"{program}-restore", "-w", "5", "--noflush", stdin=rules(cluster).encode())
    for table in missing:
        base, chain = _JUMPS[table]
        await run(program, "-w", "5", "-t", table, "-A", base, *_jump(chain))
    return True


async def remove() -> None:
    """Takes the jumps and chains away, as far as they are there."""
    for program in ("iptables", "ip6tables"):
        for table, (base, chain) in _JUMPS.items():
            for command in (("-D", base, *_jump(chain)), ("-F", chain), ("-X", chain)):
                await _holds(program, "-t", table, *command)


def _jump(chain: str) -> tuple[str, ...]:
    return ("-m", "comment", "--comment", "kubepy pod network", "-j", chain)


async def _holds(program: str, *arguments: str) -> bool:
    try:
        await run(program, "-w", "5", *arguments)
    except BackendError:
        return False
    return True
