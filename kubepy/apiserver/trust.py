"""How other servers of the cluster tell who calls them: the ConfigMap `kube-system/extension-apiserver-authentication`.

Holds the certificates that authenticate clients, and those of the front proxy with its header names; schedulers, controller managers
and aggregated API servers read it (upstream's ClusterAuthenticationTrust controller). CAs that another API server of the cluster put
there are kept.
"""
from __future__ import annotations

import asyncio
import re
from pathlib import Path

import orjson

from kubepy.api.errors import AlreadyExists, Conflict, NotFound
from kubepy.api.resource import CONFIGMAPS
from kubepy.api.types import Object
from kubepy.apiserver.ensure import ensure
from kubepy.apiserver.options import Options
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)


def plan(options: Options, client_ca: str, proxy_ca: str, old: dict[str, str]) -> dict[str, str]:
    """The ConfigMap's data; `client_ca` and `proxy_ca` are PEM texts, empty where none is configured."""
    data = dict(old)
    if client_ca:
        data["client-ca-file"] = _together(old.get("client-ca-file", ""), client_ca)
    if proxy_ca:
        data["requestheader-client-ca-file"] = _together(old.get("requestheader-client-ca-file", ""), proxy_ca)
        for key, names in (("allowed-names", options.requestheader_allowed_names),
                           ("username-headers", options.requestheader_username_headers),
                           ("uid-headers", options.requestheader_uid_headers),
                           ("group-headers", options.requestheader_group_headers),
                           ("extra-headers-prefix", options.requestheader_extra_headers_prefix)):
            data[f"requestheader-{key}"] = orjson.dumps(list(names)).decode()
    return data


def _together(old: str, new: str) -> str:
    """Every certificate once, in order of appearance."""
    found = dict.fromkeys((*_CERTIFICATE.findall(old), *_CERTIFICATE.findall(new)))
    return "".join(f"{certificate}\n" for certificate in found)


def _read(path: str) -> str:
    return Path(path).read_text() if path else ""


async def publish(server: Server) -> None:
    """Writes what is missing; called again after a conflict with another server's write."""
    options = server.options
    client_ca, proxy_ca = _read(options.client_ca_file), _read(options.requestheader_client_ca_file)
    store = server.services.store(CONFIGMAPS)
    try:
        await store.get(NAMESPACE, NAME)
    except NotFound:
        data = plan(options, client_ca, proxy_ca, {})
        try:
            await ensure(server, CONFIGMAPS, {"metadata": {"name": NAME}, "data": data}, NAMESPACE)
        except AlreadyExists as error:
            raise Conflict("another server made it first") from error
        return

    async def change(entry: Entry) -> Object:
        obj = entry.decode()
        return {**obj, "data": plan(options, client_ca, proxy_ca, obj.get("data") or {})}

    await store.update(NAMESPACE, NAME, change)


async def republish(server: Server, changed: asyncio.Event) -> None:
    """Writes again whenever the authorities have changed."""
    while True:
        await changed.wait()
        await publish(server)
        changed.clear()
