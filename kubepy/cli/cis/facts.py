"""What is known of a running cluster: the parts' command lines, files and their modes, what servers answer to whom, objects of the API."""
from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kubepy.api.errors import ApiError
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.cli import supervisor
from kubepy.cli.settings import Settings
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load

WEAK = "AES128-SHA:AES256-SHA:AES128-GCM-SHA256:ECDHE+AES+SHA1:3DES:RC4:NULL:@SECLEVEL=0"
_RBAC = "rbac.authorization.k8s.io"
LISTED: dict[str, Resource] = {
    "clusterrolebindings": Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    "clusterroles": Resource(_RBAC, "v1", "clusterroles", "ClusterRole", False),
    "roles": Resource(_RBAC, "v1", "roles", "Role", True),
    "pods": Resource("", "v1", "pods", "Pod", True),
    "namespaces": Resource("", "v1", "namespaces", "Namespace", False),
    "networkpolicies": Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True),
}


@dataclass(frozen=True, slots=True)
class Mode:
    """Of a file or directory: its permission bits and owner."""

    bits: int
    owner: int


@dataclass(slots=True)
class Facts:
    settings: Settings
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of each part that runs, its command line."""
    files: Mapping[str, Mode] = field(default_factory=dict)
    kubelet: Object = field(default_factory=dict)
    """Its configuration, as /configz shows it."""
    answers: Mapping[str, int] = field(default_factory=dict)
    """What requests without credentials, or for what should be off, were answered; 0 for no connection."""
    weak: Mapping[str, str] = field(default_factory=dict)
    """The weak protocol or cipher that a server spoke, "" for none."""
    objects: Mapping[str, list[Object]] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)

    def flag(self, part: str, name: str) -> str | None:
        """The value of a part's flag; "true" for one without a value, None when it is not given."""
        found = None
        for word in self.commands.get(part, ()):
            if word == f"--{name}":
                found = "true"
            elif word.startswith(f"--{name}="):
                found = word.partition("=")[2]
        return found


async def gather(settings: Settings) -> Facts:
    """Raises OSError, ApiError or ConnectionError when the cluster does not answer."""
    facts = Facts(settings, _commands(settings), _files(settings))
    facts.documents = {name: path.read_text() for name, path in (("audit", settings.audit_policy), ("encryption",
            settings.encryption_config))
                       if path.exists()}
    client = HttpClient(load(settings.client))
    try:
        facts.objects = {name: (await client.list(resource))["items"] for name, resource in LISTED.items()}
        answer = orjson.loads(await client.raw("GET", f"/api/v1/nodes/{settings.node_name}/proxy/configz"))
        facts.kubelet = answer.get("kubeletconfig") or {}
    finally:
        await client.close()
    api, kubelet = settings.secure_port, settings.kubelet_port
    facts.answers = {
        "anonymous secrets": await _status("127.0.0.1", api, "/api/v1/secrets"),
        "apiserver pprof": await _status("127.0.0.1", api, "/debug/pprof/"),
        "scheduler pprof": await _status("127.0.0.1", 10259, "/debug/pprof/"),
        "controller-manager pprof": await _status("127.0.0.1", 10257, "/debug/pprof/"),
        "kubelet pods": await _status(settings.node_ip, kubelet, "/pods"),
        "kubelet read-only": await _status(settings.node_ip, 10255, "/pods", tls=False),
        "etcd without a certificate": await _status("127.0.0.1", settings.etcd_port, "/version"),
        "proxy metrics from outside": await _status(settings.node_ip, 10249, "/metrics", tls=False),
        "scheduler from outside": await _status(settings.node_ip, 10259, "/healthz"),
        "controller-manager from outside": await _status(settings.node_ip, 10257, "/healthz"),
    }
    facts.weak = {name: await asyncio.to_thread(_weakness, host, port) for name, host, port in (
        ("apiserver", "127.0.0.1", api), ("kubelet", settings.node_ip, kubelet), ("scheduler", "127.0.0.1", 10259),
        ("controller-manager", "127.0.0.1", 10257))}
    return facts


def _commands(settings: Settings) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, part in supervisor.read_state(settings).get("parts", {}).items():
        try:
            found[name] = tuple(Path(f"/proc/{part['pid']}/cmdline").read_text(errors="replace").rstrip("\0").split("\0"))
        except (OSError, KeyError):
            continue
    return found


def _files(settings: Settings) -> dict[str, Mode]:
    """By path below the data directory, without what pods and the runtime write there."""
    found: dict[str, Mode] = {}
    for pattern in ("*", "pki/**/*", "log/*", "log/audit/*", "manifests/*", "cni/net.d/*", "etcd", "kubelet/pki/*", "kubelet/config*"):
        for path in settings.data_dir.glob(pattern):
            try:
                seen = os.stat(path)
            except OSError:
                continue
            found[str(path.relative_to(settings.data_dir))] = Mode(stat.S_IMODE(seen.st_mode), seen.st_uid)
    return found


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _status(host: str, port: int, path: str, *, tls: bool = True) -> int:
    """The status of a GET without credentials."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(host, port, ssl=_trusting() if tls else None)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                line = await reader.readline()
            finally:
                writer.close()
        return int(line.split()[1])
    except (OSError, ssl.SSLError, TimeoutError, IndexError, ValueError):
        return 0


def _weakness(host: str, port: int) -> str:
    """A protocol before TLS 1.2 or a cipher without forward secrecy that the server speaks."""
    for name, ciphers, newest in (("TLS 1.1", "ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_1), ("weak cipher", WEAK, ssl.TLSVersion.TLSv1_2)):
        context = _trusting()
        context.set_ciphers(ciphers)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
        try:
            with socket.create_connection((host, port), 10) as plain, context.wrap_socket(plain) as spoken:
                return f"{name} {(spoken.cipher() or ('',))[0]}"
        except OSError:
            continue
    return ""


FAILURES: tuple[type[Exception], ...] = (OSError, ApiError, ConnectionError, TimeoutError)


def value(document: Any, *path: str) -> Any:
    """A nested value, None where a part of the way is missing."""
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document
