"""Kubeconfig files: with embedded credentials for people, naming the files for components, which follow those when they are renewed."""
from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from kubepy.cli.pki.issue import write_file


def write_kubeconfig(path: Path, server: str, ca: Path, cert: Path, key: Path, user: str, *, cluster: str = "kubepy",
                     embed: bool = True) -> None:
    """Writes a kubeconfig (0600) that reaches `server` as `user`; the files' contents are embedded, or with `embed` off named. An equal
    file is left alone."""
    if embed:
        cluster_part = {"certificate-authority-data": _embed(ca)}
        user_part = {"client-certificate-data": _embed(cert), "client-key-data": _embed(key)}
    else:
        cluster_part = {"certificate-authority": str(ca)}
        user_part = {"client-certificate": str(cert), "client-key": str(key)}
    context = f"{user}@{cluster}"
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, **cluster_part}}],
        "users": [{"name": user, "user": user_part}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
        "preferences": {},
    }
    data = yaml.safe_dump(config, sort_keys=False, width=1 << 20).encode()
    if not path.exists() or path.read_bytes() != data or path.stat().st_mode & 0o077:
        write_file(path, data, 0o600)


def _embed(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
