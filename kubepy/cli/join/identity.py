"""The certificates of a joined node: its kubelet's as client and server, its proxy's as client; kept fresh while the node runs."""
from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import yaml
from cryptography import x509

from kubepy.api.errors import ApiError
from kubepy.base.log import get_logger
from kubepy.cli.join.request import Identity, RequestRefused, is_due, kubelet_client, kubelet_serving, obtain, proxy_client
from kubepy.cli.pki import Pair
from kubepy.cli.pki.issue import Subject, make_ca, new_key, write_file, write_pair
from kubepy.cli.settings import Settings
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import ConfigError, load

log = get_logger("identity")

PERIOD = 3600.0
"""Seconds between looks at how long the certificates are good for."""
SERVING_TIMEOUT = 60.0
FAILURES = (ApiError, RequestRefused, ConfigError, ConnectionError, TimeoutError, ssl.SSLError, OSError)
"""What `renew` may raise."""


def pair(settings: Settings, name: str) -> Pair:
    return Pair(settings.pki_dir / f"{name}.crt", settings.pki_dir / f"{name}.key")


def wanted(settings: Settings) -> tuple[tuple[str, Identity], ...]:
    """File name and identity of each certificate."""
    return (("kubelet-client", kubelet_client(settings.node_name)), ("proxy", proxy_client()),
            ("kubelet", kubelet_serving(settings.node_name, settings.node_ip.split(","))))


def write_access(settings: Settings) -> None:
    """Kubeconfigs that name the files, so that renewed certificates are picked up by who is running."""
    for who, name in (("kubelet", "kubelet-client"), ("proxy", "proxy")):
        files = pair(settings, name)
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "default",
            "clusters": [{"name": "default", "cluster": {"server": settings.server,
                                                         "certificate-authority": str(settings.pki_dir / "ca.crt")}}],
            "users": [{"name": who, "user": {"client-certificate": str(files.cert), "client-key": str(files.key)}}],
            "contexts": [{"name": "default", "context": {"cluster": "default", "user": who}}],
        }
        write_file(settings.kubeconfig(who), yaml.safe_dump(config, sort_keys=False).encode(), 0o600)


def write_placeholder(settings: Settings) -> None:
    """A self-signed serving certificate to start with: the cluster gives the real one only once the node has told its addresses."""
    files = pair(settings, "kubelet")
    if not files.cert.exists():
        key = new_key()
        write_pair(files, make_ca(Subject(settings.node_name).common_name, key), key)


def is_placeholder(path: Path) -> bool:
    """Whether it is one that the node has signed itself."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.issuer == certificate.subject


async def renew(settings: Settings, client: HttpClient, *, everything: bool = False) -> list[str]:
    """Asks, as this node, for each certificate that is a placeholder or has less than 30 % of its life left (or for all of them); returns
    their names."""
    renewed = []
    for name, identity in wanted(settings):
        files = pair(settings, name)
        if everything or is_due(files) or is_placeholder(files.cert):
            await obtain(client, identity, files, SERVING_TIMEOUT)
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
