"""Images for containers: present, pulled or refused, as the pull policy says (upstream's `pkg/kubelet/images`)."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.image.keyring import credentials
from kubepy.kubelet.image.reference import ReferenceError_, normalize
from kubepy.kubelet.pod.backoff import KeyedBackoff

log = get_logger("image")
Severity = Literal["Normal", "Warning"]
Event = Callable[[Severity, str, str], None]
"""(type, reason, message) for the container."""


class ImageError(Exception):
    """No image; `reason` is the container's waiting reason (ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Images:
    """One node's images."""

    def __init__(self, runtime: Runtime, clock: Clock, *, serial: bool = False) -> None:
        self._runtime = runtime
        self._clock = clock
        self._backoff = KeyedBackoff(10.0, 300.0)
        self._failed: dict[str, tuple[float, str]] = {}
        self._limit = asyncio.Semaphore(1 if serial else 8)

    async def ensure(self, pod: Object, container: Object, secrets: Sequence[Object], event: Event,
                     sandbox: pb.PodSandboxConfig | None = None) -> tuple[str, pb.Image | None]:
        """The image reference to create the container from, and the image. Raises ImageError."""
        image = container.get("image") or ""
        try:
            name = normalize(image)
        except ReferenceError_ as error:
            message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {error}'
            event("Warning", "InspectFailed", message)
            raise ImageError("InvalidImageName", message) from error
        policy = container.get("imagePullPolicy") or ("Always" if name.endswith(":latest") else "IfNotPresent")
        present = await self._inspect(name, event)
        if present is not None and policy != "Always":
            event("Normal", "Pulled", f'Container image "{image}" already present on machine and can be accessed by the pod')
            return present.id, present
        if present is None and policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            event("Warning", "ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message)
        await self._pull(pod, image, name, secrets, event, sandbox)
        present = await self._inspect(name, event)
        return (present.id if present is not None else name), present

    async def _inspect(self, name: str, event: Event) -> pb.Image | None:
        try:
            return await self._runtime.image_status(name)
        except CriError as error:
            message = f'Failed to inspect image "{name}": {error.go()}'
            event("Warning", "InspectFailed", message)
            raise ImageError("ImageInspectError", message) from error

    async def _pull(self, pod: Object, image: str, name: str, secrets: Sequence[Object], event: Event,
                    sandbox: pb.PodSandboxConfig | None) -> None:
        key = f"{pod['metadata']['uid']}_{name}"
        now = self._clock.now()
        failed = self._failed.get(key)
        if failed is not None and self._backoff.remaining(key, failed[0], now) > 0:
            message = f'Back-off pulling image "{image}"'
            event("Normal", "BackOff", message)
            raise ImageError("ImagePullBackOff", f"{message}: ErrImagePull: {failed[1]}")
        event("Normal", "Pulling", f'Pulling image "{image}"')
        began = self._clock.monotonic()
        async with self._limit:
            waited = self._clock.monotonic()
            error = await self._try(name, secrets, sandbox)
        if error is not None:
            now = self._clock.now()
            self._failed[key] = (now, error.go())
            self._backoff.advance(key, now, now)
            event("Warning", "Failed", f'Failed to pull image "{image}": {error.go()}')
            raise ImageError("ErrImagePull", error.go())
        self._failed.pop(key, None)
        self._backoff.forget(key)
        done = self._clock.monotonic()
        size = 0
        try:
            status = await self._runtime.image_status(name)
            size = status.size if status is not None else 0
        except CriError:
            pass
        event("Normal", "Pulled", f'Successfully pulled image "{image}" in {_elapsed(done - waited)} '
                                  f'({_elapsed(done - began)} including waiting). Image size: {size} bytes.')

    async def _try(self, name: str, secrets: Sequence[Object], sandbox: pb.PodSandboxConfig | None) -> CriError | None:
        """Tries every credential that fits, or none; the last failure."""
        last: CriError | None = None
        for auth in [*credentials(name, secrets), None]:
            if auth is None and last is not None:
                break
            try:
                await self._runtime.pull_image(name, auth, sandbox)
                return None
            except CriError as error:
                last = error
        return last

    def retry_in(self, pod: Object, container: Object) -> float:
        """Seconds until a failed pull is due again."""
        try:
            key = f"{pod['metadata']['uid']}_{normalize(container.get('image') or '')}"
        except ReferenceError_:
            return 60.0
        failed = self._failed.get(key)
        return self._backoff.remaining(key, failed[0], self._clock.now()) if failed else 0.0

    def forget(self, uid: str) -> None:
        self._backoff.forget(f"{uid}_")
        for key in [key for key in self._failed if key.startswith(f"{uid}_")]:
            del self._failed[key]


def _elapsed(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}s".replace(".000s", "s")
