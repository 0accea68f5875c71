"""Asks extenders about the nodes that the filters leave for a pod. Waiting for their answers, the cluster may change: what they say is
`Advice` for a decision that is made afterwards, in one go."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from kubepy.base.log import get_logger
from kubepy.scheduler.cycle import Advice, fit
from kubepy.scheduler.extender import Extender, ExtenderError
from kubepy.scheduler.framework import Cycle, Profile, Reason
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Snapshot

log = get_logger("extender")


async def advise(pod: Pod, snapshot: Snapshot, profile: Profile, extenders: Sequence[Extender]) -> Advice:
    """Raises ExtenderError when an extender that may not be ignored cannot be asked."""
    feasible, _ = fit(Cycle(pod, snapshot), profile)
    names = [snapshot.names[int(slot)] for slot in np.flatnonzero(feasible)]
    refused: dict[str, Reason] = {}
    blamed: set[str] = set()
    for extender in extenders:
        if not names:
            break
        if not extender.filters:
            continue
        try:
            found = await extender.filter(pod, names)
        except ExtenderError as error:
            if not extender.ignorable:
                raise
            log.warning("Extender left out", extender=extender.name, err=error)
            continue
        for name, reason in found.refused.items():
            # one that says no node helps is not overruled by one that says some change could
            if name not in refused or not reason.resolvable:
                refused[name] = reason
        if len(found.names) < len(names):
            blamed.add(extender.name)
        names = [name for name in names if name in found.names]
    scores: dict[str, float] = {}
    if len(names) > 1:
        for more in await asyncio.gather(*(_prioritize(extender, pod, names) for extender in extenders if extender.prioritizes)):
            for name, score in more.items():
                scores[name] = scores.get(name, 0.0) + score
    return Advice(frozenset(names), refused, scores, frozenset(blamed))


async def _prioritize(extender: Extender, pod: Pod, names: Sequence[str]) -> dict[str, float]:
    try:
        return await extender.prioritize(pod, names)
    except ExtenderError as error:  # as upstream: what one extender thinks of nodes is not worth failing for
        log.warning("Extender's scores left out", extender=extender.name, err=error)
        return {}
