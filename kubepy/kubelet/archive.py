"""Container images made without a registry or a builder: files and a configuration become a docker archive in memory.

The archive is what `ctr images import` and `docker load` take. It is deterministic: the same input gives the same digests.
"""
from __future__ import annotations

import asyncio
import hashlib
import io
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


@dataclass(frozen=True, slots=True)
class File:
    """One entry of an image's file system: bytes, a symbolic link (`link`), or a directory when both are None."""

    path: str
    content: bytes | None = None
    mode: int = 0o755
    link: str | None = None
    uid: int = 0
    gid: int = 0


def machine_arch(machine: str | None = None) -> str:
    """The machine's architecture under Go's name (amd64, arm64)."""
    machine = machine or platform.machine()
    return _GO_ARCH.get(machine, machine)


def docker_archive(references: Sequence[str], files: Sequence[File], *, entrypoint: Sequence[str] = (), command: Sequence[str] = (),
                   env: Mapping[str, str] | None = None, user: str = "", arch: str | None = None, working_dir: str = "/") -> bytes:
    """The archive of a one-layer image known by `references` (fully qualified names)."""
    layer = _tar(files)
    config = orjson.dumps({
        "architecture": arch or machine_arch(), "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Entrypoint": list(entrypoint) or None, "Cmd": list(command) or None, "User": user, "WorkingDir": working_dir,
                   "Env": [f"{key}={value}" for key, value in (env or {}).items()]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "kubepy"}],
    })
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = orjson.dumps([{"Config": name, "RepoTags": list(references), "Layers": ["layer.tar"]}])
    return _tar([File(name, config, 0o644), File("layer.tar", layer, 0o644), File("manifest.json", manifest, 0o644)])


def _tar(files: Sequence[File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for file in files:
            info = tarfile.TarInfo(file.path.lstrip("/"))
            info.mode, info.uid, info.gid = file.mode, file.uid, file.gid
            if file.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, file.link
                tar.addfile(info)
            elif file.content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(file.content)
                tar.addfile(info, io.BytesIO(file.content))
    return buffer.getvalue()


async def import_archive(socket: str, archive: bytes, *, ctr: str = "ctr") -> None:
    """Loads an archive into containerd's `k8s.io` namespace; raises RuntimeError with what `ctr` said."""
    process = await asyncio.create_subprocess_exec(
        ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate(archive)
    if process.returncode != 0:
        raise RuntimeError(f"ctr images import failed: {output.decode(errors='replace').strip()}")
