"""The certificates of a joined node that are not the kubelet's own: its proxy's and its DNS' as clients, kept fresh while the node runs.

The kubelet asks for its client certificate when the node joins, and rotates that and its serving certificate itself, below `pki/kubelet`.
"""
from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from kubepy.api.errors import ApiError
from kubepy.base.log import get_logger
from kubepy.cli.join.request import Identity, RequestRefused, dns_client, is_due, obtain, proxy_client
from kubepy.cli.pki import Pair
from kubepy.cli.pki.kubeconfig import write_kubeconfig
from kubepy.cli.settings import Settings
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import ConfigError, load
from kubepy.kubelet.certificate.store import Store

log = get_logger("identity")

PERIOD = 3600.0
"""Seconds between looks at how long the certificates are good for."""
TIMEOUT = 60.0
FAILURES = (ApiError, RequestRefused, ConfigError, ConnectionError, TimeoutError, ssl.SSLError, OSError)
"""What `renew` may raise."""


def pair(settings: Settings, name: str) -> Pair:
    return Pair(settings.pki_dir / f"{name}.crt", settings.pki_dir / f"{name}.key")


def kubelet_directory(settings: Settings) -> Path:
    """Where the kubelet of a joined node keeps what it has asked for itself."""
    return settings.pki_dir / "kubelet"


def wanted(settings: Settings) -> tuple[tuple[str, Identity], ...]:
    """File name and identity of each certificate."""
    return (("proxy", proxy_client()), *((("dns", dns_client()),) if settings.dns else ()))


def write_access(settings: Settings) -> None:
    """Kubeconfigs that name the files, so that a renewed certificate is picked up while its user runs."""
    for name, _ in wanted(settings):
        files = pair(settings, name)
        write_kubeconfig(settings.kubeconfig(name), settings.server, settings.pki_dir / "ca.crt", files.cert, files.key, name,
                         cluster="default", embed=False)


def serves(settings: Settings) -> bool:
    """Whether the kubelet has the serving certificate that the cluster has signed for it."""
    current = Store(kubelet_directory(settings), "kubelet-server").current()
    return current is not None and not current.self_signed


async def renew(settings: Settings, client: HttpClient, *, everything: bool = False) -> list[str]:
    """Asks, as this node, for each certificate that has less than 30 % of its life left (or for all of them); returns their names."""
    renewed = []
    for name, identity in wanted(settings):
        files = pair(settings, name)
        if everything or is_due(files):
            await obtain(client, identity, files, TIMEOUT)
            renewed.append(name)
    return renewed


async def keep_fresh(settings: Settings) -> None:
    """Runs until cancelled; a node that cannot renew now tries again long before its certificates end."""
    while True:
        wait = PERIOD
        try:
            client = HttpClient(load(settings.client))
            try:
                for name in await renew(settings, client):
                    log.info("Renewed a certificate", name=name)
            finally:
                await client.close()
        except FAILURES as error:
            wait = 60.0
            log.warning("A certificate cannot be renewed yet", err=error)
        await asyncio.sleep(wait)
