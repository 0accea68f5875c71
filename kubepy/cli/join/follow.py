"""What a joined node takes over again from its cluster at each start: the settings that all nodes share (`grant.SHARED`, `grant.DNS`)."""
from __future__ import annotations

import asyncio
import dataclasses

from kubepy.api.resource import CONFIGMAPS
from kubepy.base.log import get_logger
from kubepy.cli.join import identity
from kubepy.cli.join.grant import CONFIG_NAME, shared_settings
from kubepy.cli.settings import Settings
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load

log = get_logger("join")

TIMEOUT = 5.0
"""Seconds: a node must also start while its control plane is away."""


def follow(settings: Settings) -> Settings:
    """The settings as the cluster has them now, saved where they changed; as they are on the control plane, or where nobody answers."""
    if settings.role != "node":
        return settings
    try:
        found = dataclasses.replace(settings, **asyncio.run(_ask(settings)))  # type: ignore[arg-type]
    except (*identity.FAILURES, ValueError) as error:
        log.warning("The cluster's settings are not known now: going on with those of before", err=error)
        found = settings
    if found != settings:
        log.info("Took over changed settings of the cluster", dns=found.dns, network_backend=found.network_backend)
        found.save()
    identity.write_access(found)
    return found


async def _ask(settings: Settings) -> dict[str, str | bool | int]:
    client = HttpClient(load(settings.client))
    try:
        async with asyncio.timeout(TIMEOUT):
            return shared_settings(await client.get(CONFIGMAPS, CONFIG_NAME, "kube-system"))
    finally:
        await client.close()
