"""The first client certificate: asked for with the bootstrap kubeconfig, then written down as the kubelet's kubeconfig.

The key is kept in `kubelet-client.key.tmp` until the certificate is there, so that a kubelet that is started again goes on waiting
for the request it has made. As upstream, an existing kubeconfig whose certificate has not ended is left alone.
"""
from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from kubepy.api.errors import ApiError
from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock
from kubepy.base.file import replace_file
from kubepy.base.log import get_logger
from kubepy.client.interface import Client
from kubepy.client.kubeconfig import Config, ConfigError, load
from kubepy.kubelet.certificate.manager import WAIT
from kubepy.kubelet.certificate.request import (
    CLIENT_SIGNER,
    RequestRefused,
    Wanted,
    ask,
    digest_name,
    fitted,
    issued,
    new_key,
    signing_request,
)
from kubepy.kubelet.certificate.store import Store, read_pair

log = get_logger("bootstrap")


def usable(config: Config, now: float) -> bool:
    """Whether an existing kubeconfig still lets the kubelet in, as far as can be seen from here."""
    if config.token or config.token_file or config.username or config.program is not None:
        return True
    try:
        pem = config.cert_data or Path(config.cert_file).read_bytes() if config.cert_data or config.cert_file else b""
        return bool(pem) and read_pair(pem).not_after > now
    except (OSError, ValueError, IndexError):
        return False


def needed(kubeconfig: str, now: float) -> bool:
    try:
        return not usable(load(kubeconfig), now)
    except ConfigError as error:
        if os.path.exists(kubeconfig):
            log.warning("The kubeconfig cannot be used; a new one is made", path=kubeconfig, err=error)
        return True


def kubeconfig_of(bootstrap: Config, pair: Path) -> dict[str, Any]:
    """The server and CA of the bootstrap kubeconfig, with the identity of the files the rotation keeps current."""
    cluster: dict[str, Any] = {"server": bootstrap.server}
    if bootstrap.ca_data:
        cluster["certificate-authority-data"] = base64.b64encode(bootstrap.ca_data).decode()
    elif bootstrap.ca_file:
        cluster["certificate-authority"] = os.path.abspath(bootstrap.ca_file)
    if bootstrap.insecure:
        cluster["insecure-skip-tls-verify"] = True
    if bootstrap.server_name:
        cluster["tls-server-name"] = bootstrap.server_name
    return {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "default-cluster", "cluster": cluster}],
            "users": [{"name": "default-auth", "user": {"client-certificate": str(pair), "client-key": str(pair)}}],
            "contexts": [{"name": "default-context", "context": {"cluster": "default-cluster", "namespace": "default",
                                                                 "user": "default-auth"}}],
            "current-context": "default-context"}


async def bootstrap(client: Client, config: Config, *, node_name: str, kubeconfig: str, directory: Path,
                    clock: Clock, patient: bool = True) -> None:
    """Tries until there is a certificate; unless `patient`, a refusal is raised (RequestRefused).

    `config` is the bootstrap kubeconfig, `client` uses it."""
    wanted = Wanted(CLIENT_SIGNER, node_name)
    store = Store(directory, "kubelet-client")
    backoff = Backoff(1.0, 30.0, jitter=0.1)
    key_path = directory / "kubelet-client.key.tmp"
    os.makedirs(directory, exist_ok=True, mode=0o700)
    while True:
        key = _kept_key(key_path, wanted)
        try:
            async with asyncio.timeout(WAIT):
                wanted = await fitted(client, wanted)
                request = await ask(client, wanted, key, name=digest_name(wanted, key))
                log.info("Waiting for the node's certificate", request=request["metadata"]["name"], node=node_name)
                certificate = await issued(client, request)
            store.put(certificate + key, clock.now())
        except RequestRefused as error:
            key_path.unlink(missing_ok=True)  # the next request must be another one
            if not patient:
                raise
            log.warning("The node's certificate was refused", err=error)
        except (ApiError, ConnectionError, TimeoutError, ValueError, OSError) as error:
            log.warning("No certificate for this node yet", err=error or "not signed in time", server=config.server)
        else:
            replace_file(Path(kubeconfig), yaml.safe_dump(kubeconfig_of(config, store.path), sort_keys=False).encode())
            key_path.unlink(missing_ok=True)
            log.info("The node has its certificate", node=node_name, kubeconfig=kubeconfig)
            return
        await clock.sleep(backoff.next())


def _kept_key(path: Path, wanted: Wanted) -> bytes:
    try:
        key = path.read_bytes()
        signing_request(wanted, key)
        return key
    except (OSError, ValueError):
        key = new_key()
        replace_file(path, key)
        return key


def rotating_config(config: Config, store: Store, now: float) -> Config:
    """The configuration with its client certificate taken from the store, which starts with the kubeconfig's own."""
    try:
        own = (config.cert_data or Path(config.cert_file).read_bytes()) if config.cert_data or config.cert_file else b""
        key = config.key_data or (Path(config.key_file).read_bytes() if config.key_file else b"")
    except OSError as error:
        raise ConfigError(f"cannot read the client certificate: {error}") from error
    if not own:
        return config
    current = store.current()
    pair = read_pair(own)
    if current is None or current.not_after <= now or (current.subject != pair.subject and pair.not_after > now):
        store.put(own if own == key else own + key, now)
    return replace(config, cert_data=b"", key_data=b"", cert_file=str(store.path), key_file=str(store.path))
