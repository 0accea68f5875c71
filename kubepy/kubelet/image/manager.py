"""Images for containers: present, pulled or refused, as the pull policy says (upstream's `pkg/kubelet/images`)."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Literal

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet import metric
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.image.keyring import credentials
from kubepy.kubelet.image.provider import Credential, Providers
from kubepy.kubelet.image.record import Records, secret_of
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

    def __init__(self, runtime: Runtime, clock: Clock, *, parallel: int | None = None, providers: Providers | None = None,
                 records: Records | None = None) -> None:
        """At most `parallel` pulls at once (None: as many as there are)."""
        self._runtime = runtime
        self._clock = clock
        self._backoff = KeyedBackoff(10.0, 300.0)
        self._failed: dict[str, tuple[float, str]] = {}
        self._limit: AbstractAsyncContextManager[object] = nullcontext() if parallel is None else asyncio.Semaphore(parallel)
        self._providers = providers
        self._records = records

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
        secrets_used = {secret_of(secret) for secret in secrets}
        auths = credentials(name, secrets)
        allowed = present is None or self._records is None or policy == "Always" or \
            self._records.accessible(present.id, name, auths, secrets_used)
        if not allowed and self._providers is not None and present is not None and self._records is not None:
            given = await self._providers.credentials(name, pod)
            auths = [*auths, *(credential.auth for credential in given)]
            secrets_used |= {credential.account for credential in given if credential.account}
            allowed = self._records.accessible(present.id, name, auths, secrets_used)
        if present is not None and allowed and policy != "Always":
            event("Normal", "Pulled", f'Container image "{image}" already present on machine and can be accessed by the pod')
            return present.id, present
        metric.CREDENTIAL_CHECKS.labels(str(present is not None).lower(), policy.lower(),
                                        str(not (present is not None and allowed and policy != "Always")).lower()).inc()
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never' if present is None else \
                f'Container image "{image}" is present with pull policy of Never but does not have the proper credentials to access the ' \
                'image'
            event("Warning", "ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message)
        used, account = await self._pull(pod, image, name, credentials(name, secrets), event, sandbox)
        present = await self._inspect(name, event)
        if present is not None and self._records is not None:
            holders = {account} if account else {secret_of(secret) for secret in secrets}
            await asyncio.to_thread(self._records.pulled, present.id, name, used, holders)
        return (present.id if present is not None else name), present

    async def _inspect(self, name: str, event: Event) -> pb.Image | None:
        try:
            return await self._runtime.image_status(name)
        except CriError as error:
            message = f'Failed to inspect image "{name}": {error.go()}'
            event("Warning", "InspectFailed", message)
            raise ImageError("ImageInspectError", message) from error

    async def _pull(self, pod: Object, image: str, name: str, auths: Sequence[pb.AuthConfig], event: Event,
                    sandbox: pb.PodSandboxConfig | None) -> tuple[pb.AuthConfig | None, str]:
        """The credentials it was pulled with, and the service account that a plugin gave them to."""
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
            error, used = await self._try(pod, name, auths, sandbox)
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
        metric.PULL_SECONDS.labels(_size_class(size)).observe(done - waited)
        event("Normal", "Pulled", f'Successfully pulled image "{image}" in {_elapsed(done - waited)} '
                                  f'({_elapsed(done - began)} including waiting). Image size: {size} bytes.')
        return (used.auth, used.account) if used is not None else (None, "")

    async def _try(self, pod: Object, name: str, auths: Sequence[pb.AuthConfig],
                   sandbox: pb.PodSandboxConfig | None) -> tuple[CriError | None, Credential | None]:
        """Tries every credential that fits (the pod's, then the plugins'), or none; the last failure, or what it was pulled with."""
        plugins = await self._providers.credentials(name, pod) if self._providers is not None else ()
        every: list[Credential | None] = [*map(Credential, auths), *plugins]
        last: CriError | None = None
        for credential in every or [None]:
            try:
                await self._runtime.pull_image(name, credential.auth if credential is not None else None, sandbox)
                return None, credential
            except CriError as error:
                last = error
        return last, None

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


def _size_class(size: int) -> str:
    """The label upstream gives an image of this size."""
    if not size:
        return "N/A"
    bounds = ((10 << 20, "0-10MB"), (100 << 20, "10MB-100MB"), (500 << 20, "100MB-500MB"), (1 << 30, "500MB-1GB"), (5 << 30, "1GB-5GB"),
              (10 << 30, "5GB-10GB"), (20 << 30, "10GB-20GB"), (30 << 30, "20GB-30GB"), (40 << 30, "30GB-40GB"), (60 << 30, "40GB-60GB"),
              (100 << 30, "60GB-100GB"))
    return next((text for bound, text in bounds if size < bound), "GT100GB")


def _elapsed(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}s".replace(".000s", "s")
