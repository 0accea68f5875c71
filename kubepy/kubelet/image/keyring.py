"""Registry credentials from pull secrets (`.dockerconfigjson`, `.dockercfg`). Pure."""
from __future__ import annotations

import base64
import contextlib
import fnmatch
from collections.abc import Iterable

import orjson

from kubepy.api.types import Object
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.image.reference import normalize


def credentials(image: str, secrets: Iterable[Object]) -> list[pb.AuthConfig]:
    """The credentials that fit the image's registry, the most specific first."""
    name = normalize(image)
    found: list[tuple[int, pb.AuthConfig]] = []
    for secret in secrets:
        for host, entry in _entries(secret):
            key = host.removeprefix("https://").removeprefix("http://").rstrip("/").removesuffix("/v1").removesuffix("/v2")
            if key == "index.docker.io":
                key = "docker.io"
            if matches(name, key):
                found.append((len(key), _auth(entry)))
    return [auth for _, auth in sorted(found, key=lambda pair: -pair[0])]


def _entries(secret: Object) -> Iterable[tuple[str, Object]]:
    data = secret.get("data") or {}
    try:
        if secret.get("type") == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
            return list((orjson.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {}).items())
        if secret.get("type") == "kubernetes.io/dockercfg" and ".dockercfg" in data:
            return list(orjson.loads(base64.b64decode(data[".dockercfg"])).items())
    except (ValueError, AttributeError):
        pass  # a broken pull secret is ignored, as upstream does
    return []


def matches(name: str, key: str) -> bool:
    """Whether a pattern (a registry, perhaps with wildcards, and perhaps the beginning of a path) is for the full name of an image."""
    host, _, path = key.partition("/")
    image_host, _, image_path = name.partition("/")
    if host.count(".") != image_host.count(".") and "*" in host:
        return False
    inside = not path or image_path == path or image_path.startswith((path + "/", path + ":", path + "@"))
    return inside and fnmatch.fnmatch(image_host, host)


def _auth(entry: Object) -> pb.AuthConfig:
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth") and not username:
        with contextlib.suppress(ValueError):
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    return pb.AuthConfig(username=username, password=password, identity_token=entry.get("identitytoken") or "",
                         registry_token=entry.get("registrytoken") or "")
