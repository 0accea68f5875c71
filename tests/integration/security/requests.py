"""Requests made from discovery, so that a resource that is added later is tried, too."""
from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx

from kubepy.cli.pki import Pki
from tests.apiserver import ApiServer

METHODS = {"list": "GET", "create": "POST", "deletecollection": "DELETE", "get": "GET", "update": "PUT", "patch": "PATCH",
           "delete": "DELETE"}


def client(server: ApiServer, *, token: str = "", pki: Pki | None = None, name: str = "",
           headers: dict[str, str] | None = None) -> httpx.Client:
    """With a bearer token, or with the certificate of a name in the PKI."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pki is not None:
        pair = pki.pair(name)
        context.load_cert_chain(Path(pair.cert), Path(pair.key))
    shown = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    return httpx.Client(base_url=server.url, verify=context, headers=shown, timeout=30)


def discover(admin: httpx.Client) -> list[tuple[str, dict[str, Any]]]:
    groups = admin.get("/apis").json()["groups"]
    versions = ["/api/v1"] + [f"/apis/{version['groupVersion']}" for group in groups for version in group["versions"]]
    return [(path, resource) for path in versions for resource in admin.get(path).json()["resources"]]


def requests(resources: list[tuple[str, dict[str, Any]]], name: str = "prize") -> list[tuple[str, str, str, str]]:
    """(resource, verb, method, path) for every verb of every resource, in the namespace default where there is one."""
    found = []
    for path, resource in resources:
        kind, _, subresource = resource["name"].partition("/")
        base = f"{path}/namespaces/default/{kind}" if resource["namespaced"] else f"{path}/{kind}"
        for verb in resource["verbs"]:
            if verb not in METHODS:
                continue
            one = verb in ("get", "update", "patch", "delete") or bool(subresource)
            target = f"{base}/{name}/{subresource}" if subresource else f"{base}/{name}" if one else base
            found.append((resource["name"], verb, METHODS[verb], target))
    return found


def send(who: httpx.Client, method: str, path: str, body: Any = None) -> int:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    given = {} if body is None else body
    sent = {"json": given} if method in ("POST", "PUT", "PATCH") else {}
    return who.request(method, path, headers={"Content-Type": kind}, **sent).status_code


def let_in(who: httpx.Client, resources: list[tuple[str, dict[str, Any]]], name: str = "prize") -> set[tuple[str, str]]:
    """(resource, verb) of what is not refused for lack of rights."""
    return {(resource, verb) for resource, verb, method, path in requests(resources, name) if send(who, method, path) not in (401, 403)}
