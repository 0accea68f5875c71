"""Where the API server is and who we are: kubeconfig files and the in-cluster service account (`client-go/tools/clientcmd`).

Supported: certificate authorities, client certificates and keys (inline or files), tokens and token files, basic
credentials, tls-server-name, insecure-skip-tls-verify, impersonation, exec plugins. What is not supported is refused:
auth-provider plugins (gone from client-go as well) and proxies.
"""
from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from kubepy.client import plugin

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(Exception):
    """A kubeconfig that cannot be used; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Config:
    """One way to reach one server. Files win over nothing: where both data and a file are given, data is used."""

    server: str
    ca_data: bytes = field(default=b"", repr=False)
    ca_file: str = ""
    cert_data: bytes = field(default=b"", repr=False)
    cert_file: str = ""
    key_data: bytes = field(default=b"", repr=False)
    key_file: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    insecure: bool = False
    server_name: str = ""
    namespace: str = "default"
    impersonate: str = ""
    impersonate_groups: tuple[str, ...] = ()
    program: plugin.Program | None = None
    """An exec plugin."""


def load(path: str | os.PathLike[str], context: str = "") -> Config:
    """The named (or current) context of a kubeconfig file; paths in it are relative to it. Raises ConfigError."""
    file = Path(path)
    try:
        document = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise ConfigError(f"cannot read kubeconfig {file}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"kubeconfig {file} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"kubeconfig {file} is empty")
    try:
        return _resolve(document, context, file.parent)
    except ConfigError as error:
        raise ConfigError(f"kubeconfig {file}: {error}") from error


def in_cluster() -> Config:
    """The pod's service account, as the kubelet mounts it. Raises ConfigError outside a pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigError("not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give --kubeconfig")
    namespace_file = SERVICE_ACCOUNT / "namespace"
    return Config(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca_file=str(SERVICE_ACCOUNT / "ca.crt"),
        token_file=str(SERVICE_ACCOUNT / "token"),
        namespace=namespace_file.read_text().strip() if namespace_file.exists() else "default",
    )


def find(path: str = "", context: str = "", server: str = "") -> Config:
    """The kubeconfig given, else $KUBECONFIG's, else the service account; `server` overrides the address."""
    path = path or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    config = load(path, context) if path else in_cluster()
    if server:
        config = replace(config, server=server)
    return config


def _resolve(document: Mapping[str, Any], context: str, folder: Path) -> Config:
    name = context or document.get("current-context") or ""
    if not name:
        raise ConfigError("no current-context is set")
    chosen = _named(document, "contexts", "context", name)
    cluster = _named(document, "clusters", "cluster", chosen.get("cluster", ""))
    user = _named(document, "users", "user", chosen["user"]) if chosen.get("user") else {}
    if user.get("auth-provider"):
        raise ConfigError(f"user {chosen['user']!r} uses auth-provider, which is not supported")
    if not cluster.get("server"):
        raise ConfigError(f"cluster {chosen.get('cluster')!r} has no server")
    if cluster.get("proxy-url"):
        raise ConfigError(f"cluster {chosen.get('cluster')!r} has a proxy-url, which is not supported")
    try:
        program = plugin.read(user, cluster, folder) if user.get("exec") else None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"user {chosen['user']!r}: {error}") from error

    def path(source: Mapping[str, Any], key: str) -> str:
        return str(folder / source[key]) if source.get(key) else ""

    return Config(
        server=str(cluster["server"]).rstrip("/"),
        ca_data=_data(cluster, "certificate-authority-data"),
        ca_file=path(cluster, "certificate-authority"),
        cert_data=_data(user, "client-certificate-data"),
        cert_file=path(user, "client-certificate"),
        key_data=_data(user, "client-key-data"),
        key_file=path(user, "client-key"),
        token=user.get("token") or "",
        token_file=path(user, "tokenFile"),
        username=user.get("username") or "",
        password=user.get("password") or "",
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=cluster.get("tls-server-name") or "",
        namespace=chosen.get("namespace") or "default",
        impersonate=user.get("as") or "",
        impersonate_groups=tuple(user.get("as-groups") or ()),
        program=program,
    )


def _named(document: Mapping[str, Any], section: str, key: str, name: str) -> Mapping[str, Any]:
    for item in document.get(section) or ():
        if item.get("name") == name:
            value: Mapping[str, Any] = item.get(key) or {}
            return value
    raise ConfigError(f"{key} {name!r} does not exist")


def _data(source: Mapping[str, Any], key: str) -> bytes:
    try:
        return base64.b64decode(source.get(key) or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{key} is not base64") from error
