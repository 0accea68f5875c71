"""Images nobody uses are removed when the disk fills: oldest use first, until enough is free (upstream's image GC)."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.settings import Settings

log = get_logger("image")
_LOOK = 300.0


@dataclass(slots=True)
class Seen:
    """When an image was first noticed and last used by a container."""

    first: float
    used: float


def plan_collection(images: Sequence[pb.Image], seen: Mapping[str, Seen], in_use: Collection[str], to_free: int, now: float,
                    minimum_age: float) -> list[str]:
    """The IDs to remove, least recently used first, until `to_free` bytes are reached. Pure."""
    unused = [image for image in images if image.id not in in_use and not image.pinned and now - seen[image.id].first >= minimum_age]
    chosen, freed = [], 0
    for image in sorted(unused, key=lambda image: (seen[image.id].used, seen[image.id].first)):
        if freed >= to_free:
            break
        chosen.append(image.id)
        freed += image.size
    return chosen


class ImageCollector:
    def __init__(self, settings: Settings, runtime: Runtime, clock: Clock, sandbox_image: Collection[str] = (),
                 gone: Callable[[Collection[str]], None] = lambda present: None) -> None:
        """`gone` is told which images there are."""
        self._settings = settings
        self._runtime = runtime
        self._clock = clock
        self._sandbox_image = set(sandbox_image)
        self._seen: dict[str, Seen] = {}
        self._gone = gone

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except (CriError, OSError) as error:
                log.warning("Cannot collect images", err=error)
            await self._clock.sleep(_LOOK)

    async def look(self, *, everything: bool = False) -> int:
        """Removes what must go (or, `everything`, all that nobody uses); returns how many images went."""
        images = list(await self._runtime.list_images())
        in_use = await self._in_use(images)
        now = self._clock.now()
        for image in images:
            entry = self._seen.setdefault(image.id, Seen(now, 0.0))
            if image.id in in_use:
                entry.used = now
        for gone in set(self._seen) - {image.id for image in images}:
            del self._seen[gone]
        await asyncio.to_thread(self._gone, {image.id for image in images})
        stale = [image.id for image in images if image.id not in in_use and not image.pinned and self._too_old(self._seen[image.id], now)]
        for image_id in stale:
            log.info("Removing an image nobody has used for long", image=image_id)
            await self._runtime.remove_image(image_id)
        images = [image for image in images if image.id not in stale]
        to_free = (1 << 62) if everything else await self._to_free()
        if to_free <= 0:
            return len(stale)
        chosen = plan_collection(images, self._seen, in_use, to_free, now, 0.0 if everything else self._settings.image_minimum_gc_age)
        for image_id in chosen:
            log.info("Removing an unused image", image=image_id)
            await self._runtime.remove_image(image_id)
        return len(stale) + len(chosen)

    def _too_old(self, seen: Seen, now: float) -> bool:
        most = self._settings.image_maximum_gc_age
        return most > 0 and now - max(seen.used, seen.first) > most

    async def _in_use(self, images: Sequence[pb.Image]) -> set[str]:
        references = {reference for container in await self._runtime.list_containers()
                      for reference in (container.image.image, container.image_ref, container.image_id) if reference}
        return {image.id for image in images
                if references & {image.id, *image.repo_tags, *image.repo_digests}
                or any("/pause:" in name or name in self._sandbox_image for name in image.repo_tags)}

    async def _to_free(self) -> int:
        usage = await self._runtime.image_fs()
        path = usage.image_filesystems[0].fs_id.mountpoint if usage.image_filesystems else self._settings.root_dir
        try:
            stat = await asyncio.to_thread(os.statvfs, path)
        except OSError:  # the runtime's path may lie in another mount namespace
            stat = await asyncio.to_thread(os.statvfs, self._settings.root_dir)
        capacity, available = stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize
        if capacity == 0 or 100 - available * 100 // capacity < self._settings.image_gc_high:
            return 0
        return capacity * (100 - self._settings.image_gc_low) // 100 - available
