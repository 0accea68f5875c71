"""Container logs are rotated before they fill the disk: the current file is renamed, the runtime opens a new one, old ones are
compressed, and only so many are kept (upstream's `pkg/kubelet/logs`)."""
from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import shutil
import time
from pathlib import Path

from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.settings import Settings

log = get_logger("logs")


class LogRotation:
    """Looks at every running container's log every ten seconds."""

    def __init__(self, settings: Settings, runtime: Runtime, clock: Clock) -> None:
        self._settings = settings
        self._runtime = runtime
        self._clock = clock

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._settings.container_log_interval)
            try:
                await self.look()
            except (CriError, OSError) as error:
                log.warning("Cannot rotate logs", err=error)

    async def look(self) -> None:
        paths: dict[str, str] = {}
        sandboxes = {sandbox.id: sandbox.metadata for sandbox in await self._runtime.list_sandboxes()}
        for container in await self._runtime.list_containers():
            metadata = sandboxes.get(container.pod_sandbox_id)
            if container.state == pb.CONTAINER_RUNNING and metadata is not None:
                paths[container.id] = (f"{self._settings.pod_logs_dir}/{metadata.namespace}_{metadata.name}_{metadata.uid}/"
                                       f"{container.metadata.name}/{container.metadata.attempt}.log")
        for container_id, path in paths.items():
            if await asyncio.to_thread(_size, path) > self._settings.container_log_max_size:
                await self.rotate(container_id, path)
        await asyncio.to_thread(_remove_dead_links, self._settings.container_logs_dir)

    async def rotate(self, container_id: str, path: str) -> None:
        """Raises CriError, with the log back in its place, when the runtime does not reopen it."""
        rotated = f"{path}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime(self._clock.now()))}"
        await asyncio.to_thread(os.rename, path, rotated)
        try:
            await self._runtime.reopen_log(container_id)
        except CriError:
            await asyncio.to_thread(os.rename, rotated, path)
            raise
        await asyncio.to_thread(tidy, path, self._settings.container_log_max_files)


def tidy(path: str, keep: int) -> None:
    """Compresses all rotated files but the newest and removes the oldest, so that `keep` files remain, the current one included."""
    current = Path(path)
    for stray in current.parent.glob(f"{current.name}.*.tmp"):
        stray.unlink()
    rotated = sorted(current.parent.glob(f"{current.name}.*"), key=lambda file: file.name.removesuffix(".gz"))
    surplus = max(0, len(rotated) - max(keep - 1, 1))
    for file in rotated[:surplus]:
        file.unlink()
    for file in rotated[surplus:-1]:
        if file.suffix != ".gz":
            temporary = file.with_name(f"{file.name}.tmp")
            with open(file, "rb") as source, gzip.open(temporary, "wb") as target:
                shutil.copyfileobj(source, target)
            temporary.rename(f"{file}.gz")
            file.unlink()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _remove_dead_links(directory: str) -> None:
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            if entry.is_symlink() and not os.path.exists(entry.path):
                os.unlink(entry.path)
