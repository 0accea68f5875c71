"""Credential provider plugins: programs that are asked for the credentials of an image (upstream's `pkg/credentialprovider/plugin`).

They are named in a CredentialProviderConfig file (kubelet.config.k8s.io), given the image on their standard input, and answer with a
CredentialProviderResponse, which is kept for as long as it says. With `tokenAttributes` they are also given a token of the pod's service
account, and their answer is for that account (or that token) alone.
"""
from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.image.account import AccountError, Accounts, Identity, TokenAttributes, read_attributes
from kubepy.kubelet.image.keyring import matches
from kubepy.kubelet.image.reference import normalize, registry_of
from kubepy.kubelet.settings import SettingsError, duration

log = get_logger("credentials")
ERRORS = counter("kubelet_credential_provider_plugin_errors_total", "Number of errors from credential provider plugin", ("plugin_name",))
_TIMEOUT, _MAX_OUTPUT, _CACHE_SIZE = 60.0, 1 << 20, 1000
_VERSIONS = {f"credentialprovider.kubelet.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1")}


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    program: Path
    images: tuple[str, ...]
    cache_seconds: float
    api_version: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    tokens: TokenAttributes | None = None

    def serves(self, image: str) -> bool:
        return any(matches(image, pattern) for pattern in self.images)


def load_providers(path: str, directory: str) -> list[Provider]:
    """The file's providers. Raises SettingsError."""
    try:
        document = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"unable to read external registry credential provider configuration from {path!r}: {error}") from error
    if not isinstance(document, dict) or document.get("kind") != "CredentialProviderConfig":
        raise SettingsError(f"failed to decode config {path!r}: it is no CredentialProviderConfig")
    found: list[Provider] = []
    for index, entry in enumerate(document.get("providers") or ()):
        where, name = f"providers[{index}]", str(entry.get("name") or "")
        if not name or "/" in name or name in (".", "..") or " " in name:
            raise SettingsError(f"{where}.name: Invalid value: {name!r}: provider name must be a file's name")
        if any(other.name == name for other in found):
            raise SettingsError(f"{where}.name: Duplicate value: {name!r}")
        if entry.get("apiVersion") not in _VERSIONS:
            raise SettingsError(f"{where}.apiVersion: Unsupported value: {entry.get('apiVersion')!r}: supported values: "
                                + ", ".join(sorted(_VERSIONS)))
        if not entry.get("matchImages"):
            raise SettingsError(f"{where}.matchImages: Required value: at least 1 item in matchImages is required")
        if entry.get("defaultCacheDuration") is None:
            raise SettingsError(f"{where}.defaultCacheDuration: Required value: defaultCacheDuration is required")
        tokens = read_attributes(entry, where, entry["apiVersion"])
        program = Path(directory, name)
        if not os.access(program, os.X_OK):
            raise SettingsError(f"plugin binary executable {program} did not exist")
        found.append(Provider(name, program, tuple(entry["matchImages"]), duration(entry["defaultCacheDuration"]), entry["apiVersion"],
                              tuple(entry.get("args") or ()), {item["name"]: item["value"] for item in entry.get("env") or ()},
                              tokens))
    return found


@dataclass(frozen=True, slots=True)
class Credential:
    auth: pb.AuthConfig
    account: str = ""
    """The service account it was given to; "" for anybody's."""


class Providers:
    """Asks the providers that serve an image; one that fails has no credentials."""

    def __init__(self, providers: list[Provider], clock: Clock, accounts: Accounts | None = None) -> None:
        self._providers = providers
        self._clock = clock
        self._accounts = accounts
        self._kept: dict[tuple[str, str, str], tuple[float, dict[str, pb.AuthConfig]]] = {}
        self._asking: dict[tuple[str, str, str], asyncio.Lock] = {}

    async def credentials(self, image: str, pod: Object) -> list[Credential]:
        """Those that fit the image, the most specific first."""
        name = normalize(image)
        found: list[tuple[int, Credential]] = []
        for provider in self._providers:
            if not provider.serves(name):
                continue
            identity = None
            if provider.tokens is not None:
                try:
                    identity = await self._identify(pod, provider.tokens)
                except AccountError as error:
                    log.v(1).info("A credential provider is not asked", provider=provider.name, err=error)
                    continue
            for pattern, auth in (await self._ask(provider, name, identity)).items():
                if matches(name, pattern):
                    found.append((len(pattern), Credential(auth, identity.account if identity is not None else "")))
        return [credential for _, credential in sorted(found, key=lambda pair: -pair[0])]

    async def _identify(self, pod: Object, attributes: TokenAttributes) -> Identity | None:
        if self._accounts is None:
            raise AccountError("this kubelet has no API server to ask for tokens")
        return await self._accounts.identify(pod, attributes)

    def _cached(self, provider: Provider, image: str, whose: str) -> dict[str, pb.AuthConfig] | None:
        now = self._clock.monotonic()
        for key in (image, registry_of(image), "<global>"):
            until, answer = self._kept.get((provider.name, key, whose), (0.0, {}))
            if until > now:
                return answer
        return None

    async def _ask(self, provider: Provider, image: str, identity: Identity | None) -> dict[str, pb.AuthConfig]:
        whose = _whose(provider, identity)
        lock = self._asking.setdefault((provider.name, image, whose), asyncio.Lock())
        try:
            async with lock:  # many pods of one image ask once
                if (cached := self._cached(provider, image, whose)) is not None:
                    return cached
                answer = await self._run(provider, image, identity)
                auths = {pattern: pb.AuthConfig(username=entry.get("username") or "", password=entry.get("password") or "")
                         for pattern, entry in (answer.get("auth") or {}).items()}
                key = {"Image": image, "Registry": registry_of(image), "Global": "<global>"}.get(answer.get("cacheKeyType") or "")
                if key is None:
                    raise ValueError(f"credential provider plugin did not return a valid cacheKeyType: {answer.get('cacheKeyType')!r}")
                seconds = duration(answer["cacheDuration"]) if answer.get("cacheDuration") is not None else provider.cache_seconds
                if seconds > 0:
                    self._keep((provider.name, key, whose), self._clock.monotonic() + seconds, auths)
                return auths
        except (OSError, ValueError, TimeoutError, AttributeError, SettingsError) as error:
            ERRORS.labels(provider.name).inc()
            log.error("Failed getting credentials from the credential provider", error, provider=provider.name)
            return {}
        finally:
            if not lock.locked():
                self._asking.pop((provider.name, image, whose), None)

    def _keep(self, key: tuple[str, str, str], until: float, auths: dict[str, pb.AuthConfig]) -> None:
        if len(self._kept) >= _CACHE_SIZE:
            now = self._clock.monotonic()
            self._kept = {kept: entry for kept, entry in self._kept.items() if entry[0] > now}
        self._kept[key] = (until, auths)

    async def _run(self, provider: Provider, image: str, identity: Identity | None) -> dict[str, Any]:
        more = {} if identity is None else {"serviceAccountToken": identity.token,
                                            "serviceAccountAnnotations": dict(identity.annotations)}
        request = orjson.dumps({"kind": "CredentialProviderRequest", "apiVersion": provider.api_version, "image": image, **more})
        process = await asyncio.create_subprocess_exec(
            str(provider.program), *provider.arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env={**os.environ, **provider.environment})
        try:
            async with asyncio.timeout(_TIMEOUT):
                output, said = await process.communicate(request)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise ValueError(f"error execing credential provider plugin {provider.name} for image {image}: exit status "
                             f"{process.returncode}: {said[:500].decode(errors='replace')}")
        if len(output) > _MAX_OUTPUT:
            raise ValueError(f"plugin {provider.name} answers with more than {_MAX_OUTPUT} bytes")
        answer = orjson.loads(output)
        if not isinstance(answer, dict) or answer.get("kind") != "CredentialProviderResponse" or \
                answer.get("apiVersion") != provider.api_version:
            raise ValueError(f"apiVersion from credential plugin response did not match expected apiVersion:{provider.api_version}")
        return answer


def _whose(provider: Provider, identity: Identity | None) -> str:
    """Answers given for one account or token are kept from others."""
    if identity is None or provider.tokens is None:
        return ""
    parts = [identity.account, *(f"{key}={value}" for key, value in identity.annotations)]
    if provider.tokens.cache == "Token":
        parts.append(identity.token)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
