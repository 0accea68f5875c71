"""What a client shows of itself and whom it trusts, read again when the files change, so that rotation needs no restart.

New connections use the new certificates; those already open end in their own time (watches after minutes at most).
"""
from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import replace

from kubepy.base.clock import Clock
from kubepy.client.kubeconfig import Config
from kubepy.client.plugin import Plugin

CHECK_INTERVAL = 5.0
"""Seconds between looks at the files."""


class Credentials:
    """The TLS context and the Authorization header of a `Config`, kept up to date.

    `token` overrides the configuration's: a callable asked before each request (it must be quick)."""

    def __init__(self, config: Config, clock: Clock, token: Callable[[], str] | None = None) -> None:
        self._config = config
        self._clock = clock
        self._token = token
        self._context: ssl.SSLContext | None = None
        self._stamp: tuple[object, ...] = ()
        self._context_checked = self._token_checked = float("-inf")
        self._file_token = ""
        self._certificate = b""  # the plugin's that the context was made with
        self.plugin = Plugin(config.program, clock) if config.program is not None else None
        """Where there is one, it must be `ready` before the others are asked."""
        self._shown = "", ""
        self._basic = ""
        if config.username:
            self._basic = "Basic " + base64.b64encode(f"{config.username}:{config.password}".encode()).decode()

    def context(self) -> ssl.SSLContext:
        """The same object until a file has changed. Raises OSError or ssl.SSLError when the files cannot be used."""
        now = self._clock.monotonic()
        if self.plugin is not None and self.plugin.granted is not None and self.plugin.granted.certificate != self._certificate:
            self._context = None
        if self._context is None or now - self._context_checked >= CHECK_INTERVAL:
            self._context_checked = now
            stamp = tuple(_stamp(path) for path in (self._config.ca_file, self._config.cert_file, self._config.key_file))
            if self._context is None or stamp != self._stamp:
                try:
                    self._context, self._stamp = self._load(), stamp
                except (OSError, ssl.SSLError):
                    if self._context is None:  # half-written files during a rotation: the old ones still serve
                        raise
        return self._context

    def authorization(self) -> str:
        """The header's value, "" for none."""
        if self._token is not None:
            return self._bearer(self._token())
        if self.plugin is not None and self.plugin.granted is not None and self.plugin.granted.token:
            return self._bearer(self.plugin.granted.token)
        if self._config.token_file:
            now = self._clock.monotonic()
            if not self._file_token or now - self._token_checked >= CHECK_INTERVAL:
                self._token_checked = now
                try:
                    with open(self._config.token_file) as file:
                        self._file_token = file.read().strip()
                except OSError:
                    if not self._file_token and not self._config.token:
                        raise
            if self._file_token:
                return self._bearer(self._file_token)
        return self._bearer(self._config.token) if self._config.token else self._basic

    def _bearer(self, token: str) -> str:
        """The same text for the same token: it is looked up by, and hashing a kilobyte anew takes a microsecond."""
        if token is not self._shown[0]:
            self._shown = token, f"Bearer {token}"
        return self._shown[1]

    def forget_token(self) -> None:
        """Reads the token file, or runs the plugin, again at the next request (the server has refused the token)."""
        if self.plugin is not None:
            self.plugin.forget()
        self._token_checked = float("-inf")

    def _load(self) -> ssl.SSLContext:
        config = self._config
        if self.plugin is not None and self.plugin.granted is not None:
            granted = self.plugin.granted
            self._certificate = granted.certificate
            if granted.certificate:
                config = replace(config, cert_data=granted.certificate, key_data=granted.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif config.ca_data:
            context.load_verify_locations(cadata=config.ca_data.decode())
        elif config.ca_file:
            context.load_verify_locations(cafile=config.ca_file)
        else:
            context.load_default_certs()
        if config.cert_data or config.cert_file:
            cert, key = _as_file(config.cert_data, config.cert_file), _as_file(config.key_data, config.key_file)
            try:
                context.load_cert_chain(cert, key or None)
            finally:
                for path, given in ((cert, config.cert_file), (key, config.key_file)):
                    if path and path != given:
                        os.unlink(path)
        return context


def _stamp(path: str) -> tuple[int, int, int] | None:
    if not path:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _as_file(data: bytes, path: str) -> str:
    """OpenSSL reads chains from files only: inline data goes through a private temporary one."""
    if not data:
        return path
    handle, name = tempfile.mkstemp(prefix="kubepy-")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    return name
