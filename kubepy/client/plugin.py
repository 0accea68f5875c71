"""Credentials from a program that the kubeconfig names (`users[].user.exec`; client-go's exec plugins, client.authentication.k8s.io).

The program prints an ExecCredential: a bearer token, a client certificate with its key, or both, and until when they are good. It is run
before the first request, when that time is over, and after the server has refused what it gave. Known difference: it never gets a
terminal (`interactiveMode: Always` is refused), for components have none.
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from kubepy.base.clock import Clock, parse_time
from kubepy.base.log import get_logger

log = get_logger("plugin")
VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
SECONDS, PAUSE = 60.0, 1.0
"""How long the program may take, and between two runs of one that fails."""
MAX_OUTPUT = 1 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """`environment` is added to the process' own; `cluster` is told the program when it wants to know (JSON)."""

    command: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    api_version: str
    hint: str = ""
    cluster: bytes = b""


@dataclass(frozen=True, slots=True)
class Granted:
    """`until` is the Unix time at which it ends, infinite where the program does not say."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    until: float = float("inf")


class PluginError(ConnectionError):
    """No credentials now: like a server that cannot be reached, it is tried again."""


def read(user: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path) -> Program:
    """The program of a kubeconfig's user. Raises ValueError."""
    entry = user["exec"]
    version, command, mode = entry.get("apiVersion") or "", entry.get("command") or "", entry.get("interactiveMode") or ""
    if version not in VERSIONS:
        raise ValueError(f"exec plugin: invalid apiVersion {version!r}")
    if not command:
        raise ValueError("exec plugin: command must be specified")
    if not mode and version == VERSIONS[0]:
        raise ValueError("exec plugin: interactiveMode must be specified")
    if mode not in ("", "Never", "IfAvailable", "Always"):
        raise ValueError(f"exec plugin: invalid interactiveMode: {mode!r}")
    if mode == "Always":
        raise ValueError("exec plugin: interactiveMode Always needs a terminal, which a component has not")
    if os.sep in command and not os.path.isabs(command):
        command = str(folder / command)
    told = b""
    if entry.get("provideClusterInfo"):
        kept = {"server": cluster.get("server"), "tls-server-name": cluster.get("tls-server-name"),
                "insecure-skip-tls-verify": cluster.get("insecure-skip-tls-verify"),
                "certificate-authority-data": cluster.get("certificate-authority-data"), "config": _extension(cluster)}
        told = orjson.dumps({key: value for key, value in kept.items() if value})
    environment = tuple((str(item["name"]), str(item["value"])) for item in entry.get("env") or ())
    return Program(command, tuple(map(str, entry.get("args") or ())), environment, version, entry.get("installHint") or "", told)


def _extension(cluster: Mapping[str, Any]) -> Any:
    return next((entry.get("extension") for entry in cluster.get("extensions") or ()
                 if entry.get("name") == "client.authentication.k8s.io/exec"), None)


class Plugin:
    """`granted` is what the program last gave."""

    def __init__(self, program: Program, clock: Clock) -> None:
        self.granted: Granted | None = None
        self._program = program
        self._clock = clock
        self._turn = asyncio.Lock()
        self._failure: PluginError | None = None
        self._failed_at = 0.0

    def forget(self) -> None:
        """The server has refused it."""
        self.granted = None

    async def ready(self) -> None:
        """Runs the program when there is no good answer of it. Raises PluginError."""
        if self._good():
            return
        async with self._turn:  # many requests run it once
            if self._good():
                return
            if self._failure is not None and self._clock.monotonic() - self._failed_at < PAUSE:
                raise self._failure
            try:
                self.granted = parse(await self._run(), self._program.api_version)
                self._failure = None
            except (OSError, ValueError, TimeoutError) as error:
                why = str(error) or "the program takes too long"
                self._failure = PluginError(f"getting credentials: exec: {why}" + (f"\n\n{self._program.hint}" * bool(self._program.hint)))
                self._failed_at = self._clock.monotonic()
                raise self._failure from error

    def _good(self) -> bool:
        return self.granted is not None and self.granted.until > self._clock.now()

    async def _run(self) -> bytes:
        program = self._program
        told = b'{"kind":"ExecCredential","apiVersion":"%s","spec":{%s"interactive":false}}' % (
            program.api_version.encode(), b'"cluster":%s,' % program.cluster if program.cluster else b"")
        environment = {**os.environ, **dict(program.environment), "KUBERNETES_EXEC_INFO": told.decode()}
        process = await asyncio.create_subprocess_exec(
            program.command, *program.arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=environment)
        try:
            async with asyncio.timeout(SECONDS):
                output, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if said:
            log.info("Said by the credential plugin", command=program.command, text=said[:500].decode(errors="replace").strip())
        if process.returncode:
            raise ValueError(f"executable {program.command} failed with exit code {process.returncode}")
        if len(output) > MAX_OUTPUT:
            raise ValueError(f"executable {program.command} printed more than {MAX_OUTPUT} bytes")
        return output


def parse(output: bytes, api_version: str) -> Granted:
    """What the program printed. Raises ValueError."""
    try:
        found = orjson.loads(output)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"decoding stdout: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != "ExecCredential" or found.get("apiVersion") != api_version:
        given = found.get("apiVersion") if isinstance(found, dict) else None
        raise ValueError(f"exec plugin is configured to use API version {api_version}, plugin returned version {given}")
    status = found.get("status")
    if not isinstance(status, dict):
        raise ValueError("exec plugin didn't return a status field")
    token, certificate, key = (status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData"))
    if not token and not certificate and not key:
        raise ValueError("exec plugin didn't return a token or cert/key pair")
    if bool(certificate) != bool(key):
        raise ValueError("exec plugin returned only certificate or key, not both")
    stamp = status.get("expirationTimestamp")
    return Granted(token, certificate.encode(), key.encode(), parse_time(stamp) if stamp else float("inf"))
