"""Kubeconfig files with embedded credentials."""
from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from kubepy.cli.pki.issue import write_file


def write_kubeconfig(path: Path, server: str, ca: Path, cert: Path, key: Path, user: str, *, cluster: str = "kubepy") -> None:
    """Writes a kubeconfig (0600) that reaches `server` as `user`; the files' contents are embedded. An equal file is left alone."""
    context = f"{user}@{cluster}"
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": _embed(ca)}}],
        "users": [{"name": user, "user": {"client-certificate-data": _embed(cert), "client-key-data": _embed(key)}}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
        "preferences": {},
    }
    data = yaml.safe_dump(config, sort_keys=False, width=1 << 20).encode()
    if not path.exists() or path.read_bytes() != data or path.stat().st_mode & 0o077:
        write_file(path, data, 0o600)


def _embed(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
