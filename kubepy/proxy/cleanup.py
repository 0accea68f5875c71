"""`--cleanup`: takes away all that any mode has ever made, the pod network and the network policies; and the rules of another mode."""
from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

from kubepy.base import log as logs
from kubepy.proxy.backend import BackendError
from kubepy.proxy.mode import MODES, Settings, make
from kubepy.proxy.model import FAMILIES, Family
from kubepy.proxy.policy import enforcer

log = logs.get_logger("proxy")


def families() -> tuple[Family, ...]:
    """Those of this machine's kernel."""
    return FAMILIES if Path("/proc/net/if_inet6").exists() else FAMILIES[:1]


async def everything(args: argparse.Namespace) -> int:
    """The process's exit code."""
    if args.network_ready_file:
        Path(args.network_ready_file).unlink(missing_ok=True)  # noqa: ASYNC240 - one small file
    fine = [await _remove(mode) for mode in MODES]
    from kubepy.proxy.network import agent, kernel  # netlink is slow to import

    try:
        await agent.cleanup()
    except kernel.NetworkError as error:
        log.error("Cannot clean up the pod network", error)
        fine.append(False)
    if shutil.which("nft"):
        try:
            await enforcer.cleanup()
        except BackendError as error:
            log.error("Cannot clean up network policies", error)
            fine.append(False)
    return 0 if all(fine) else 1


async def other_modes(mine: str, used: Iterable[Family]) -> None:
    for mode in MODES:
        if mode != mine:
            for family in used:
                if await make(mode, Settings(), family).left_over():
                    log.info("Removing the rules of another mode", mode=mode, family=family)
                    await _remove(mode)


async def _remove(mode: str) -> bool:
    """Whether that worked. A mode whose kernel part or program is missing has made nothing."""
    fine = True
    for family in families():
        backend = make(mode, Settings(), family)
        if not await backend.available():
            continue
        try:
            await backend.cleanup()
        except BackendError as error:
            log.error("Cannot clean up", error, mode=mode, family=family)
            fine = False
    return fine
